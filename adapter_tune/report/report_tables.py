"""The tables of a report."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean

from adapter_tune.report.collect import Collected, Group, Run
from adapter_tune.report.paper import COLUMNS, DIFFERS, TABLE_1
from adapter_tune.report.table import Cell, Grid
from adapter_tune.run_files.result import Result

_NOTES = [
    "headline scores on the validation split, x 100; of several settings of one method the best mean is shown",
    "means over other sets of tasks are not comparable; the number of tasks stands behind each",
]
_SEM = "a score is the mean over seeds, with its standard error and their number; each leads to a run's folder"


def table_1(found: Collected, folder: Path) -> Grid:
    """Table 1's layout: what all tasks cost together, what one trains, and a column a task."""
    best, tasks = found.best(), found.tasks
    columns = [column for task in tasks for column in ((task, "mnli_mm") if task == "mnli" else (task,))]
    labels = _ordered({label for label, _ in best})
    rows = [_row(label, {task: best[label, task] for task in tasks if (label, task) in best}, tasks, folder)
            for label in labels]  # fmt: skip
    sizes = {task: max((g for (label, of), g in best.items() if of == task and _is_plain(label)), default=None,
                       key=lambda g: g.mean) for task in tasks}  # fmt: skip
    if sum(map(_is_plain, labels)) > 1:
        chosen = {task: group for task, group in sizes.items() if group is not None}
        at = next((i for i, label in enumerate(labels) if _is_plain(label)), 0)
        rows.insert(at, _row("houlsby, best size by task", chosen, tasks, folder))
    for name, (total, trained, scores) in TABLE_1.items():
        by_task = dict(zip(COLUMNS, scores, strict=True))
        cells = [f"{by_task[task]:.1f}" if task in by_task else "" for task in columns]
        rows.append([Cell(text) for text in (f"{name} (paper)", total, trained, *cells, "")])
    header = ["", "total parameters", "trained a task", *columns, "mean"]
    return Grid("table-1", "Scores and parameters (the paper's Table 1)", header, rows, [_SEM, *_NOTES, DIFFERS])


def _row(label: str, groups: dict[str, Group], tasks: list[str], folder: Path) -> list[Cell]:
    shares = [group.first.trained_percent / 100 for group in groups.values()]
    keeps_backbone = all(group.first.strategy["name"] != "full" for group in groups.values())
    total = keeps_backbone + sum(shares)
    cells = []
    for task in tasks:
        cells.append(scored(groups[task], folder) if task in groups else Cell(""))
        if task == "mnli":
            other = groups[task].average(_mismatched) if task in groups else None
            cells.append(Cell("" if other is None else f"{100 * other:.1f}"))
    average = mean(group.mean for group in groups.values())
    text = f"{average:.1f} ({len(groups)} {'task' if len(groups) == 1 else 'tasks'})"
    return [Cell(label), Cell(f"{total:.2f}x"), Cell(f"{100 * mean(shares):.2f} %"), *cells, Cell(text)]


def scored(group: Group, folder: Path) -> Cell:
    """A score with what is known of it, leading to the first run's folder."""
    sem = "" if group.sem is None else f" ± {group.sem:.1f}"
    return Cell(f"{group.mean:.1f}{sem} ({len(group.runs)})", link_to(group.first.folder, folder))


def link_to(target: Path, folder: Path) -> str:
    """A relative link from a report's folder."""
    return Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix()


def best_sizes(found: Collected, folder: Path) -> Grid | None:
    """The best bottleneck size of each task; None where there is one size only."""
    plain = {key: group for key, group in found.best().items() if _is_plain(key[0])}
    rows = []
    for task in found.tasks:
        groups = sorted((g for (_, of), g in plain.items() if of == task), key=lambda g: g.mean, reverse=True)
        if len(groups) > 1:
            first = groups[0]
            rest = ", ".join(f"{g.first.size} {g.mean:.1f}" for g in groups[1:])
            rows.append([Cell(task), Cell(first.first.size), scored(first, folder), Cell(rest)])
    return (
        Grid("best-sizes", "The best size of each task", ["", "best", "score", "others"], rows, [_SEM])
        if rows
        else None
    )


def costs(found: Collected, folder: Path) -> Grid:
    """What each method costs: trained parameters, seconds, memory, size on the disk."""
    rows = []
    for (label, task), group in sorted(found.best().items(), key=lambda item: (item[0][1], -item[1].first.trained)):
        values: list[tuple[str, float | None]] = [
            ("{:,.1f}", group.average(lambda r: r.speed.train_seconds)),
            ("{:,.0f}", group.average(lambda r: r.speed.train_examples_per_second)),
            ("{:,.0f}", group.average(lambda r: r.speed.eval_examples_per_second)),
            ("{:,.0f}", _mib(group, _peak)),
            ("{:,.2f}", _mib(group, lambda r: r.storage.adapter_bytes)),
        ]
        cells = ["-" if value is None else text.format(value) for text, value in values]
        trained = f"{group.first.trained:,}"
        rows.append([Cell(task), Cell(label), Cell(trained), *map(Cell, cells), scored(group, folder)])
    header = ["task", "method", "trained", "training, s", "examples/s", "evaluating, examples/s", "peak memory, MiB",
              "saved, MiB", "score"]  # fmt: skip
    return Grid("costs", "What each method costs", header, rows, [_SEM])


def every_run(found: Collected, folder: Path) -> Grid:
    """Each run with what tells it from the others, what it scored and cost, and what it warned of."""
    rows = []
    for run in sorted(found.runs, key=lambda run: (run.setting, run.task, run.label, run.result.seed)):
        r, seconds = run.result, run.result.speed.train_seconds
        cells = [run.setting, run.task, run.label, str(r.seed), f"{run.config.training.learning_rate:g}",
                 _epochs(run), f"{run.trained:,}", "-" if seconds is None else f"{seconds:,.1f}",
                 r.speed.precision, r.headline.metric, f"{run.score:.2f}", "; ".join(r.warnings)]  # fmt: skip
        rows.append([Cell(run.folder.name, link_to(run.folder, folder)), *map(Cell, cells)])
    header = ["run", "setting", "task", "method", "seed", "learning rate", "epochs", "trained", "training, s",
              "precision", "metric", "score", "notes"]  # fmt: skip
    return Grid("runs", "Every run", header, rows)


def _epochs(run: Run) -> str:
    """Passes over the training rows that were made: as written down, or as configured where nothing could end them."""
    if made := [entry["epoch"] for entry in run.result.history if "epoch" in entry]:
        return f"{max(made):g}"
    training = run.config.training
    return "-" if training.max_steps or training.early_stopping else f"{training.epochs:g}"


def _mismatched(result: Result) -> float | None:
    return result.scores.get("validation_mismatched", {}).get("accuracy")


def _peak(result: Result) -> float | None:
    return result.speed.peak_memory_bytes


def _mib(group: Group, of: object) -> float | None:
    value = group.average(of)  # type: ignore[arg-type]
    return None if value is None else value / 2**20


def _is_plain(label: str) -> bool:
    """The paper's adapter, whose size is all that varies."""
    words = label.split()
    return words[0] == "houlsby" and len(words) == 2


def _ordered(labels: set[str]) -> list[str]:
    """full, adapters by size, the rest by name."""

    def key(label: str) -> tuple[int, str, int]:
        first, _, rest = label.partition(" ")
        digits = "".join(letter for letter in rest if letter.isdigit())
        rank = 0 if first == "full" else 1 if _is_plain(label) else 2
        return rank, first, int(digits or 0) if rank == 1 or first == "top_n" else 0

    return sorted(labels, key=lambda label: (key(label), label))
