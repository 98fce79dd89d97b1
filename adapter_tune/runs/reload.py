"""A run loaded from its folder: scored again, ablated, ready to predict. Nothing in the folder changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_tune.adapters.families import SubLayer
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.input_file import InputColumns
from adapter_tune.data.splits import load_file, load_rows
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import distributed
from adapter_tune.foundation.hub_calls import run_title
from adapter_tune.modeling.backbone import load_saved_tokenizer
from adapter_tune.run_files.ablation_result import Ablation, RangeScores
from adapter_tune.run_files.adapter_files import ADAPTER, read_adapter_config
from adapter_tune.run_files.data_paths import LANGUAGE, with_data_paths
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.run_files.result import COLLAPSED, FILE, Result, RunRecord, read_run, versions
from adapter_tune.runs.ablate import NO_LAYERS, majority, scores_by_range
from adapter_tune.runs.loading import OTHER_LANGUAGE, load_prepared
from adapter_tune.runs.predict import Predictor
from adapter_tune.runs.run_config import adapted_to_this_machine, parse_stored
from adapter_tune.tasks.glue import CUSTOM
from adapter_tune.training.loop import Outcome, evaluate, given_threads


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
        moved: paths that have moved since training, by option: of data, as in ``data.custom.train_file``, or
            ``model.language_adapter``, which may also be another language adapter than in training.
        demo: use the demo backbone, unless ``model`` is given, and the demo data, unless the data are custom.

    Returns:
        The stored result with newly measured scores, headline, evaluation speed and warnings; the scores of an input
        file are under its name. ``storage.folder`` is ``ORG/NAME@commit`` for a run on the Hub.
    """
    folder = local_run(folder)
    stored = read_run(folder)
    read_adapter_config(folder / ADAPTER)  # refused first if it is damaged
    config, model = _requested(stored, folder, batch_size, model, demo)
    prepared = load_prepared(folder / ADAPTER, model, (moved or {}).get(LANGUAGE))
    tokenizer = load_saved_tokenizer(folder / ADAPTER, prepared.model.config)
    if input_file is not None:
        splits = load_file(config, tokenizer, input_file, columns or InputColumns())
    else:
        config = with_data_paths(config, folder, stored.data_paths, moved)
        splits = load_rows(config, tokenizer, config.task_spec.validation if split is None else (split,))
    other = [note for note in prepared.notes if note.startswith(OTHER_LANGUAGE)]
    return _rescored(stored, evaluate(config, prepared, splits, tokenizer, folder), folder, other)


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
        moved: paths that have moved since training, by option: of data, as in ``data.custom.train_file``, or
            ``model.language_adapter``, which may also be another language adapter than in training.
        demo: use the demo backbone, unless ``model`` is given, and the demo data, unless the data are custom.
    """
    folder = local_run(folder)
    stored = read_run(folder)
    read_adapter_config(folder / ADAPTER)  # refused first if it is damaged
    config, model = _requested(stored, folder, batch_size, model, demo)
    config = with_data_paths(config, folder, stored.data_paths, moved)
    name = split or config.task_spec.validation[0]
    prepared = load_prepared(folder / ADAPTER, model, (moved or {}).get(LANGUAGE))
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
    prepared = load_prepared(folder / ADAPTER, model, (moved or {}).get(LANGUAGE))
    return Predictor(config, load_saved_tokenizer(folder / ADAPTER, prepared.model.config), prepared)


def _requested(
    stored: RunRecord, folder: Path, batch_size: int | None, model: str | None, demo: bool
) -> tuple[ResolvedConfig, str | None]:
    """A run's configuration with the values that are requested now, and the backbone's path or id if requested."""
    distributed.check_launcher()
    config = parse_stored(stored.config, folder / FILE)
    config = config.with_values(adapted_to_this_machine(config.training, stored.speed))
    if demo:
        model = model or DEMO
    if demo and config.task != CUSTOM:
        config = config.with_values({"data.source": DEMO})
    if batch_size is not None:
        config = config.with_values({"training.eval_batch_size": batch_size})
    return config, model


def _rescored(stored: RunRecord, outcome: Outcome, folder: Path, new_notes: list[str]) -> Result:
    speed = outcome.speed
    speed_changes = {"device": speed.device, "eval_examples_per_second": speed.eval_examples_per_second}
    notes = [note for note in stored.warnings if not note.startswith(COLLAPSED)]
    changes: dict[str, Any] = {
        "scores": outcome.scores,
        "headline": outcome.headline,
        "speed": stored.speed.model_copy(update=speed_changes),
        "storage": stored.storage.model_copy(update={"folder": run_title(folder)}),
        "warnings": list(dict.fromkeys([*notes, *new_notes, *outcome.warnings])),
    }
    if isinstance(stored, Result):
        return stored.model_copy(update=changes)
    return Result(**{**dict(stored), "history": [], **changes})
