"""The GLUE tasks as one table (Wang et al. 2019). To add a task, add a row.

Columns, label order and split names are those of ``nyu-mll/glue`` on the Hub. This file imports no heavy library.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapter_tune.foundation.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Task:
    """One task: the columns that are read, the labels that are predicted, and the metrics that score them."""

    name: str
    title: str
    text: tuple[str, ...]
    """The one or two text columns, in the order in which the model reads them."""
    labels: tuple[str, ...]
    """Class names by id; empty for regression."""
    metrics: tuple[str, ...]
    headline: str
    """The metric that picks the best checkpoint and is reported for the task (Houlsby et al. 2019, Table 1)."""
    validation: tuple[str, ...] = ("validation",)
    """Splits with public labels; scores on the first one decide which checkpoint is best."""
    test: tuple[str, ...] = ("test",)
    """Splits without public labels; their labels are -1."""
    diagnostic: tuple[str, ...] = ()
    """Additional data sets that the leaderboard scores this task's model on (GLUE's AX)."""
    is_multi_label: bool = False
    """True for multi-label classification, where a row may have any number of labels."""
    bounds: tuple[float, float] = (0.0, 5.0)
    """The lowest and the highest label of a regression."""
    positive: str | None = None
    """The class that ``ONE_CLASS_METRICS`` score, named in the metric, as in ``f1(spam)``; GLUE's f1 is class 1's."""

    @property
    def is_regression(self) -> bool:
        """True where the label is a real number."""
        return not self.labels

    @property
    def num_labels(self) -> int:
        """The number of outputs of the head: one per class, or 1 for a regression."""
        return len(self.labels) or 1


_ROWS = (
    Task(
        name="cola",
        title="acceptability",
        text=("sentence",),
        labels=("unacceptable", "acceptable"),
        metrics=("matthews_correlation", "accuracy"),
        headline="matthews_correlation",
    ),
    Task(
        name="sst2",
        title="sentiment",
        text=("sentence",),
        labels=("negative", "positive"),
        metrics=("accuracy",),
        headline="accuracy",
    ),
    Task(
        name="mrpc",
        title="paraphrase",
        text=("sentence1", "sentence2"),
        labels=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1", "combined_score"),
        headline="f1",
    ),
    Task(
        name="stsb",
        title="similarity 0-5",
        text=("sentence1", "sentence2"),
        labels=(),
        metrics=("pearson", "spearmanr", "combined_score"),
        headline="spearmanr",
    ),
    Task(
        name="qqp",
        title="duplicate questions",
        text=("question1", "question2"),
        labels=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1", "combined_score"),
        headline="f1",
    ),
    Task(
        name="mnli",
        title="inference",
        text=("premise", "hypothesis"),
        labels=("entailment", "neutral", "contradiction"),
        metrics=("accuracy",),
        headline="accuracy",
        validation=("validation_matched", "validation_mismatched"),
        test=("test_matched", "test_mismatched"),
        diagnostic=("ax",),
    ),
    Task(
        name="qnli",
        title="question answered by sentence",
        text=("question", "sentence"),
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        headline="accuracy",
    ),
    Task(
        name="rte",
        title="inference, two-way",
        text=("sentence1", "sentence2"),
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        headline="accuracy",
    ),
    Task(
        name="wnli",
        title="pronoun resolution",
        text=("sentence1", "sentence2"),
        labels=("not_entailment", "entailment"),
        metrics=("accuracy",),
        headline="accuracy",
    ),
)

ONE_CLASS_METRICS = (
    "f1",
    "precision",
    "recall",
    "jaccard",
    "positive_likelihood_ratio",
    "neg_negative_likelihood_ratio",
)
"""Metrics of two classes that score one of them only, the positive class."""

CUSTOM = "custom"
"""The name of the task on the user's own data. Its ``Task`` is made from the ``data`` section of a configuration."""

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def of_class(metric: str, positive: str | None) -> str:
    """The name of a metric with the class that it scores, if it scores a single one.

    >>> of_class("f1", "spam"), of_class("accuracy", "spam")
    ('f1(spam)', 'accuracy')
    """
    return f"{metric}({positive})" if positive is not None and metric in ONE_CLASS_METRICS else metric


def get_task(name: str) -> Task:
    """The GLUE task of this name.

    Raises:
        UsageError: there is no such task; the message names the most similar one.
    """
    if name not in TASKS:
        raise UsageError(unknown_name("task", name, TASKS))
    return TASKS[name]
