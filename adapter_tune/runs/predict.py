"""Predictions of a trained run: on a split of its task, on a file of any size, on a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.custom import label_name
from adapter_tune.data.input_file import InputColumns
from adapter_tune.data.row_files import read_rows, row_count, write_rows
from adapter_tune.data.rows import Row
from adapter_tune.data.samplers import evaluation_batches
from adapter_tune.data.splits import collator, encode_texts, log_cut, raw_split
from adapter_tune.foundation.console import progress_bar
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.fast_paths import prepare_to_compute
from adapter_tune.modeling.precision import ComputeSettings, resolve_compute
from adapter_tune.tasks.glue import CUSTOM, Task
from adapter_tune.tasks.predictions import Answer, prediction_of
from adapter_tune.training.loop import given_threads

WINDOW = 8192  # rows that are sorted by length together, and all that is held in memory of a file
PREDICTION = "prediction"


@dataclass(frozen=True)
class TextPredictor(ABC):
    """Scores texts with the batches that evaluation has; a subclass computes the logits of a batch."""

    config: ResolvedConfig
    tokenizer: PreTrainedTokenizerBase

    @property
    @abstractmethod
    def device(self) -> str:
        """The device that computes."""

    @abstractmethod
    def batch_logits(self, batches: Iterator[dict[str, Tensor]]) -> np.ndarray[Any, Any]:
        """Logits (rows, labels) in float32 of all batches, one after the other.

        Args:
            batches: padded rows; each value is (rows, tokens).
        """

    @property
    def task(self) -> Task:
        """The task of the run."""
        return self.config.task_spec

    def logits(self, encoded: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
        """Logits (rows, labels) in float32, in the order of the rows; computed with the longest rows first."""
        lengths = [len(row["input_ids"]) for row in encoded]
        collate = collator(self.config.data, self.tokenizer, self.device)
        batches = list(evaluation_batches(lengths, self.config.training.eval_batch_size))
        computed = self.batch_logits(dict(collate([encoded[row] for row in rows])) for rows in batches)
        logits = np.empty_like(computed)
        logits[[row for rows in batches for row in rows]] = computed
        return logits

    def rows(self, rows: Iterator[Row], columns: Sequence[str], where: str) -> Iterator[Row]:
        """The rows with their predictions, in their order, a window at a time; at the end, how many were cut is logged.

        Args:
            rows: with the text columns.
            columns: one or two, in the task's order.
            where: the name of the input, for messages.
        """
        max_length = self.config.data.max_length
        count = 0
        cut = 0
        while window := list(islice(rows, WINDOW)):
            for row in window:
                check_free(row, self.added)
            texts = [[row[column] for row in window] for column in columns]
            encoded, are_cut = encode_texts(texts, self.tokenizer, max_length)
            count += len(window)
            cut += sum(are_cut)
            for row, scores in zip(window, self.logits(encoded), strict=True):
                yield {**row, **prediction_columns(self.task, scores)}
        log_cut(where, cut, count, max_length)

    def answers(self, texts: Sequence[str]) -> dict[str, Answer]:
        """The answer to one text, or to a pair, by the name of the task.

        Args:
            texts: one or two, in the task's order.
        """
        max_length = self.config.data.max_length
        encoded, are_cut = encode_texts([[text] for text in texts], self.tokenizer, max_length)
        prediction = prediction_of(self.task, self.logits(encoded)[0])
        return {self.task.name: Answer(prediction, max_length if are_cut[0] else None)}

    @cached_property
    def added(self) -> frozenset[str]:
        """The columns that a row gets."""
        return frozenset(names_of_columns(self.task))


@dataclass(frozen=True)
class Predictor(TextPredictor):
    """A trained model that scores texts."""

    prepared: PreparedModel

    def __post_init__(self) -> None:
        prepare_to_compute(self.prepared, self.config.training)
        self.prepared.model.to(self.compute.device).eval()

    @cached_property
    def compute(self) -> ComputeSettings:
        """Device and number type that the model computes in."""
        return resolve_compute(self.config.training)

    @property
    def device(self) -> str:
        """The device that computes."""
        return self.compute.device

    def batch_logits(self, batches: Iterator[dict[str, Tensor]]) -> np.ndarray[Any, Any]:
        """Logits (rows, labels) in float32 of all batches, one after the other."""
        parts = []
        with torch.inference_mode(), self.compute.autocast(), given_threads(self.config.training):
            for batch in batches:
                outputs = self.prepared.model(**{key: value.to(self.device) for key, value in batch.items()})
                parts.append(outputs.logits.float())  # fetched together: each copy would wait for the device
        return torch.cat(parts).cpu().numpy()


def names_of_columns(task: Task, prefix: str = "") -> list[str]:
    """The names of the columns that ``prediction_columns`` returns."""
    return [f"{prefix}{PREDICTION}", *(f"{prefix}score_{label}" for label in task.labels)]


def check_free(columns: Iterable[str], added: Container[str]) -> None:
    """Refuse rows with a column that a prediction would take.

    Args:
        columns: of the rows.
        added: the columns that predictions take.

    Raises:
        UsageError: there is one.
    """
    for column in columns:
        if column in added:
            raise UsageError(f"the input has a column '{column}' already; rename it")


def prediction_columns(task: Task, logits: np.ndarray[Any, Any], prefix: str = "") -> Row:
    """The columns that a row gets: what is predicted, and a probability by label unless it is a number.

    Args:
        task: the task that is predicted.
        logits: of one row (labels).
        prefix: of the columns' names.
    """
    prediction = prediction_of(task, logits)
    values = [prediction.answer, *prediction.probabilities.values()]
    return dict(zip(names_of_columns(task, prefix), values, strict=True))


def predict_split(predictor: TextPredictor, split: str) -> Iterator[Row]:
    """Every row of a split of the run's task, with its prediction; the whole split is sorted by length, as in eval.

    Rows of the user's own come with the columns that the task reads: the texts, and the label by its name.

    Raises:
        UsageError: the task has no such split, or a column that a prediction would take.
        RunError: the data set cannot be loaded.
    """
    task = predictor.task
    rows = raw_split(predictor.config, split)
    check_free(rows.column_names, predictor.added)
    texts = [list(rows[column]) for column in task.text]
    max_length = predictor.config.data.max_length
    encoded, are_cut = encode_texts(texts, predictor.tokenizer, max_length)
    log_cut(split, sum(are_cut), len(rows), max_length)
    for row, scores in zip(rows, predictor.logits(encoded), strict=True):
        if task.name == CUSTOM:
            row[label_name(task)] = _by_name(row[label_name(task)], task)
        yield {**row, **prediction_columns(task, scores)}


def _by_name(label: Any, task: Task) -> Any:
    """A label as a prediction would say it; None where a row has none."""
    if task.is_regression or label is None:
        return label
    if task.is_multi_label:
        return [name for name, held in zip(task.labels, label, strict=True) if held]
    return task.labels[label]


def predict_file(predictor: TextPredictor, source: str, target: Path, columns: InputColumns | None = None) -> int:
    """Read rows from a file, write them with their predictions to another, in the same order; memory stays flat.

    Args:
        predictor: the trained model.
        source: CSV, TSV, JSONL or Parquet by its ending; ``-`` is standard input, a text or two with a tab a line.
        target: the same formats.
        columns: which columns hold the texts, if not those of the task.

    Returns:
        The number of rows.

    Raises:
        UsageError: a file or column that is not there, or an ending that is not known.
        RunError: a row that cannot be read, or a disk that is full.
    """
    texts = (columns or InputColumns()).texts(predictor.task)
    names = list(predictor.task.text) if source == "-" else texts
    rows = progress_bar(read_rows(source, names), "predicting", row_count(source))
    where = "standard input" if source == "-" else source
    return write_rows(target, predictor.rows(rows, names, where), source)


def predict_text(predictor: TextPredictor, *texts: str) -> Row:
    """The prediction for one text, or for a pair.

    Raises:
        UsageError: the task reads another number of texts.
    """
    names = predictor.task.text
    if len(texts) != len(names):
        needed = "--text and --text-pair" if len(names) == 2 else "--text alone"
        raise UsageError(f"task {predictor.task.name} reads {' and '.join(names)}; give {needed}")
    (row,) = predictor.rows(iter([dict(zip(names, texts, strict=True))]), names, "the text")
    return row
