"""What a search draws: values for one trial, whichever process asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from adapter_tune.sweeps.spec import Range, Sweep, Values


def sampler(sweep: Sweep, number: int) -> BaseSampler:
    """A sampler for one trial: its seed is the sweep's and the trial's number, whichever process draws."""
    seed = int(np.random.SeedSequence([sweep.seed, number]).generate_state(1)[0])
    return TPESampler(seed=seed, constant_liar=True) if sweep.method == "tpe" else RandomSampler(seed=seed)


def suggest(trial: Trial, parameters: Mapping[str, Any]) -> Values:
    """Values that the sampler suggests."""
    values: Values = {}
    for path, given in parameters.items():
        name = _name(path, given)
        if isinstance(given, dict):
            bounds = Range(**given)
            if bounds.integer:
                values[path] = trial.suggest_int(name, int(bounds.low), int(bounds.high), log=bounds.log)
            else:
                values[path] = trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log)
        elif path == "strategy":
            one = _chosen(trial, name, given)
            section = one if isinstance(one, dict) else {"name": one}
            for key, inner in section.items():
                inside = key if "." in key else f"strategy.{key}"
                several = isinstance(inner, list)
                values[inside] = (
                    _chosen(trial, _name(f"{section['name']}: {inside}", inner), inner) if several else inner
                )
        else:
            values[path] = _chosen(trial, name, given)
    return values


def _name(path: str, given: Any) -> str:
    """A parameter's name in the study, which allows no name to change what it stands for."""
    return f"{path} {hashlib.sha256(json.dumps(given).encode()).hexdigest()[:8]}"


def _chosen(trial: Trial, name: str, values: list[Any]) -> Any:
    by_text = {json.dumps(value): value for value in values}
    return by_text[trial.suggest_categorical(name, list(by_text))]
