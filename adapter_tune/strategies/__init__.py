"""Strategies: one frozen class each, registered by name. To add one, see ``docs/architecture.md``."""

from adapter_tune.strategies import adapters as adapters  # noqa: F401  (importing registers the classes)
from adapter_tune.strategies import baselines as baselines  # noqa: F401
from adapter_tune.strategies.base import REGISTRY, Strategy, parse_strategy, strategy

__all__ = ["REGISTRY", "Strategy", "parse_strategy", "strategy"]
