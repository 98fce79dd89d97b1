"""Checks of a model's files: is it a backbone, a whole model, an encoder, and are its files its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME
from transformers.utils.peft_utils import find_adapter_config_file

from adapter_tune.config.schema import ModelConfig
from adapter_tune.demo.location import located_model
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.run_files.adapter_files import adapter_folder, read_adapter_config

LOCAL_HINT = "give a local folder with --model DIR"
_NEEDED: dict[str, tuple[Any, str]] = {
    "is_decoder": (False, "so a token would see only the tokens before it"),
    "add_cross_attention": (False, "which only decoders have"),
    "chunk_size_feed_forward": (0, "which needs rows of a multiple of that length"),
}
"""What a configuration must say, and the reason, for messages."""
_RUN_FILE = "config.yaml"
"""The file of every run, finished or not."""


def check_is_backbone(model_id: str) -> None:
    """Refuse the folder of a run, or of its adapter, in place of a backbone.

    Raises:
        UsageError: it is one; the message names the run's backbone.
    """
    path = Path(located_model(model_id))
    if (path / CONFIG_NAME).is_file():
        return
    folder = adapter_folder(path)
    if not (folder / ADAPTER_CONFIG_NAME).is_file():
        if (path / _RUN_FILE).is_file():
            raise UsageError(f"model {model_id} is the folder of an unfinished run, not a backbone; give a backbone")
        return
    try:
        adapter = read_adapter_config(folder)
    except AdapterTuneError:  # of another package, such as peft
        return
    backbone = adapter.model["id"]
    raise UsageError(
        f"model {model_id} is the folder of a trained run, and its backbone is {backbone}; to start training from "
        f"this run, give --model {backbone} --init-from {model_id}"
    )


def check_model_folder(model_id: str) -> None:
    """Refuse a local path that cannot be a model; an id of the Hub passes.

    Raises:
        UsageError: it is a file.
        RunError: it is a folder without a configuration.
    """
    path = Path(located_model(model_id))
    if path.is_file():
        raise UsageError(f"model {model_id}: it is a file; give the folder that it is in")
    if path.is_dir() and not any((path / name).exists() for name in (CONFIG_NAME, ADAPTER_CONFIG_NAME)):
        raise RunError(f"model {model_id}: it has no {CONFIG_NAME}, so it is not the folder of a transformers model")


def check_whole_model(config: ModelConfig) -> None:
    """Refuse a model with the configuration of an adapter, which transformers would load on top, or drop without peft.

    Raises:
        RunError: it has one.
    """
    adapter = find_adapter_config_file(located_model(config.id), revision=config.revision)
    if adapter is not None:
        raise RunError(
            f"model {config.id}: it has an {ADAPTER_CONFIG_NAME}, so it is or contains an adapter (as the package peft "
            "saves them), and only whole models are read; merge the adapter into its model and save that (peft: "
            "merge_and_unload), or remove the file to use the model without the adapter"
        )


def check_encoder(model_id: str, backbone: Any) -> None:
    """Refuse a configuration that does not describe an encoder as it was pretrained.

    Args:
        model_id: path or id of the model, for messages.
        backbone: its transformers configuration.

    Raises:
        RunError: it has such a value.
    """
    for name, (value, reason) in _NEEDED.items():
        if (given := getattr(backbone, name, value)) != value:
            raise RunError(
                f"model {model_id}: its config.json has {name}: {json.dumps(given)}, {reason}; set it to "
                f"{json.dumps(value)}"
            )
    if getattr(backbone, "num_hidden_layers", 1) < 1:
        raise RunError(f"model {model_id}: its config.json has no layers; correct num_hidden_layers")
    if getattr(backbone, "quantization_config", None) is not None:
        raise RunError(
            f"model {model_id}: its weights are quantised (quantization_config in config.json), and adapters are only "
            "trained on a backbone in full precision; give the model that was quantised"
        )


def check_finite(model_id: str, model: nn.Module) -> None:
    """Refuse weights that are not numbers, as a damaged or diverged checkpoint has them.

    Raises:
        RunError: a tensor has some.
    """
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise RunError(
                f"model {model_id}: its tensor {name} has values that are not finite numbers: the file is damaged, "
                "or its training diverged; choose another"
            )


def check_shards(model_id: str) -> None:
    """Refuse a local checkpoint whose index names files outside its folder; the Hub has no such files.

    Raises:
        RunError: it names one.
    """
    index = Path(located_model(model_id)) / SAFE_WEIGHTS_INDEX_NAME
    if not index.is_file():
        return
    with loading("model", model_id, LOCAL_HINT):
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    outside = sorted(name for name in names if name != Path(name).name)
    if outside:
        raise RunError(f"{index}: '{outside[0]}' is not a file of this folder; download the checkpoint again")
