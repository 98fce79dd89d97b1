"""The finished runs and ablations under some folders, and the runs in groups that differ only in their seed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.report.comparable import settings_and_tasks
from adapter_tune.report.stored_config import StoredConfig, parse_stored_config
from adapter_tune.run_files import ablation_result
from adapter_tune.run_files.ablation_result import Ablation, read_ablation
from adapter_tune.run_files.result import FILE, ImportedRun, Result, read_result, read_run
from adapter_tune.strategies import SIZES, described
from adapter_tune.tasks.glue import TASKS

log = logging.getLogger("adapter_tune")


@dataclass(frozen=True)
class Run:
    """One finished run."""

    result: Result
    config: StoredConfig
    """The part of its configuration that a report reads."""
    folder: Path
    setting: str
    """The backbone, the source of GLUE's data and the number of rows; runs are comparable if these are equal."""
    task: str
    """A task of GLUE, or the name of the user's own data."""

    @property
    def score(self) -> float:
        """The headline score, 0 to 100."""
        return 100 * self.result.headline.value

    @property
    def strategy(self) -> dict[str, Any]:
        """The ``strategy`` section of its configuration."""
        return dict(self.result.config["strategy"])

    @property
    def size(self) -> str:
        """The strategy's m or n, as in ``m=64``; empty if it has neither."""
        for name in SIZES:
            if self.strategy.get(name) is not None:
                return f"{name}={self.strategy[name]}"
        return ""

    @property
    def method(self) -> str:
        """The strategy with the options that differ from their defaults, without its size."""
        return self._described(SIZES)

    @property
    def label(self) -> str:
        """The strategy with its size and the options that differ from their defaults."""
        return self._described()

    @property
    def label_at_default_init(self) -> str:
        """The label without the initial standard deviation of the adapters."""
        return self._described(["init_std"])

    def _described(self, without: Collection[str] = ()) -> str:
        """The strategy in a few words; a run that another one starts from makes a method of its own."""
        origin = self.result.config.get("init_from", {}).get("run")
        return described(self.strategy, without) + (f" from {Path(origin).name}" if origin else "")

    @property
    def trained(self) -> int:
        """Number of trained parameters, the head included."""
        return self.result.parameters.trained

    @property
    def trained_percent(self) -> float:
        """Trained parameters in percent of the unadapted model's."""
        return self.result.parameters.trained_percent


def _key_without_seed(run: Run) -> str:
    """Return a key of a run's configuration without its seed; options that are newer than the run have defaults."""
    config = json.loads(json.dumps(run.result.config))
    config.pop("output", None)
    config["training"].pop("seed")
    try:
        return resolved(parse_config(config)).hash()
    except FieldError:  # an option that no longer exists
        return json.dumps(config, sort_keys=True)


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run with the lowest seed."""
        return self.runs[0]

    @property
    def mean(self) -> float:
        """Mean of the headline scores, 0 to 100."""
        return mean(run.score for run in self.runs)

    @property
    def sem(self) -> float | None:
        """Standard error of the mean; None with one seed."""
        if len(self.runs) == 1:
            return None
        sem: float = stdev(run.score for run in self.runs) / len(self.runs) ** 0.5
        return sem

    def average(self, value_of: Callable[[Result], float | None]) -> float | None:
        """Return the mean of a value of the results, over the runs that have it; None if no run has it."""
        values = [value_of(run.result) for run in self.runs]
        known = [value for value in values if value is not None]
        if not known:
            return None
        return mean(known)


@dataclass(frozen=True)
class Collected:
    """Finished runs and ablations."""

    runs: list[Run]
    ablations: list[Ablation]

    def settings(self) -> dict[str, Collected]:
        """Return the runs by setting: those with one backbone and the same data, which may be compared."""
        runs_by_setting: dict[str, list[Run]] = {}
        for run in self.runs:
            runs_by_setting.setdefault(run.setting, []).append(run)
        return {setting: Collected(runs, []) for setting, runs in sorted(runs_by_setting.items())}

    def groups(self) -> list[Group]:
        """Return the runs in groups that differ only in the seed; the same run in two folders counts once."""
        groups: dict[tuple[str, str, str], dict[int, Run]] = {}
        for run in self.runs:
            key = (run.setting, run.task, _key_without_seed(run))
            groups.setdefault(key, {})[run.result.seed] = run
        result = []
        for runs_by_seed in groups.values():
            runs = tuple(runs_by_seed[seed] for seed in sorted(runs_by_seed))
            result.append(Group(runs))
        return result

    def best(self) -> dict[tuple[str, str], Group]:
        """Return by label and task the group with the most seeds and, among these, the best mean.

        Groups with the same label may differ in learning rate, epochs and the like.
        """
        best: dict[tuple[str, str], Group] = {}
        for group in self.groups():
            key = (group.first.label, group.first.task)
            if key not in best or (len(group.runs), group.mean) > (len(best[key].runs), best[key].mean):
                best[key] = group
        return best

    @property
    def tasks(self) -> list[str]:
        """The tasks of GLUE in the order of its table, then the user's own data by name."""
        tasks = {run.task for run in self.runs}
        return [task for task in TASKS if task in tasks] + sorted(tasks - set(TASKS))


def collect(folders: Iterable[Path]) -> Collected:
    """Return every finished run and every ablation under the folders.

    Raises:
        UsageError: a folder does not exist, or there is no finished run in any of them.
        RunError: a file is damaged, or a value in it cannot be used; the message names both.
    """
    files: dict[Path, Path] = {}
    ablations: dict[Path, Ablation] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give folders with finished runs")
        for file in sorted(folder.rglob(FILE)):
            files[file.resolve()] = file
        for file in sorted(folder.rglob(ablation_result.FILE)):
            ablations[file.resolve()] = read_ablation(file.parent)
    if not files:
        raise UsageError(f"no finished run in {', '.join(map(str, folders))}; train first, or choose another folder")
    results = {file.parent: _read(file) for file in files.values() if not _is_imported(file.parent)}
    if not results:
        raise UsageError(
            f"{', '.join(map(str, folders))}: only imported runs, which have no scores; 'eval' computes them"
        )
    runs = []
    for folder, (setting, task) in zip(results, settings_and_tasks(results.values()), strict=True):
        result, config = results[folder]
        runs.append(Run(result, config, folder, setting, task))
    return Collected(runs, list(ablations.values()))


def _is_imported(folder: Path) -> bool:
    """Whether a run was imported, so that it has no scores to report; the log says so."""
    record = read_run(folder)
    if not isinstance(record, ImportedRun):
        return False
    log.warning("%s was imported (%s), so it has no scores to report; it is left out", folder, record.imported_from)
    return True


def _read(file: Path) -> tuple[Result, StoredConfig]:
    """Return a result, and the part of its configuration that a report reads.

    Raises:
        RunError: the file is damaged, or a value in it cannot be used.
    """
    result = read_result(file.parent)
    try:
        return result, parse_stored_config(result)
    except FieldError as error:
        key = ".".join(error.loc)
        raise RunError(f"{file}: {key} {error.problem}; fix the file, or do not include its folder") from None
