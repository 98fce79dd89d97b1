"""The configuration of a folder that AdapterHub's ``save_adapter`` wrote, and the names of its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from adapter_tune.adapterhub.options import BottleneckOptions, parse_options
from adapter_tune.adapters.bottleneck import Bottleneck
from adapter_tune.adapters.families import SubLayer, shape_of
from adapter_tune.foundation.errors import RunError

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter.safetensors", "pytorch_adapter.bin")

_LEGACY_ACTIVATIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
"""Activations in folders without a version, and what they are called now."""
_NESTED = "invertible_adapter"
"""The key of the section with the options of an invertible adapter in folders of adapter-transformers 1."""
_LEGACY = {
    "attention_text_task_adapters": "adapters",
    "attention_text_lang_adapters": "adapters",
    "layer_text_task_adapters": "adapters",
    "layer_text_lang_adapters": "adapters",
    "invertible_lang_adapters": "invertible_adapters",
}
"""Parts of tensors' names in folders of adapter-transformers 1, and what they are now."""


class Settings(BaseModel):
    """``adapter_config.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, protected_namespaces=())

    name: str
    model_type: str | None = None
    model_name: str | None = None
    hidden_size: int | None = None
    version: str | None = None
    config: Any


@dataclass(frozen=True)
class Layout:
    """Where AdapterHub puts the adapters of a family."""

    base: str
    """Name of the base model in the classifier."""
    layers: str
    """Path from the base model to its layers."""
    sub_layers: dict[SubLayer, str]
    """Path from a layer to the module that has the adapters of a sub-layer."""


_BERT: dict[SubLayer, str] = {"attention": "attention.output", "feed_forward": "output"}
_DISTILBERT: dict[SubLayer, str] = {"attention": "attention_adapters", "feed_forward": "output_adapters"}
LAYOUTS = {
    "bert": Layout("bert", "encoder.layer", _BERT),
    "roberta": Layout("roberta", "encoder.layer", _BERT),
    "xlm-roberta": Layout("roberta", "encoder.layer", _BERT),
    "distilbert": Layout("distilbert", "transformer.layer", _DISTILBERT),
    "electra": Layout("electra", "encoder.layer", _BERT),
    "deberta-v2": Layout("deberta", "encoder.layer", _BERT),
}


def options_in(settings: Settings, file: Path) -> BottleneckOptions:
    """The options of the adapter's bottlenecks.

    Args:
        settings: the configuration.
        file: for messages.

    Raises:
        RunError: an option is unknown or has no counterpart here; the message names it.
    """
    section = settings.config
    if isinstance(section, dict) and isinstance(section.get(_NESTED, ()), dict | None):
        nested = section.get(_NESTED) or {}
        section = {key: value for key, value in section.items() if key != _NESTED}
        section["inv_adapter"] = nested.get("block_type")
        section["inv_adapter_reduction_factor"] = nested.get("reduction_factor")
    if settings.version is None and isinstance(section, dict) and "non_linearity" in section:
        name = section["non_linearity"]
        section = {**section, "non_linearity": _LEGACY_ACTIVATIONS.get(name, name)}
    return parse_options(section, file)


def check_backbone(settings: Settings, backbone: Any, file: Path) -> None:
    """Refuse a backbone of another kind or size than the adapter's, or of a family without such adapters.

    Raises:
        RunError: it is one.
    """
    if backbone.model_type not in LAYOUTS:
        raise RunError(
            f"{file}: AdapterHub has no adapters for {backbone.model_type} backbones; choose another --model"
        )
    theirs = (settings.model_type, settings.hidden_size)
    ours = (backbone.model_type, shape_of(backbone).d)
    for name, their, our in zip(("model_type", "hidden_size"), theirs, ours, strict=True):
        if their is not None and their != our:
            raise RunError(f"{file}: {name} is {their}, but the backbone has {our}; give its own backbone with --model")


def place_of(layout: Layout, layer: int, sub_layer: SubLayer, name: str) -> str:
    """The path from the base model to an adapter."""
    return f"{layout.layers}.{layer}.{layout.sub_layers[sub_layer]}.adapters.{name}"


def bottleneck_parameters(bottleneck: Bottleneck, place: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of a bottleneck by AdapterHub's names; its path is ``place``."""
    has_input_norm = isinstance(bottleneck.input_norm, nn.LayerNorm)
    modules = (
        ("adapter_norm_before", bottleneck.input_norm),
        ("adapter_down.0", bottleneck.input_norm),  # one LayerNorm under two names; the second one decides there, too
        (f"adapter_down.{int(has_input_norm)}", bottleneck.down),
        ("adapter_up", bottleneck.up),
        ("adapter_norm_after", bottleneck.sum_norm or bottleneck.output_norm),
    )
    for name, module in modules:
        for part, parameter in module.named_parameters():
            yield f"{place}.{name}.{part}", parameter
    if isinstance(bottleneck.scale, nn.Parameter):
        yield f"{place}.scaling", bottleneck.scale


def current_name(key: str) -> str:
    """The name that a tensor has in AdapterHub today, given the one that it had in any version."""
    for old, new in _LEGACY.items():
        key = key.replace(f".{old}.", f".{new}.")
    return key
