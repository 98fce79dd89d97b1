"""Facts about the data before training: sizes, labels, lengths, repeated rows, and rows as the model reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedTokenizerBase

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.custom import label_name
from adapter_tune.data.rows import LABEL_SEPARATOR
from adapter_tune.data.splits import encode_texts, raw_splits
from adapter_tune.tasks.glue import CUSTOM, Task

SAMPLES = 3
PERCENTILES = (50, 90, 95, 99, 100)
_NO_LIMIT = 10**6


class SplitInspection(BaseModel):
    """The facts about one split."""

    model_config = ConfigDict(frozen=True)

    split: str
    rows: int
    labels: dict[str, float]
    """Share of every class, or lowest, mean and highest label of a regression; empty if the labels are hidden."""
    tokens: dict[str, int]
    """Percentiles of the rows' lengths in tokens, with special tokens."""
    cut_share: float
    """Share of the rows that are longer than ``data.max_length`` and are cut."""
    empty: int
    """Number of rows with an empty text."""
    repeated: int
    """Number of rows whose texts appear in an earlier row of the split."""
    contradicted: int
    """Number of rows whose texts appear in an earlier row of the split with another label."""
    in_train: int
    """Number of rows whose texts appear in the training split; 0 for the training split."""


class Inspection(BaseModel):
    """The facts about all splits, and a few training rows as the model reads them."""

    model_config = ConfigDict(frozen=True)

    task: str
    columns: tuple[str, ...]
    is_regression: bool
    splits: list[SplitInspection]
    samples: list[tuple[str, str]]
    """Pairs of decoded tokens and a label."""


def row_lengths(config: ResolvedConfig, tokenizer: PreTrainedTokenizerBase) -> dict[str, NDArray[np.int64]]:
    """The length of every row in tokens, with special tokens and not truncated, by split."""
    task = config.task_spec
    lengths = {}
    for name, rows in raw_splits(config).items():
        encoded, _ = encode_texts([list(rows[column]) for column in task.text], tokenizer, _NO_LIMIT)
        lengths[name] = np.array([len(row["input_ids"]) for row in encoded])
    return lengths


def inspect(
    config: ResolvedConfig,
    tokenizer: PreTrainedTokenizerBase,
    lengths: Mapping[str, NDArray[np.int64]] | None = None,
) -> Inspection:
    """The facts about every split of a task.

    Args:
        config: a resolved configuration.
        tokenizer: the tokenizer of its backbone.
        lengths: of every row in tokens, as ``row_lengths`` returns them, if they are known already.

    Raises:
        UsageError: an option is wrong.
        RunError: the data cannot be loaded.
    """
    task = config.task_spec
    lengths = row_lengths(config, tokenizer) if lengths is None else lengths
    splits = raw_splits(config)
    texts = {name: [list(rows[column]) for column in task.text] for name, rows in splits.items()}
    labels = {name: _labels(task, name, rows) for name, rows in splits.items()}
    train_rows = set(zip(*texts["train"], strict=True))
    inspections = []
    for name in splits:
        other_rows = set() if name == "train" else train_rows
        inspections.append(_inspect_split(name, texts[name], labels[name], lengths[name], config, other_rows))
    first_texts = [column[:SAMPLES] for column in texts["train"]]
    encoded, _ = encode_texts(first_texts, tokenizer, config.data.max_length)
    sample_texts = [tokenizer.decode(row["input_ids"]) for row in encoded]
    sample_labels = [_label(task, label) for label in labels["train"][:SAMPLES]]
    return Inspection(
        task=task.name,
        columns=task.text,
        is_regression=task.is_regression,
        splits=inspections,
        samples=list(zip(sample_texts, sample_labels, strict=True)),
    )


def _inspect_split(
    name: str,
    texts: list[list[str]],
    labels: Sequence[Any],
    lengths: NDArray[np.int64],
    config: ResolvedConfig,
    train_rows: set[tuple[str, ...]],
) -> SplitInspection:
    rows = list(zip(*texts, strict=True))
    repeated, contradicted = _count_repeated(rows, labels)
    return SplitInspection(
        split=name,
        rows=len(rows),
        labels=_shares(config.task_spec, labels),
        tokens={_percentile(p): int(np.percentile(lengths, p, method="higher")) for p in PERCENTILES},
        cut_share=float((lengths > config.data.max_length).mean()),
        empty=sum(any(not text.strip() for text in row) for row in rows),
        repeated=repeated,
        contradicted=contradicted,
        in_train=sum(row in train_rows for row in rows),
    )


def _count_repeated(rows: list[tuple[str, ...]], labels: Sequence[Any]) -> tuple[int, int]:
    """How many rows repeat an earlier row, and how many of these have another label than its first occurrence."""
    first_labels: dict[tuple[str, ...], Any] = {}
    repeated = 0
    contradicted = 0
    for row, label in zip(rows, labels or [None] * len(rows), strict=True):
        if row not in first_labels:
            first_labels[row] = label
            continue
        repeated += 1
        first_label = first_labels[row]
        if label is not None and first_label is not None and label != first_label:
            contradicted += 1
    return repeated, contradicted


def _percentile(p: int) -> str:
    return "longest" if p == 100 else f"{p} %"


def _labels(task: Task, split: str, rows: Any) -> list[Any]:
    """The label of every row, or None for a row without one; an empty list if the labels are hidden (GLUE's tests)."""
    is_hidden = split in task.test and task.name != CUSTOM
    column = label_name(task)
    if is_hidden or column not in rows.column_names:
        return []
    return list(rows[column])


def _shares(task: Task, labels: Sequence[Any]) -> dict[str, float]:
    known = [label for label in labels if label is not None]
    if not known:
        return {}
    if task.is_regression:
        return {"lowest": min(known), "mean": float(np.mean(known)), "highest": max(known)}
    if task.is_multi_label:
        return {name: float(np.mean([row[number] for row in known])) for number, name in enumerate(task.labels)}
    counts = Counter(int(label) for label in known)
    return {name: counts[number] / len(known) for number, name in enumerate(task.labels)}


def _label(task: Task, label: Any) -> str:
    if task.is_multi_label:
        return LABEL_SEPARATOR.join(name for name, holds in zip(task.labels, label, strict=True) if holds)
    return f"{label:g}" if task.is_regression else task.labels[int(label)]
