"""Hopeless runs of a sweep are stopped, each held against the runs of its own group."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any, Literal, cast

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, Trial, TrialState

_GROUP = "group"


def pruner(kind: Literal["none", "median", "halving"]) -> BasePruner:
    """What decides which runs are hopeless."""
    if kind == "none":
        return NopPruner()
    return _InGroups(MedianPruner(n_startup_trials=4) if kind == "median" else SuccessiveHalvingPruner())


def join(trial: Trial, group: Mapping[str, Any]) -> None:
    """Write down what a trial's run shares with those that it may be held against."""
    trial.set_user_attr(_GROUP, json.dumps(dict(group)))


class _InGroups(BasePruner):
    """A pruner that sees the trials of one group only: scores of two tasks are not to be compared."""

    def __init__(self, inner: BasePruner) -> None:
        self._inner = inner

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return self._inner.prune(cast(optuna.Study, _Group(study, trial.user_attrs.get(_GROUP))), trial)


class _Group:
    """A study without the trials of other groups."""

    def __init__(self, study: optuna.Study, group: str | None) -> None:
        self._whole, self._group = study, group

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        found = self._whole.get_trials(deepcopy=deepcopy, states=states)
        return [trial for trial in found if trial.user_attrs.get(_GROUP) == self._group]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)
