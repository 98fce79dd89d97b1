"""The runs of a sweep and their states: an Optuna study, in which every run is a trial, on one machine or many."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from adapter_tune.config.schema import DataConfig
from adapter_tune.run_files.result import FILE
from adapter_tune.sweeps.cell_keys import CellKeys
from adapter_tune.sweeps.cells import cells
from adapter_tune.sweeps.search_space import make_sampler, suggest
from adapter_tune.sweeps.spec import Sweep, Values
from adapter_tune.sweeps.storage import open_study
from adapter_tune.sweeps.trial_attributes import (
    cell_attributes,
    cell_of,
    error_of,
    is_repeat,
    is_surplus,
    is_worker_dead,
    requeue,
    set_cell,
    set_surplus,
    set_waiting_surplus,
    set_worker,
    values_of,
)

log = logging.getLogger("adapter_tune")

_MAX_CONSECUTIVE_REPEATS = 50
"""A search ends after this many draws in a row that gave a cell that was drawn before."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: numbers of runs, and the best score so far."""

    total: int
    waiting: int
    running: int
    done: int
    pruned: int
    failed: int
    best: float | None


class SweepStudy:
    """The Optuna study of a sweep.

    Args:
        sweep: the sweep.
        folder: the sweep's folder; it has the default storage.
        storage: a storage URL of Optuna (``postgresql://...``), or ``journal:FILE``; None for SQLite in the folder.
        custom_data: data sections that were resolved before, as in ``resolve_run``; new ones are added.

    Raises:
        UsageError: the storage is not a URL.
        RunError: the storage cannot be opened.
    """

    def __init__(
        self, sweep: Sweep, folder: Path, storage: str | None = None, custom_data: dict[str, DataConfig] | None = None
    ) -> None:
        self.sweep = sweep
        self.folder = folder
        self.cell_keys = CellKeys(sweep, folder, {} if custom_data is None else custom_data)
        self._consecutive_repeats = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._claim_lock: AbstractContextManager[Any] = nullcontext()
        if storage is None or storage.startswith("sqlite"):  # SQLite lets two processes claim the same trial
            self._claim_lock = FileLock(folder / ".taking")
        self.optuna_study = open_study(sweep, folder, storage)

    @cached_property
    def cells(self) -> dict[str, Values]:
        """Every cell of a grid, by its key; empty for a search, whose cells are drawn one by one."""
        if self.sweep.method != "grid":
            return {}
        return {self.cell_keys.key(values): values for values in cells(self.sweep)}

    def fill(self, repeats: Sequence[Values] = ()) -> None:
        """Put every cell into the queue that is not done, waiting or running; failed and lost runs are queued again.

        Args:
            repeats: further cells beside the sweep's own: those that the sweep's ``repeat`` adds.
        """
        self.release_dead()
        if self.sweep.method == "grid" and not repeats:
            same = len(cells(self.sweep)) - len(self.cells)
            if same:
                log.warning("%d of the sweep's configurations are equal to others, and run once with them", same)
        for trial in self.trials():
            if trial.state == TrialState.WAITING and not self._is_in_sweep(trial):  # the file has changed since
                set_waiting_surplus(self.optuna_study, trial)
        latest = self.latest()
        repeated = {self.cell_keys.key(values): values for values in repeats}
        drawn = {cell: values_of(trial) for cell, trial in latest.items() if cell_of(trial) is not None}
        for cell, values in {**self.cells, **repeated, **drawn}.items():
            last = latest.get(cell)
            if last is None:
                self._enqueue(cell, values, {}, is_repeat=cell in repeated and cell not in self.cells)
            elif last.state == TrialState.FAIL or self._is_result_lost(cell, last):
                self._enqueue(cell, values, last.params, is_repeat=is_repeat(last))

    def _enqueue(self, cell: str, values: Values, params: dict[str, Any], *, is_repeat: bool) -> None:
        self.optuna_study.enqueue_trial(params, user_attrs=cell_attributes(cell, values, is_repeat=is_repeat))

    def release_dead(self) -> None:
        """Put the runs of dead workers into the queue again.

        On this machine a worker is dead if its process is gone; elsewhere if its heartbeats have stopped.
        """
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and is_worker_dead(trial):
                try:
                    self.optuna_study.tell(trial.number, state=TrialState.FAIL)
                except (ValueError, RuntimeError):  # another worker has done it
                    continue
                requeue(self.optuna_study, trial)
        fail_stale_trials(self.optuna_study)

    def trials(self) -> list[FrozenTrial]:
        """Return every trial that counts; trials of earlier versions of the sweep's file are among them."""
        return [trial for trial in self.optuna_study.get_trials(deepcopy=False) if not is_surplus(trial)]

    def latest(self) -> dict[str, FrozenTrial]:
        """Return the last trial of every cell of the sweep, and of a search the trials that are being drawn."""
        latest = {}
        for trial in self.trials():
            if self._is_in_sweep(trial):
                latest[cell_of(trial) or str(trial.number)] = trial
        return latest

    def _is_in_sweep(self, trial: FrozenTrial) -> bool:
        """Return whether the sweep's file, as it is now, has the cell of a trial."""
        cell = cell_of(trial)
        if cell is None:
            return self.sweep.method != "grid" and trial.state == TrialState.RUNNING
        if self.sweep.method == "grid" and not is_repeat(trial):
            return cell in self.cells
        return self.cell_keys.key(values_of(trial)) == cell

    def _has_result(self, cell: str) -> bool:
        return (self._run_folder(cell) / FILE).is_file()

    def _is_result_lost(self, cell: str, trial: FrozenTrial) -> bool:
        return trial.state == TrialState.COMPLETE and not self._has_result(cell)

    def _run_folder(self, cell: str) -> Path:
        return self.folder / "runs" / cell

    def has_next(self) -> bool:
        """Return whether there is a run to take now."""
        if any(trial.state == TrialState.WAITING for trial in self.trials()):
            return True
        if self.sweep.method == "grid" or self._consecutive_repeats >= _MAX_CONSECUTIVE_REPEATS:
            return False
        drawn = sum(not is_repeat(trial) for trial in self.latest().values())
        return drawn < (self.sweep.trials or 0)

    def has_running(self) -> bool:
        """Return whether any worker runs a trial, which may still come back into the queue."""
        return any(trial.state == TrialState.RUNNING for trial in self.trials())

    def run_next(self, objective: Callable[[Trial, Values], float]) -> None:
        """Claim one trial and run it; an exception of the run makes the trial a failed one.

        Args:
            objective: returns the score of a run, given its trial and values.
        """

        def claim_and_run(trial: Trial) -> float:
            with claiming:  # releases the lock before the run
                values = self.claim(trial)
            return objective(trial, values)

        with ExitStack() as claiming:
            claiming.enter_context(self._claim_lock)
            self.optuna_study.optimize(claim_and_run, n_trials=1, catch=(Exception,))

    def claim(self, trial: Trial) -> Values:
        """Return the values of a trial that this process has taken from the queue.

        Raises:
            optuna.TrialPruned: no cell is left, another trial has the cell, or a search drew its values before.
        """
        set_worker(trial)
        cell = cell_of(trial)
        earlier = [other for other in self.trials() if other.number < trial.number]
        if cell is None and self.sweep.method != "grid":
            return self._draw(trial, {cell_of(other) for other in earlier})
        if cell is None or is_surplus(trial) or self._is_taken(cell, earlier):
            set_surplus(trial)
            raise optuna.TrialPruned
        if self.sweep.method != "grid" and not is_repeat(trial):
            suggest(trial, self.sweep.parameters)  # the same values again: the sampler learns from the parameters
        return values_of(trial)

    def _is_taken(self, cell: str, earlier: list[FrozenTrial]) -> bool:
        """Return whether one of the earlier trials runs a cell or has its result."""
        states = {trial.state for trial in earlier if cell_of(trial) == cell}
        return TrialState.RUNNING in states or (TrialState.COMPLETE in states and self._has_result(cell))

    def _draw(self, trial: Trial, drawn_cells: set[str | None]) -> Values:
        """Return new values for a trial of a search.

        Raises:
            optuna.TrialPruned: the values were drawn before.
        """
        self._consecutive_repeats += 1
        self.optuna_study.sampler = make_sampler(self.sweep, trial.number)
        values = suggest(trial, self.sweep.parameters)
        cell = self.cell_keys.key(values)
        if cell in drawn_cells:
            set_surplus(trial)
            raise optuna.TrialPruned
        self._consecutive_repeats = 0
        set_cell(trial, cell, values)
        return values

    def progress(self) -> Progress:
        """Return how far the sweep is; a cell with several trials counts once."""
        latest = list(self.latest().values())
        count = Counter(trial.state for trial in latest)
        scores = [trial.value for trial in latest if trial.state == TrialState.COMPLETE and trial.value is not None]
        planned = len(self.cells) if self.sweep.method == "grid" else self.sweep.trials or 0
        return Progress(
            total=planned + sum(map(is_repeat, latest)),
            waiting=count[TrialState.WAITING],
            running=count[TrialState.RUNNING],
            done=count[TrialState.COMPLETE],
            pruned=count[TrialState.PRUNED],
            failed=count[TrialState.FAIL],
            best=max(scores, default=None),
        )

    def finished(self, *, repeats: bool) -> list[tuple[Values, Path]]:
        """Return the values and the run folder of every finished run.

        Args:
            repeats: whether the runs that the sweep's ``repeat`` added are included.
        """
        finished = []
        for cell, trial in self.latest().items():
            is_done = trial.state == TrialState.COMPLETE and self._has_result(cell)
            if is_done and (repeats or not is_repeat(trial)):
                finished.append((values_of(trial), self._run_folder(cell)))
        return finished

    def errors(self) -> list[tuple[Values, str]]:
        """Return the values and the error of every failed run that has stored its error."""
        errors = []
        for trial in self.latest().values():
            error = error_of(trial)
            if trial.state == TrialState.FAIL and error is not None:
                errors.append((values_of(trial), error))
        return errors
