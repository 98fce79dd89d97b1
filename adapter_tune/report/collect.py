"""What a report is made of: the result files under some folders, and what can be said of several of them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from adapter_tune.config.schema import parse_config
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.report.comparable import places
from adapter_tune.report.stored_config import Stored, stored
from adapter_tune.run_files.ablation_result import FILE as ABLATION
from adapter_tune.run_files.ablation_result import Ablation, read_ablation
from adapter_tune.run_files.result import FILE, Result, read_result
from adapter_tune.strategies import SIZES, described
from adapter_tune.tasks.glue import TASKS


@dataclass(frozen=True)
class Run:
    """One finished run as a report sees it."""

    result: Result
    config: Stored
    """What is read of the result's configuration, checked."""
    folder: Path
    setting: str
    """What it must share with another to be comparable: the backbone, where GLUE's data are from, how many rows."""
    task: str
    """GLUE's, or the data of the user's own."""

    @property
    def score(self) -> float:
        """The headline score, 0 to 100."""
        return 100 * self.result.headline.value

    @property
    def strategy(self) -> dict[str, Any]:
        """The section of its configuration."""
        return dict(self.result.config["strategy"])

    @property
    def size(self) -> str:
        """What is written at its point: m or n; empty where the strategy has neither."""
        return next((f"{name}={self.strategy[name]}" for name in SIZES if self.strategy.get(name) is not None), "")

    @property
    def method(self) -> str:
        """The strategy with everything but its size that differs from its defaults."""
        return described(self.strategy, SIZES)

    @property
    def label(self) -> str:
        """The strategy with its size and what differs from its defaults."""
        return described(self.strategy)

    @property
    def initialised_as_usual(self) -> str:
        """The label that it would have at the default initial deviation."""
        return described(self.strategy, ["init_std"])

    @property
    def trained(self) -> int:
        """Parameters, the head included."""
        return self.result.parameters.trained

    @property
    def trained_percent(self) -> float:
        """Of the unadapted model."""
        return self.result.parameters.trained_percent


def _but_seed(run: Run) -> str:
    """Everything that decides a run but its seed; an option that is newer than the run has its default."""
    config = json.loads(json.dumps(run.result.config))
    config.pop("output", None)
    config["training"].pop("seed")
    try:
        return parse_config(config).hash()
    except FieldError:  # an option that is no more
        return json.dumps(config, sort_keys=True)


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """Any of them."""
        return self.runs[0]

    @property
    def mean(self) -> float:
        """Of the headline scores, 0 to 100."""
        return mean(run.score for run in self.runs)

    @property
    def sem(self) -> float | None:
        """Standard error of the mean; None with one seed."""
        return stdev(run.score for run in self.runs) / len(self.runs) ** 0.5 if len(self.runs) > 1 else None

    def average(self, of: Callable[[Result], float | None]) -> float | None:
        """The mean of something else, over the runs that have it."""
        known = [value for run in self.runs if (value := of(run.result)) is not None]
        return mean(known) if known else None


@dataclass(frozen=True)
class Collected:
    """All that was found."""

    runs: list[Run]
    ablations: list[tuple[Ablation, Path]]

    def settings(self) -> dict[str, Collected]:
        """Runs that may be compared: on one backbone and the same data; by what they share."""
        by: dict[str, list[Run]] = {}
        for run in self.runs:
            by.setdefault(run.setting, []).append(run)
        return {name: Collected(runs, []) for name, runs in sorted(by.items())}

    def groups(self) -> list[Group]:
        """Runs by everything but the seed; the same run in two folders counts once."""
        by: dict[tuple[str, str, str], dict[int, Run]] = {}
        for run in self.runs:
            by.setdefault((run.setting, run.task, _but_seed(run)), {})[run.result.seed] = run
        return [Group(tuple(runs[seed] for seed in sorted(runs))) for runs in by.values()]

    def best(self) -> dict[tuple[str, str], Group]:
        """By label and task: the group with the best mean, whatever its rate, its epochs and so on."""
        out: dict[tuple[str, str], Group] = {}
        for group in self.groups():
            key = (group.first.label, group.first.task)
            if key not in out or (len(group.runs), group.mean) > (len(out[key].runs), out[key].mean):
                out[key] = group
        return out

    @property
    def tasks(self) -> list[str]:
        """In the order of GLUE's table."""
        found = {run.task for run in self.runs}
        return [name for name in TASKS if name in found] + sorted(found - set(TASKS))


def collect(folders: Iterable[Path]) -> Collected:
    """Every finished run and every ablation under the folders.

    Raises:
        UsageError: a folder is not there, or nothing is finished in any.
        RunError: a file is damaged; the message names it, and the value that cannot be used.
    """
    files: dict[Path, Path] = {}
    ablations: dict[Path, tuple[Ablation, Path]] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give folders that hold runs")
        for file in sorted(folder.rglob(FILE)):
            files[file.resolve()] = file
        for file in sorted(folder.rglob(ABLATION)):
            ablations[file.resolve()] = (read_ablation(file.parent), file.parent)
    if not files:
        raise UsageError(f"no finished run in {', '.join(map(str, folders))}; train first, or give another folder")
    found = {file.parent: read(file) for file in files.values()}
    where = places(found.values())
    runs = [Run(*one, folder, *place) for (folder, one), place in zip(found.items(), where, strict=True)]
    return Collected(runs, list(ablations.values()))


def read(file: Path) -> tuple[Result, Stored]:
    """A result, and what is read of its configuration.

    Raises:
        RunError: the file is damaged, or holds a value that cannot be used.
    """
    result = read_result(file.parent)
    try:
        return result, stored(result)
    except FieldError as error:
        where = ".".join(error.loc)
        raise RunError(f"{file}: {where} {error.problem}; mend the file or leave its folder out") from None
