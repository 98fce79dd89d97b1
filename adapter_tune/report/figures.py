"""The drawing of figures as PNG and SVG, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import Any

from adapter_tune.report.collect import Collected
from adapter_tune.report.figure_data import (
    GapPoint,
    Point,
    gap_data,
    heatmap_data,
    initialisation_data,
    learning_curve_data,
    series_name,
    trade_off_data,
)
from adapter_tune.run_files.ablation_result import Ablation

# The colours of Okabe and Ito, which colour-blind readers can tell apart.
ORANGE = "#E69F00"
BLUE = "#0072B2"
GREEN = "#009E73"
BLACK = "#000000"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
_COLOURS = (ORANGE, BLUE, GREEN, PURPLE, SKY, "#D55E00", BLACK, "#F0E442")

_STYLES = {"houlsby": (ORANGE, "o"), "top_n": (BLUE, "s"), "layer_norm": (GREEN, "^"), "full": (BLACK, "*")}
"""Colour and marker of the paper's methods."""

_OTHER_STYLE = (PURPLE, "D")
_OTHER_MARKERS = "DvPX<>hpd"
"""One for each of the other methods, which share a colour."""


def save(figure: Any, stem: Path) -> list[Path]:
    """Write a figure as ``stem.png`` and ``stem.svg``; return both files."""
    import matplotlib.pyplot as plt

    for axes in figure.axes:
        for text in _texts(axes):  # a dollar in a name, as of a file, must not start a formula
            text.set_parse_math(False)
    files = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    for file in files:
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=150, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
    return files


def _texts(axes: Any) -> list[Any]:
    """Return the title, the labels, the notes and the legend's texts."""
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    legend = axes.get_legend()
    if legend:
        texts += legend.get_texts()
    return texts


def trade_off(collected: Collected, task: str, x: str = "trained parameters") -> Any | None:
    """Return a figure of score against cost (Figure 4), with standard errors; None if no run has this cost.

    Args:
        collected: the runs.
        task: one task.
        x: ``trained parameters``, ``training, s`` or ``peak memory, MiB``.
    """
    data = trade_off_data(collected, task, x)
    if data is None:
        return None
    figure, axes = _new_figure()
    other_markers = cycle(_OTHER_MARKERS)
    for method, points in data.series.items():
        colour, marker = _STYLES.get(method, _OTHER_STYLE)
        if method not in _STYLES:
            marker = next(other_markers)
        is_line = method in ("houlsby", "top_n") and x == "trained parameters"
        style = {"color": colour, "marker": marker, "linestyle": "-" if is_line else ""}
        _draw_points(axes, points, label=series_name(method), markersize=5, **style)
        for point in points:
            _annotate(axes, point.size, point.x, point.y)
    _use_log_axis(axes, x)
    axes.set_ylabel(f"{data.metric} x 100")
    axes.set_title(f"{task}: {_seeds_text(data.seeds)}", fontsize=9)
    _draw_legend(axes)
    axes.grid(alpha=0.3)
    return figure


def over_tasks(collected: Collected) -> Any | None:
    """Return a figure of score minus full fine-tuning's over tasks: percentiles 20, 50, 80 (Figures 1 and 3).

    None if fewer than two tasks have full fine-tuning, or no other strategy has runs on all of them.
    """
    data = gap_data(collected)
    if data is None:
        return None
    series, tasks = data
    figure, axes = _new_figure()
    for method, points in series.items():
        _draw_gaps(axes, method, points)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    _use_log_axis(axes, "trained parameters per task")
    axes.set_ylabel("score minus that of full fine-tuning, points")
    axes.set_title(f"{len(tasks)} tasks ({', '.join(tasks)}): percentiles 20, 50, 80", fontsize=9)
    _draw_legend(axes)
    axes.grid(alpha=0.3)
    return figure


def _draw_gaps(axes: Any, method: str, points: list[GapPoint]) -> None:
    """Draw the median of several points as a line in a band, of a single point with error bars."""
    colour, marker = _STYLES.get(method, _OTHER_STYLE)
    xs = [point.x for point in points]
    lows = [point.low for point in points]
    medians = [point.median for point in points]
    highs = [point.high for point in points]
    line = "-" if len(points) > 1 else ""
    axes.plot(xs, medians, color=colour, marker=marker, linestyle=line, label=series_name(method), markersize=5)
    if len(points) > 1:
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.2)
    else:
        errors = [[medians[0] - lows[0]], [highs[0] - medians[0]]]
        axes.errorbar(xs, medians, yerr=errors, color=colour, capsize=2)
    for point in points:
        _annotate(axes, point.size, point.x, point.median)


def initialisation(collected: Collected) -> Any | None:
    """Return a figure of score against the adapters' initial deviation (Figure 6, right); None without such runs."""
    series = initialisation_data(collected)
    if not series:
        return None
    figure, axes = _new_figure()
    for (name, points), colour in zip(series.items(), cycle(_COLOURS), strict=False):
        _draw_points(axes, points, color=colour, marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("initial standard deviation of the adapters' weights")
    axes.set_ylabel("headline score x 100")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    return figure


def learning_curves(collected: Collected, task: str) -> Any | None:
    """Return a figure of validation scores by step, one seed for each method; None with one evaluation only."""
    curves = learning_curve_data(collected, task)
    if not curves:
        return None
    figure, axes = _new_figure()
    for curve in curves:
        colour = _COLOURS[curve.index % len(_COLOURS)]
        line_style = ("-", "--", ":")[curve.index // len(_COLOURS) % 3]
        style = {"color": colour, "linestyle": line_style, "linewidth": 1, "marker": "."}
        axes.plot(curve.steps, curve.scores, label=curve.label, **style)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("headline score x 100")
    axes.set_title(f"{task}: validation after each epoch, one seed per method", fontsize=9)
    _draw_legend(axes)
    axes.grid(alpha=0.3)
    return figure


def heatmap(ablation: Ablation) -> Any:
    """Return a figure of the change of the score by first and last removed layer, in percent of the whole model's."""
    data = heatmap_data(ablation)
    layers = ablation.layers
    figure, axes = _new_figure(1.8 + 0.45 * layers, 1.3 + 0.42 * layers)
    image = axes.imshow(data.changes, cmap="cividis", vmin=data.lowest, vmax=0)
    for first, row in enumerate(data.changes):
        for last, change in enumerate(row):
            if not math.isnan(change):
                colour = "white" if change < data.lowest / 2 else "black"
                axes.text(last, first, f"{change:.0f}", ha="center", va="center", fontsize=7, color=colour)
        axes.add_patch(_single_layer_mark(first))
    axes.set_xlabel("last layer without adapters")
    axes.set_ylabel("first layer without adapters")
    axes.set_xticks(range(layers))
    axes.set_yticks(range(layers))
    axes.set_title(data.title, fontsize=9)
    figure.colorbar(image, ax=axes, label="change, % of the whole model's score", shrink=0.8)
    return figure


def _single_layer_mark(index: int) -> Any:
    """Return the frame around a cell of the diagonal, where a single layer is removed."""
    from matplotlib.patches import Rectangle

    return Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor="#d55e00", linewidth=1.5)


def _new_figure(width: float = 6.4, height: float = 4.4) -> tuple[Any, Any]:
    """Return an empty figure and its axes; sizes are in inches."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "adapter-tune"  # the same figure gives the same bytes
    figure, axes = plt.subplots(figsize=(width, height))
    return figure, axes


def _draw_points(axes: Any, points: list[Point], **style: Any) -> None:
    xs = [point.x for point in points]
    ys = [point.y for point in points]
    axes.errorbar(xs, ys, yerr=[point.error for point in points], capsize=2, **style)


def _annotate(axes: Any, text: str, x: float, y: float) -> None:
    """Write a text at the upper right of a point."""
    axes.annotate(text, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)


def _use_log_axis(axes: Any, label: str) -> None:
    """Make the x axis logarithmic, with short numbers such as 20k and 1M."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 6, 8)
    axes.xaxis.set_major_locator(LogLocator(subs=ticks, numticks=12))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _draw_legend(axes: Any) -> None:
    """Draw the legend inside the axes, or beside them if it has more than six entries."""
    if len(axes.get_legend_handles_labels()[1]) > 6:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    else:
        axes.legend(fontsize=7)


def _seeds_text(seeds: list[int]) -> str:
    """Return how many seeds the points of a figure have."""
    if seeds == [1]:
        return "one seed per point"
    numbers = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{numbers} seeds per point, bars are standard errors"
