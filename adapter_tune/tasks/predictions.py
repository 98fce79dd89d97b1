"""What the logits of a row say: a label, several labels, or a number, with probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapter_tune.foundation.errors import RunError
from adapter_tune.tasks.glue import Task


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one row."""

    answer: str | list[str] | float
    """The label's name; for several labels all that apply; for a regression the number."""
    probabilities: dict[str, float]
    """By label; empty for a regression."""


@dataclass(frozen=True)
class Answer:
    """What is predicted for a text that a person has typed."""

    prediction: Prediction
    truncated_at: int | None = None
    """Maximum number of tokens, if the text is longer and only its beginning was read."""


def prediction_of(task: Task, logits: np.ndarray[Any, Any]) -> Prediction:
    """What the logits (labels) of one row say.

    Raises:
        RunError: a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise RunError(f"task {task.name}: the model gave NaN or infinite logits; train it again, or in float32")
    if task.is_regression:
        return Prediction(float(logits[0]), {})
    answer: str | list[str]
    if task.is_multi_label:
        answer = [name for name, logit in zip(task.labels, logits, strict=True) if logit > 0]
        probabilities = 1 / (1 + np.exp(-logits))
    else:
        answer = task.labels[int(logits.argmax())]
        exponentials = np.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
    return Prediction(answer, {name: float(p) for name, p in zip(task.labels, probabilities, strict=True)})
