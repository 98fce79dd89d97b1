"""The options of an AdapterHub bottleneck (``BnConfig``), checked as they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.validation_messages import first_problem

ACTIVATIONS = {
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

SCALINGS = {"learnt": "learned", "channel": "channel"}
"""Trained factors, by our names."""

ONLY: dict[str, Any] = {"use_gating": False, "cross_adapter": False, "phm_layer": False}
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
"""Options that decide only how weights start, or that are unused by adapters with the values in ``ONLY``."""


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
    for name, value in ONLY.items():
        if (section.get(name, value) or False) != value:  # null is false there
            raise RunError(
                f"{file}: {name} is {json.dumps(section[name])}, which has no counterpart here; only adapters with "
                f"{name} = {json.dumps(value)} can be imported"
            )
    known = {key: value for key, value in section.items() if key not in (*ONLY, *_UNUSED, "architecture")}
    try:
        return BottleneckOptions(**known)
    except ValidationError as error:
        loc, problem = first_problem(error, BottleneckOptions)
        raise RunError(f"{file}: config.{'.'.join(loc)} {problem}; it has no counterpart here") from None
