"""An example of every class of a public task, for the model card."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import DataConfig
from adapter_tune.data.rows import Row
from adapter_tune.data.splits import raw_split
from adapter_tune.demo.location import DEMO
from adapter_tune.tasks.glue import CUSTOM, Task

_GLUE = DataConfig.model_fields["source"].default
_ROWS = 200
"""So many of the first training rows are looked at."""
_CHARACTERS = 200
"""Longer texts are shortened."""


def has_public_data(config: ResolvedConfig) -> bool:
    """Whether a run's data are GLUE's own on the Hub or the demo; any other data set may be private."""
    source = config.data.source
    return config.task != CUSTOM and (source == DEMO or (source == _GLUE and not Path(source).exists()))


def label_examples(config: ResolvedConfig) -> dict[str, list[str]]:
    """The texts of a short training row of every class, by the name of the class; empty if the data are not public.

    For a regression these are the rows with the lowest and the highest score.
    """
    if not has_public_data(config):
        return {}
    task = config.task_spec
    rows = list(islice(raw_split(config, "train"), _ROWS))
    if task.is_regression:
        chosen = [min(rows, key=_score), max(rows, key=_score)]
        return {f"{_score(row):g}": _texts(row, task) for row in chosen}
    examples = {}
    for number, name in enumerate(task.labels):
        of_class = [row for row in rows if row["label"] == number]
        if of_class:
            examples[name] = _texts(min(of_class, key=lambda row: _length(row, task)), task)
    return examples


def _score(row: Row) -> float:
    return float(row["label"])


def _length(row: Row, task: Task) -> int:
    return sum(len(row[column]) for column in task.text)


def _texts(row: Row, task: Task) -> list[str]:
    return [_shortened(row[column]) for column in task.text]


def _shortened(text: Any) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 3]}..."
