"""A trained model loaded from its folder: backbone, adapter and tokenizer."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapter_tune.adapters.families import shape_of
from adapter_tune.modeling.backbone import load_config, load_saved_tokenizer
from adapter_tune.modeling.build import PreparedModel, build_model
from adapter_tune.run_files.adapter_files import (
    adapter_folder,
    check_backbone,
    check_size,
    load_weights,
    read_adapter_config,
)
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.runs.run_config import adapter_run_config


def load(folder: str | Path, *, model: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained model in evaluation mode, and its tokenizer.

    Args:
        folder: a run folder, or the ``adapter`` folder in it; or ``ORG/NAME[@revision]`` on the Hub.
        model: path or id of the backbone, if it has moved since training.

    Returns:
        A sequence classifier in float32 with label names in ``config.id2label``. Its logits are bit-identical to those
        of a run in float32; a run in bf16 was scored in bf16, as ``evaluate_run`` and ``predict`` do again.

    Raises:
        UsageError: the folder contains no adapter.
        RunError: the backbone is not the one of the training, or a file is damaged.
    """
    folder = adapter_folder(local_run(folder))
    prepared = load_prepared(folder, model)
    return prepared.model.eval(), load_saved_tokenizer(folder, prepared.model.config)


def load_prepared(folder: Path, model: str | None) -> PreparedModel:
    """Backbone and adapter from an adapter folder: build, inject, load; a missing or surplus tensor is an error.

    Args:
        folder: the adapter folder.
        model: path or id of the backbone, if it has moved since training.
    """
    adapter = read_adapter_config(folder)
    config = adapter_run_config(folder, adapter, model)
    check_size(folder, config.strategy.formula(shape_of(load_config(config.model, {}))).trained)
    prepared = build_model(config)
    check_backbone(adapter, prepared.config.id, prepared.fingerprint)
    load_weights(prepared.model, prepared.newly_initialized, folder, adapter)
    return prepared
