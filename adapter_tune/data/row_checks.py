"""Check the rows of a split against the table of tasks: columns, texts, label order and label values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from adapter_tune.data.custom import label_name
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.tasks.glue import CUSTOM, Task
from adapter_tune.tasks.metrics import glue_scores, undefined_reason

_FEW = 5  # as many class names as a message lists


def check_split(task: Task, split: str) -> None:
    """Refuse a split that cannot be scored.

    Raises:
        UsageError: the task has no such split, or it has no labels to score with.
    """
    if split in task.test and task.name != CUSTOM:
        raise UsageError(
            f"the labels of {task.name}'s {split} split are not public; evaluate on {task.validation[0]}, or on a file "
            "of your own: eval --input FILE"
        )
    names = ["train", *task.validation, *(task.test if task.name == CUSTOM else ())]
    if split not in names:
        raise UsageError(f"task {task.name} has no split '{split}'; choose from {', '.join(names)}")


def check_rows(rows: Any, task: Task, where: str) -> None:
    """Check that columns, label order and label values are those of the table of tasks."""
    for column in (*task.text, label_name(task)):
        _check_column_exists(rows, column, where)
    if not len(rows):
        raise RunError(f"{where}: no rows; download the data set again")
    names = getattr(rows.features[label_name(task)], "names", None)
    if names is not None and tuple(names) != task.labels:
        raise RunError(f"{where}: labels are in the order {names}, not {list(task.labels)}; scores would be wrong")
    check_texts(rows, task, where)
    empty = rows.data.column(label_name(task)).null_count
    if empty:
        raise RunError(f"{where}: column 'label' is empty in {empty} rows; fix or remove them")
    _check_labels(rows, task, where)


def check_texts(rows: Any, task: Task, where: str) -> None:
    """Check that the task's text columns exist and hold text in every row."""
    for column in task.text:
        _check_column_exists(rows, column, where)
        column_type = rows.data.schema.field(column).type
        if not pa.types.is_string(column_type) and not pa.types.is_large_string(column_type):
            raise RunError(f"{where}: column '{column}' contains {column_type}, not text")
        empty = rows.data.column(column).null_count
        if empty:
            raise RunError(f"{where}: column '{column}' is empty in {empty} rows; fix or remove them")


def _check_column_exists(rows: Any, column: str, where: str) -> None:
    if column not in rows.column_names:
        raise RunError(f"{where}: no column '{column}'; it has {', '.join(rows.column_names)}")


def _check_labels(rows: Any, task: Task, where: str) -> None:
    if task.is_multi_label:  # data.custom has checked them
        return
    if task.is_regression:
        low, high = task.bounds
        kind = "numbers"
    else:
        low = 0
        high = task.num_labels - 1
        kind = "class ids"
    labels = rows.data.column(label_name(task)).to_numpy()
    if not np.issubdtype(labels.dtype, np.number if task.is_regression else np.integer):
        raise RunError(f"{where}: labels are {labels.dtype}, not {kind}")
    wrong = ~((labels >= low) & (labels <= high))
    if wrong.any():
        row = int(wrong.argmax())
        raise RunError(f"{where}: row {row} has label {labels[row]}; labels are {low:g} to {high:g}")


def check_has_score(rows: Any, task: Task, where: str) -> None:
    """Check that the headline metric is defined for these rows, because it decides which epoch is best.

    For example, r2 of a single number is undefined.
    """
    labels = rows[label_name(task)][:]
    reason = undefined_reason(task.headline, labels, labels, quiet=True, task=task)
    if reason is not None:
        problem = f"{task.headline} cannot be computed from {len(rows)} row{'s' * (len(rows) != 1)} ({reason})"
        raise RunError(f"{where}: {problem}; add rows")


def score_warnings(labels: Sequence[Any], task: Task, where: str) -> list[str]:
    """What the scores on a split do not measure: classes without a row, and a headline metric that is always 0.

    Args:
        labels: the label of each row: class ids, or lists of 0 and 1 by class.
        task: the classes and the headline metric.
        where: the split or its source, for messages.
    """
    if task.is_regression:
        is_constant = len(set(labels)) == 1
        return [f"{where}: every label is {labels[0]:g}, so no score means anything; add other rows"] * is_constant
    warnings = []
    absent = absent_classes(labels, task)
    if absent:
        counted = "; f1_macro counts such a class as 0" if task.is_multi_label else ""
        warnings.append(f"{where}: no row of {absent}, so its score is not measured{counted}")
    values = np.asarray(labels)
    if not task.headline.startswith("neg_") and glue_scores(task, values, values)[task.headline] == 0:
        warnings.append(f"{where}: {task.headline} is 0 whatever is predicted, so no epoch is better; add rows")
    return warnings


def absent_classes(labels: Sequence[Any], task: Task) -> str:
    """The classes that no row has, for messages: at most a few of their names; empty if every class has a row."""
    values = np.asarray(labels)
    counts = values.sum(axis=0) if task.is_multi_label else np.bincount(values, minlength=task.num_labels)
    absent = [name for name, count in zip(task.labels, counts, strict=True) if not count]
    names = ", ".join(f"'{name}'" for name in absent[:_FEW])
    return f"class {names}{', ...' if len(absent) > _FEW else ''}" if absent else ""
