"""The cells of a sweep: the values of each run, and the configuration that they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from adapter_tune.config.compose import compose
from adapter_tune.config.schema import RunConfig
from adapter_tune.foundation.errors import UsageError
from adapter_tune.sweeps.spec import NO_PATH, Sweep, Values, is_path, strategy_path


def cells(sweep: Sweep) -> list[Values]:
    """Return every cell of a grid, in the order of the file: the last parameter changes fastest."""
    return _product(list(_axis(path, values)) for path, values in sweep.parameters.items())


def samples(sweep: Sweep) -> list[Values]:
    """Return a few cells of a search that together have every value of its lists and both bounds of its ranges."""
    axes = []
    for path, choices in sweep.parameters.items():
        values = _bounds(choices) if isinstance(choices, dict) else choices
        axes.append(list(_axis(path, values)))
    selected = []
    for index in range(max(map(len, axes))):
        sample: Values = {}
        for axis in axes:
            sample.update(axis[index % len(axis)])
        selected.append(sample)
    return selected


def _bounds(bounds: dict[str, Any]) -> list[int | float]:
    number = int if bounds.get("integer") else float
    return [number(bounds["low"]), number(bounds["high"])]


def _product(axes: Iterable[list[Values]]) -> list[Values]:
    """Return the Cartesian product of the axes."""
    combined = []
    for combination in product(*axes):
        cell: Values = {}
        for values in combination:
            cell.update(values)
        combined.append(cell)
    return combined


def _axis(path: str, values: list[Any]) -> Iterator[Values]:
    """Yield the values of one parameter by path; a strategy's section with lists in it is a grid of its own."""
    for value in values:
        if path != "strategy":
            yield {path: value}
        elif isinstance(value, dict):
            paths = [strategy_path(key) for key in value]
            lists = [option if isinstance(option, list) else [option] for option in value.values()]
            for combination in product(*lists):
                yield dict(zip(paths, combination, strict=True))
        else:
            yield {"strategy.name": value}


def repeated_cells(sweep: Sweep, best: list[dict[str, Any]]) -> list[Values]:
    """Return the cells that ``repeat`` adds.

    Args:
        sweep: the sweep.
        best: the best choices so far, as ``selection.best_choices`` returns them.
    """
    alternatives = []
    for path, values in sweep.repeat.items():
        alternatives.append([{path: value} for value in values])
    repeats = _product(alternatives)
    return [{**entry["choice"], **values} for entry in best for values in repeats]


def config_of(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> RunConfig:
    """Return the configuration of one run.

    Args:
        sweep: the sweep.
        values: the values of the run's cell, by path.
        folder: the sweep's folder; its subfolder ``runs`` has the run folders.

    Raises:
        UsageError: a value is wrong.
    """
    for key in values:
        if not is_path(key):
            raise UsageError(f"parameters: {key!r} {NO_PATH}")
    flags = {f"set.{key} {key}": value for key, value in sweep.set.items()}
    flags |= {f"parameters.{key} {key}": value for key, value in values.items()}
    flags["output output"] = str(folder / "runs")
    return compose(sweep.base, flags, demo=sweep.demo)
