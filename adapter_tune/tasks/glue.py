"""GLUE as one table of records (Wang et al. 2019). To add a task, add a row.

Columns, label order and split names are those of ``nyu-mll/glue`` on the Hub. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapter_tune.foundation.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Task:
    """One task: which columns are read, what is predicted, how it is scored."""

    name: str
    title: str
    text: tuple[str, ...]
    """The one or two text columns, in the order the model sees them."""
    labels: tuple[str, ...]
    """Class names by id; empty for regression."""
    metrics: tuple[str, ...]
    headline: str
    """The metric that picks the best checkpoint and stands for the task (Houlsby et al. 2019, Table 1)."""
    validation: tuple[str, ...] = ("validation",)
    """Splits with public labels; the first one decides which checkpoint is best."""
    test: tuple[str, ...] = ("test",)
    """Splits whose labels are -1."""

    diagnostic: tuple[str, ...] = ()
    """Data sets beside the task's own that its model is scored on by the leaderboard (GLUE's AX)."""
    is_multi_label: bool = False
    """A row may have any number of the labels (multi-label classification)."""
    bounds: tuple[float, float] = (0.0, 5.0)
    """Lowest and highest label of a regression."""

    @property
    def is_regression(self) -> bool:
        """True where the label is a real number."""
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Width of the head: one per class, 1 for regression."""
        return len(self.labels) or 1


_ROWS = (
    Task("cola", "acceptability", ("sentence",), ("unacceptable", "acceptable"),
         ("matthews_correlation", "accuracy"), "matthews_correlation"),
    Task("sst2", "sentiment", ("sentence",), ("negative", "positive"), ("accuracy",), "accuracy"),
    Task("mrpc", "paraphrase", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"),
         ("accuracy", "f1", "combined_score"), "f1"),
    Task("stsb", "similarity 0-5", ("sentence1", "sentence2"), (),
         ("pearson", "spearmanr", "combined_score"), "spearmanr"),
    Task("qqp", "duplicate questions", ("question1", "question2"), ("not_duplicate", "duplicate"),
         ("accuracy", "f1", "combined_score"), "f1"),
    Task("mnli", "inference", ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"),
         ("accuracy",), "accuracy", ("validation_matched", "validation_mismatched"),
         ("test_matched", "test_mismatched"), ("ax",)),
    Task("qnli", "question answered by sentence", ("question", "sentence"), ("entailment", "not_entailment"),
         ("accuracy",), "accuracy"),
    Task("rte", "inference, two-way", ("sentence1", "sentence2"), ("entailment", "not_entailment"),
         ("accuracy",), "accuracy"),
    Task("wnli", "pronoun resolution", ("sentence1", "sentence2"), ("not_entailment", "entailment"),
         ("accuracy",), "accuracy"),
)  # fmt: skip

CUSTOM = "custom"
"""The name of a task of the user's own; its record is made of the ``data`` section of a configuration."""

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def get_task(name: str) -> Task:
    """The record of a task.

    Raises:
        UsageError: no such task; the message names the nearest one.
    """
    if name not in TASKS:
        raise UsageError(unknown_name("task", name, TASKS))
    return TASKS[name]
