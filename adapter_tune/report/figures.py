"""Pictures: colours that the colour-blind can tell apart, names and units on the axes; PNG and SVG."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import Any

from adapter_tune.report.collect import Collected, Group
from adapter_tune.run_files.ablation_result import Ablation


def save(figure: Any, stem: Path) -> list[Path]:
    """Write a figure as ``stem.png`` and ``stem.svg``."""
    import matplotlib.pyplot as plt

    for axes in figure.axes:
        legend = axes.get_legend()
        shown = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *(legend.get_texts() if legend else [])]
        for text in shown:  # names of files and the like, in which dollars make no formula
            text.set_parse_math(False)
    files = [stem.with_name(stem.name + ending) for ending in (".png", ".svg")]
    for file in files:
        figure.savefig(file, dpi=150, bbox_inches="tight", metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
    return files


def new(width: float = 6.4, height: float = 4.4) -> tuple[Any, Any]:
    """An empty figure and its axes (inches)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "adapter-tune"  # the same picture, the same bytes
    figure, axes = plt.subplots(figsize=(width, height))
    return figure, axes


def heatmap(ablation: Ablation) -> Any:
    """Relative change of the score, in percent of the whole model's, by first and last layer taken out."""
    whole = ablation.whole[ablation.metric]
    values = [
        [math.nan if v is None else 100 * (v - whole) / abs(whole or 1.0) for v in row] for row in ablation.matrix()
    ]
    figure, axes = new(1.8 + 0.45 * ablation.layers, 1.3 + 0.42 * ablation.layers)
    low = min(min((v for row in values for v in row if not math.isnan(v)), default=-1.0), -1e-9)
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=0)
    for first, row in enumerate(values):
        for last, value in enumerate(row):
            if not math.isnan(value):
                dark = value < low / 2
                axes.text(last, first, f"{value:.0f}", ha="center", va="center", fontsize=7,
                          color="white" if dark else "black")  # fmt: skip
        axes.add_patch(_square(first))
    axes.set_xlabel("last layer taken out")
    axes.set_ylabel("first layer taken out")
    axes.set_xticks(range(ablation.layers))
    axes.set_yticks(range(ablation.layers))
    kind = "" if ablation.sub_layer is None else f", {ablation.sub_layer.replace('_', '-')} adapters"
    lines = [f"{ablation.task} ({ablation.split}){kind}: {ablation.metric} {100 * whole:.1f}"]
    everything = ablation.matrix()[0][ablation.layers - 1]
    if everything is not None:
        without = f"without any adapter {100 * everything:.1f}"
        lines.append(
            without + (f", majority class {100 * ablation.majority[ablation.metric]:.1f}" if ablation.majority else "")
        )
    axes.set_title("\n".join(lines), fontsize=9)
    figure.colorbar(image, ax=axes, label="change, % of the whole model's", shrink=0.8)
    return figure


def _square(index: int) -> Any:
    """The mark of a single layer, on the diagonal."""
    from matplotlib.patches import Rectangle

    return Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor="#d55e00", linewidth=1.5)


ORANGE, BLUE, GREEN, BLACK, PURPLE, SKY = "#E69F00", "#0072B2", "#009E73", "#000000", "#CC79A7", "#56B4E9"
"""Okabe and Ito's colours, which the colour-blind tell apart."""


def series_of(group: Group) -> tuple[str, str, str]:
    """Name, colour and marker of the series that a group's point belongs to."""
    method = group.first.method
    known = {"houlsby": ("adapters", ORANGE, "o"), "top_n": ("top layers", BLUE, "s"),
             "layer_norm": ("LayerNorms only", GREEN, "^"), "full": ("full fine-tuning", BLACK, "*")}  # fmt: skip
    return known.get(method, (method, PURPLE, "D"))


def _shown(found: Collected, task: str) -> list[tuple[str, Group]]:
    """The methods of one task by label, but not another initial deviation of one of them: that study has its figure."""
    best = {label: group for (label, of), group in sorted(found.best().items()) if of == task}
    usual = {label: group.first.initialised_as_usual for label, group in best.items()}
    return [(label, group) for label, group in best.items() if usual[label] == label or usual[label] not in best]


def _log_axis(axes: Any, name: str) -> None:
    """A logarithmic x axis with short numbers: 20k, 1M."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 6, 8), numticks=12)
    )
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(name)


def _legend(axes: Any) -> None:
    """Inside where there is room, beside the axes where there are many."""
    many = len(axes.get_legend_handles_labels()[1]) > 6
    where = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)} if many else {}
    axes.legend(fontsize=7, **where)


def trade_off(found: Collected, task: str, x: str = "trained parameters") -> Any | None:
    """Score against what it costs (Figure 4), with the standard error over seeds where there are several.

    None where no run knows what it cost.

    Args:
        found: the runs.
        task: one task.
        x: ``trained parameters``, ``training, s`` or ``peak memory, MiB``.
    """
    groups = [group for _, group in _shown(found, task)]
    by: dict[tuple[str, str, str], list[tuple[float, Group]]] = {}
    for group in groups:
        value = _cost(group, x)
        if value:
            by.setdefault(series_of(group), []).append((value, group))
    if not by:
        return None
    figure, axes = new()
    marks = cycle("DvPX<>hpd")  # one for each of the methods that share a colour
    for (name, colour, known), points in sorted(by.items()):
        marker = next(marks) if colour == PURPLE else known
        points.sort(key=lambda point: point[0])
        xs, ys = [value for value, _ in points], [group.mean for _, group in points]
        line = "-" if name in ("adapters", "top layers") and x == "trained parameters" else ""
        axes.errorbar(xs, ys, yerr=[group.sem or 0 for _, group in points], color=colour, marker=marker, linestyle=line,
                      label=name, capsize=2, markersize=5)  # fmt: skip
        for value, group in points:
            axes.annotate(group.first.size.partition("=")[2], (value, group.mean), textcoords="offset points",
                          xytext=(4, 4), fontsize=7)  # fmt: skip
    _log_axis(axes, x)
    axes.set_ylabel(f"{groups[0].first.result.headline.metric} x 100")
    seeds = sorted({len(group.runs) for group in groups})
    several = f"{_range(seeds)} seeds a point, bars are standard errors"
    axes.set_title(f"{task}: {several if seeds != [1] else 'one seed a point'}", fontsize=9)
    _legend(axes)
    axes.grid(alpha=0.3)
    return figure


def over_tasks(found: Collected) -> Any | None:
    """Score minus full fine-tuning's on the same task: percentiles 20, 50, 80 over tasks (Figures 1 and 3).

    None where fewer than two tasks have full fine-tuning, or no method covers all of them.
    """
    best = found.best()
    full = {task: group for (label, task), group in best.items() if label == "full"}
    labels = {label for label, _ in best if label != "full" and all((label, task) in best for task in full)}
    if len(full) < 2 or not labels:
        return None
    figure, axes = new()
    by: dict[tuple[str, str, str], list[tuple[float, list[float], str]]] = {}
    for label in labels:
        groups = [best[label, task] for task in full]
        gaps = [best[label, task].mean - full[task].mean for task in full]
        x = sum(group.first.trained for group in groups) / len(groups)
        by.setdefault(series_of(groups[0]), []).append((x, _percentiles(gaps), groups[0].first.size))
    for (name, colour, marker), points in sorted(by.items()):
        points.sort()
        xs = [x for x, _, _ in points]
        low, middle, high = ([p[1][i] for p in points] for i in range(3))
        line = "-" if len(points) > 1 else ""
        axes.plot(xs, middle, color=colour, marker=marker, linestyle=line, label=name, markersize=5)
        if len(points) > 1:
            axes.fill_between(xs, low, high, color=colour, alpha=0.2)
        else:
            axes.errorbar(xs, middle, yerr=[[middle[0] - low[0]], [high[0] - middle[0]]], color=colour, capsize=2)
        for x, values, size in points:
            axes.annotate(size.partition("=")[2], (x, values[1]), textcoords="offset points", xytext=(4, 4), fontsize=7)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    _log_axis(axes, "trained parameters a task")
    axes.set_ylabel("score minus full fine-tuning's, points")
    axes.set_title(f"{len(full)} tasks ({', '.join(sorted(full))}): percentiles 20, 50, 80", fontsize=9)
    _legend(axes)
    axes.grid(alpha=0.3)
    return figure


def initialisation(found: Collected) -> Any | None:
    """Score against the initial standard deviation of the adapters (Figure 6, right); None without such runs."""
    by: dict[str, list[tuple[float, Group]]] = {}
    for group in found.groups():
        section = group.first.strategy
        plain = {key: value for key, value in section.items() if key != "init_std"}
        std = section.get("init_std")
        if section["name"] == "houlsby" and isinstance(std, int | float) and std > 0:
            by.setdefault(f"{group.first.task}, {group.first.size} {_rest(plain)}".strip(), []).append((std, group))
    lines = {name: points for name, points in by.items() if len({std for std, _ in points}) > 2}
    if not lines:
        return None
    figure, axes = new()
    for (name, points), colour in zip(sorted(lines.items()), _cycle(), strict=False):
        best: dict[float, Group] = {}
        for std, group in points:
            if std not in best or group.mean > best[std].mean:
                best[std] = group
        xs = sorted(best)
        axes.errorbar(xs, [best[x].mean for x in xs], yerr=[best[x].sem or 0 for x in xs], color=colour, marker="o",
                      label=name, capsize=2)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("initial standard deviation of the adapters' weights")
    axes.set_ylabel("headline score x 100")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    return figure


def learning_curves(found: Collected, task: str) -> Any | None:
    """Validation score by step, the first seed of each method's best setting; None with one evaluation only."""
    curves = []
    for index, (label, group) in enumerate(_shown(found, task)):
        headline = group.first.result.headline
        key = f"eval_{headline.split}_{headline.metric}"
        history = group.first.result.history
        points = [(entry["step"], 100 * entry[key]) for entry in history if {"step", key} <= entry.keys()]
        if len(points) > 1:
            curves.append((index, label, points))
    if not curves:
        return None
    figure, axes = new()
    for index, label, points in curves:
        style = {"color": _cycle(index + 1)[index], "linestyle": ("-", "--", ":")[index // 8 % 3]}
        axes.plot(*zip(*points, strict=True), marker=".", label=label, linewidth=1, **style)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("headline score x 100")
    axes.set_title(f"{task}: validation after each epoch, one seed a method", fontsize=9)
    _legend(axes)
    axes.grid(alpha=0.3)
    return figure


def _cost(group: Group, x: str) -> float | None:
    if x == "trained parameters":
        return float(group.first.trained)
    if x == "training, s":
        return group.average(lambda result: result.speed.train_seconds)
    peak = group.average(lambda result: result.speed.peak_memory_bytes)
    return None if peak is None else peak / 2**20


def _percentiles(values: list[float]) -> list[float]:
    import numpy as np

    return [float(value) for value in np.percentile(values, [20, 50, 80])]


def _cycle(count: int = 8) -> list[str]:
    colours = [ORANGE, BLUE, GREEN, PURPLE, SKY, "#D55E00", BLACK, "#F0E442"]
    return [colours[i % len(colours)] for i in range(count)]


def _range(counts: list[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _rest(section: dict[str, Any]) -> str:
    """What differs from the plain adapter, size aside."""
    usual = {"name": "houlsby", "layers": "all", "activation": "gelu", "depth": 1, "norm": "none", "dropout": 0.0,
             "layer_norm": "adapter", "scale": 1.0}  # fmt: skip
    return " ".join(f"{k}={v}" for k, v in section.items() if k != "m" and usual.get(k) != v)
