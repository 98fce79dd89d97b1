"""The options of an AdapterHub bottleneck (``BnConfig``), and the options of a strategy here that mean the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter_tune.adapters.bottleneck import Insertion
from adapter_tune.adapters.families import SubLayer
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.strategies import Injection, Strategy, parse_strategy

_SUB_LAYERS: tuple[SubLayer, ...] = ("attention", "feed_forward")

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_pytorch_tanh",
    "gelu_fast": "gelu_pytorch_tanh",
    "gelu_accurate": "gelu_pytorch_tanh",
    "gelu_pytorch_tanh": "gelu_pytorch_tanh",
    "hardswish": "hardswish",
    "leakyrelu": "leaky_relu",
    "leaky_relu": "leaky_relu",
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "swish",
    "tanh": "tanh",
}
"""AdapterHub's names, and ours. Several of its GELUs are the same approximation with tanh, to within rounding."""

_ONLY: dict[str, Any] = {
    "original_ln_after": True,
    "ln_before": False,
    "ln_after": False,
    "use_gating": False,
    "cross_adapter": False,
    "phm_layer": False,
    "stochastic_depth": 0.0,
}
"""Options with a single value that has a counterpart here."""

_UNUSED = (
    "adapter_residual_before_ln",  # without ln_after
    "init_weights",
    "init_weights_seed",
    "phm_dim",
    "phm_rank",
    "phm_bias",
    "phm_c_init",
    "phm_init_range",
    "learn_phm",
    "factorized_phm_W",
    "factorized_phm_rule",
    "shared_phm_rule",
    "shared_W_phm",
    "hypercomplex_nonlinearity",
)
"""Options that decide only how weights start, or that are unused by adapters with the values in ``_ONLY``."""


class BottleneckOptions(BaseModel):
    """The options that decide what an adapter computes. The defaults are AdapterHub's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    mh_adapter: bool
    output_adapter: bool
    reduction_factor: float | dict[str, float]
    non_linearity: str
    original_ln_before: bool = False
    residual_before_ln: bool | str = True
    is_parallel: bool = False
    scaling: float | str = 1.0
    leave_out: list[int] | None = Field(default=None)
    dropout: float = 0.0
    inv_adapter: str | None = None
    inv_adapter_reduction_factor: float | None = None


def parse_options(section: Any, file: Path) -> BottleneckOptions:
    """The options in a configuration file.

    Args:
        section: the ``config`` section.
        file: for messages.

    Raises:
        RunError: an option is unknown or has no counterpart here; the message names it.
    """
    if not isinstance(section, dict) or section.get("architecture") is not None:
        kind = section.get("architecture") if isinstance(section, dict) else section
        raise RunError(f"{file}: an adapter of kind {kind!r}; only bottleneck adapters can be imported")
    for name, value in _ONLY.items():
        if (section.get(name, value) or False) != value:  # null is false there
            raise RunError(
                f"{file}: {name} is {json.dumps(section[name])}, which has no counterpart here; only adapters with "
                f"{name} = {json.dumps(value)} can be imported"
            )
    known = {key: value for key, value in section.items() if key not in (*_ONLY, *_UNUSED, "architecture")}
    try:
        return BottleneckOptions(**known)
    except ValidationError as error:
        loc, problem = first_problem(error, BottleneckOptions)
        raise RunError(f"{file}: config.{'.'.join(loc)} {problem}; it has no counterpart here") from None


def strategy_of(options: BottleneckOptions, d: int, layers: int, file: Path) -> tuple[Injection, list[str]]:
    """The strategy that computes the same, and notes on it; an invertible adapter is left out.

    Args:
        options: AdapterHub's.
        d: hidden size of the backbone.
        layers: number of its layers.
        file: for messages.

    Raises:
        RunError: an option has no counterpart here; the message names it.
    """
    notes: list[str] = []
    sizes = [0 if layer in (options.leave_out or ()) else _size(options, d, layer, file) for layer in range(layers)]
    if not any(sizes):
        raise RunError(f"{file}: leave_out names every layer, so it contains no adapter")
    m = max(sizes)
    is_uniform = all(size in (0, m) for size in sizes)
    if isinstance(options.reduction_factor, float) and d % options.reduction_factor:
        notes.append(
            f"reduction_factor {options.reduction_factor:g} does not divide the hidden size {d}; AdapterHub rounds "
            f"down: m = {m}"
        )
    if options.dropout:
        notes.append(
            f"dropout {options.dropout:g} acts in AdapterHub's training only, after the up-projection; it is not "
            "imported"
        )
    values = {
        **_insertion(options, file),
        "m": m if is_uniform else sizes,
        "layers": "all" if all(sizes) or not is_uniform else [layer for layer, size in enumerate(sizes) if size],
        "activation": _activation(options, file),
        "scale": _scale(options, file),
        "layer_norm": "none",
    }
    try:
        return cast(Injection, parse_strategy(values)), notes
    except FieldError as error:
        raise RunError(f"{file}: has no counterpart here: {error}") from None


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
    names = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    options = {
        "mh_adapter": "attention" in sub_layers,
        "output_adapter": "feed_forward" in sub_layers,
        "reduction_factor": _factors(sizes, d),
        "non_linearity": names.get(strategy.activation, "linear"),
        "original_ln_before": strategy.insertion == "after_norm",
        "residual_before_ln": True,
        "is_parallel": strategy.insertion == "parallel",
        "scaling": "learned" if strategy.scale == "learnt" else float(strategy.scale),
        "leave_out": [layer for layer, size in enumerate(sizes) if not size],
        "dropout": 0.0,
        "inv_adapter": None,
        "adapter_residual_before_ln": False,
        "init_weights": "houlsby",
        **_ONLY,
    }
    return options, notes


def _check_exportable(strategy: Injection) -> None:
    problems = {
        f"strategy {strategy.name}": strategy.insertion == "multiplicative",
        f"strategy.depth={strategy.depth}": strategy.depth != 1,
        f"strategy.norm={strategy.norm}": strategy.norm != "none",
    }
    for option, is_refused in problems.items():
        if is_refused:
            raise UsageError(f"{option} has no counterpart in AdapterHub's bottlenecks; export other runs")


def _size(options: BottleneckOptions, d: int, layer: int, file: Path) -> int:
    factor = options.reduction_factor
    if isinstance(factor, dict):
        if str(layer) not in factor and "default" not in factor:
            raise RunError(f"{file}: reduction_factor has no value for layer {layer}, and no default; add one")
        factor = factor.get(str(layer), factor.get("default", 0.0))
    if not math.isfinite(factor) or factor <= 0:
        raise RunError(f"{file}: reduction_factor is {factor:g}; it should be above 0")
    return max(1, int(d // factor))


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


def _insertion(options: BottleneckOptions, file: Path) -> dict[str, str]:
    """The name of the strategy, and its sub-layers where they are an option."""
    chosen = [options.mh_adapter, options.output_adapter]
    sub_layers = [sub_layer for sub_layer, is_chosen in zip(_SUB_LAYERS, chosen, strict=True) if is_chosen]
    if not sub_layers:
        raise RunError(f"{file}: mh_adapter and output_adapter are both false, so it contains no adapter")
    only = sub_layers[0] if len(sub_layers) == 1 else None
    insertion: Insertion = "serial"
    if options.is_parallel:
        insertion = "parallel"
    elif options.original_ln_before:
        insertion = "after_norm"
        if options.residual_before_ln is not True:
            raise RunError(
                f"{file}: residual_before_ln is {json.dumps(options.residual_before_ln)} with original_ln_before, "
                "which has no counterpart here; only adapters with residual_before_ln = true can be imported"
            )
    if insertion == "serial":
        return {"name": f"{only}_only" if only else "houlsby"}
    return {"name": "parallel" if options.is_parallel else "pfeiffer", "sub_layer": only or "both"}


def _activation(options: BottleneckOptions, file: Path) -> str:
    name = options.non_linearity.lower()
    if name not in _ACTIVATIONS:
        raise RunError(
            f"{file}: non_linearity is {options.non_linearity!r}, which has no counterpart here; only adapters with "
            f"one of these can be imported: {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _scale(options: BottleneckOptions, file: Path) -> float | str:
    if options.scaling == "learned":
        return "learnt"
    if isinstance(options.scaling, str) or options.scaling <= 0:
        raise RunError(
            f"{file}: scaling is {json.dumps(options.scaling)}, which has no counterpart here; only adapters with a "
            "factor above 0, or with 'learned', can be imported"
        )
    return options.scaling
