"""Tensors of a checkpoint that find no place in the model: those of the encoder are refused or named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.model_parts import base_of, layers_of
from adapter_tune.foundation.errors import RunError

_PEFT = ("lora_", ".base_layer.", "base_model.model.", "modules_to_save", "ia3_", "prompt_encoder", "prompt_embeddings")
_ADAPTER = ("adapter", "prefix_tuning")
_BUFFERS = ("position_ids", "token_type_ids")  # older versions of transformers stored them


def check_unused(names: Iterable[str], model: Any, model_id: str) -> None:
    """Refuse a checkpoint whose encoder computes something that the model does not compute.

    Args:
        names: of the checkpoint's tensors that the model does not have.
        model: the model with its head.
        model_id: path or id of the model, for messages.

    Raises:
        RunError: some of them belong to an adapter or to the encoder's layers.
    """
    names = sorted(names)
    in_layers = {name: number for name in names if (number := _layer_of(name, model)) is not None}
    in_adapters = [name for name in names if any(word in name for word in (*_PEFT, *_ADAPTER))]
    if in_adapters:
        raise RunError(f"model {model_id}: {_adapter_problem(in_adapters)}")
    layers = len(layers_of(model))
    beyond = [number for number in in_layers.values() if number >= layers]
    if beyond:
        raise RunError(
            f"model {model_id}: its weights have {max(beyond) + 1} layers, but its config.json has {layers}; correct "
            "config.json, or load the model with transformers and save it with the layers that it should have"
        )
    if in_layers:
        raise RunError(
            f"model {model_id}: its weights have {len(in_layers)} tensors in the layers that the model does not have "
            f"({next(iter(in_layers))}, ...), so it would compute something else; choose another checkpoint"
        )


def unused_note(names: Iterable[str], model: Any) -> str | None:
    """Return a note on the encoder's other tensors that are not used, or None if there are none.

    Published checkpoints have such leftovers of their pretraining (DeBERTa's position embeddings), so they are allowed.
    """
    children = {name for name, _ in base_of(model).named_children()} - {"pooler"}
    unused = [name for name in sorted(names) if _inside(name, model).partition(".")[0] in children]
    unused = [name for name in unused if not name.endswith(_BUFFERS)]
    if not unused:
        return None
    return f"tensors of the checkpoint that the model does not have are not used: {', '.join(unused)}"


def _inside(name: str, model: Any) -> str:
    """The name of a tensor inside the encoder; checkpoints of a bare encoder have no prefix."""
    return name.removeprefix(f"{model.base_model_prefix}.")


def _layer_of(name: str, model: Any) -> int | None:
    """The layer that a tensor of the checkpoint belongs to by its name, or None."""
    match = re.match(rf"{re.escape(family_of(model.config).layers)}\.(\d+)\.", _inside(name, model))
    return int(match[1]) if match else None


def _adapter_problem(names: list[str]) -> str:
    what = f"its weights have {len(names)} tensors of an adapter ({names[0]}, ...), which would be dropped"
    if any(word in name for name in names for word in _PEFT):
        return f"{what}; merge it with peft's merge_and_unload and save the model again"
    return (
        f"{what}; name the model without the adapter, or save that (after adapter_tune.load: adapter_tune.detach, then "
        "save_pretrained)"
    )
