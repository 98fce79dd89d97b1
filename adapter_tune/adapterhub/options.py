"""The options of an AdapterHub bottleneck (``BnConfig``), and the options of a strategy here that mean the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapter_tune.adapters.bottleneck import OutputNorm
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

_SCALINGS = {"learnt": "learned", "channel": "channel"}
"""Trained factors, by our names."""

_ONLY: dict[str, Any] = {"use_gating": False, "cross_adapter": False, "phm_layer": False}
"""Options with a single value that has a counterpart here."""

_UNUSED = (
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


_BEHIND_NORM: dict[tuple[bool, bool | str], dict[str, str] | str] = {
    (True, True): {"name": "pfeiffer"},
    (True, False): {"name": "pfeiffer", "skip": "norm"},
    (False, False): {"name": "adapter_plus"},
    (True, "post_add"): "which adds the sub-layer's input twice",
    (False, True): "which leaves the sub-layer's input out of its sum",
    (False, "post_add"): "which normalises nothing but what the adapter reads (X-MOD)",
}
"""The strategy for original_ln_after and residual_before_ln, with original_ln_before; or why there is none."""

Flag = Annotated[bool, BeforeValidator(lambda value: False if value is None else value)]
"""True or false; null is false there."""


class BottleneckOptions(BaseModel):
    """The options that decide what an adapter computes. The defaults are AdapterHub's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    mh_adapter: bool
    output_adapter: bool
    reduction_factor: float | dict[str, float]
    non_linearity: str
    original_ln_before: Flag = False
    original_ln_after: Flag = True
    residual_before_ln: Annotated[bool | str, BeforeValidator(lambda value: False if value is None else value)] = True
    ln_before: Flag = False
    ln_after: Flag = False
    adapter_residual_before_ln: Flag = False
    is_parallel: Flag = False
    scaling: float | str = 1.0
    leave_out: list[int] | None = Field(default=None)
    dropout: float = 0.0
    stochastic_depth: float | None = 0.0
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
    for name in ("dropout", "stochastic_depth"):
        if value := getattr(options, name):
            notes.append(
                f"{name} {value:g} acts in AdapterHub's training only, after the up-projection; it is not imported"
            )
    values = {
        **_insertion(options, file),
        "m": m if is_uniform else sizes,
        "layers": "all" if all(sizes) or not is_uniform else [layer for layer, size in enumerate(sizes) if size],
        "activation": _activation(options, file),
        "scale": _scale(options, file),
        "input_norm": options.ln_before,
        "output_norm": _output_norm(options),
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
        "scaling": _SCALINGS.get(str(strategy.scale), strategy.scale),
        "leave_out": [layer for layer, size in enumerate(sizes) if not size],
        "dropout": 0.0,
        "stochastic_depth": 0.0,
        "inv_adapter": None,
        "init_weights": "houlsby",
        **_ONLY,
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


def _size(options: BottleneckOptions, d: int, layer: int, file: Path) -> int:
    factor = options.reduction_factor
    if isinstance(factor, dict):
        if str(layer) not in factor and "default" not in factor:
            raise RunError(f"{file}: reduction_factor has no value for layer {layer}, and no default; add one")
        factor = factor.get(str(layer), factor.get("default", 0.0))
    if not math.isfinite(factor) or factor <= 0 or not math.isfinite(d / factor):
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
    if options.original_ln_before and not options.is_parallel:
        return {**_behind_norm(options, file), "sub_layer": only or "both"}
    if not options.original_ln_after:
        where = "with is_parallel" if options.is_parallel else "without original_ln_before"
        raise RunError(
            f"{file}: original_ln_after is false {where}, which leaves out the sub-layer's input and LayerNorm; such "
            "adapters cannot be imported"
        )
    if options.is_parallel:
        return {"name": "parallel", "sub_layer": only or "both"}
    if isinstance(options.residual_before_ln, str):
        raise RunError(
            f"{file}: residual_before_ln is {json.dumps(options.residual_before_ln)} without original_ln_before, which "
            "AdapterHub cannot compute; save the adapter again"
        )
    return {"name": f"{only}_only" if only else "houlsby"}


def _behind_norm(options: BottleneckOptions, file: Path) -> dict[str, str]:
    """The strategy whose adapters read what the LayerNorm after the sub-layer computes."""
    chosen = (options.original_ln_after, options.residual_before_ln)
    strategy = _BEHIND_NORM.get(chosen, "which AdapterHub does not know")
    if isinstance(strategy, dict):
        return strategy
    known = [key for key, value in _BEHIND_NORM.items() if isinstance(value, dict)]
    allowed = " or ".join(f"{json.dumps(after)} and {json.dumps(residual)}" for after, residual in known)
    raise RunError(
        f"{file}: original_ln_after and residual_before_ln are {json.dumps(chosen[0])} and {json.dumps(chosen[1])}, "
        f"{strategy}; only adapters with {allowed} can be imported"
    )


def _output_norm(options: BottleneckOptions) -> OutputNorm:
    if not options.ln_after:
        return "none"
    return "sum" if options.adapter_residual_before_ln and not options.is_parallel else "adapter"


def _activation(options: BottleneckOptions, file: Path) -> str:
    name = options.non_linearity.lower()
    if name not in _ACTIVATIONS:
        raise RunError(
            f"{file}: non_linearity is {options.non_linearity!r}, which has no counterpart here; only adapters with "
            f"one of these can be imported: {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _scale(options: BottleneckOptions, file: Path) -> float | str:
    for ours, theirs in _SCALINGS.items():
        if options.scaling == theirs:
            return ours
    if isinstance(options.scaling, str) or options.scaling <= 0:
        raise RunError(
            f"{file}: scaling is {json.dumps(options.scaling)}, which has no counterpart here; only adapters with a "
            "factor above 0, 'learned' or 'channel' can be imported"
        )
    return options.scaling
