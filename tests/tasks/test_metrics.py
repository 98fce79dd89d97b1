from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from adapter_tune.foundation.errors import UsageError
from adapter_tune.tasks.glue import ONE_CLASS_METRICS, TASKS, Task, of_class
from adapter_tune.tasks.metrics import METRICS, GlueMetric, check_metric, glue_scores, metric, undefined_reason

RNG = np.random.default_rng(0)


def pairs(task: Task, count: int = 200) -> tuple[Any, Any]:
    if task.is_regression:
        true = RNG.uniform(0, 5, count)
        return true, true + RNG.normal(0, 1, count)
    return RNG.integers(0, task.num_labels, count), RNG.integers(0, task.num_labels, count)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda t: t.name)
def test_scores_are_those_of_scikit_learn_and_scipy(task: Task) -> None:
    true, predicted = pairs(task)
    reference: dict[str, Any] = {
        "accuracy": sk.accuracy_score,
        "f1": sk.f1_score,
        "matthews_correlation": sk.matthews_corrcoef,
        "pearson": lambda t, p: stats.pearsonr(t, p).statistic,
        "spearmanr": lambda t, p: stats.spearmanr(t, p).statistic,
    }
    scores = glue_scores(task, true, predicted)
    assert tuple(scores) == task.metrics
    plain = {name: value for name, value in scores.items() if name != "combined_score"}
    assert plain == pytest.approx({name: reference[name](true, predicted) for name in plain})
    if "combined_score" in scores:
        assert scores["combined_score"] == pytest.approx(np.mean(list(plain.values())))


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda t: t.name)
def test_the_evaluate_metric_gives_the_same(task: Task) -> None:
    true, predicted = pairs(task)
    metric = GlueMetric(task.name, keep_in_memory=True)
    computed = metric.compute(references=true, predictions=predicted)
    assert computed == pytest.approx(glue_scores(task, true, predicted), rel=1e-4)
    assert computed == metric.compute(references=true, predictions=predicted)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.filterwarnings("error")
def test_constant_predictions_give_a_finite_score(name: str, value: int) -> None:
    true = np.array([0, 1, 1, 0])
    score = METRICS[name](true, np.full(4, value))
    expected = {"accuracy": 0.5, "f1": 2 / 3 if value else 0.0}.get(name, 0.0)
    assert score == pytest.approx(expected)


@pytest.mark.parametrize("name", ["pearson", "spearmanr"])
@pytest.mark.filterwarnings("ignore")
def test_predictions_that_are_not_numbers_correlate_with_nothing(name: str) -> None:
    assert METRICS[name](np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 2.0])) == 0


def test_the_metrics_of_one_class_are_those_that_change_when_the_classes_are_exchanged() -> None:
    true, predicted = np.array([0, 0, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 0, 0, 0])
    of_one_class = set()
    for name in {*METRICS, *sk.get_scorer_names()}:
        if (
            undefined_reason(name, [1.5, 0.5], [0.5, 1.5]) is None
            or undefined_reason(name, true, predicted) is not None
        ):
            continue  # a metric of numbers, or one that needs more than labels
        if metric(name)(true, predicted) != pytest.approx(metric(name)(1 - true, 1 - predicted)):
            of_one_class.add(name)
    assert of_one_class == set(ONE_CLASS_METRICS)


@pytest.mark.parametrize("positive", ["a", "b"])
def test_a_metric_of_one_class_scores_the_positive_one(positive: str) -> None:
    true, predicted = RNG.integers(0, 2, 50), RNG.integers(0, 2, 50)
    names = {name: of_class(name, positive) for name in ("f1", "precision", "recall", "jaccard")}
    metrics = (*names.values(), "accuracy")
    task = Task("custom", "", ("text",), ("a", "b"), metrics, metrics[0], positive=positive)
    scores = glue_scores(task, true, predicted)
    number = task.labels.index(positive)
    for name, function in (("f1", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score)):
        assert scores[names[name]] == function(true, predicted, pos_label=number)
    assert scores["accuracy"] == sk.accuracy_score(true, predicted)


PROBLEMS = [("classification", 2), ("classification", 3), ("multi_label", 2), ("multi_label", 3), ("regression", 0)]
FIT: dict[str, list[int]] = {
    "accuracy": [1, 1, 1, 1, 0],
    "balanced_accuracy": [1, 1, 0, 0, 0],
    "f1": [1, 0, 0, 0, 0],
    "precision": [1, 0, 0, 0, 0],
    "jaccard": [1, 0, 0, 0, 0],
    "f1_macro": [1, 1, 1, 1, 0],
    "f1_samples": [0, 0, 1, 1, 0],
    "matthews_correlation": [1, 1, 0, 0, 0],
    "adjusted_rand_score": [1, 1, 0, 0, 0],
    "pearson": [0, 0, 0, 0, 1],
    "spearmanr": [0, 0, 0, 0, 1],
    "r2": [0, 0, 0, 0, 1],
    "neg_mean_squared_error": [0, 0, 0, 0, 1],
    "neg_mean_squared_log_error": [0, 0, 0, 0, 0],
    "roc_auc": [0, 0, 0, 0, 0],
}


@pytest.mark.parametrize(("name", "fits"), FIT.items())
def test_a_metric_goes_with_the_problems_it_can_score(name: str, fits: list[int]) -> None:
    for (problem, classes), fit in zip(PROBLEMS, fits, strict=True):
        if fit:
            check_metric(name, problem, classes)
        else:
            with pytest.raises(
                UsageError, match=rf"data.custom.metric: {name} cannot be computed from predicted .*\)$"
            ):
                check_metric(name, problem, classes)
