"""A sweep's ledger: an Optuna study, in which every run is a trial, on one machine or many."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import psutil
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, fail_stale_trials
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError, first_line
from adapter_tune.run_files.result import FILE
from adapter_tune.sweeps.pruning import pruner
from adapter_tune.sweeps.search_space import sampler, suggest
from adapter_tune.sweeps.spec import Sweep, Values, cells, config_of
from adapter_tune.tasks.glue import CUSTOM

_CELL, _VALUES, _REPEAT, _SURPLUS = "cell", "values", "repeat", "surplus"
_HOST, _PID, _ERROR = "host", "pid", "error"
_DRAWS = 50  # of known values in a row, after which a search has been through all there is
_BEAT, _GRACE = 15, 60  # seconds between signs of life, and without one until a trial is given to another worker

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=ExperimentalWarning)


@dataclass(frozen=True)
class Progress:
    """How far a sweep is."""

    total: int
    waiting: int
    running: int
    done: int
    pruned: int
    failed: int
    best: float | None


class SweepStudy:
    """The study of a sweep.

    Args:
        sweep: the sweep.
        folder: of the sweep; holds the default storage.
        storage: a URL of Optuna's (``postgresql://...``), or ``journal:FILE``; None for SQLite in the folder.
        known: what was found before about data of the user's own, and keys; what is found is added.

    Raises:
        RunError: the storage cannot be reached.
    """

    def __init__(
        self, sweep: Sweep, folder: Path, storage: str | None = None, known: dict[str, Any] | None = None
    ) -> None:
        self.sweep, self.folder = sweep, folder
        self.known = {} if known is None else known
        self._in_vain = 0  # draws in a row that gave nothing new
        folder.mkdir(parents=True, exist_ok=True)
        # SQLite cannot keep two processes from taking the same trial; other storages can.
        self._taking = FileLock(folder / ".taking") if storage is None or storage.startswith("sqlite") else None
        try:
            self.study = optuna.create_study(
                study_name=sweep.name,
                storage=_storage(storage or f"sqlite:///{folder / 'study.db'}"),
                sampler=sampler(sweep, 0),
                pruner=pruner(sweep.prune),
                direction="maximize",
                load_if_exists=True,
            )
        except UsageError:
            raise
        except Exception as error:  # every driver has errors of its own
            shown = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", storage or str(folder))  # a URL may hold a password
            raise RunError(f"{shown}: the storage cannot be opened ({first_line(error)}); check --storage") from None

    def key(self, values: Values) -> str:
        """The name of a cell: that of its run's folder, in which everything that decides the run has a part."""
        text = f"cell {json.dumps(values, sort_keys=True)}"
        if text not in self.known:
            try:
                config = config_of(self.sweep, values, self.folder)
                if config.task == CUSTOM:
                    from adapter_tune.data.custom import resolve_custom_data  # heavy

                    config = resolve_custom_data(config, self.known)
                self.known[text] = config.folder.name
            except AdapterTuneError:  # the run will say it
                written = json.dumps([values, self.sweep.base, self.sweep.set], sort_keys=True)
                self.known[text] = hashlib.sha256(written.encode()).hexdigest()[:16]
        return str(self.known[text])

    @cached_property
    def cells(self) -> dict[str, Values]:
        """Every cell of a grid by its key; a search has none before they are drawn."""
        return {self.key(values): values for values in cells(self.sweep)} if self.sweep.method == "grid" else {}

    def fill(self, repeats: Sequence[Values] = ()) -> None:
        """Put every cell that is neither done, waiting nor running into the queue, and what died or failed back.

        Args:
            repeats: cells beside the sweep's own: the best of a finished sweep with further values.
        """
        self.release_dead()
        for trial in self.trials():
            if trial.state == TrialState.WAITING and not self._belongs(trial):  # of the file as it was before
                self.study._storage.set_trial_user_attr(trial._trial_id, _SURPLUS, True)
        latest = self.latest()
        again = {self.key(values): values for values in repeats}
        for key, values in {**self.cells, **again, **_values_of(latest)}.items():
            last = latest.get(key)
            lost = last is not None and last.state == TrialState.COMPLETE and not self._is_kept(key)
            if last is None or lost or last.state == TrialState.FAIL:
                is_repeat = key in again and key not in self.cells if last is None else _is_repeat(last)
                attributes = {_CELL: key, _VALUES: json.dumps(values), _REPEAT: is_repeat}
                self.study.enqueue_trial(last.params if last else {}, user_attrs=attributes)

    def release_dead(self) -> None:
        """Give back the trials of workers that died: on this machine by their process, elsewhere by their silence."""
        for trial in self.trials():
            here = trial.user_attrs.get(_HOST) == socket.gethostname()
            if trial.state == TrialState.RUNNING and here and not _alive(int(trial.user_attrs.get(_PID, 0))):
                try:
                    self.study.tell(trial.number, state=TrialState.FAIL)
                except (ValueError, RuntimeError):  # another worker was first
                    continue
                _requeue(self.study, trial)
        fail_stale_trials(self.study)

    def trials(self) -> list[FrozenTrial]:
        """Every trial that counts, those of the file as it was before included."""
        return [t for t in self.study.get_trials(deepcopy=False) if not t.user_attrs.get(_SURPLUS)]

    def latest(self) -> dict[str, FrozenTrial]:
        """The last trial of every cell of the sweep as it is now, and what is being drawn."""
        found = {}
        for trial in self.trials():
            if self._belongs(trial):
                found[trial.user_attrs.get(_CELL) or str(trial.number)] = trial
        return found

    def _belongs(self, trial: FrozenTrial) -> bool:
        cell = trial.user_attrs.get(_CELL)
        if cell is None:
            return self.sweep.method != "grid" and trial.state == TrialState.RUNNING
        if self.sweep.method == "grid" and not _is_repeat(trial):
            return cell in self.cells
        return bool(self.key(json.loads(trial.user_attrs[_VALUES])) == cell)

    def _is_kept(self, cell: str) -> bool:
        return (self._run_folder(cell) / FILE).is_file()

    def _run_folder(self, cell: str) -> Path:
        return self.folder / "runs" / cell

    def is_open(self) -> bool:
        """Whether there is a run to take now."""
        if any(t.state == TrialState.WAITING for t in self.trials()):
            return True
        if self.sweep.method == "grid" or self._in_vain >= _DRAWS:
            return False
        return sum(not _is_repeat(t) for t in self.latest().values()) < (self.sweep.trials or 0)

    def is_busy(self) -> bool:
        """Whether a run is going on somewhere, which may still come back into the queue."""
        return any(t.state == TrialState.RUNNING for t in self.trials())

    def take(self, objective: Callable[[Trial, Values], float]) -> None:
        """Take one run and do it; whatever it raises is written down as a failure.

        Args:
            objective: gives the score of the values that were taken.
        """
        with self._taking or nullcontext():
            self.study.optimize(lambda trial: objective(trial, self._taken(trial)), n_trials=1, catch=(Exception,))

    def _taken(self, trial: Trial) -> Values:
        try:
            return self.claim(trial)
        finally:
            if self._taking is not None:
                self._taking.release()

    def claim(self, trial: Trial) -> Values:
        """The values of a trial that a worker has taken.

        Raises:
            optuna.TrialPruned: there was no cell left, another trial has it, or the same values were drawn before.
        """
        trial.set_user_attr(_HOST, socket.gethostname())
        trial.set_user_attr(_PID, os.getpid())
        cell, before = trial.user_attrs.get(_CELL), [t for t in self.trials() if t.number < trial.number]
        if cell is None and self.sweep.method != "grid":
            return self._draw(trial, {t.user_attrs.get(_CELL) for t in before})
        twins = [t for t in before if t.user_attrs.get(_CELL) == cell]
        if cell is None or trial.user_attrs.get(_SURPLUS) or any(
            t.state == TrialState.RUNNING or (t.state == TrialState.COMPLETE and self._is_kept(cell)) for t in twins
        ):  # fmt: skip
            trial.set_user_attr(_SURPLUS, True)
            raise optuna.TrialPruned
        if self.sweep.method != "grid" and not trial.user_attrs.get(_REPEAT):
            suggest(trial, self.sweep.parameters)  # as they were drawn before, for the sampler to learn from
        return dict(json.loads(trial.user_attrs[_VALUES]))

    def _draw(self, trial: Trial, known: set[str | None]) -> Values:
        self._in_vain += 1
        self.study.sampler = sampler(self.sweep, trial.number)
        values = suggest(trial, self.sweep.parameters)
        cell = self.key(values)
        if cell in known:
            trial.set_user_attr(_SURPLUS, True)
            raise optuna.TrialPruned
        self._in_vain = 0
        trial.set_user_attr(_VALUES, json.dumps(values))
        trial.set_user_attr(_CELL, cell)
        return values

    def progress(self) -> Progress:
        """How far the sweep is; a cell that was taken again counts once."""
        latest = list(self.latest().values())
        count = {state: sum(t.state == state for t in latest) for state in TrialState}
        scores = [t.value for t in latest if t.state == TrialState.COMPLETE and t.value is not None]
        first = len(self.cells) if self.sweep.method == "grid" else self.sweep.trials or 0
        return Progress(
            total=first + sum(map(_is_repeat, latest)), waiting=count[TrialState.WAITING],
            running=count[TrialState.RUNNING], done=count[TrialState.COMPLETE], pruned=count[TrialState.PRUNED],
            failed=count[TrialState.FAIL], best=max(scores, default=None),
        )  # fmt: skip

    def finished(self, *, repeats: bool) -> list[tuple[Values, Path]]:
        """Values and run folder of every finished run, with or without the repeated ones."""
        done = {cell: t for cell, t in self.latest().items() if t.state == TrialState.COMPLETE and self._is_kept(cell)}
        chosen = {cell: t for cell, t in done.items() if repeats or not _is_repeat(t)}
        return [(json.loads(t.user_attrs[_VALUES]), self._run_folder(cell)) for cell, t in chosen.items()]

    def errors(self) -> dict[str, str]:
        """What went wrong, by the values of the run."""
        failed = [t for t in self.latest().values() if t.state == TrialState.FAIL and _ERROR in t.user_attrs]
        return {t.user_attrs[_VALUES]: t.user_attrs[_ERROR] for t in failed}


def fail(trial: Trial, error: str) -> None:
    """Write down why a trial's run failed."""
    trial.set_user_attr(_ERROR, error)


def _is_repeat(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(_REPEAT))


def _values_of(trials: Mapping[str, FrozenTrial]) -> dict[str, Values]:
    return {cell: json.loads(t.user_attrs[_VALUES]) for cell, t in trials.items() if _CELL in t.user_attrs}


def _storage(url: str) -> BaseStorage:
    if url.startswith("journal:"):
        return JournalStorage(JournalFileBackend(url.removeprefix("journal:")))
    if "://" not in url:
        raise UsageError(f"--storage: '{url}' should be a URL such as postgresql://user@host/name, or journal:FILE")
    options = {"connect_args": {"timeout": 100}} if url.startswith("sqlite") else {}
    return RDBStorage(
        url, options, heartbeat_interval=_BEAT, grace_period=_GRACE, heartbeat_stale_trial_callback=_requeue
    )


def _requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Put a lost trial's run back into the queue."""
    attributes = {key: value for key, value in trial.user_attrs.items() if key in (_CELL, _VALUES, _REPEAT)}
    study.enqueue_trial(trial.params, user_attrs=attributes)


def _alive(pid: int) -> bool:
    return pid > 0 and psutil.pid_exists(pid)
