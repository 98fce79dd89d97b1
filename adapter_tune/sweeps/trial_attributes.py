"""What a sweep stores with each Optuna trial: the cell, the process that runs it, and the error if it failed."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, Trial

from adapter_tune.sweeps.spec import Values

_CELL = "cell"
_VALUES = "values"
_REPEAT = "repeat"
_SURPLUS = "surplus"
_HOST = "host"
_PID = "pid"
_ERROR = "error"


def cell_attributes(cell: str, values: Values, *, is_repeat: bool) -> dict[str, Any]:
    """Return the attributes of a trial that is to run a cell."""
    return {_CELL: cell, _VALUES: json.dumps(values), _REPEAT: is_repeat}


def cell_of(trial: FrozenTrial | Trial) -> str | None:
    """Return the key of a trial's cell; None as long as a search has not drawn it."""
    cell: str | None = trial.user_attrs.get(_CELL)
    return cell


def values_of(trial: FrozenTrial | Trial) -> Values:
    """Return the values of a trial's cell, by path."""
    return dict(json.loads(trial.user_attrs[_VALUES]))


def is_repeat(trial: FrozenTrial | Trial) -> bool:
    """Return whether a trial is one of those that the sweep's ``repeat`` adds."""
    return bool(trial.user_attrs.get(_REPEAT))


def is_surplus(trial: FrozenTrial | Trial) -> bool:
    """Return whether a trial does not count, because another one has its cell or the sweep no longer has it."""
    return bool(trial.user_attrs.get(_SURPLUS))


def set_cell(trial: Trial, cell: str, values: Values) -> None:
    """Store the cell that a search has drawn for a trial."""
    trial.set_user_attr(_VALUES, json.dumps(values))
    trial.set_user_attr(_CELL, cell)


def set_surplus(trial: Trial) -> None:
    """Mark a running trial as one that does not count."""
    trial.set_user_attr(_SURPLUS, True)


def set_waiting_surplus(study: optuna.Study, trial: FrozenTrial) -> None:
    """Mark a trial in the queue as one that does not count; Optuna has no public way to change a waiting trial."""
    study._storage.set_trial_user_attr(trial._trial_id, _SURPLUS, True)


def set_worker(trial: Trial) -> None:
    """Store that this process runs a trial."""
    trial.set_user_attr(_HOST, socket.gethostname())
    trial.set_user_attr(_PID, os.getpid())


def is_worker_dead(trial: FrozenTrial) -> bool:
    """Return whether a trial was run by a process of this machine that has ended.

    A process that has ended and that its parent has not looked at yet (a zombie) still has a number.
    """
    if trial.user_attrs.get(_HOST) != socket.gethostname():
        return False
    pid = int(trial.user_attrs.get(_PID, 0))
    try:
        return pid <= 0 or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:  # a process of another user
        return False


def set_error(trial: Trial, error: str) -> None:
    """Store why a trial's run failed."""
    trial.set_user_attr(_ERROR, error)


def error_of(trial: FrozenTrial) -> str | None:
    """Return why a trial's run failed; None if its worker died before it could store the reason."""
    error: str | None = trial.user_attrs.get(_ERROR)
    return error


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Put the cell of a trial that was lost into the queue again."""
    attributes = {key: value for key, value in trial.user_attrs.items() if key in (_CELL, _VALUES, _REPEAT)}
    study.enqueue_trial(trial.params, user_attrs=attributes)
