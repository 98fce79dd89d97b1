"""The configuration in a folder of the peft package: what is read of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from adapter_tune.foundation.errors import RunError

_TASKS = (None, "SEQ_CLS")
_STARTS = (True, False, "gaussian", "eva", "orthogonal")
"""Ways in which weights start that leave the backbone as it is."""
_UNUSED = (
    "auto_mapping",
    "corda_config",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "runtime_config",
)
"""Keys that say where the adapter comes from, how its weights started, or are read with others that are refused."""

_SHOWN = 60
"""Characters of a value in a message."""

Names = list[str] | str | None
"""Modules by the ends of their names, or by a regular expression."""


class PeftSettings(BaseModel):
    """``adapter_config.json``, with the keys of peft's ``LoraConfig``; the other keys are in ``model_extra``."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    peft_type: str
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    r: int = Field(default=8, ge=1, le=65_536)
    lora_alpha: float = Field(default=8, gt=0, le=65_536)
    use_rslora: bool = False
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    bias: str = "none"
    init_lora_weights: bool | str = True
    target_modules: Names = None
    exclude_modules: Names = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: Names = None
    modules_to_save: list[str] | None = None

    def lora_options(self) -> dict[str, Any]:
        """The options that decide which modules peft wraps, and their shapes."""
        names = ("r", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save")
        return {name: getattr(self, name) for name in (*names, "task_type")}


def check_peft_settings(settings: PeftSettings, file: Path) -> None:
    """Refuse what the strategy lora cannot compute.

    Args:
        settings: the content of the file.
        file: for messages.

    Raises:
        RunError: an option has no counterpart here; the message names it.
    """
    if settings.peft_type != "LORA":
        raise RunError(f"{file}: peft_type is {settings.peft_type}; only LoRA can be imported")
    if settings.task_type not in _TASKS:
        raise RunError(
            f"{file}: task_type is {settings.task_type}; only classifiers of texts (SEQ_CLS) can be imported"
        )
    if settings.bias != "none":
        raise _refusal(file, "bias", settings.bias, "none")
    if settings.init_lora_weights not in _STARTS:
        raise RunError(
            f"{file}: init_lora_weights is {settings.init_lora_weights!r}, which changes the weights of the backbone; "
            "save the adapter with peft's path_initial_model_for_weight_conversion"
        )
    for name, value in (settings.model_extra or {}).items():
        if name not in _UNUSED and value not in (None, False, {}, []):
            raise _refusal(file, name, value, None)


def _refusal(file: Path, name: str, value: object, allowed: str | None) -> RunError:
    without = f"without {name}" if allowed is None else f"with {name} = {allowed}"
    text = json.dumps(value)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return RunError(
        f"{file}: {name} is {shown}, which has no counterpart here; only adapters {without} can be imported"
    )
