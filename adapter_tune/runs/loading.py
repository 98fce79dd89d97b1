"""A trained model loaded from its folder: backbone, adapter and tokenizer."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapter_tune.adapters.families import shape_of
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.hub_calls import parse_hub_name
from adapter_tune.modeling.backbone import load_config, load_saved_tokenizer
from adapter_tune.modeling.build import PreparedModel, build_model
from adapter_tune.modeling.language import with_language
from adapter_tune.run_files.adapter_files import (
    adapter_folder,
    check_backbone,
    check_size,
    load_weights,
    read_adapter_config,
)
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.runs.run_config import adapter_run_config

log = logging.getLogger("adapter_tune")

OTHER_LANGUAGE = "another language adapter than in training"
"""The first words of a note on a model that was loaded for another language."""


def load(
    folder: str | Path, *, model: str | None = None, language_adapter: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained model in evaluation mode, and its tokenizer.

    Args:
        folder: a run folder, or the ``adapter`` folder in it; or ``ORG/NAME[@revision]`` on the Hub.
        model: path or id of the backbone, if it has moved since training.
        language_adapter: folder of the run's language adapter, if that has moved, or of one for another language.

    Returns:
        A sequence classifier in float32 with label names in ``config.id2label``. Its logits are bit-identical to those
        of a run in float32; a run in bf16 was scored in bf16, as ``evaluate_run`` and ``predict`` do again.

    Raises:
        UsageError: the folder contains no adapter.
        RunError: the backbone is not the one of the training, or a file is damaged.
    """
    folder = adapter_folder(local_run(folder))
    prepared = load_prepared(folder, model, language_adapter)
    return prepared.model.eval(), load_saved_tokenizer(folder, prepared.model.config)


def load_prepared(folder: Path, model: str | None, language_adapter: str | None = None) -> PreparedModel:
    """Backbone and adapter from an adapter folder: build, inject, load; a missing or surplus tensor is an error.

    Args:
        folder: the adapter folder.
        model: path or id of the backbone, if it has moved since training.
        language_adapter: folder of the run's language adapter, if that has moved, or of one for another language; a
            note says so then.
    """
    adapter = read_adapter_config(folder)
    config = adapter_run_config(folder, adapter, model, language_adapter)
    if language_adapter is None:
        _check_language_is_there(folder, config)
    check_size(folder, config.strategy.formula(shape_of(load_config(config.model, {}))).trained)
    prepared = build_model(config)
    trained_on = adapter.model.get("language_digest")
    check_backbone(adapter, prepared.config.id, with_language(prepared.bare_fingerprint, trained_on))
    load_weights(prepared.model, prepared.newly_initialized, folder, adapter)
    if prepared.config.language_digest == trained_on:
        return prepared
    note = f"{OTHER_LANGUAGE}: {prepared.config.language_adapter}, and not {adapter.model['language_adapter']}"
    log.info("%s", note)
    return replace(prepared, notes=[*prepared.notes, note])


def _check_language_is_there(folder: Path, config: ResolvedConfig) -> None:
    """Refuse a run whose language adapter is not where it was in training.

    Raises:
        UsageError: it is not there.
    """
    place = config.model.language_adapter
    if place is not None and not Path(place).is_dir() and parse_hub_name(place) is None:
        raise UsageError(
            f"{folder}: its language adapter {place} is not there; bring it back, or say where it is now with "
            "--language-adapter"
        )
