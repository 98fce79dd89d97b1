"""A sweep's ledger: an Optuna study, in which every run is a trial, on one machine or many."""

from __future__ import annotations

import json
import os
import re
import socket
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, fail_stale_trials
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from adapter_tune.errors import RunError, UsageError
from adapter_tune.sweep import Range, Sweep, Values, cells, key_of

_CELL, _VALUES, _REPEAT, _SURPLUS = "cell", "values", "repeat", "surplus"
_HOST, _PID, _FOLDER, _ERROR = "host", "pid", "folder", "error"
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


class Ledger:
    """The study of a sweep.

    Args:
        sweep: the sweep.
        folder: of the sweep; holds the default storage.
        storage: a URL of Optuna's (``postgresql://...``), or ``journal:FILE``; None for SQLite in the folder.

    Raises:
        RunError: the storage cannot be reached.
    """

    def __init__(self, sweep: Sweep, folder: Path, storage: str | None = None) -> None:
        self.sweep, self.folder = sweep, folder
        folder.mkdir(parents=True, exist_ok=True)
        # SQLite cannot keep two processes from taking the same trial; other storages can.
        self._taking = FileLock(folder / ".taking") if storage is None or storage.startswith("sqlite") else None
        try:
            self.study = optuna.create_study(
                study_name=sweep.name,
                storage=_storage(storage or f"sqlite:///{folder / 'study.db'}"),
                sampler=_sampler(sweep),
                pruner=_pruner(sweep),
                direction="maximize",
                load_if_exists=True,
            )
        except UsageError:
            raise
        except Exception as error:  # every driver has errors of its own
            first = (str(error) or type(error).__name__).splitlines()[0]
            shown = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", storage or str(folder))  # a URL may hold a password
            raise RunError(f"{shown}: the storage cannot be opened ({first}); check --storage") from None

    def fill(self, repeats: Sequence[Values] = ()) -> None:
        """Put every cell that is neither done, waiting nor running into the queue, and what died back.

        Args:
            repeats: cells beside the grid's: the best of a finished sweep with further values.
        """
        self.release_dead()
        have = {t.user_attrs.get(_CELL) for t in self.trials() if t.state != TrialState.FAIL}
        grid = cells(self.sweep) if self.sweep.method == "grid" else []
        for values in (*grid, *repeats):
            key = key_of(values)
            if key not in have:
                have.add(key)
                attributes = {_CELL: key, _VALUES: json.dumps(values), _REPEAT: values not in grid}
                self.study.enqueue_trial({}, user_attrs=attributes)

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
        """Every trial that counts."""
        return [t for t in self.study.get_trials(deepcopy=False) if not t.user_attrs.get(_SURPLUS)]

    def is_open(self) -> bool:
        """Whether there is a run to take now."""
        if self.sweep.method == "grid":
            return any(t.state == TrialState.WAITING for t in self.trials())
        begun = sum(t.state != TrialState.FAIL and not t.user_attrs.get(_REPEAT) for t in self.trials())
        return begun < (self.sweep.trials or 0) or any(t.state == TrialState.WAITING for t in self.trials())

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
            optuna.TrialPruned: there was no cell left, or another trial has it.
        """
        trial.set_user_attr(_HOST, socket.gethostname())
        trial.set_user_attr(_PID, os.getpid())
        if self.sweep.method != "grid" and not trial.user_attrs.get(_REPEAT):
            values = _drawn(trial, self.sweep.parameters)
            trial.set_user_attr(_VALUES, json.dumps(values))
            return values
        cell = trial.user_attrs.get(_CELL)
        twins = [t for t in self.trials() if t.user_attrs.get(_CELL) == cell and t.number < trial.number]
        if cell is None or any(t.state in (TrialState.COMPLETE, TrialState.RUNNING) for t in twins):
            trial.set_user_attr(_SURPLUS, True)
            raise optuna.TrialPruned
        return dict(json.loads(trial.user_attrs[_VALUES]))

    def progress(self) -> Progress:
        """How far the sweep is; a failed cell that was taken again counts once."""
        trials = self.trials()
        count = {state: [t for t in trials if t.state == state] for state in TrialState}
        settled = {t.user_attrs.get(_CELL) or t.number for t in trials if t.state != TrialState.FAIL}
        lost = {t.user_attrs.get(_CELL) or t.number for t in count[TrialState.FAIL]} - settled
        best = max((t.value for t in count[TrialState.COMPLETE] if t.value is not None), default=None)
        repeats = {t.user_attrs[_CELL] for t in trials if t.user_attrs.get(_REPEAT)}
        first = len(cells(self.sweep)) if self.sweep.method == "grid" else self.sweep.trials or 0
        return Progress(
            total=first + len(repeats), waiting=len(count[TrialState.WAITING]), running=len(count[TrialState.RUNNING]),
            done=len(count[TrialState.COMPLETE]), pruned=len(count[TrialState.PRUNED]), failed=len(lost), best=best,
        )  # fmt: skip

    def finished(self, *, repeats: bool) -> list[tuple[Values, Path]]:
        """Values and run folder of every finished run, with or without the repeated ones."""
        done = [t for t in self.trials() if t.state == TrialState.COMPLETE]
        done = [t for t in done if repeats or not t.user_attrs.get(_REPEAT)]
        return [(json.loads(t.user_attrs[_VALUES]), Path(t.user_attrs[_FOLDER])) for t in done]

    def errors(self) -> dict[str, str]:
        """What went wrong, by the values of the run."""
        failed = [t for t in self.trials() if t.state == TrialState.FAIL and _ERROR in t.user_attrs]
        return {t.user_attrs[_VALUES]: t.user_attrs[_ERROR] for t in failed}


def note(trial: Trial, *, folder: Path | None = None, error: str | None = None) -> None:
    """Write down where a trial's run lies, or why it failed."""
    if folder is not None:
        trial.set_user_attr(_FOLDER, str(folder))
    if error is not None:
        trial.set_user_attr(_ERROR, error)


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


def _sampler(sweep: Sweep) -> BaseSampler:
    return TPESampler(seed=sweep.seed, constant_liar=True) if sweep.method == "tpe" else RandomSampler(seed=sweep.seed)


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    if sweep.prune == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
    return optuna.pruners.SuccessiveHalvingPruner() if sweep.prune == "halving" else optuna.pruners.NopPruner()


def _drawn(trial: Trial, parameters: Mapping[str, Any]) -> Values:
    """Values that the sampler suggests."""
    values: Values = {}
    for path, given in parameters.items():
        if isinstance(given, dict):
            bounds = Range(**given)
            if bounds.integer:
                values[path] = trial.suggest_int(path, int(bounds.low), int(bounds.high), log=bounds.log)
            else:
                values[path] = trial.suggest_float(path, bounds.low, bounds.high, log=bounds.log)
        elif path == "strategy":
            by_name = {json.dumps(one): one for one in given}
            one = by_name[trial.suggest_categorical(path, list(by_name))]
            section = one if isinstance(one, dict) else {"name": one}
            for key, inner in section.items():
                inside = key if "." in key else f"strategy.{key}"
                name = f"{section['name']}: {inside}"
                values[inside] = _chosen(trial, name, inner) if isinstance(inner, list) else inner
        else:
            values[path] = _chosen(trial, path, given)
    return values


def _chosen(trial: Trial, name: str, values: list[Any]) -> Any:
    by_text = {json.dumps(value): value for value in values}
    return by_text[trial.suggest_categorical(name, list(by_text))]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
