"""Pictures: colours that the colour-blind can tell apart, names and units on the axes; PNG and SVG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from adapter_tune.ablation import Ablation


def save(figure: Any, stem: Path) -> list[Path]:
    """Write a figure as ``stem.png`` and ``stem.svg``."""
    import matplotlib.pyplot as plt

    files = [stem.with_suffix(ending) for ending in (".png", ".svg")]
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
