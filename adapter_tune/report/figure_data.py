"""What the figures of a report show, as plain values; the drawing is in ``figures.py``."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from adapter_tune.report.collect import Collected, Group
from adapter_tune.run_files.ablation_result import Ablation
from adapter_tune.strategies import described
from adapter_tune.tasks.score_keys import score_key

_SERIES_NAMES = {
    "houlsby": "adapters",
    "top_n": "top layers",
    "layer_norm": "LayerNorms only",
    "full": "full fine-tuning",
}


@dataclass(frozen=True)
class Point:
    """One group of runs."""

    x: float
    y: float
    error: float
    """Standard error of y; 0 with one seed."""
    size: str
    """The strategy's size without its name, written beside the point."""


@dataclass(frozen=True)
class TradeOff:
    """Score against cost, for one task."""

    series: dict[str, list[Point]]
    """Points in the order of their cost, by method."""
    metric: str
    seeds: list[int]
    """The numbers of seeds of the points, each once."""


@dataclass(frozen=True)
class GapPoint:
    """Score minus full fine-tuning's over tasks, for one strategy: percentiles 20, 50 and 80."""

    x: float
    low: float
    median: float
    high: float
    size: str


@dataclass(frozen=True)
class Curve:
    """The validation scores of one run."""

    index: int
    """The position of the method among those of the task, which decides colour and line style."""
    label: str
    steps: list[float]
    scores: list[float]


@dataclass(frozen=True)
class Heatmap:
    """The scores of an ablation, relative to the whole model's."""

    changes: list[list[float]]
    """Change of the score in percent by first and last removed layer; NaN where first > last."""
    lowest: float
    """The lowest change, at least a little below 0."""
    title: str


def series_name(method: str) -> str:
    """Return the name of a method in a legend."""
    return _SERIES_NAMES.get(method, method)


def trade_off_data(collected: Collected, task: str, x: str) -> TradeOff | None:
    """Return the scores of a task's methods against a cost, or None if no run has this cost.

    Args:
        collected: the runs.
        task: one task.
        x: ``trained parameters``, ``training, s`` or ``peak memory, MiB``.
    """
    groups = list(_groups_by_label(collected, task).values())
    series: dict[str, list[Point]] = defaultdict(list)
    for group in groups:
        cost = _cost(group, x)
        if cost:
            series[group.first.method].append(Point(cost, group.mean, group.sem or 0.0, _size(group)))
    if not series:
        return None
    for points in series.values():
        points.sort(key=lambda point: point.x)
    metric = groups[0].first.result.headline.metric
    return TradeOff(_sorted_by_name(series), metric, sorted({len(group.runs) for group in groups}))


def gap_data(collected: Collected) -> tuple[dict[str, list[GapPoint]], list[str]] | None:
    """Return the gaps to full fine-tuning by method, and the tasks; only strategies with runs on all tasks are there.

    None if fewer than two tasks have full fine-tuning, or no strategy has runs on all of them.
    """
    best = collected.best()
    full = {task: group for (label, task), group in best.items() if label == "full"}
    labels = set()
    for label, _ in best:
        if label != "full" and all((label, task) in best for task in full):
            labels.add(label)
    if len(full) < 2 or not labels:
        return None
    series: dict[str, list[GapPoint]] = defaultdict(list)
    for label in labels:
        groups = [best[label, task] for task in full]
        gaps = [best[label, task].mean - full[task].mean for task in full]
        x = sum(group.first.trained for group in groups) / len(groups)
        low, median, high = _percentiles(gaps)
        series[groups[0].first.method].append(GapPoint(x, low, median, high, _size(groups[0])))
    for points in series.values():
        points.sort(key=attrgetter("x", "low", "median", "high", "size"))
    return _sorted_by_name(series), sorted(full)


def initialisation_data(collected: Collected) -> dict[str, list[Point]]:
    """Return the best scores by initial standard deviation, for each task and strategy with at least three of them."""
    groups: dict[str, dict[float, Group]] = defaultdict(dict)
    for group in collected.groups():
        strategy = group.first.strategy
        std = strategy.get("init_std")
        if strategy["name"] == "houlsby" and isinstance(std, int | float) and std > 0:
            options = described(strategy, ["m", "init_std"]).removeprefix("houlsby").strip()
            name = f"{group.first.task}, {group.first.size} {options}".strip()
            best = groups[name].get(std)
            if best is None or group.mean > best.mean:
                groups[name][std] = group
    series = {}
    for name in sorted(groups):
        group_by_std = groups[name]
        if len(group_by_std) > 2:
            series[name] = [
                Point(std, group_by_std[std].mean, group_by_std[std].sem or 0.0, "") for std in sorted(group_by_std)
            ]
    return series


def learning_curve_data(collected: Collected, task: str) -> list[Curve]:
    """Return the validation scores by step, for the first seed of each method with more than one evaluation."""
    curves = []
    for index, (label, group) in enumerate(_groups_by_label(collected, task).items()):
        result = group.first.result
        key = score_key(result.headline.split, result.headline.metric)
        evaluations = [entry for entry in result.history if {"step", key} <= entry.keys()]
        if len(evaluations) > 1:
            steps = [entry["step"] for entry in evaluations]
            scores = [100 * entry[key] for entry in evaluations]
            curves.append(Curve(index, label, steps, scores))
    return curves


def heatmap_data(ablation: Ablation) -> Heatmap:
    """Return the changes of the score, in percent of the whole model's, and the title of the figure."""
    whole = ablation.whole[ablation.metric]
    matrix = ablation.matrix()
    changes = []
    known = []
    for row in matrix:
        row_changes = [math.nan if score is None else 100 * (score - whole) / abs(whole or 1.0) for score in row]
        changes.append(row_changes)
        known += [change for change in row_changes if not math.isnan(change)]
    lowest = min(min(known, default=-1.0), -1e-9)
    return Heatmap(changes, lowest, _heatmap_title(ablation, whole, matrix[0][ablation.layers - 1]))


def _heatmap_title(ablation: Ablation, whole: float, without_all: float | None) -> str:
    kind = "" if ablation.sub_layer is None else f", {ablation.sub_layer.replace('_', '-')} adapters"
    title = f"{ablation.task} ({ablation.split}){kind}: {ablation.metric} {100 * whole:.1f}"
    if without_all is None:
        return title
    title += f"\nwithout any adapter {100 * without_all:.1f}"
    if ablation.majority:
        title += f", majority class {100 * ablation.majority[ablation.metric]:.1f}"
    return title


def _groups_by_label(collected: Collected, task: str) -> dict[str, Group]:
    """Return the best group of each strategy of a task, by label.

    A strategy with another initial deviation is left out if the same strategy with the default one is there:
    those runs have a figure of their own.
    """
    best = {label: group for (label, group_task), group in sorted(collected.best().items()) if group_task == task}
    groups = {}
    for label, group in best.items():
        default_label = group.first.label_at_default_init
        if default_label == label or default_label not in best:
            groups[label] = group
    return groups


def _sorted_by_name(series: dict[str, Any]) -> dict[str, Any]:
    return {method: series[method] for method in sorted(series, key=series_name)}


def _size(group: Group) -> str:
    return group.first.size.partition("=")[2]


def _cost(group: Group, x: str) -> float | None:
    if x == "trained parameters":
        return float(group.first.trained)
    if x == "training, s":
        return group.average(lambda result: result.speed.train_seconds)
    peak_memory = group.average(lambda result: result.speed.peak_memory_bytes)
    return None if peak_memory is None else peak_memory / 2**20


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    import numpy as np

    low, median, high = np.percentile(values, [20, 50, 80])
    return float(low), float(median), float(high)
