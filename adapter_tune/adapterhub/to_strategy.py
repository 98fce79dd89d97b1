"""The strategy here that computes the same as an AdapterHub bottleneck with given options."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

from adapter_tune.adapterhub.options import ACTIVATIONS, SCALINGS, BottleneckOptions
from adapter_tune.adapters.bottleneck import OutputNorm
from adapter_tune.adapters.families import SubLayer
from adapter_tune.foundation.errors import FieldError, RunError
from adapter_tune.strategies import Injection, parse_strategy

_SUB_LAYERS: tuple[SubLayer, ...] = ("attention", "feed_forward")

_BEHIND_NORM: dict[tuple[bool, bool | str], dict[str, str] | str] = {
    (True, True): {"name": "pfeiffer"},
    (True, False): {"name": "pfeiffer", "skip": "norm"},
    (False, False): {"name": "adapter_plus"},
    (True, "post_add"): "which adds the sub-layer's input twice",
    (False, True): "which leaves the sub-layer's input out of its sum",
    (False, "post_add"): "which normalises nothing but what the adapter reads (X-MOD)",
}
"""The strategy for original_ln_after and residual_before_ln, with original_ln_before; or why there is none."""


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


def _size(options: BottleneckOptions, d: int, layer: int, file: Path) -> int:
    factor = options.reduction_factor
    if isinstance(factor, dict):
        if str(layer) not in factor and "default" not in factor:
            raise RunError(f"{file}: reduction_factor has no value for layer {layer}, and no default; add one")
        factor = factor.get(str(layer), factor.get("default", 0.0))
    if not math.isfinite(factor) or factor <= 0 or not math.isfinite(d / factor):
        raise RunError(f"{file}: reduction_factor is {factor:g}; it should be above 0")
    return max(1, int(d // factor))


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
    if name not in ACTIVATIONS:
        raise RunError(
            f"{file}: non_linearity is {options.non_linearity!r}, which has no counterpart here; only adapters with "
            f"one of these can be imported: {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def _scale(options: BottleneckOptions, file: Path) -> float | str:
    for ours, theirs in SCALINGS.items():
        if options.scaling == theirs:
            return ours
    if isinstance(options.scaling, str) or options.scaling <= 0:
        raise RunError(
            f"{file}: scaling is {json.dumps(options.scaling)}, which has no counterpart here; only adapters with a "
            "factor above 0, 'learned' or 'channel' can be imported"
        )
    return options.scaling
