"""The tables of a report: scores and parameters, best sizes, costs, every run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from adapter_tune.report import paper
from adapter_tune.report.collect import Collected, Group, Run
from adapter_tune.report.table import Cell, Grid
from adapter_tune.run_files.result import Result

_SCORE_NOTE = (
    "a score is the mean over seeds, with its standard error and the number of seeds; it links to a run folder"
)
_TABLE_1_NOTES = [
    _SCORE_NOTE,
    "headline scores on the validation split, x 100; if a method has several settings, the best mean is shown",
    "a mean is over the given number of tasks; means over different tasks are not comparable",
    paper.NOTE,
]


def table_1(collected: Collected, folder: Path) -> Grid:
    """Return the paper's Table 1: total parameters of all tasks, trained parameters and score of each task.

    Args:
        collected: the runs.
        folder: the report's folder, which links start from.
    """
    tasks = collected.tasks
    columns = []
    for task in tasks:
        columns += ["mnli", "mnli_mm"] if task == "mnli" else [task]
    best = collected.best()
    labels = _sorted_labels({label for label, _ in best})
    rows = []
    for label in labels:
        groups = {task: best[label, task] for task in tasks if (label, task) in best}
        rows.append(_table_1_row(label, groups, tasks, folder))
    adapter_indices = [index for index, label in enumerate(labels) if _is_plain_houlsby(label)]
    if len(adapter_indices) > 1:
        row = _table_1_row("houlsby, best size for each task", _best_size_by_task(collected), tasks, folder)
        rows.insert(adapter_indices[0], row)
    rows += [_paper_row(method, columns) for method in paper.TABLE_1]
    header = ["", "total parameters", "trained per task", *columns, "mean"]
    return Grid("table-1", "Scores and parameters (the paper's Table 1)", header, rows, _TABLE_1_NOTES)


def _best_size_by_task(collected: Collected) -> dict[str, Group]:
    """Return for each task the paper's adapter with the best mean over all sizes."""
    best: dict[str, Group] = {}
    for (label, task), group in collected.best().items():
        if _is_plain_houlsby(label) and (task not in best or group.mean > best[task].mean):
            best[task] = group
    return best


def _table_1_row(label: str, groups: dict[str, Group], tasks: list[str], folder: Path) -> list[Cell]:
    shares = [group.first.trained_percent / 100 for group in groups.values()]
    shares_backbone = all(group.first.strategy["name"] != "full" for group in groups.values())
    total = sum(shares) + (1 if shares_backbone else 0)
    cells = []
    for task in tasks:
        cells.append(score_cell(groups[task], folder) if task in groups else Cell(""))
        if task == "mnli":
            mismatched = groups[task].average(_mismatched_accuracy) if task in groups else None
            cells.append(Cell("" if mismatched is None else f"{100 * mismatched:.1f}"))
    average = mean(group.mean for group in groups.values())
    mean_text = f"{average:.1f} ({len(groups)} {'task' if len(groups) == 1 else 'tasks'})"
    return [Cell(label), Cell(f"{total:.2f}x"), Cell(f"{100 * mean(shares):.2f} %"), *cells, Cell(mean_text)]


def _paper_row(method: str, columns: list[str]) -> list[Cell]:
    total, trained, scores = paper.TABLE_1[method]
    score_by_column = dict(zip(paper.COLUMNS, scores, strict=True))
    score_texts = [f"{score_by_column[column]:.1f}" if column in score_by_column else "" for column in columns]
    return [Cell(text) for text in (f"{method} (paper)", total, trained, *score_texts, "")]


def score_cell(group: Group, folder: Path) -> Cell:
    """Return a cell with the mean score, its standard error and the number of seeds; it links to the first run."""
    sem = "" if group.sem is None else f" ± {group.sem:.1f}"
    return Cell(f"{group.mean:.1f}{sem} ({len(group.runs)})", relative_link(group.first.folder, folder))


def relative_link(target: Path, folder: Path) -> str:
    """Return a relative link to a target from a report's folder."""
    return Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix()


def best_sizes(collected: Collected, folder: Path) -> Grid | None:
    """Return the best bottleneck size of each task; None if no task has runs with two sizes."""
    rows = []
    best_groups = collected.best()
    for task in collected.tasks:
        groups = [group for (label, of), group in best_groups.items() if of == task and _is_plain_houlsby(label)]
        groups.sort(key=lambda group: group.mean, reverse=True)
        if len(groups) > 1:
            best = groups[0]
            others = ", ".join(f"{group.first.size} {group.mean:.1f}" for group in groups[1:])
            rows.append([Cell(task), Cell(best.first.size), score_cell(best, folder), Cell(others)])
    if not rows:
        return None
    return Grid("best-sizes", "The best size of each task", ["", "best", "score", "others"], rows, [_SCORE_NOTE])


def costs(collected: Collected, folder: Path) -> Grid:
    """Return what each method costs: trained parameters, training time, speed, memory, size on disk."""
    rows = []
    for (label, task), group in sorted(collected.best().items(), key=_task_and_size):
        rows.append(
            [
                Cell(task),
                Cell(label),
                Cell(f"{group.first.trained:,}"),
                _average_cell(group, lambda result: result.speed.train_seconds, "{:,.1f}"),
                _average_cell(group, lambda result: result.speed.train_examples_per_second, "{:,.0f}"),
                _average_cell(group, lambda result: result.speed.eval_examples_per_second, "{:,.0f}"),
                _average_cell(group, lambda result: _mebibytes(result.speed.peak_memory_bytes), "{:,.0f}"),
                _average_cell(group, lambda result: _mebibytes(result.storage.adapter_bytes), "{:,.2f}"),
                score_cell(group, folder),
            ]
        )
    header = [
        "task",
        "method",
        "trained",
        "training, s",
        "examples/s",
        "evaluation, examples/s",
        "peak memory, MiB",
        "saved, MiB",
        "score",
    ]
    return Grid("costs", "What each method costs", header, rows, [_SCORE_NOTE])


def _task_and_size(item: tuple[tuple[str, str], Group]) -> tuple[str, int]:
    """Return the sort key of a row of ``costs``: by task, the methods with the most trained parameters first."""
    (_, task), group = item
    return task, -group.first.trained


def _average_cell(group: Group, value_of: Callable[[Result], float | None], number_format: str) -> Cell:
    average = group.average(value_of)
    return Cell("-" if average is None else number_format.format(average))


def every_run(collected: Collected, folder: Path) -> Grid:
    """Return a row for each run: its settings, its score, its cost and its warnings."""
    rows = []
    for run in sorted(collected.runs, key=lambda run: (run.setting, run.task, run.label, run.result.seed)):
        result = run.result
        seconds = result.speed.train_seconds
        texts = [
            run.setting,
            run.task,
            run.label,
            str(result.seed),
            f"{run.config.training.learning_rate:g}",
            _epochs(run),
            f"{run.trained:,}",
            "-" if seconds is None else f"{seconds:,.1f}",
            result.speed.precision,
            result.headline.metric,
            f"{run.score:.2f}",
            "; ".join(result.warnings),
        ]
        rows.append([Cell(run.folder.name, relative_link(run.folder, folder)), *map(Cell, texts)])
    header = [
        "run",
        "setting",
        "task",
        "method",
        "seed",
        "learning rate",
        "epochs",
        "trained",
        "training, s",
        "precision",
        "metric",
        "score",
        "notes",
    ]
    return Grid("runs", "Every run", header, rows)


def _epochs(run: Run) -> str:
    """Return how many epochs a run was trained.

    The history has the number. Without one it is the configured number, unless steps or early stopping end the run.
    """
    epochs = [entry["epoch"] for entry in run.result.history if "epoch" in entry]
    if epochs:
        return f"{max(epochs):g}"
    training = run.config.training
    return "-" if training.max_steps or training.early_stopping else f"{training.epochs:g}"


def _mismatched_accuracy(result: Result) -> float | None:
    return result.scores.get("validation_mismatched", {}).get("accuracy")


def _mebibytes(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def _is_plain_houlsby(label: str) -> bool:
    """Return whether a label is that of the paper's adapter, with only its size given."""
    words = label.split()
    return words[0] == "houlsby" and len(words) == 2


def _sorted_labels(labels: set[str]) -> list[str]:
    """Return the labels in the order of a table: full fine-tuning, the paper's adapter by size, the rest by name."""

    def key(label: str) -> tuple[int, str, int, str]:
        name, _, options = label.partition(" ")
        digits = "".join(letter for letter in options if letter.isdigit())
        size = int(digits or 0)
        if name == "full":
            return 0, name, 0, label
        if _is_plain_houlsby(label):
            return 1, name, size, label
        return 2, name, size if name == "top_n" else 0, label

    return sorted(labels, key=key)
