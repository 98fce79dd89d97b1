"""The report: one page that opens offline, and the same tables and pictures as files."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_tune.foundation import atomic_files
from adapter_tune.report import figures
from adapter_tune.report.collect import Collected
from adapter_tune.report.report_tables import best_sizes, costs, every_run, table_1
from adapter_tune.report.table import Grid
from adapter_tune.report.unique_names import NamedItem, file_names, shortest_unique_names
from adapter_tune.run_files.ablation_result import Ablation

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #d0d0d0; --link: #0055aa }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181b; --line: #444; --link: #7db8ff } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 1rem;
       max-width: 88rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.3rem; margin-top: 2.6rem } h3 { font-size: 1.05rem; margin-top: 2rem }
a { color: var(--link) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .86rem; white-space: nowrap }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
details { margin-top: 1.5rem } summary { cursor: pointer; font-weight: 600 }
.figures { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; flex: 1 1 22rem; max-width: 34rem }
figure img { width: 100%; background: #fff; border-radius: 4px }
figcaption, .notes { font-size: .8rem }
"""

_COSTS = (
    ("trained parameters", "parameters", "trained parameters (Figure 4)"),
    ("training, s", "seconds", "seconds"),
    ("peak memory, MiB", "memory", "memory"),
)
"""The x axis of a figure, the word in its file's name, and in its caption."""


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
    settings, sections, files = found.settings(), [], list[Path]()
    places = file_names({name: _slug(name) for name in settings})
    for name, part in settings.items():
        place = folder / places[name] if len(settings) > 1 else folder
        place.mkdir(exist_ok=True)
        grids = [grid for grid in (table_1(part, folder), best_sizes(part, folder), costs(part, folder)) if grid]
        for grid in grids:
            files += grid.save(place)
        images = _saved(_pictures(part), place, files)
        first, last = "".join(grid.to_html() for grid in grids[:-1]), _folded(grids[-1].title, grids[-1].to_html())
        sections.append(f"<h2>{html.escape(name)}</h2>{first}<div class=figures>{''.join(images)}</div>{last}")
    heatmaps = _saved(_heatmaps(found), folder, files)
    if heatmaps:
        sections.append(f"<h2>Layers taken out</h2><div class=figures>{''.join(heatmaps)}</div>")
    page = folder / "report.html"
    runs = every_run(found, folder)
    files += runs.save(folder)
    atomic_files.write_text(page, _page(found, sections, runs))
    return [page, *files]


def _saved(pictures: Iterator[Picture], place: Path, files: list[Path]) -> list[str]:
    """Pictures written into a folder, and as they stand in the page."""
    images = []
    for picture in pictures:
        png, svg = figures.save(picture.figure, place / picture.name)
        images.append(_image(picture, png))
        files += [png, svg]
    return images


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name.replace(",", ""))


def _pictures(found: Collected) -> Iterator[Picture]:
    if figure := figures.over_tasks(found):
        yield Picture(
            "over-tasks", "Score relative to full fine-tuning over tasks (the paper's Figures 1 and 3)", figure
        )
    stems = file_names({task: _slug(task) for task in found.tasks})
    for task, stem in stems.items():
        for x, name, what in _COSTS:
            if figure := figures.trade_off(found, task, x):
                yield Picture(f"{stem}-{name}", f"{task}: score against {what}", figure)
        if figure := figures.learning_curves(found, task):
            yield Picture(f"{stem}-curves", f"{task}: learning curves", figure)
    if figure := figures.initialisation(found):
        yield Picture("initialisation", "Initial standard deviation (Figure 6, right)", figure)


def _heatmaps(found: Collected) -> Iterator[Picture]:
    ablations = {str(number): ablation for number, (ablation, _) in enumerate(found.ablations)}
    names = shortest_unique_names(NamedItem(key, _names(ablation)) for key, ablation in ablations.items())
    stems = file_names({key: f"ablation-{name}" for key, name in names.items()})
    for key, ablation in ablations.items():
        caption = f"{ablation.task}: adapters of spans taken out of {names[key]} (Figure 6)"
        yield Picture(stems[key], caption, figures.heatmap(ablation))


def _names(ablation: Ablation) -> tuple[str, ...]:
    kind = f"-{ablation.sub_layer}" if ablation.sub_layer else ""
    short, whole = f"{Path(ablation.run).name}{kind}", f"{ablation.run.strip('/')}{kind}"
    return short, f"{short}-{ablation.split}", whole, f"{whole}-{ablation.split}"


def _page(found: Collected, sections: list[str], runs: Grid) -> str:
    backbones = ", ".join(sorted({run.result.model.id for run in found.runs}))
    about = (
        f"{len(found.runs)} runs of {len(found.tasks)} tasks; backbones: {backbones}. Scores are of validation splits. "
        "Runs on other backbones, other data or other numbers of rows are not comparable, and stand apart."
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>adapter-tune report</title><style>{_STYLE}</style></head><body><h1>adapter-tune report</h1>"
        f"<p>{html.escape(about)}</p>{''.join(sections)}{_folded(runs.title, runs.to_html())}</body></html>\n"
    )


def _image(picture: Picture, png: Path) -> str:
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )
