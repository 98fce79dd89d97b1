"""Options chosen from the data, the backbone and the machine, each with its reason. Plain arithmetic, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_tune.adapters.formula import Shape
from adapter_tune.config.schema import RunConfig, TrainingConfig

_PERCENTILE = 95
_LENGTH_STEP = 8  # tokens; tensor cores want a multiple of 8
IMBALANCE = 10
"""From this ratio of the largest to the smallest class on, classes are weighted."""
_FEW_ROWS = 1000
_SMALL_BATCH = 16
"""Batch size for few rows."""
_FEW_STEPS = 250
"""Steps for few rows: MiniLM on 500 rows of sst2 or mrpc got no better after that, at a learning rate of 1e-3."""
_FEW_SCORED = 50
"""Fewer validation rows than this say little."""
_FEW_OF_A_CLASS = 8
_SMALL_BACKBONE = 512
"""A hidden size below which the default learning rate, which is BERT-base's, is too low."""
_SMALL_FACTOR = 3.3
"""On the strategy's default rate: docs/results/minilm has 1e-3 for adapters (default 3e-4), 1e-4 for all (3e-5)."""
_BYTES = 4
_DEFAULTS = TrainingConfig()


@dataclass(frozen=True)
class Choice:
    """The value of an option, and why."""

    path: str
    value: Any
    reason: str


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted path as nested sections."""
    sections: dict[str, Any] = {}
    for path, value in values.items():
        *names, key = path.split(".")
        section = sections
        for name in names:
            section = section.setdefault(name, {})
        section[key] = value
    return sections


def max_length(lengths: NDArray[np.int64], positions: int | None) -> Choice:
    """The maximum number of tokens in a row: the 95th percentile, rounded up, as far as the backbone has positions.

    Args:
        lengths: of the training rows in tokens, (rows,).
        positions: tokens that the backbone has positions for; None without a limit.
    """
    usual, longest = (int(np.percentile(lengths, percent, method="higher")) for percent in (_PERCENTILE, 100))
    value = math.ceil(usual / _LENGTH_STEP) * _LENGTH_STEP
    reason = f"{_PERCENTILE} % of the training rows have at most {usual} tokens (the longest has {longest})"
    if positions is not None and value > positions:
        value = positions
        reason += f", but the backbone takes at most {positions}"
    truncated = float((lengths > value).mean())
    end = f"{100 * truncated:.1f} % of the rows are truncated" if truncated else "no row is truncated"
    return Choice("data.max_length", value, f"{reason}; {end}")


def holdout(rows: int, *, has_classes: bool) -> Choice:
    """The share of the rows that is held out for validation: more of few rows, so that a score says something.

    Args:
        rows: of the training split.
        has_classes: whether the score may be an accuracy, whose standard error is known.
    """
    share = 0.2 if rows < _FEW_ROWS else 0.1
    count = max(1, round(share * rows))
    reason = f"there are no validation rows, so {count:,} of the {rows:,} rows are held out"
    if has_classes:
        reason += f"; an accuracy near 0.8 on so many has a standard error of {math.sqrt(0.8 * 0.2 / count):.2f}"
    return Choice("data.custom.holdout", share, reason)


def class_weights(counts: Mapping[str, int], *, is_multi_label: bool) -> list[Choice]:
    """Weights of the classes in the loss if they are imbalanced, and then a metric that does not ignore rare classes.

    Args:
        counts: training rows by class or label.
        is_multi_label: whether a row may have several labels.
    """
    smallest, largest = (choose(counts, key=counts.__getitem__) for choose in (min, max))
    sizes = f"'{largest}' has {counts[largest]:,} training rows, '{smallest}' has {counts[smallest]:,}"
    if counts[largest] < IMBALANCE * max(1, counts[smallest]):
        reason = f"{sizes}: less than {IMBALANCE} times as many"
        return [Choice("training.class_weights", "none", reason)]
    reason = f"{sizes}: {IMBALANCE} times as many or more, so rare classes weigh more in the loss"
    choices = [Choice("training.class_weights", "balanced", reason)]
    if not is_multi_label:
        metric = f"the mean of the classes' F1; always answering '{largest}' would have a high accuracy"
        choices.append(Choice("data.custom.metric", "f1_macro", metric))
    return choices


def strategy() -> list[Choice]:
    """The default strategy and its size."""
    default = RunConfig.model_fields["strategy"].default
    return [
        Choice("strategy.name", default.name, "two adapters in each layer; others: adapter-tune list strategies"),
        Choice("strategy.m", default.m, "bottleneck size of the adapters; the paper tries 8, 64 and 256"),
    ]


def schedule(rows: int) -> list[Choice]:
    """The number of epochs, and early stopping where there are many.

    Args:
        rows: of training.
    """
    if rows < _FEW_ROWS:
        steps = math.ceil(rows / _SMALL_BATCH)
        epochs = min(max(math.ceil(_FEW_STEPS / steps), 10), 50)
        reason = (
            f"{rows:,} training rows: few, so each is read more often, in {epochs * steps:,} steps of the optimiser"
        )
        return [Choice("training.epochs", epochs, reason)]
    if rows <= 10_000:
        reason = f"{rows:,} training rows: the paper's longer schedule, as for GLUE's tasks of this size"
        stop = "no better score for 5 epochs ends the run earlier; the best epoch counts in any case"
        return [Choice("training.epochs", 20, reason), Choice("training.early_stopping", 5, stop)]
    if rows < 60_000:
        return [Choice("training.epochs", 5, f"{rows:,} training rows: between the paper's 20 (few rows) and 3 (many)")]
    return [Choice("training.epochs", 3, f"{rows:,} training rows: the paper's shorter schedule")]


def learning_rate(hidden_size: int, default: float) -> Choice:
    """The factor on the strategy's learning rate for the size of the backbone; the strategy may be changed.

    Args:
        hidden_size: of the backbone.
        default: the strategy's default, chosen for BERT-base.
    """
    if hidden_size >= _SMALL_BACKBONE:
        reason = (
            f"the strategy's default, {default:g}, was chosen for backbones of this size (hidden size {hidden_size})"
        )
        return Choice("training.learning_rate_factor", 1.0, reason)
    reason = (
        f"a small backbone (hidden size {hidden_size}) needs a higher rate than the strategy's default: "
        f"{_SMALL_FACTOR * default:g} in place of {default:g}, as for MiniLM on GLUE's tasks"
    )
    return Choice("training.learning_rate_factor", _SMALL_FACTOR, reason)


def batch_size(rows: int, length: int, shape: Shape, heads: int, memory: int) -> list[Choice]:
    """The batch size, halved until a step fits into half of the memory; accumulated gradients keep its effect.

    Args:
        rows: of training.
        length: maximum number of tokens in a row.
        shape: the sizes of the backbone.
        heads: attention heads of a layer.
        memory: bytes that are available on the device.
    """
    wanted = _SMALL_BATCH if rows < _FEW_ROWS else _DEFAULTS.batch_size
    reason = f"few rows, so smaller batches: {math.ceil(rows / wanted)} steps an epoch" if rows < _FEW_ROWS else ""
    reason = reason or "as in the paper"
    needed = wanted * activation_bytes(length, shape, heads)
    size = wanted
    while size > 1 and size * needed / wanted > memory / 2:
        size //= 2
    memory_text = f"{_gib(memory)} GiB are available on this machine"
    if size == wanted:
        return [Choice("training.batch_size", size, f"{reason}; about {_gib(needed)} GiB a step, {memory_text}")]
    reason = f"{wanted} rows of {length} tokens would take about {_gib(needed)} GiB, and {memory_text}"
    accumulated = f"so that each step of the optimiser reads {wanted} rows"
    return [
        Choice("training.batch_size", size, reason),
        Choice("training.gradient_accumulation", wanted // size, accumulated),
    ]


def activation_bytes(length: int, shape: Shape, heads: int) -> float:
    """An upper estimate of a row's activations in float32 (Korthikanti et al. 2022, whose formula is for two bytes)."""
    per_layer = 34 * length * shape.d + 5 * heads * length * length
    return _BYTES / 2 * shape.layers * per_layer


def precision(device: str, chosen: str, is_native: bool) -> Choice:
    """The number type: left to each machine, with what this one chooses.

    Args:
        device: of this machine.
        chosen: what ``auto`` gives here.
        is_native: whether the device multiplies bf16 without a detour.
    """
    native = "bf16 is faster here" if chosen == "bf16" else "bf16 is slower here"
    why = native if is_native else "it does not multiply bf16 itself"
    return Choice("training.precision", "auto", f"{chosen} on this machine ({device}: {why})")


def data_notes(splits: Sequence[Mapping[str, Any]], *, can_be_edited: bool, is_held_out: bool) -> list[str]:
    """What is wrong with the rows, as sentences: repeated and empty texts, rows in two splits, few rows.

    Args:
        splits: the facts about each split, as ``data.inspection.SplitInspection`` dumps them; training first.
        can_be_edited: whether the data are the user's own files, so that it helps to say what to do.
        is_held_out: whether the validation rows are a part of the training file.
    """
    notes = []
    for split in splits:
        leak_fix = "remove repeated rows from the file" if is_held_out else "remove them from one of the files"
        few = split["rows"] if split["split"].startswith("validation") and split["rows"] < _FEW_SCORED else 0
        other = f", {split['contradicted']:,} of them with another label" if split["contradicted"] else ""
        for count, one, many, rest, fix in (
            (split["empty"], "has", "have", " an empty text", "fix or remove such rows"),
            (split["repeated"], "repeats", "repeat", f" an earlier row{other}", "keep one of each"),
            (split["in_train"], "is", "are", " also in train, so the score is too high", leak_fix),
            (few, "is", "are", " few, so the score says little", "add rows"),
        ):
            if count:
                text = f"{split['split']}: {count:,} row{'s' * (count != 1)} {one if count == 1 else many}{rest}"
                notes.append(f"{text}; {fix}" if can_be_edited else text)
    return notes


def rare_classes(counts: Mapping[str, int]) -> list[str]:
    """A sentence about classes with too few training rows to be learnt; none if there are none."""
    rare = [f"'{name}' ({count})" for name, count in counts.items() if count < _FEW_OF_A_CLASS]
    return [f"train: hardly any rows of {', '.join(rare[:5])}{', ...' * (len(rare) > 5)}; add some"] if rare else []


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f}"
