"""A run loaded from its folder: scored again, ablated, ready to predict. Nothing in the folder changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapter_tune.adapters.families import SubLayer, shape_of
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import TrainingConfig, parse_config
from adapter_tune.data.input_file import InputColumns
from adapter_tune.data.splits import load_file, load_rows
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import FieldError, RunError
from adapter_tune.foundation.hub_calls import run_title
from adapter_tune.modeling.backbone import load_config, load_saved_tokenizer
from adapter_tune.modeling.build import PreparedModel, build_model
from adapter_tune.modeling.precision import TYPES, resolve_device
from adapter_tune.run_files import adapter_files
from adapter_tune.run_files.ablation_result import Ablation, RangeScores
from adapter_tune.run_files.adapter_files import (
    ADAPTER,
    DATA,
    AdapterConfig,
    adapter_folder,
    check_backbone,
    load_weights,
    read_adapter_config,
)
from adapter_tune.run_files.data_paths import with_data_paths
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.run_files.result import COLLAPSED, FILE, Result, RunRecord, Speed, read_run, versions
from adapter_tune.runs.ablate import NO_LAYERS, majority, scores_by_range
from adapter_tune.runs.predict import Predictor
from adapter_tune.tasks.glue import CUSTOM
from adapter_tune.training.loop import Outcome, evaluate, given_threads


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


def evaluate_run(
    folder: Path,
    *,
    split: str | None = None,
    input_file: str | None = None,
    columns: InputColumns | None = None,
    batch_size: int | None = None,
    model: str | None = None,
    moved: Mapping[str, str] | None = None,
    demo: bool = False,
) -> Result:
    """Load a run from disk and score it again; nothing in the folder changes.

    Args:
        folder: the run folder, or ``ORG/NAME[@revision]`` on the Hub.
        split: one labelled split; None takes the task's validation splits.
        input_file: score the rows of this labelled file instead of a split.
        columns: the columns of the input file, where they are not those of the run.
        batch_size: rows of a forward pass; None takes the run's own, which gives bit-identical scores.
        model: path or id of the backbone, if it has moved since training.
        moved: paths of data that have moved since training, by option, as in ``data.custom.train_file``.
        demo: use the demo backbone, unless ``model`` is given, and the demo data, unless the data are custom.

    Returns:
        The stored result with newly measured scores, headline, evaluation speed and warnings; the scores of an input
        file are under its name. ``storage.folder`` is ``ORG/NAME@commit`` for a run on the Hub.
    """
    folder = local_run(folder)
    stored = read_run(folder)
    read_adapter_config(folder / ADAPTER)  # refused first if it is damaged
    config, model = _requested(stored, folder, batch_size, model, demo)
    prepared = load_prepared(folder / ADAPTER, model)
    tokenizer = load_saved_tokenizer(folder / ADAPTER, prepared.model.config)
    if input_file is not None:
        splits = load_file(config, tokenizer, input_file, columns or InputColumns())
    else:
        config = with_data_paths(config, folder, stored.data_paths, moved)
        splits = load_rows(config, tokenizer, config.task_spec.validation if split is None else (split,))
    return _rescored(stored, evaluate(config, prepared, splits, tokenizer, folder), folder)


def ablate_run(
    folder: Path,
    *,
    split: str | None = None,
    sub_layer: SubLayer | None = None,
    batch_size: int | None = None,
    model: str | None = None,
    moved: Mapping[str, str] | None = None,
    demo: bool = False,
) -> Ablation:
    """Score a run without the adapters of every contiguous range of layers; nothing in the folder changes.

    Args:
        folder: the run folder, or ``ORG/NAME[@revision]`` on the Hub.
        split: one labelled split; None takes the one that selected the best checkpoint.
        sub_layer: take out only the adapters of this sub-layer.
        batch_size: rows of a forward pass; None takes the run's own.
        model: path or id of the backbone, if it has moved since training.
        moved: paths of data that have moved since training, by option, as in ``data.custom.train_file``.
        demo: use the demo backbone, unless ``model`` is given, and the demo data, unless the data are custom.
    """
    folder = local_run(folder)
    stored = read_run(folder)
    read_adapter_config(folder / ADAPTER)  # refused first if it is damaged
    config, model = _requested(stored, folder, batch_size, model, demo)
    config = with_data_paths(config, folder, stored.data_paths, moved)
    name = split or config.task_spec.validation[0]
    prepared = load_prepared(folder / ADAPTER, model)
    tokenizer = load_saved_tokenizer(folder / ADAPTER, prepared.model.config)
    rows = load_rows(config, tokenizer, [name])[name]
    with given_threads(config.training):
        scores = scores_by_range(config, prepared, rows, tokenizer, sub_layer)
    metrics = list(config.task_spec.metrics)
    whole = scores.pop(NO_LAYERS)
    spans = [RangeScores(first=first, last=last, scores=scores[first, last]) for first, last in scores]
    return Ablation(
        run=run_title(folder),
        task=config.task,
        split=name,
        layers=len(layers_of(prepared.model)),
        sub_layer=sub_layer,
        metric="accuracy" if "accuracy" in metrics else config.task_spec.headline,
        metrics=metrics,
        whole=whole,
        majority=majority(config.task_spec, rows["labels"]),
        spans=spans,
        config=stored.config,
        versions=versions(),
    )


def predictor(
    folder: Path,
    *,
    needs_data: bool = True,
    batch_size: int | None = None,
    model: str | None = None,
    moved: Mapping[str, str] | None = None,
    demo: bool = False,
) -> Predictor:
    """A run loaded from disk, ready to predict.

    Args:
        folder: the run folder, or ``ORG/NAME[@revision]`` on the Hub.
        needs_data: whether splits of the run's own data will be predicted, so that the data must be there.
        batch_size: as in ``evaluate_run``.
        model: as in ``evaluate_run``.
        moved: as in ``evaluate_run``.
        demo: as in ``evaluate_run``.
    """
    folder = local_run(folder)
    stored = read_run(folder)
    config, model = _requested(stored, folder, batch_size, model, demo)
    if needs_data:
        config = with_data_paths(config, folder, stored.data_paths, moved)
    prepared = load_prepared(folder / ADAPTER, model)
    return Predictor(config, load_saved_tokenizer(folder / ADAPTER, prepared.model.config), prepared)


def stored_training(folder: Path) -> TrainingConfig | None:
    """How a run computed, with device, precision and threads that this machine has; None if it has no result.

    Args:
        folder: the run folder.

    Raises:
        RunError: a file is damaged.
    """
    if not (folder / FILE).is_file():
        return None
    stored = read_run(folder)
    config = parse_stored(stored.config, folder / FILE)
    return config.with_values(_adapted_to_this_machine(config.training, stored.speed)).training


def config_with_data(folder: Path, moved: Mapping[str, str] | None = None) -> ResolvedConfig:
    """The configuration of a finished run with the paths that its data have now.

    Args:
        folder: the run folder.
        moved: paths of data that have moved since training, by option, as in ``data.custom.train_file``.

    Raises:
        UsageError: this is no run folder, or a file or folder of its data is not there.
        RunError: a file is damaged.
    """
    stored = read_run(folder)
    return with_data_paths(parse_stored(stored.config, folder / FILE), folder, stored.data_paths, moved)


def _requested(
    stored: RunRecord, folder: Path, batch_size: int | None, model: str | None, demo: bool
) -> tuple[ResolvedConfig, str | None]:
    """A run's configuration with the values that are requested now, and the backbone's path or id if requested."""
    distributed.check_launcher()
    config = parse_stored(stored.config, folder / FILE)
    config = config.with_values(_adapted_to_this_machine(config.training, stored.speed))
    if demo:
        model = model or DEMO
    if demo and config.task != CUSTOM:
        config = config.with_values({"data.source": DEMO})
    if batch_size is not None:
        config = config.with_values({"training.eval_batch_size": batch_size})
    return config, model


def _adapted_to_this_machine(training: TrainingConfig, then: Speed) -> dict[str, Any]:
    """Device, precision and threads of a run as far as this machine has them, by their paths in the configuration.

    What was chosen for ``auto`` is kept on the kind of device that it was chosen for.
    """
    device = training.device
    precision = training.precision
    try:
        here = resolve_device(device)
    except RunError:
        device = "auto"
        here = resolve_device(device)
    there = then.device if then.device in ("cpu", "mps") else "cuda"
    if precision == "auto" and here == there and then.precision in TYPES:
        precision = then.precision
    if precision == "fp16" and here != "cuda":
        precision = "auto"
    threads = training.threads
    if threads == "auto" and here == "cpu" and then.threads is not None:
        threads = min(then.threads, torch.get_num_threads())
    return {"training.device": device, "training.precision": precision, "training.threads": threads}


def load_prepared(folder: Path, model: str | None) -> PreparedModel:
    """Backbone and adapter from an adapter folder: build, inject, load; a missing or surplus tensor is an error.

    Args:
        folder: the adapter folder.
        model: path or id of the backbone, if it has moved since training.
    """
    adapter = read_adapter_config(folder)
    config = adapter_run_config(folder, adapter, model)
    adapter_files.check_size(folder, config.strategy.formula(shape_of(load_config(config.model, {}))).trained)
    prepared = build_model(config)
    check_backbone(adapter, prepared.config.id, prepared.fingerprint)
    load_weights(prepared.model, prepared.newly_initialized, folder, adapter)
    return prepared


def adapter_run_config(folder: Path, adapter: AdapterConfig, model: str | None = None) -> ResolvedConfig:
    """The configuration of the run that trained an adapter, as far as the adapter folder has it.

    Args:
        folder: the adapter folder.
        adapter: its configuration.
        model: path or id of the backbone, if it has moved since training.

    Raises:
        RunError: the adapter's configuration is damaged.
    """
    path = folder / adapter_files.CONFIG
    section = {**adapter.model, "id": model, "revision": None} if model else adapter.model
    strange = sorted(adapter.data.keys() - set(DATA))
    if strange:
        raise RunError(f"{path}: data.{strange[0]} should not be in it; the file is damaged")
    values = {"task": adapter.task, "model": section, "strategy": adapter.strategy}
    config = parse_stored({**values, "data": {"max_length": adapter.max_length, "custom": adapter.data}}, path)
    if ".." in Path(config.model.id).parts:
        raise RunError(f"{path}: model.id refers to a place outside its folder; give the backbone with --model")
    if list(config.task_spec.labels) != adapter.labels:
        raise RunError(f"{folder}: labels {adapter.labels} are not those of {config.task}; the file is damaged")
    return config


def parse_stored(values: dict[str, Any], path: Path) -> ResolvedConfig:
    """A configuration from one of a run's own files.

    Args:
        values: its content.
        path: the file, for messages.

    Raises:
        RunError: a value is wrong.
    """
    try:
        return resolved(parse_config(values))
    except FieldError as error:
        raise RunError(f"{path}: {error}; the file is damaged, or of another version") from None


def _rescored(stored: RunRecord, outcome: Outcome, folder: Path) -> Result:
    speed = outcome.speed
    speed_changes = {"device": speed.device, "eval_examples_per_second": speed.eval_examples_per_second}
    notes = [note for note in stored.warnings if not note.startswith(COLLAPSED)]
    changes: dict[str, Any] = {
        "scores": outcome.scores,
        "headline": outcome.headline,
        "speed": stored.speed.model_copy(update=speed_changes),
        "storage": stored.storage.model_copy(update={"folder": run_title(folder)}),
        "warnings": list(dict.fromkeys([*notes, *outcome.warnings])),
    }
    if isinstance(stored, Result):
        return stored.model_copy(update=changes)
    return Result(**{**dict(stored), "history": [], **changes})
