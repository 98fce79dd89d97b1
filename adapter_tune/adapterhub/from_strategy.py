"""The options of an AdapterHub bottleneck that computes the same as a strategy here."""

from __future__ import annotations

import math
from typing import Any

from adapter_tune.adapterhub.options import ACTIVATIONS, ONLY, SCALINGS
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies import Injection, Strategy


def options_of(strategy: Strategy, d: int, layers: int) -> tuple[dict[str, Any], list[str]]:
    """AdapterHub's options for a strategy, and notes on them.

    Args:
        strategy: the strategy of a run.
        d: hidden size of the backbone.
        layers: number of its layers.

    Raises:
        UsageError: the strategy, or an option of it, has no counterpart; the message names it.
    """
    if not isinstance(strategy, Injection):
        raise UsageError(f"strategy {strategy.name} has no counterpart in AdapterHub's bottlenecks; export other runs")
    _check_exportable(strategy)
    notes = []
    if strategy.dropout:
        notes.append(
            f"strategy.dropout={strategy.dropout:g} acts in training only, before the up-projection; AdapterHub has "
            "none there, so it is not exported"
        )
    sizes = strategy.sizes(layers)
    sub_layers = strategy.chosen_sub_layers()
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    insertion = strategy.chosen_insertion()
    options = {
        "mh_adapter": "attention" in sub_layers,
        "output_adapter": "feed_forward" in sub_layers,
        "reduction_factor": _factors(sizes, d),
        "non_linearity": names.get(strategy.activation, "linear"),
        "original_ln_before": insertion in ("after_norm", "norm_skip", "after_sub_layer"),
        "original_ln_after": insertion != "after_sub_layer",
        "residual_before_ln": insertion not in ("norm_skip", "after_sub_layer"),
        "ln_before": strategy.input_norm,
        "ln_after": strategy.output_norm != "none",
        "adapter_residual_before_ln": strategy.output_norm == "sum",
        "is_parallel": insertion == "parallel",
        "scaling": SCALINGS.get(str(strategy.scale), strategy.scale),
        "leave_out": [layer for layer, size in enumerate(sizes) if not size],
        "dropout": 0.0,
        "stochastic_depth": 0.0,
        "inv_adapter": None,
        "init_weights": "houlsby",
        **ONLY,
    }
    return options, notes


def _check_exportable(strategy: Injection) -> None:
    problems = {
        f"strategy {strategy.name}": strategy.insertion == "multiplicative",
        f"strategy.depth={strategy.depth}": strategy.depth != 1,
        f"strategy.norm={strategy.norm}": strategy.norm != "none",
        f"strategy.output_norm=sum with strategy {strategy.name}": (
            strategy.insertion == "parallel" and strategy.output_norm == "sum"
        ),
    }
    for option, is_refused in problems.items():
        if is_refused:
            raise UsageError(f"{option} has no counterpart in AdapterHub's bottlenecks; export other runs")


def _factors(sizes: list[int], d: int) -> float | dict[str, float]:
    used = {size for size in sizes if size}
    if len(used) == 1:
        return _factor(d, used.pop())
    return {str(layer): _factor(d, size) for layer, size in enumerate(sizes) if size}


def _factor(d: int, m: int) -> float:
    """The reduction factor from which AdapterHub computes m by ``int(d // factor)``."""
    factor = d / m
    while int(d // factor) < m:  # d / m was rounded up
        factor = math.nextafter(factor, 0)
    return factor
