"""The values that a search draws for a trial; they do not depend on which process draws them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from adapter_tune.sweeps.spec import Range, Sweep, Values, strategy_path


def make_sampler(sweep: Sweep, trial_number: int) -> BaseSampler:
    """Return the sampler of one trial; its seed depends only on the sweep's seed and the trial's number."""
    seed = int(np.random.SeedSequence([sweep.seed, trial_number]).generate_state(1)[0])
    if sweep.method == "tpe":
        return TPESampler(seed=seed, constant_liar=True)
    return RandomSampler(seed=seed)


def suggest(trial: Trial, parameters: Mapping[str, Any]) -> Values:
    """Return the values that the study's sampler suggests for a trial, by path."""
    values: Values = {}
    for path, choices in parameters.items():
        name = _parameter_name(path, choices)
        if isinstance(choices, dict):
            values[path] = _suggest_number(trial, name, Range(**choices))
        elif path == "strategy":
            strategy = _suggest_choice(trial, name, choices)
            values |= _suggest_strategy(trial, strategy if isinstance(strategy, dict) else {"name": strategy})
        else:
            values[path] = _suggest_choice(trial, name, choices)
    return values


def _suggest_strategy(trial: Trial, section: dict[str, Any]) -> Values:
    """Return the values of a strategy's section by path; of an option with a list, one value is drawn."""
    values: Values = {}
    for key, option in section.items():
        path = strategy_path(key)
        if isinstance(option, list):
            name = _parameter_name(f"{section['name']}: {path}", option)
            values[path] = _suggest_choice(trial, name, option)
        else:
            values[path] = option
    return values


def _suggest_number(trial: Trial, name: str, bounds: Range) -> int | float:
    if bounds.integer:
        return trial.suggest_int(name, int(bounds.low), int(bounds.high), log=bounds.log)
    return trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log)


def _suggest_choice(trial: Trial, name: str, values: list[Any]) -> Any:
    value_by_json = {json.dumps(value): value for value in values}
    return value_by_json[trial.suggest_categorical(name, list(value_by_json))]


def _parameter_name(path: str, choices: Any) -> str:
    """Return a parameter's name in the study.

    The name has a digest of the choices, as Optuna does not allow other choices under a name that it knows.
    """
    return f"{path} {hashlib.sha256(json.dumps(choices).encode()).hexdigest()[:8]}"
