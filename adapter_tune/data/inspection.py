"""A look at the data before anything is trained: sizes, labels, lengths, repeated rows, rows as the model sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedTokenizerBase

from adapter_tune.config.schema import RunConfig
from adapter_tune.data.custom import label_name
from adapter_tune.data.row_files import SEVERAL
from adapter_tune.data.splits import encode_texts, raw_splits
from adapter_tune.tasks.glue import CUSTOM, Task

SAMPLES = 3
PERCENTILES = (50, 90, 99, 100)
_NO_LIMIT = 10**6


class SplitInspection(BaseModel):
    """What there is to know about a split."""

    model_config = ConfigDict(frozen=True)

    split: str
    rows: int
    labels: dict[str, float]
    """Share of every class; lowest, mean and highest of a regression; nothing where labels are hidden."""
    tokens: dict[str, int]
    """Percentiles of the rows' lengths in tokens, markers included."""
    cut_share: float
    """Rows longer than ``data.max_length``, which are cut."""
    empty: int
    """Rows with an empty text."""
    repeated: int
    """Rows whose texts stand in the split before."""
    contradicted: int
    """Rows whose texts stand in the split before with another label."""
    in_train: int
    """Rows whose texts stand in the training split; 0 for that one."""


class Inspection(BaseModel):
    """All splits, and a few training rows as the model sees them."""

    model_config = ConfigDict(frozen=True)

    task: str
    columns: tuple[str, ...]
    is_regression: bool
    splits: list[SplitInspection]
    samples: list[tuple[str, str]]
    """Decoded tokens, and the label."""


def inspect(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Inspection:
    """Look at every split of a settled configuration's task.

    Raises:
        UsageError: or RunError, as of loading the data.
    """
    task, splits = config.task_spec, raw_splits(config)
    texts = {name: [list(rows[column]) for column in task.text] for name, rows in splits.items()}
    labels = {name: _labels(task, name, rows) for name, rows in splits.items()}
    trained = set(zip(*texts["train"], strict=True))
    looks = [
        _inspect_split(name, texts[name], labels[name], config, tokenizer, set() if name == "train" else trained)
        for name in splits
    ]
    first = encode_texts([column[:SAMPLES] for column in texts["train"]], tokenizer, config.data.max_length)
    shown = [tokenizer.decode(row["input_ids"]) for row in first]
    named = [_label(task, label) for label in labels["train"][:SAMPLES]]
    return Inspection(
        task=task.name,
        columns=task.text,
        is_regression=task.is_regression,
        splits=looks,
        samples=list(zip(shown, named, strict=True)),
    )


def _inspect_split(
    name: str,
    texts: list[list[str]],
    labels: Sequence[Any],
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    trained: set[tuple[str, ...]],
) -> SplitInspection:
    rows = list(zip(*texts, strict=True))
    lengths = np.array([len(row["input_ids"]) for row in encode_texts(texts, tokenizer, _NO_LIMIT)])
    seen: dict[tuple[str, ...], Any] = {}
    repeated = contradicted = 0
    for row, label in zip(rows, labels or [0.0] * len(rows), strict=True):
        repeated += row in seen
        contradicted += None not in (known := seen.get(row), label) and known != label
        seen.setdefault(row, label)
    return SplitInspection(
        split=name,
        rows=len(rows),
        labels=_shares(config.task_spec, labels),
        tokens={_percentile(p): int(np.percentile(lengths, p, method="higher")) for p in PERCENTILES},
        cut_share=float((lengths > config.data.max_length).mean()),
        empty=sum(any(not text.strip() for text in row) for row in rows),
        repeated=repeated,
        contradicted=contradicted,
        in_train=sum(row in trained for row in rows),
    )


def _percentile(p: int) -> str:
    return "longest" if p == 100 else f"{p} %"


def _labels(task: Task, split: str, rows: Any) -> list[Any]:
    """Every row's label, None where it has none; nothing where they are hidden, as in GLUE's test sets."""
    hidden = split in task.test and task.name != CUSTOM
    column = label_name(task)
    return [] if hidden or column not in rows.column_names else list(rows[column])


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
        return SEVERAL.join(name for name, holds in zip(task.labels, label, strict=True) if holds)
    return f"{label:g}" if task.is_regression else task.labels[int(label)]
