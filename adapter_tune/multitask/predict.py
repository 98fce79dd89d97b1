"""Predictions of several runs on the same rows; the layers that their tasks share are computed once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapter_tune.config.schema import TrainingConfig
from adapter_tune.data.row_files import read_rows, row_count, write_rows
from adapter_tune.data.rows import Row
from adapter_tune.data.samplers import evaluation_batches
from adapter_tune.data.splits import log_cut
from adapter_tune.foundation import distributed
from adapter_tune.foundation.console import progress_bar
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.precision import resolve_compute
from adapter_tune.multitask.model import LoadedTask, MultiTask
from adapter_tune.multitask.open_runs import open_runs, run_folder, task_names
from adapter_tune.multitask.texts import TaskTexts
from adapter_tune.runs.predict import WINDOW, check_free, names_of_columns, prediction_columns
from adapter_tune.runs.run_config import stored_training
from adapter_tune.tasks.predictions import Answer, prediction_of
from adapter_tune.training.loop import given_threads

log = logging.getLogger("adapter_tune")

Logits = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Group:
    """Tasks that tokenise texts alike, and so read the same batches."""

    tasks: dict[str, LoadedTask]
    """By name."""

    @property
    def any_task(self) -> LoadedTask:
        """One of the tasks."""
        return next(iter(self.tasks.values()))


@dataclass(frozen=True)
class MultiTaskPredictor:
    """Several tasks on one backbone that score the same texts.

    A batch has so many rows that the rows of all its tasks together are those of a batch of a single run, so it takes
    as much memory. Batches of other shapes may change the last bits of a score.
    """

    model: MultiTask
    training: TrainingConfig
    """The evaluation batch size and the number of threads."""

    @cached_property
    def texts(self) -> TaskTexts:
        """Tokenises texts for the tasks."""
        return TaskTexts(self.model)

    @cached_property
    def groups(self) -> list[Group]:
        """The tasks, in groups that tokenise texts alike."""
        groups: dict[tuple[str, int], Group] = {}
        for name, task in self.model.tasks.items():
            groups.setdefault(self.texts.key(task), Group({})).tasks[name] = task
        return list(groups.values())

    @cached_property
    def added(self) -> frozenset[str]:
        """The columns that a row gets.

        Raises:
            UsageError: two of them have the same name.
        """
        uses: Counter[str] = Counter()
        for name, task in self.model.tasks.items():
            uses.update(names_of_columns(task.spec, f"{name}_"))
        for column, count in uses.items():
            if count > 1:
                raise UsageError(f"two tasks predict a column '{column}'; rename the folder of one run")
        return frozenset(uses)

    def rows(self, rows: Iterator[Row], columns: Sequence[str], where: str) -> Iterator[Row]:
        """The rows with the predictions of every task, in their order, a window at a time.

        At the end, the number of rows that were truncated is logged for each group of tasks.

        Args:
            rows: with the text columns.
            columns: one or two, in the tasks' order.
            where: the name of the input, for messages.
        """
        tasks = self.model.tasks
        count = 0
        cut = [0] * len(self.groups)
        while window := list(islice(rows, WINDOW)):
            for row in window:
                check_free(row, self.added)
            count += len(window)
            logits: dict[str, Logits] = {}
            for index, group in enumerate(self.groups):
                by_task, are_cut = self._logits(group, [[row[column] for row in window] for column in columns])
                logits |= by_task
                cut[index] += sum(are_cut)
            for number, row in enumerate(window):
                predicted: Row = {}
                for name, task in tasks.items():
                    predicted |= prediction_columns(task.spec, logits[name][number], f"{name}_")
                yield {**row, **predicted}
        for group, number_cut in zip(self.groups, cut, strict=True):
            log_cut(f"{where} ({', '.join(group.tasks)})", number_cut, count, group.any_task.max_length)

    def answers(self, texts: Sequence[str]) -> dict[str, Answer]:
        """The answer of every task to one text, or to a pair, by the name of the task.

        Args:
            texts: one or two, in the tasks' order.
        """
        answers = {}
        for group in self.groups:
            logits, (is_cut,) = self._logits(group, [[text] for text in texts])
            for name, task in group.tasks.items():
                truncated_at = task.max_length if is_cut else None
                answers[name] = Answer(prediction_of(task.spec, logits[name][0]), truncated_at)
        return {name: answers[name] for name in self.model.tasks}

    def _logits(self, group: Group, texts: Sequence[list[str]]) -> tuple[dict[str, Logits], list[bool]]:
        """The logits (rows, labels) of each task of a group for one or two columns of texts; which rows were cut."""
        task = group.any_task
        encoded, are_cut = self.texts.encode(task, texts)
        lengths = [len(row["input_ids"]) for row in encoded]
        batch_size = max(1, self.training.eval_batch_size // len(group.tasks))
        order: list[int] = []
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in group.tasks}
        with given_threads(self.training):
            for row_numbers in evaluation_batches(lengths, batch_size):
                batch = self.texts.pad([encoded[number] for number in row_numbers], task)
                for name, logits in self.model.all_tasks(**batch, names=list(group.tasks)).items():
                    parts[name].append(logits)  # fetched together: each copy would wait for the device
                order += row_numbers
        position = np.argsort(order)
        return {name: torch.cat(logits).cpu().numpy()[position] for name, logits in parts.items()}, are_cut


def open_predictor(
    folders: Sequence[Path], *, model: str | None = None, batch_size: int | None = None
) -> MultiTaskPredictor:
    """Several runs loaded onto one backbone, ready to predict the same rows.

    Args:
        folders: the adapter folders, at least one.
        model: path or id of the backbone, if it has moved since training.
        batch_size: rows of a forward pass, counted once for each task; None takes the runs' own.

    Raises:
        UsageError: a run cannot share a backbone with others.
        RunError: the backbone cannot be loaded or is not that of every run, or a file is damaged.
    """
    distributed.check_launcher()
    training = _shared_training(task_names(folders), batch_size)
    tasks = open_runs(folders, model=model, device=training.device, precision=training.precision)
    return MultiTaskPredictor(tasks, training)


def predict_file(predictor: MultiTaskPredictor, source: str, target: Path, columns: Sequence[str]) -> int:
    """Read rows from a file, write them with the predictions of every task to another; memory stays flat.

    Args:
        predictor: the tasks.
        source: as in ``runs.predict.predict_file``.
        target: as in ``runs.predict.predict_file``.
        columns: of the texts, as ``text_columns`` returns them.

    Returns:
        The number of rows.

    Raises:
        UsageError: a file or column that is not there, or an ending that is not known.
        RunError: a row that cannot be read, or a disk that is full.
    """
    rows = progress_bar(read_rows(source, columns), "predicting", row_count(source))
    where = "standard input" if source == "-" else source
    return write_rows(target, predictor.rows(rows, columns, where), source)


def predict_text(predictor: MultiTaskPredictor, texts: Row) -> Row:
    """One row of texts, as ``text_row`` returns it, with the predictions of every task."""
    (row,) = predictor.rows(iter([texts]), list(texts), "the text")
    return row


def _shared_training(names: Mapping[str, Path], batch_size: int | None) -> TrainingConfig:
    """How to compute several runs together: as they were computed, or in float32 if they differ.

    A run without a result has no say. The batch size is the smallest of theirs, so that no run takes more memory.
    """
    stored: dict[str, TrainingConfig] = {}
    for name, folder in names.items():
        training = stored_training(run_folder(folder))
        if training is not None:
            stored[name] = training
    values: dict[str, Any] = {}
    if stored:
        values["device"], values["precision"] = _shared_compute(stored)
        numbers = [training.threads for training in stored.values() if training.threads != "auto"]
        values["threads"] = max(numbers, default="auto")
        values["eval_batch_size"] = min(training.eval_batch_size for training in stored.values())
    if batch_size is not None:
        values["eval_batch_size"] = batch_size
    return TrainingConfig().model_copy(update=values)


def _shared_compute(stored: Mapping[str, TrainingConfig]) -> tuple[str, str]:
    """Device and precision for several runs; if they differ, this is logged."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, training in stored.items():
        compute = resolve_compute(training)
        users.setdefault((compute.device, compute.precision), []).append(name)
    if len(users) == 1:
        return next(iter(users))
    device = _only({device for device, _ in users}, "auto")
    precision = _only({precision for _, precision in users}, "float32")
    described = "; ".join(f"{where}, {what}: {', '.join(tasks)}" for (where, what), tasks in users.items())
    log.info("the runs were computed differently (%s); now all are in %s on device %s", described, precision, device)
    return device, precision


def _only(values: Iterable[str], otherwise: str) -> str:
    """The value, if there is just one."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else otherwise
