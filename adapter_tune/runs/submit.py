"""The zip that GLUE's leaderboard takes: a file for each test set, from one run a task, every line checked first."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter_tune.data.rows import Row
from adapter_tune.demo.glue import VALIDATION as DEMO_ROWS
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.console import progress_bar
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_calls import run_title
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.run_files.result import is_demo, read_run
from adapter_tune.runs.predict import PREDICTION, predict_split
from adapter_tune.runs.reload import predictor
from adapter_tune.tasks.glue import get_task

log = logging.getLogger("adapter_tune")

HEADER = "index\tprediction"


@dataclass(frozen=True)
class File:
    """One file of a submission (gluebenchmark.com, FAQ)."""

    name: str
    task: str
    split: str
    rows: int
    """Of the official test set, the header aside."""
    majority: str
    """The commonest label of the official training split (STS-B: its mean); fills the file of a task without a run."""
    by_name: bool = False
    """Labels are written by name, and by id elsewhere."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that a line may have; none for STS-B's numbers."""
        names = get_task(self.task).labels
        return names if self.by_name else tuple(str(number) for number in range(len(names)))

    def label_of(self, row: Row) -> str:
        """The line's label for a predicted row."""
        if get_task(self.task).is_regression:
            return f"{min(5.0, max(0.0, row[PREDICTION])):.3f}"
        return self.labels[get_task(self.task).labels.index(row[PREDICTION])]


FILES = (
    File("CoLA", "cola", "test", 1063, "1"),
    File("SST-2", "sst2", "test", 1821, "1"),
    File("MRPC", "mrpc", "test", 1725, "1"),
    File("STS-B", "stsb", "test", 1379, "2.700"),
    File("QQP", "qqp", "test", 390_965, "0"),
    File("MNLI-m", "mnli", "test_matched", 9796, "entailment", by_name=True),
    File("MNLI-mm", "mnli", "test_mismatched", 9847, "entailment", by_name=True),
    File("QNLI", "qnli", "test", 5463, "entailment", by_name=True),
    File("RTE", "rte", "test", 3000, "entailment", by_name=True),
    File("WNLI", "wnli", "test", 146, "0"),
    File("AX", "mnli", "ax", 1104, "entailment", by_name=True),
)


def submit(
    runs: Sequence[Path], target: Path, *, allow_partial: bool = False, model: str | None = None, demo: bool = False
) -> list[list[str]]:
    """Predict every test set and write the zip file, completely or not at all.

    Args:
        runs: finished runs, one for each task: folders, or ``ORG/NAME[@revision]`` on the Hub.
        target: the zip.
        allow_partial: fill tasks without a run with the majority class, and accept test sets of other sizes.
        model: path or id of the backbone, if it has moved since training.
        demo: use the demo backbone and data; the test sets must then have the demo's sizes.

    Returns:
        A row for each file: name, task, rows, where its predictions are from.

    Raises:
        UsageError: two runs of one task, a run of a task outside GLUE, a task without a run, or an invalid target.
        RunError: a test set is not of the official size, or a line has another format than the leaderboard requires.
    """
    if target.suffix != ".zip" or target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{target}: choose a .zip file in an existing folder")
    by_task = _by_task([local_run(run) for run in runs], allow_partial)
    texts = {}
    table = []
    for file in FILES:
        folder = by_task.get(file.task)
        official_rows = DEMO_ROWS if demo or (folder is not None and is_demo(folder)) else file.rows
        labels = [] if folder is None else _predicted(file, folder, model, demo, allow_partial)
        if folder is not None and labels:
            source = run_title(folder)
            _check_row_count(file, len(labels), official_rows, allow_partial)
        else:
            source = "majority class: no run" if folder is None else "majority class: no test set"
            labels = [file.majority] * official_rows
        texts[f"{file.name}.tsv"] = _checked(file, labels)
        table.append([file.name, file.task, f"{len(labels):,}", source])
    with atomic_files.new_file(target) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # no dates: the same zip every time
    return table


def _check_row_count(file: File, count: int, official_rows: int, allow_partial: bool) -> None:
    """Refuse a test set of another size than the official one, or only log it if that is allowed."""
    if count == official_rows:
        return
    problem = f"{file.name}: the test set has {count:,} rows, the official one {official_rows:,}"
    if not allow_partial:
        raise RunError(f"{problem}; use the official test set, or accept this one with --allow-partial")
    log.info("%s", problem)


def _by_task(runs: Sequence[Path], allow_partial: bool) -> dict[str, Path]:
    """The run of each task."""
    tasks = dict.fromkeys(file.task for file in FILES)
    folders: dict[str, Path] = {}
    for folder in runs:
        task = read_run(folder).task
        if task not in tasks:
            raise UsageError(
                f"{run_title(folder)} is a run of task {task}, which the leaderboard does not have; remove it"
            )
        if task in folders:
            raise UsageError(f"two runs of {task}: {run_title(folders[task])} and {run_title(folder)}; give only one")
        folders[task] = folder
    missing = [task for task in tasks if task not in folders]
    if missing and not allow_partial:
        raise UsageError(
            f"no run for {', '.join(missing)}; add a run for each, or use --allow-partial to predict "
            "the majority class for them"
        )
    return folders


def _predicted(file: File, folder: Path, model: str | None, demo: bool, allow_partial: bool) -> list[str]:
    """The file's labels; none where a diagnostic set is not served and that is allowed."""
    ready = predictor(folder, model=model, demo=demo)
    try:
        rows = predict_split(ready, file.split)
        return [file.label_of(row) for row in progress_bar(rows, file.name)]
    except RunError as error:
        if not allow_partial or file.split not in get_task(file.task).diagnostic:
            raise
        log.info("%s: %s", file.name, error)
        return []


def _checked(file: File, labels: list[str]) -> str:
    """The file's text, every line held against what the leaderboard takes."""
    for index, label in enumerate(labels):
        is_valid = label in file.labels if file.labels else 0 <= float(label) <= 5
        if not is_valid:
            raise RunError(
                f"{file.name}, index {index}: '{label}' is not a label of {file.task}; please report this bug"
            )
    lines = [f"{index}\t{label}" for index, label in enumerate(labels)]
    return "\n".join([HEADER, *lines, ""])
