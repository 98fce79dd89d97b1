"""The user's own data as a task: what the configuration leaves open is guessed, and the rows become splits.

``resolve_config`` writes its guesses (columns, problem, class names) into the configuration, so that a stored run
says what it was trained on. ``load_tables`` reads the rows as a resolved configuration says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import datasets

from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import DataConfig, RunConfig
from adapter_tune.data.classes import (
    ClassIds,
    check_class_names,
    check_classes_repeat,
    class_names,
    positive_class,
)
from adapter_tune.data.columns import resolve_columns
from adapter_tune.data.custom_rows import (
    check_digest,
    check_sources,
    content_digest,
    describe_source,
    has_split,
    split_rows,
)
from adapter_tune.data.holdout import hold_out
from adapter_tune.data.labels import class_of, guess_problem, has_label, label_columns, multi_label_of, number_of
from adapter_tune.data.rows import LocatedRow, Row
from adapter_tune.foundation.errors import RunError, UsageError, unknown_name
from adapter_tune.tasks.glue import CUSTOM, ONE_CLASS_METRICS, Task
from adapter_tune.tasks.metrics import check_metric

log = logging.getLogger("adapter_tune")

_SHOWN = 10  # names of classes in a message
DEFAULT_METRICS = {"classification": "accuracy", "multi_label": "f1_micro", "regression": "r2"}
"""The headline metric of each kind of problem, if the configuration names none."""


def resolve_config(config: RunConfig, cache: dict[str, DataConfig] | None = None) -> ResolvedConfig:
    """The configuration with nothing left open; for the user's own data, the data are read.

    Args:
        config: the configuration of a run.
        cache: data sections that were resolved for other runs, by their JSON, so that the data are not read again;
            this run's section is added.

    Raises:
        UsageError: no data was named, or a column does not exist or cannot be guessed.
        RunError: a row cannot be used; the message has the file, the line and the column.
    """
    if config.task != CUSTOM:
        return resolved(config)
    cache = {} if cache is None else cache
    key = config.data.model_dump_json()
    if key not in cache:
        data = _resolve(config.data)
        cache[key] = data
        cache[data.model_dump_json()] = data
    return resolved(config.with_values({"data": cache[key]}))


def _resolve(data: DataConfig) -> DataConfig:
    check_sources(data)
    check_digest(data)
    source = describe_source(data, "train")
    rows = list(split_rows(data, "train"))
    if not rows:
        raise RunError(f"{source}: no rows; add training rows")
    data = resolve_columns(data, [row for _, row in rows], source)
    return _resolve_labels(rows, data, source)


def _resolve_labels(rows: list[LocatedRow], data: DataConfig, source: str) -> DataConfig:
    """The data section with problem, class names, metric, positive class and digest."""
    if data.custom.labels is not None:
        check_class_names(data.custom.labels)
    problem = guess_problem(rows, data, source) if data.custom.problem == "auto" else data.custom.problem
    is_guessed = data.custom.problem == "auto" and data.custom.labels is None
    data = data.with_custom(problem=problem)
    labels = None
    if problem != "regression":
        labels = data.custom.labels or class_names(rows, data, source)
    if is_guessed and problem == "classification":
        check_classes_repeat(labels or (), len(rows), data, source)
    metric = data.custom.metric or DEFAULT_METRICS[problem]
    check_metric(metric, problem, len(labels or ()))
    if labels is None:
        log.info("%s: regression of column '%s'", source, data.custom.label_column)
    else:
        shown = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
        log.info("%s: %d classes: %s", source, len(labels), shown)
    data = data.with_custom(metric=metric)
    positive = _positive(rows, data, labels or [], source)
    return data.with_custom(labels=labels, positive=positive, digest=content_digest(data))


def _positive(rows: list[LocatedRow], data: DataConfig, labels: list[str], source: str) -> str | None:
    """The class that the metric scores, if it scores a single one or the user named one.

    Raises:
        UsageError: the user named a class, but there are not two classes.
    """
    is_needed = data.custom.metric in ONE_CLASS_METRICS and data.custom.problem == "classification" and len(labels) == 2
    if data.custom.positive is None and not is_needed:
        return None
    if data.custom.problem != "classification":
        raise UsageError(f"data.custom.positive: is one of two classes, and this is {data.custom.problem}; remove it")
    return positive_class(rows, data, labels, source)


def load_tables(config: ResolvedConfig, *, scores_test: bool = False) -> dict[str, datasets.Dataset]:
    """The splits of the user's own data: train, validation and, if there is one, test.

    Every table has the text columns and the label. Without validation rows, a part of the training rows is held out,
    stratified by class.

    Args:
        config: a configuration from ``resolve_config``.
        scores_test: every test row must have a label; otherwise those without a usable label have None.

    Raises:
        RunError: a row cannot be used, or the data changed since they were resolved.
    """
    data = config.data
    check_digest(data)
    tables = {"train": _table(config, "train")}
    if has_split(data, "validation"):
        tables["validation"] = _table(config, "validation")
    else:
        rows = tables["train"]
        parts = hold_out(list(rows[label_name(config.task_spec)]), data.custom.holdout, config.task_spec)
        tables["train"], tables["validation"] = map(rows.select, parts)
    if has_split(data, "test"):
        tables["test"] = _table(config, "test", is_scored=scores_test)
    return tables


def label_name(task: Task) -> str:
    """The column of the class ids or numbers: ``label``, or another name if a text column is called so."""
    return next(name for name in ("label", "target", "truth") if name not in task.text)


def _table(config: ResolvedConfig, split: str, *, is_scored: bool = True) -> datasets.Dataset:
    """One split; without ``is_scored``, a row without a usable label has None for it."""
    task = config.task_spec
    source = describe_source(config.data, split)
    class_ids = ClassIds(task.labels)
    rows = []
    for location, row in split_rows(config.data, split, task.text):
        where = f"{source}, {location}"
        if is_scored and split == "test":
            _check_has_label(row, config, where)
        label = None
        if is_scored:
            label = label_of(row, config, class_ids, where)
        elif has_label(row, config.data):
            label = _test_label(row, config, class_ids, where)
        rows.append(([row[column] for column in task.text], label))
    return make_table(task, rows, source)


def make_table(task: Task, rows: Iterable[tuple[Sequence[str], Any]], source: str) -> datasets.Dataset:
    """Rows as a table with the columns that the task reads.

    Args:
        task: the task.
        rows: the texts of each row, and its label as an id or a number.
        source: the name of the file or data set, for messages.

    Raises:
        RunError: there are no rows.
    """
    label_column = label_name(task)
    columns: dict[str, list[Any]] = {column: [] for column in (*task.text, label_column)}
    for texts, label in rows:
        columns[label_column].append(label)
        for column, text in zip(task.text, texts, strict=True):
            columns[column].append(text)
    if not columns[label_column]:
        raise RunError(f"{source}: no rows; add rows, or remove the file")
    text_features = {column: datasets.Value("string") for column in task.text}
    features = datasets.Features({**text_features, label_column: _label_feature(task)})
    return datasets.Dataset.from_dict(columns, features)


def _check_has_label(row: Row, config: ResolvedConfig, where: str) -> None:
    if all(row.get(column) is None for column in label_columns(config.data)):
        raise RunError(
            f"{where}: no label in column '{config.data.custom.label_column}', so the test split cannot be scored; add "
            "the labels, or predict it: predict --split test"
        )


def _label_feature(task: Task) -> Any:
    if task.is_multi_label:
        return datasets.List(datasets.Value("float32"))
    return datasets.Value("float32" if task.is_regression else "int64")


def label_of(row: Row, config: ResolvedConfig, class_ids: ClassIds, where: str) -> Any:
    """A row's label: a number, a class id, or a list of 0 and 1 by class id.

    Raises:
        RunError: the label is missing, cannot be used, or is not a class of the training rows.
    """
    if config.task_spec.is_regression:
        return number_of(row, config.data, where, config.task_spec.bounds)
    names = _label_names(row, config, where)
    ids = [class_ids.find(name) for name in names]
    if None in ids:
        unknown = unknown_name("label", names[ids.index(None)], class_ids.names)
        raise RunError(f"{where}: {unknown} (the classes of the training rows)")
    return _encode(ids, config.task_spec)


def _test_label(row: Row, config: ResolvedConfig, class_ids: ClassIds, where: str) -> Any:
    """The label of a test row, or None if it is not a number (regression) or not a class of the training rows."""
    if config.task_spec.is_regression:
        with suppress(RunError):
            return number_of(row, config.data, where, config.task_spec.bounds)
        return None
    ids = [class_ids.find(name) for name in _label_names(row, config, where)]
    return None if None in ids else _encode(ids, config.task_spec)


def _label_names(row: Row, config: ResolvedConfig, where: str) -> list[str]:
    if config.task_spec.is_multi_label:
        return multi_label_of(row, config.data, where)
    return [class_of(row, config.data, where)]


def _encode(ids: list[int | None], task: Task) -> Any:
    if task.is_multi_label:
        return [float(number in ids) for number in range(task.num_labels)]
    return ids[0]
