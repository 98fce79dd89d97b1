"""The best choice of each group of a sweep's finished runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import mean
from typing import Any

from adapter_tune.run_files.result import Result
from adapter_tune.sweeps.spec import Sweep, Values


def choice_of(sweep: Sweep, values: Values) -> Values:
    """Return the values of a cell without those of ``average_over``: one of the choices that are compared."""
    return {path: value for path, value in values.items() if path not in sweep.average_over}


def group_of(sweep: Sweep, config: Mapping[str, Any]) -> Values:
    """Return the values of ``group_by`` in a run's configuration, which all runs of one group share."""
    return {path: _value_at(config, path) for path in sweep.group_by}


def best_choices(sweep: Sweep, results: list[tuple[Values, Result]]) -> list[dict[str, Any]]:
    """Return the best choice of each group, by the mean of the headline scores over ``average_over``.

    Args:
        sweep: the sweep.
        results: each finished run: the values of its cell, and its result.
    """
    choices_by_group: dict[str, dict[str, list[Result]]] = {}
    for values, result in results:
        group = json.dumps(group_of(sweep, result.config))
        choice = json.dumps(choice_of(sweep, values), sort_keys=True)
        choices_by_group.setdefault(group, {}).setdefault(choice, []).append(result)
    return [_best_of_group(group, choices) for group, choices in choices_by_group.items()]


def _best_of_group(group: str, choices: dict[str, list[Result]]) -> dict[str, Any]:
    """Return the best choice of one group as an entry of ``selection.json``.

    Args:
        group: what the runs share, as JSON.
        choices: the results of each choice; the keys are JSON.
    """
    means = {choice: mean(result.headline.value for result in results) for choice, results in choices.items()}
    best = max(means, key=lambda choice: means[choice])
    results = choices[best]
    return {
        "group": json.loads(group),
        "choice": json.loads(best),
        "metric": results[0].headline.metric,
        "mean": means[best],
        "seeds": len(results),
        "of_choices": len(choices),
        "runs": [result.storage.folder for result in results],
    }


def _value_at(config: Any, path: str) -> Any:
    """Return the value at a dotted path, or None if there is none."""
    for part in path.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config
