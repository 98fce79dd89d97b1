"""An adapter of another library as a run: it is loaded onto its backbone once, and saved as training would save it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_tune.adapters.families import family_of, shape_of
from adapter_tune.adapters.model_parts import pooler_parameters
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import DataConfig, ModelConfig, parse_config
from adapter_tune.data.custom import DEFAULT_METRICS
from adapter_tune.exchange.exporting import check_new
from adapter_tune.exchange.formats import Foreign, Head
from adapter_tune.exchange.registry import format_in
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.modeling.backbone import load_config, load_tokenizer
from adapter_tune.modeling.build import PreparedModel, build_model
from adapter_tune.modeling.language import resolved_section
from adapter_tune.run_files.result import ImportedRun, Speed, Storage, versions
from adapter_tune.runs.save import save_config, save_run, used_backbone
from adapter_tune.tasks.glue import CUSTOM, Task, get_task


@dataclass(frozen=True)
class TaskChoice:
    """What an imported adapter is for, as far as its folder does not say it."""

    task: str | None = None
    """A task of GLUE, or custom; None for that of an exported run, or for the user's own data."""
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    """Columns of the user's own data; None for ``text``, no second text, and ``label``."""
    max_length: int | None = None
    """Maximum number of tokens in a row; None for the folder's or the default."""


def import_adapter(
    folder: Path, output: Path, *, model: str | None = None, language_adapter: str | None = None, choice: TaskChoice
) -> ImportedRun:
    """Turn an adapter of another library into a run folder, which can be scored, predict, be ablated, or join others.

    Args:
        folder: the adapter.
        output: the run folder to write, which must be new or empty.
        model: path or id of the backbone; by default the id in the folder.
        language_adapter: folder of the language adapter that it was trained on.
        choice: what the adapter is for.

    Returns:
        The record of the run.

    Raises:
        UsageError: the folder has no adapter of a known format, the output exists, or the task does not fit.
        RunError: something in the adapter has no counterpart here, or a file or the backbone cannot be read.
    """
    check_new(output)
    format_, reader = format_in(folder)
    reader.check(folder)
    section = ModelConfig(id=model or _hub_id(reader.backbone(folder), folder), language_adapter=language_adapter)
    backbone = load_config(section, {})
    family_of(backbone)
    foreign = reader.read(folder, backbone)
    origin = f"{format_.title}, folder {folder.resolve().name}"
    notes = [f"imported from {origin}", *foreign.notes]
    config = _configuration(resolved_section(section), foreign, choice, backbone, notes)
    tokenizer = load_tokenizer(config.model)
    prepared = build_model(config)
    notes += prepared.notes
    _check_backbone(foreign, prepared, folder, notes)
    foreign.fill(prepared.model)
    record = ImportedRun(
        task=config.task,
        strategy=config.strategy.name,
        model=used_backbone(config.model.id, prepared),
        seed=config.training.seed,
        config=config.model_dump(),
        parameters=count_parameters(prepared.model, config.strategy.formula(shape_of(backbone))),
        speed=_no_training(),
        storage=Storage(folder=str(output), adapter_bytes=0),
        warnings=notes,
        versions=versions(),
        config_hash=config.hash(),
        imported_from=origin,
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
        save_config(output, config)
        return save_run(record, config, prepared, tokenizer)
    except BaseException as error:
        shutil.rmtree(output, ignore_errors=True)  # it was new or empty
        if isinstance(error, OSError):
            raise RunError(f"cannot write to {output}: {error}; free some space or choose another --output") from error
        raise


def _hub_id(model_id: str | None, folder: Path) -> str:
    """The id of the backbone in a folder from elsewhere, which must not name a path on this machine."""
    if not model_id or Path(model_id).exists() or Path(model_id).is_absolute() or ".." in Path(model_id).parts:
        named = f"names its backbone {model_id}, a path" if model_id else "does not name its backbone"
        raise UsageError(f"{folder}: {named}; give the backbone with --model")
    return model_id


def _configuration(
    section: ModelConfig, foreign: Foreign, choice: TaskChoice, backbone: Any, notes: list[str]
) -> ResolvedConfig:
    own = foreign.own
    task = choice.task or (CUSTOM if own is None else own.task)
    length = _max_length(choice.max_length or (None if own is None else own.max_length), backbone, notes)
    data: dict[str, Any] = {"max_length": length}
    if task == CUSTOM:
        data["custom"] = _custom(foreign.head, choice, notes)
    else:
        _check_no_columns(task, choice)
        _check_task(get_task(task), foreign.head, notes)
    values = {
        "task": task,
        "model": {**section.model_dump(), "pooler": foreign.pooler},
        "strategy": foreign.strategy,
        "data": data,
        "training": {"precision": "float32"},  # as in the other library
    }
    try:
        return resolved(parse_config(values))
    except FieldError as error:
        raise RunError(f"the adapter cannot be a run here: {error}") from None


def _custom(head: Head, choice: TaskChoice, notes: list[str]) -> dict[str, Any]:
    """The section of a task on the user's own data."""
    labels = head.labels
    if labels is None and head.problem != "regression":
        labels = tuple(f"LABEL_{number}" for number in range(head.num_labels))
        notes.append("the head does not name its classes; they are called LABEL_0, LABEL_1, ...")
    return {
        "text_column": choice.text_column or "text",
        "text_pair_column": choice.text_pair_column,
        "label_column": choice.label_column or "label",
        "problem": head.problem,
        "labels": None if head.problem == "regression" else list(labels or ()),
        "metric": DEFAULT_METRICS[head.problem],
    }


def _check_no_columns(task: str, choice: TaskChoice) -> None:
    """Refuse columns for a task of GLUE, which has its own.

    Raises:
        UsageError: one is given.
    """
    for name in ("text_column", "text_pair_column", "label_column"):
        if getattr(choice, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} is only for your own data, and the adapter is for task {task}; remove it, or give --task "
                "custom"
            )


def _check_task(task: Task, head: Head, notes: list[str]) -> None:
    """Refuse a task of GLUE with other classes than the head's.

    Raises:
        UsageError: the number of outputs, the kind of problem, or the names or the order of the classes differ.
    """
    problem = "regression" if task.is_regression else "classification"
    if (problem, task.num_labels) != (head.problem, head.num_labels):
        raise UsageError(
            f"--task {task.name}: {problem} with {task.num_labels} outputs, but the head is for {head.problem} with "
            f"{head.num_labels}; choose another task, or remove the option"
        )
    if head.labels is None and not task.is_regression:
        notes.append(f"the head does not name its classes; they are taken as {task.name}'s: {', '.join(task.labels)}")
    elif head.labels is not None and task.labels and head.labels != task.labels:
        raise UsageError(
            f"--task {task.name}: its classes are {', '.join(task.labels)}, but the head's are "
            f"{', '.join(head.labels)}; remove the option, and the head's own names are used"
        )


def _max_length(length: int | None, backbone: Any, notes: list[str]) -> int:
    if length is not None:
        return length
    default = int(DataConfig.model_fields["max_length"].default)
    positions = getattr(backbone, "max_position_embeddings", default) - family_of(backbone).lost_positions
    shorter = min(default, positions)
    notes.append(
        f"rows are truncated at {shorter} tokens, as the folder has no maximum length; --max-length changes it"
    )
    return int(shorter)


def _check_backbone(foreign: Foreign, prepared: PreparedModel, folder: Path, notes: list[str]) -> None:
    """Refuse another backbone, if the folder says which one it is, and a head that reads a pooler without weights."""
    model_id = prepared.config.id
    if foreign.own is None:
        notes.append(f"the folder does not say which weights its backbone has; {model_id} is taken on trust")
    elif foreign.own.fingerprint != prepared.fingerprint:
        raise RunError(
            f"{folder}: was trained on a backbone with fingerprint {foreign.own.fingerprint[:16]}, but {model_id} has "
            f"{prepared.fingerprint[:16]}; give its own backbone with --model"
        )
    if foreign.pooler != "frozen":
        return
    pooler = {id(p) for p in pooler_parameters(prepared.model)}
    names = {name for name, p in prepared.model.named_parameters() if id(p) in pooler}
    if names & prepared.newly_initialized:
        raise RunError(
            f"{folder}: its head reads the pooler, and {model_id} has none; give its own backbone with --model"
        )


def _no_training() -> Speed:
    return Speed(
        device="cpu",
        precision="float32",
        real_token_share=None,
        train_seconds=None,
        train_examples_per_second=None,
        train_tokens_per_second=None,
        eval_examples_per_second=None,
        peak_memory_bytes=None,
    )
