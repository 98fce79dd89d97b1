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
    "pearson": lambda truth, predicted: _correlation(stats.pearsonr, truth, predicted),
    "spearmanr": lambda truth, predicted: _correlation(stats.spearmanr, truth, predicted),
}
"""Score by name, of true and predicted values. A correlation with a constant is undefined and counts as 0."""


_NUMBERS = ((1.5, 0.5, 2.25, 1.0), (1.25, 0.75, 2.0, 1.5))
"""True and predicted, which no metric of classes takes."""


def check_metric(name: str, problem: str, classes: int = 2) -> None:
    """Refuse a headline metric that cannot be computed from what is predicted, or says nothing about it.

    Args:
        name: of the metric.
        problem: classification, multi_label or regression.
        classes: how many there are.

    Raises:
        UsageError: it is not known, needs what a prediction does not have, or is one of another problem.
    """
    if name not in METRICS and name not in sk.get_scorer_names():
        near = get_close_matches(name, {*METRICS, *sk.get_scorer_names()}, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"data.metric: unknown metric '{name}'; {hint}Known: {', '.join(METRICS)}, scikit-learn's scorers"
        )
    kind = {"regression": "numbers", "multi_label": "lists of labels"}.get(problem, f"labels of {classes} classes")
    if problem == "regression":
        reason = undefined_reason(name, *_NUMBERS) or undefined_reason(name, *-np.asarray(_NUMBERS))
    else:
        truth = np.eye(classes, dtype=int) if problem == "multi_label" else np.arange(2 * classes) % classes
        reason = None if undefined_reason(name, *_NUMBERS) else "it scores numbers"
        reason = reason or undefined_reason(name, truth, np.roll(truth, 1, axis=0), quiet=True)
    if reason is not None:
        raise UsageError(f"data.metric: {name} cannot be computed from predicted {kind} ({reason})")


def undefined_reason(name: str, truth: Sequence[float] | Values, predicted: Sequence[float] | Values,
             quiet: bool = False) -> str | None:  # fmt: skip
    """Why a score of true and predicted values cannot be computed, if so; unless ``quiet`` a warning is a reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if quiet else "error")
            value = metric(name)(np.asarray(truth), np.asarray(predicted))
    except (TypeError, ValueError, Warning) as error:
        return first_line(error)
    return None if np.isfinite(value) else "it is not a number"


def metric(name: str) -> Callable[[Values, Values], float]:
    """A score of true and predicted values: one of GLUE's, or scikit-learn's of that name; more is better."""
    if name in METRICS:
        return METRICS[name]
    scorer = sk.get_scorer(name)
    if scorer._response_method != "predict":
        raise ValueError("it needs probabilities")

    def score(truth: Values, predicted: Values) -> float:
        return float(scorer._sign * scorer._score_func(truth, predicted, **scorer._kwargs))

    return score


class GlueMetric(evaluate.Metric):
    """The metrics of one GLUE task; ``config_name`` is the task.

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


def glue_scores(task: Task, truth: Values, predicted: Values) -> dict[str, float]:
    """Every metric of a task, ``combined_score`` being the mean of the others."""
    scores = {name: float(metric(name)(truth, predicted)) for name in task.metrics if name != "combined_score"}
    if "combined_score" in task.metrics:
        scores["combined_score"] = float(np.mean(list(scores.values())))
    return scores


def _correlation(function: Callable[[Values, Values], Any], truth: Values, predicted: Values) -> float:
    if len(np.unique(truth)) < 2 or len(np.unique(predicted)) < 2:
        return 0.0
    value = float(function(truth, predicted)[0])
    return value if np.isfinite(value) else 0.0
