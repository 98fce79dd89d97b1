"""Strategies: one frozen class each, registered by name. To add one, see ``docs/architecture.md``."""

from importlib import import_module
from pkgutil import iter_modules

from adapter_tune.strategies.adapters import (
    AdapterPlus,
    AttentionOnly,
    FeedForwardOnly,
    Houlsby,
    Multiplicative,
    Parallel,
    Pfeiffer,
)
from adapter_tune.strategies.base import REGISTRY, SIZES, Strategy, described, parse_strategy, strategy
from adapter_tune.strategies.baselines import Bias, Full, Head, LayerNorm, TopN
from adapter_tune.strategies.injection import Injection
from adapter_tune.strategies.lora import Lora

__all__ = [
    "REGISTRY",
    "SIZES",
    "AdapterPlus",
    "AttentionOnly",
    "Bias",
    "FeedForwardOnly",
    "Full",
    "Head",
    "Houlsby",
    "Injection",
    "LayerNorm",
    "Lora",
    "Multiplicative",
    "Parallel",
    "Pfeiffer",
    "Strategy",
    "TopN",
    "described",
    "parse_strategy",
    "strategy",
]

for _module in iter_modules(__path__):  # every file in the folder registers its strategies
    import_module(f"{__name__}.{_module.name}")
