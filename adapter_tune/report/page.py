"""The report: one page that opens offline, and the same tables and figures as files."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.unique_names import NamedItem, file_names, shortest_unique_names
from adapter_tune.report import figures
from adapter_tune.report.collect import Collected
from adapter_tune.report.report_tables import best_sizes, costs, every_run, table_1
from adapter_tune.report.table import Grid
from adapter_tune.run_files.ablation_result import Ablation

_COSTS = (
    ("trained parameters", "parameters", "trained parameters (Figure 4)"),
    ("training, s", "seconds", "seconds"),
    ("peak memory, MiB", "memory", "memory"),
)
"""The x axis of a figure, the word in its file's name, and the words in its caption."""


@dataclass(frozen=True)
class Picture:
    """A figure, the stem of its files, and its caption."""

    stem: str
    caption: str
    figure: Any


@dataclass(frozen=True)
class Image:
    """A saved figure as it is embedded in the page."""

    caption: str
    png: str
    """The contents of the PNG file in base64."""


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    title: str
    tables: list[Grid]
    images: list[Image]
    folded: Grid | None = None
    """A table that is shown on a click."""


def write_report(collected: Collected, folder: Path) -> list[Path]:
    """Write ``report.html``, every table as Markdown, LaTeX and CSV, and every figure as PNG and SVG.

    Args:
        collected: the runs.
        folder: the folder to write to.

    Returns:
        The files, the page first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    sections = []
    settings = collected.settings()
    subfolders = file_names({title: _slug(title) for title in settings})
    for title, runs in settings.items():
        target = folder / subfolders[title] if len(settings) > 1 else folder
        target.mkdir(exist_ok=True)
        cost_table = costs(runs, folder)
        tables = [grid for grid in (table_1(runs, folder), best_sizes(runs, folder)) if grid is not None]
        for grid in (*tables, cost_table):
            files += grid.save(target)
        images = _save_pictures(_pictures(runs), target, files)
        sections.append(Section(title, tables, images, cost_table))
    heatmaps = _save_pictures(_heatmaps(collected), folder, files)
    if heatmaps:
        sections.append(Section("Adapters removed", [], heatmaps))
    page = folder / "report.html"
    run_table = every_run(collected, folder)
    files += run_table.save(folder)
    html = page_template().render(about=_about(collected), sections=sections, runs=run_table)
    atomic_files.write_text(page, html + "\n")
    return [page, *files]


def page_template() -> Template:
    """Return the template of the page; every value in it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"))


def _save_pictures(pictures: Iterable[Picture], folder: Path, files: list[Path]) -> list[Image]:
    """Write pictures into a folder, add their files to ``files``, and return them as they are embedded in the page."""
    images = []
    for picture in pictures:
        png, svg = figures.save(picture.figure, folder / picture.stem)
        images.append(Image(picture.caption, base64.b64encode(png.read_bytes()).decode("ascii")))
        files += [png, svg]
    return images


def _slug(name: str) -> str:
    """Return a name as the part of a file's name: hyphens stand for everything but letters, digits and full stops."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name.replace(",", ""))


def _pictures(collected: Collected) -> Iterator[Picture]:
    """Yield the figures of runs that may be compared."""
    figure = figures.over_tasks(collected)
    if figure is not None:
        caption = "Score relative to full fine-tuning over tasks (the paper's Figures 1 and 3)"
        yield Picture("over-tasks", caption, figure)
    stems = file_names({task: _slug(task) for task in collected.tasks})
    for task, stem in stems.items():
        for x, word, description in _COSTS:
            figure = figures.trade_off(collected, task, x)
            if figure is not None:
                yield Picture(f"{stem}-{word}", f"{task}: score against {description}", figure)
        figure = figures.learning_curves(collected, task)
        if figure is not None:
            yield Picture(f"{stem}-curves", f"{task}: learning curves", figure)
    figure = figures.initialisation(collected)
    if figure is not None:
        yield Picture("initialisation", "Initial standard deviation (Figure 6, right)", figure)


def _heatmaps(collected: Collected) -> Iterator[Picture]:
    """Yield the heatmap of each ablation."""
    ablations = {str(number): ablation for number, ablation in enumerate(collected.ablations)}
    names = shortest_unique_names(NamedItem(key, _ablation_names(ablation)) for key, ablation in ablations.items())
    stems = file_names({key: f"ablation-{name}" for key, name in names.items()})
    for key, ablation in ablations.items():
        caption = f"{ablation.task}: score of {names[key]} without the adapters of a range of layers (Figure 6)"
        yield Picture(stems[key], caption, figures.heatmap(ablation))


def _ablation_names(ablation: Ablation) -> tuple[str, ...]:
    """Return the names of an ablation, from the shortest to the most exact one."""
    suffix = f"-{ablation.sub_layer}" if ablation.sub_layer else ""
    short = f"{Path(ablation.run).name}{suffix}"
    full = f"{ablation.run.strip('/')}{suffix}"
    return short, f"{short}-{ablation.split}", full, f"{full}-{ablation.split}"


def _about(collected: Collected) -> str:
    """Return the first paragraph of the page."""
    backbones = ", ".join(sorted({run.result.model.id for run in collected.runs}))
    return (
        f"Runs: {len(collected.runs)}; tasks: {len(collected.tasks)}; backbones: {backbones}. "
        "Scores are on validation splits. Runs with another backbone, other data or another number of rows are not "
        "comparable, so each such setting has its own section."
    )
