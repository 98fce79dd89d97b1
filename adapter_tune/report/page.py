"""The report: one page that opens offline, and the same tables and pictures as files."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_tune import atomic
from adapter_tune.report import figures
from adapter_tune.report.collect import Collected, Run
from adapter_tune.report.grid import Grid
from adapter_tune.report.grids import best_sizes, costs, link_to, table_1

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #d0d0d0; --link: #0055aa }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181b; --line: #444; --link: #7db8ff } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 1rem;
       max-width: 72rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
a { color: var(--link) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .86rem; white-space: nowrap }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
.figures { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; flex: 1 1 22rem; max-width: 34rem }
figure img { width: 100%; background: #fff; border-radius: 4px }
figcaption, .notes { font-size: .8rem }
"""


@dataclass(frozen=True)
class Picture:
    """A figure with its name and what it shows."""

    name: str
    caption: str
    figure: Any


def write_report(found: Collected, folder: Path) -> list[Path]:
    """Write ``report.html``, every table as Markdown, LaTeX and CSV, and every figure as PNG and SVG.

    Args:
        found: the runs.
        folder: where to.

    Returns:
        The files, the page first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grids = [grid for grid in (table_1(found, folder), best_sizes(found, folder), costs(found, folder)) if grid]
    for grid in grids:
        grid.save(folder)
    images, files = [], []
    for picture in _pictures(found):
        png, svg = figures.save(picture.figure, folder / picture.name)
        images.append(_image(picture, png))
        files += [png, svg]
    page = folder / "report.html"
    atomic.write_text(page, _page(found, grids, images, folder))
    return [page, *(folder / f"{grid.name}{ending}" for grid in grids for ending in (".md", ".tex", ".csv")), *files]


def _pictures(found: Collected) -> Iterator[Picture]:
    if figure := figures.over_tasks(found):
        yield Picture(
            "over-tasks", "Score relative to full fine-tuning over tasks (the paper's Figures 1 and 3)", figure
        )
    for task in found.tasks:
        yield Picture(f"{task}-parameters", f"{task}: score against trained parameters (Figure 4)",
                      figures.trade_off(found, task))  # fmt: skip
        for x, name in (("training, s", "seconds"), ("peak memory, MiB", "memory")):
            yield Picture(f"{task}-{name}", f"{task}: score against {name}", figures.trade_off(found, task, x))
        if figure := figures.learning_curves(found, task):
            yield Picture(f"{task}-curves", f"{task}: learning curves", figure)
    if figure := figures.initialisation(found):
        yield Picture("initialisation", "Initial standard deviation (Figure 6, right)", figure)
    for ablation, _ in found.ablations:
        kind = f"-{ablation.sub_layer}" if ablation.sub_layer else ""
        run = Path(ablation.run).name
        yield Picture(f"ablation-{run}{kind}", f"{ablation.task}: adapters of spans taken out of {run} (Figure 6)",
                      figures.heatmap(ablation))  # fmt: skip


def _page(found: Collected, grids: list[Grid], images: list[str], folder: Path) -> str:
    about = (
        f"{len(found.runs)} runs of {len(found.tasks)} tasks; "
        f"backbones: {', '.join(sorted({run.result.model.id for run in found.runs}))}. Scores are of validation splits."
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>adapter-tune report</title><style>{_STYLE}</style></head><body><h1>adapter-tune report</h1>"
        f"<p>{html.escape(about)}</p>{''.join(grid.to_html() for grid in grids)}"
        f"<h2>Figures</h2><div class=figures>{''.join(images)}</div>{_runs(found.runs, folder)}</body></html>\n"
    )


def _image(picture: Picture, png: Path) -> str:
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _runs(runs: list[Run], folder: Path) -> str:
    """Every run with its seed, version and what it warned of."""
    rows = []
    for run in sorted(runs, key=lambda run: (run.task, run.label, run.result.seed)):
        link = html.escape(link_to(run.folder, folder), quote=True)
        name, notes = html.escape(run.folder.name), html.escape("; ".join(run.result.warnings))
        cells = [f'<a href="{link}">{name}</a>', html.escape(run.task), html.escape(run.label), str(run.result.seed),
                 f"{run.score:.2f}", notes]  # fmt: skip
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        "<h2>Every run</h2><div class=wide><table><thead><tr><th>run</th><th>task</th><th>method</th><th>seed</th>"
        f"<th>headline</th><th>notes</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
