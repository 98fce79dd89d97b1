"""Strategies: one frozen class each, registered by name. To add one, see ``docs/architecture.md``."""

from adapter_tune.strategies.adapters import Houlsby
from adapter_tune.strategies.base import REGISTRY, Strategy, parse_strategy, strategy
from adapter_tune.strategies.baselines import Full, Head

__all__ = ["REGISTRY", "Full", "Head", "Houlsby", "Strategy", "parse_strategy", "strategy"]
