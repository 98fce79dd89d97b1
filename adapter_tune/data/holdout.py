"""Validation rows held out of the training rows, with the same share of each class or label."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_tune.foundation.errors import RunError
from adapter_tune.tasks.glue import Task

log = logging.getLogger("adapter_tune")

_SEED = 0  # of the held-out rows; not the run's seed, so that runs with several seeds differ in training only

_Indices = list[int]


def hold_out(labels: list[Any], share: float, task: Task) -> tuple[_Indices, _Indices]:
    """The rows to train on and the held-out rows, as sorted row numbers.

    Args:
        labels: the label of each row: a class id, a number, or a list of 0 and 1 by class.
        share: the share of the rows to hold out.
        task: the classes.

    Raises:
        RunError: there are too few rows.
    """
    class_ids = labels if not task.is_regression and not task.is_multi_label else []
    can_stratify = not class_ids or min(Counter(class_ids).values()) > 1
    least = 2 if task.is_regression else task.num_labels  # r2 needs two numbers
    count = max(round(share * len(labels)), least if can_stratify else 1)
    if len(labels) - count < task.num_labels:
        raise RunError(_too_few(len(labels), task))
    if not can_stratify:
        log.info("a class has only one row, so the held-out rows are not stratified by class")
    if task.is_multi_label:
        held_out_rows = rows_by_label(np.asarray(labels, dtype=np.int64), count)
        train_rows = sorted(set(range(len(labels))) - set(held_out_rows))
    else:
        train_rows, held_out_rows = _rows_by_class(len(labels), class_ids if can_stratify else [], count)
    log.info("no validation rows were given: %d of %d training rows are held out (seed %d)", count, len(labels), _SEED)
    return train_rows, held_out_rows


def _too_few(rows: int, task: Task) -> str:
    classes = "" if task.is_regression else f" of {task.num_labels} classes"
    fix = "give validation rows with --validation-file"
    if 2 * task.num_labels > rows:
        fix += ", or give the label's column with --label-column"
    return f"{rows} rows are too few to hold out validation rows{classes}; {fix}"


def _rows_by_class(rows: int, class_ids: list[Any], count: int) -> tuple[_Indices, _Indices]:
    from sklearn.model_selection import train_test_split

    train_rows, held_out_rows = train_test_split(
        range(rows), test_size=count, random_state=_SEED, stratify=class_ids or None
    )
    return sorted(train_rows), sorted(held_out_rows)


def rows_by_label(labels: NDArray[Any], count: int) -> _Indices:
    """The rows to hold out where a row may have several labels: iterative stratification (Sechidis et al. 2011).

    The rarest label comes first; each of its rows goes to the part that still needs most rows of this label. A label
    with two or more rows gets a row in both parts if there is room.

    Args:
        labels: 0 or 1 by row and label.
        count: the number of rows to hold out.
    """
    totals = labels.sum(axis=0)
    held_out_need = np.where(totals > 1, np.maximum(totals * count / len(labels), 1.0), 0.0)
    needs = np.stack([totals - held_out_need, held_out_need])
    room = np.array([len(labels) - count, count])
    part_of = np.full(len(labels), -1)
    order = np.random.default_rng(_SEED).permutation(len(labels))
    remaining = totals.copy()
    while remaining.any():
        rarest = int(np.where(remaining > 0, remaining, remaining.max() + 1).argmin())
        for row in order[(labels[order, rarest] == 1) & (part_of[order] < 0)]:
            part = max((0, 1), key=lambda part: (room[part] > 0, needs[part, rarest], room[part]))
            part_of[row] = part
            needs[part] -= labels[row]
            room[part] -= 1
            remaining -= labels[row]
    without_label = order[part_of[order] < 0]
    part_of[without_label[: room[1]]] = 1
    return [int(row) for row in np.flatnonzero(part_of == 1)]
