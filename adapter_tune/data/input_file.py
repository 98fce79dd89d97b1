"""A file that a finished run predicts or scores: which of its columns are read, and its labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import datasets

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.classes import ClassIds
from adapter_tune.data.custom import label_of, make_table
from adapter_tune.data.labels import label_columns
from adapter_tune.data.row_files import located_rows
from adapter_tune.data.rows import LocatedRow
from adapter_tune.foundation.errors import AdapterTuneError, UsageError, unknown_name
from adapter_tune.tasks.glue import CUSTOM, Task

_GLUE_LABEL = "label"


@dataclass(frozen=True)
class InputColumns:
    """The columns of a file, as far as the user named them."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None

    def texts(self, task: Task) -> list[str]:
        """The column of each text that the task reads; the task's own where none was named.

        Raises:
            UsageError: a second column was named and the task reads one text.
        """
        if len(task.text) == 1 and self.text_pair is not None:
            raise UsageError(f"--text-pair-column: task {task.name} reads one text, {task.text[0]}; remove the option")
        return [given or name for given, name in zip((self.text, self.text_pair), task.text, strict=False)]


def labelled_rows(config: ResolvedConfig, file: str, columns: InputColumns) -> datasets.Dataset:
    """Every row of a file with the texts that the task reads and its label as an id or a number.

    Args:
        config: the configuration of a finished run.
        file: a CSV, TSV, JSONL or Parquet file. A class is named as in predictions; GLUE's may also be an id.
        columns: the columns of the file.

    Raises:
        UsageError: the file or a column does not exist.
        RunError: a row cannot be read, has no label, or has one that is not a class of the run.
    """
    config = _with_label_column(config, columns.label)
    task = config.task_spec
    texts = columns.texts(task)
    rows = _checked(located_rows(file, texts), config, file)
    ids = _class_ids(task)
    labelled = (
        ([row[column] for column in texts], label_of(row, config, ids, f"{file}, {where}")) for where, row in rows
    )
    return make_table(task, labelled, file)


def has_labels(config: ResolvedConfig, file: str) -> bool:
    """Whether the first row of a file has a label of the run's task, in the column where the run expects it."""
    config = _with_label_column(config, None)
    try:
        where, row = next(located_rows(file, ()))
        label_of(row, config, _class_ids(config.task_spec), where)
    except (AdapterTuneError, StopIteration):
        return False
    return True


def _with_label_column(config: ResolvedConfig, label: str | None) -> ResolvedConfig:
    column = label or config.data.custom.label_column or _GLUE_LABEL
    return config.with_values({"data": config.data.with_custom(label_column=column)})


def _checked(rows: Iterator[LocatedRow], config: ResolvedConfig, file: str) -> Iterator[LocatedRow]:
    """The rows; the first one must have the label columns."""
    for number, (where, row) in enumerate(rows):
        for column in label_columns(config.data):
            if number == 0 and column not in row:
                raise UsageError(
                    f"{file}: {unknown_name('column', column, list(row))}; give the column of the labels with "
                    "--label-column, or predict the file: adapter-tune predict --input"
                )
        yield where, row


def _class_ids(task: Task) -> ClassIds:
    """Class ids by the name of a class or, for GLUE, by its id."""
    return ClassIds(task.labels, accepts_ids=task.name != CUSTOM)
