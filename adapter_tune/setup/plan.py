"""A configuration for the user's data: what is known, what a person answers, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import RunConfig, parse_config
from adapter_tune.data.custom import resolve_config
from adapter_tune.data.custom_rows import check_sources, describe_source, has_split, split_rows
from adapter_tune.data.inspection import Inspection, inspect, row_lengths
from adapter_tune.data.rows import LocatedRow
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.console import quiet_libraries
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.precision import is_bf16_native, resolve_device, resolve_precision
from adapter_tune.setup import choices
from adapter_tune.setup.backbones import OpenBackbone, free_memory, open_backbone, suggested_backbone
from adapter_tune.setup.choices import Choice
from adapter_tune.setup.columns import Guess
from adapter_tune.setup.questions import Interview, chosen_subset, column_choices
from adapter_tune.setup.source import Options, source_options
from adapter_tune.tasks.glue import CUSTOM, TASKS

_DEMO_FACTOR = 10.0  # as in configs/demo.yaml


@dataclass(frozen=True)
class Request:
    """What the user gave on the command line; None for what was not given."""

    data: str | None = None
    subset: str | None = None
    model: str | None = None
    demo: bool = False
    """Whether a task of GLUE has the embedded demo data."""
    files: Mapping[str, str | None] = field(default_factory=dict)
    """Path of the validation and the test file, by option."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """The columns and the problem, by option."""


@dataclass(frozen=True)
class Plan:
    """What is written into the configuration, and what the person should know."""

    about: str
    """What the data are, in one line."""
    choices: list[Choice]
    """The values of the configuration, in its order."""
    notes: list[str]
    """What is wrong with the data."""
    splits: list[str]
    """The names of the splits; the training split first."""


def make_plan(request: Request, interview: Interview) -> Plan:
    """Look at the data and decide.

    Raises:
        UsageError: the data do not exist, or a column cannot be guessed.
        RunError: the data or the backbone cannot be read.
    """
    chosen, rows = _about_data(request, interview)
    guess, backbone = _backbone(request, _texts(chosen, rows), interview)
    chosen += [Choice("model.id", guess.value, guess.reason), *choices.strategy()]
    with quiet_libraries():
        config = resolve_config(configuration(chosen))
        lengths = row_lengths(config, backbone.tokenizer)
        length = choices.max_length(lengths["train"], backbone.positions)
        config = config.with_values({"data": config.data.model_copy(update={"max_length": length.value})})
        inspection = inspect(config, backbone.tokenizer, lengths)
    chosen += [length, *_training(config, backbone, inspection, length.value)]
    return Plan(
        about=_about(config, inspection),
        choices=chosen,
        notes=_notes(config, inspection),
        splits=[split.split for split in inspection.splits],
    )


def configuration(chosen: Sequence[Choice]) -> RunConfig:
    """The configuration that choices give."""
    return parse_config(choices.nested({choice.path: choice.value for choice in chosen}))


def _about_data(request: Request, interview: Interview) -> tuple[list[Choice], list[LocatedRow]]:
    """The choices about the data, and the training rows of the user's own data."""
    options = chosen_subset(_source(request, interview), request.subset, interview)
    given = {name: value for name, value in request.columns.items() if value is not None}
    is_own = options["task"] == CUSTOM
    task = "your own data" if is_own else f"a task of GLUE: {TASKS[options['task']].title}"
    chosen = [Choice(path, value, task if path == "task" else "") for path, value in options.items()]
    if not is_own:
        if request.demo:
            chosen.append(Choice("data.source", DEMO, "the embedded demo data"))
        if given:
            raise UsageError(f"--{next(iter(given)).replace('_', '-')} is only for your own data; remove it")
        return chosen, []
    data = configuration(chosen).data
    check_sources(data)
    rows = list(split_rows(data, "train"))
    if not rows:
        raise RunError(f"{describe_source(data, 'train')}: no rows; add training rows")
    chosen += column_choices(data, rows, given, interview)
    if not has_split(data, "validation"):
        problem = chosen[-1].value
        chosen.append(choices.holdout(len(rows), has_classes=problem == "classification"))
    return chosen, rows


def _source(request: Request, interview: Interview) -> Options:
    if request.data is not None:
        return source_options(request.data, request.files)
    if not interview.asks:
        raise UsageError("give the data: a file, a folder, ORG/NAME on the Hub or a GLUE task, as in init reviews.csv")
    question = "Data (a CSV, TSV, JSONL or Parquet file, a folder, ORG/NAME on the Hub, or a GLUE task)"
    return interview.answer(question, None, lambda text: source_options(text, request.files))


def _texts(chosen: Sequence[Choice], rows: Sequence[LocatedRow]) -> list[str]:
    column = next((choice.value for choice in chosen if choice.path == "data.custom.text_column"), None)
    return [] if column is None else [str(row.get(column)) for _, row in rows[:200]]


def _backbone(request: Request, texts: Sequence[str], interview: Interview) -> tuple[Guess, OpenBackbone]:
    if request.model is not None:
        option = "--demo" if request.demo and request.model == DEMO else "--model"
        return Guess(request.model, f"given with {option}"), open_backbone(request.model)
    guess = suggested_backbone(texts, resolve_device("auto"))
    if not interview.asks:
        return guess, open_backbone(guess.value)
    print(f"\n{guess.value}: {guess.reason}")

    def use(text: str) -> tuple[Guess, OpenBackbone]:
        return guess if text == guess.value else Guess(text, "your answer"), open_backbone(text)

    return interview.answer("Backbone (a model on the Hugging Face Hub, or a folder)", guess.value, use)


def _training(config: ResolvedConfig, backbone: OpenBackbone, inspection: Inspection, max_length: int) -> list[Choice]:
    """The choices about the training."""
    rows = inspection.splits[0].rows
    device = resolve_device("auto")
    chosen = choices.schedule(rows)
    if backbone.id == DEMO:
        reason = "the demo backbone is tiny and needs a higher rate than BERT-base"
        chosen.append(Choice("training.learning_rate_factor", _DEMO_FACTOR, reason))
    else:
        chosen.append(choices.learning_rate(backbone.shape.d, config.strategy.learning_rate))
    chosen += choices.batch_size(rows, max_length, backbone.shape, backbone.heads, free_memory(device))
    if not config.task_spec.is_regression:
        chosen += choices.class_weights(_counts(inspection), is_multi_label=config.task_spec.is_multi_label)
    if config.task != CUSTOM:  # its headline metric is GLUE's
        chosen = [choice for choice in chosen if choice.path != "data.custom.metric"]
    return [*chosen, choices.precision(device, resolve_precision("auto", device), is_bf16_native(device))]


def _counts(inspection: Inspection) -> dict[str, int]:
    train = inspection.splits[0]
    return {name: round(share * train.rows) for name, share in train.labels.items()}


def _notes(config: ResolvedConfig, inspection: Inspection) -> list[str]:
    splits = [split.model_dump() for split in inspection.splits]
    is_held_out = config.task == CUSTOM and not has_split(config.data, "validation")
    can_be_edited = config.data.custom.train_file is not None or Path(config.data.source).is_dir()
    notes = choices.data_notes(splits, can_be_edited=can_be_edited, is_held_out=is_held_out)
    return notes if config.task_spec.is_regression else [*notes, *choices.rare_classes(_counts(inspection))]


def _about(config: ResolvedConfig, inspection: Inspection) -> str:
    """What the data are, in one line."""
    source = describe_source(config.data, "train")
    if config.task != CUSTOM:
        source = f"GLUE's {config.task} ({TASKS[config.task].title})"
    splits = ", ".join(f"{split.rows:,} {split.split}" for split in inspection.splits)
    train = inspection.splits[0]
    if config.task_spec.is_regression:
        labels = f"numbers from {train.labels['lowest']:g} to {train.labels['highest']:g}"
    else:
        shown = [f"{name} {100 * share:.1f} %" for name, share in list(train.labels.items())[:10]]
        labels = f"{len(train.labels)} classes: {', '.join(shown)}{', ...' * (len(train.labels) > 10)}"
    return f"{source}: {splits} rows; {labels}"
