"""Early stopping of a sweep's poor runs: each run is compared only with the runs of its own group."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any, Literal, cast

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, Trial, TrialState

_GROUP = "group"


def make_pruner(kind: Literal["none", "median", "halving"]) -> BasePruner:
    """Return the Optuna pruner that decides which runs are stopped."""
    if kind == "none":
        return NopPruner()
    if kind == "median":
        return _GroupPruner(MedianPruner(n_startup_trials=4))
    return _GroupPruner(SuccessiveHalvingPruner())


def set_group(trial: Trial, group: Mapping[str, Any]) -> None:
    """Store the group of a trial's run, so that the pruner compares it with this group only."""
    trial.set_user_attr(_GROUP, json.dumps(dict(group)))


class _GroupPruner(BasePruner):
    """A pruner that sees only the trials of one group, because scores of two tasks are not comparable."""

    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        group_study = _GroupStudy(study, trial.user_attrs.get(_GROUP))
        return self._pruner.prune(cast(optuna.Study, group_study), trial)


class _GroupStudy:
    """A study that shows only the trials of one group."""

    def __init__(self, study: optuna.Study, group: str | None) -> None:
        self._study = study
        self._group = group

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=deepcopy, states=states)
        return [trial for trial in trials if trial.user_attrs.get(_GROUP) == self._group]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)
