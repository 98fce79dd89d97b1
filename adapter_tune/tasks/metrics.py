"""GLUE's metrics as an ``evaluate.Metric`` that needs no network (Wang et al. 2019, section 3)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from adapter_tune.foundation.errors import UsageError, first_line
from adapter_tune.tasks.glue import Task, get_task

Values = NDArray[Any]

METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": sk.accuracy_score,
    "f1": partial(sk.f1_score, zero_division=0.0),
    "matthews_correlation": sk.matthews_corrcoef,
    "pearson": lambda true, predicted: _correlation(stats.pearsonr, true, predicted),
    "spearmanr": lambda true, predicted: _correlation(stats.spearmanr, true, predicted),
}
"""Metric functions of true and predicted values by name. An undefined correlation (with a constant) counts as 0."""

_SAMPLE_NUMBERS = ((1.5, 0.5, 2.25, 1.0), (1.25, 0.75, 2.0, 1.5))
"""True and predicted numbers that no classification metric accepts."""


def check_metric(name: str, problem: str, classes: int = 2) -> None:
    """Refuse a headline metric that cannot be computed from the predictions, by computing it on sample values.

    Args:
        name: the metric.
        problem: "classification", "multi_label" or "regression".
        classes: the number of classes.

    Raises:
        UsageError: the metric is unknown, needs more than predictions, or belongs to another kind of problem.
    """
    if name not in METRICS and name not in sk.get_scorer_names():
        similar = get_close_matches(name, {*METRICS, *sk.get_scorer_names()}, n=1)
        hint = f"did you mean '{similar[0]}'? " if similar else ""
        raise UsageError(
            f"data.custom.metric: unknown metric '{name}'; {hint}Known: {', '.join(METRICS)}, scikit-learn's scorers"
        )
    if problem == "regression":
        kind = "numbers"
        reason = _regression_problem(name)
    else:
        kind = "lists of labels" if problem == "multi_label" else f"labels of {classes} classes"
        reason = _classification_problem(name, problem, classes)
    if reason is not None:
        raise UsageError(f"data.custom.metric: {name} cannot be computed from predicted {kind} ({reason})")


def _regression_problem(name: str) -> str | None:
    """Why a metric cannot score numbers, or None; negative numbers are tried too."""
    return undefined_reason(name, *_SAMPLE_NUMBERS) or undefined_reason(name, *-np.asarray(_SAMPLE_NUMBERS))


def _classification_problem(name: str, problem: str, classes: int) -> str | None:
    """Why a metric cannot score class ids or lists of labels, or None."""
    if undefined_reason(name, *_SAMPLE_NUMBERS) is None:
        return "it is for regression"
    true = np.eye(classes, dtype=int) if problem == "multi_label" else np.arange(2 * classes) % classes
    return undefined_reason(name, true, np.roll(true, 1, axis=0), quiet=True)


def undefined_reason(
    name: str,
    true: Sequence[float] | Values,
    predicted: Sequence[float] | Values,
    quiet: bool = False,
    task: Task | None = None,
) -> str | None:
    """Why a metric cannot be computed from these values, or None. A warning counts as a reason unless ``quiet``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if quiet else "error")
            value = _score(name, np.asarray(true), np.asarray(predicted), task)
    except (TypeError, ValueError, Warning) as error:
        return first_line(error)
    return None if np.isfinite(value) else "the result is NaN"


def metric(name: str) -> Callable[[Values, Values], float]:
    """The function of a metric: one of GLUE's, or scikit-learn's scorer of that name. A higher value is better."""
    if name in METRICS:
        return METRICS[name]
    scorer = sk.get_scorer(name)
    if scorer._response_method != "predict":
        raise ValueError("it needs probabilities")

    def score(true: Values, predicted: Values) -> float:
        return float(scorer._sign * scorer._score_func(true, predicted, **scorer._kwargs))

    return score


class GlueMetric(evaluate.Metric):
    """The metrics of one GLUE task; ``config_name`` is the name of the task.

    >>> GlueMetric("mrpc", keep_in_memory=True).compute(references=[0, 1, 1], predictions=[0, 1, 0])  # doctest: +SKIP
    {'accuracy': 0.667, 'f1': 0.667, 'combined_score': 0.667}
    """

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value("float64" if get_task(self.config_name).is_regression else "int64")
        return evaluate.MetricInfo(
            description="GLUE's metrics, computed with scikit-learn and scipy.",
            citation="Wang et al. 2019, GLUE: a multi-task benchmark and analysis platform.",
            inputs_description="predictions and references: class ids, or real numbers for stsb.",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, predictions: Values, references: Values) -> dict[str, float]:
        return glue_scores(get_task(self.config_name), np.asarray(references), np.asarray(predictions))


def glue_scores(task: Task, true: Values, predicted: Values) -> dict[str, float]:
    """Every metric of a task by name; ``combined_score`` is the mean of the others.

    A score that scikit-learn warns about is what it returns, usually 0; ``data.row_checks`` says so before training.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = {name: _score(name, true, predicted, task) for name in task.metrics if name != "combined_score"}
    if "combined_score" in task.metrics:
        scores["combined_score"] = float(np.mean(list(scores.values())))
    return scores


def _score(name: str, true: Values, predicted: Values, task: Task | None) -> float:
    """A metric's value; if its name ends with the task's positive class, that class is 1 and the other one is 0."""
    suffix = f"({task.positive})" if task is not None and task.positive is not None else ""
    if suffix and name.endswith(suffix):
        assert task is not None and task.positive is not None
        name = name.removesuffix(suffix)
        positive = task.labels.index(task.positive)
        true, predicted = (np.equal(values, positive).astype(np.int64) for values in (true, predicted))
    return float(metric(name)(true, predicted))


def _correlation(function: Callable[[Values, Values], Any], true: Values, predicted: Values) -> float:
    if len(np.unique(true)) < 2 or len(np.unique(predicted)) < 2:
        return 0.0
    if not np.isfinite(predicted).all():  # scipy 1.13 refuses them
        return 0.0
    value = float(function(true, predicted)[0])
    return value if np.isfinite(value) else 0.0
