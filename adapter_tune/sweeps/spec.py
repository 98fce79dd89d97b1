"""A sweep as it is written: a base configuration, values to go through or to search, and how the best is chosen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from pydantic import Field, ValidationError

from adapter_tune.config.compose import compose
from adapter_tune.config.schema import RunConfig, Section
from adapter_tune.config.shipped import find_config
from adapter_tune.config.yaml_files import read_yaml
from adapter_tune.foundation.errors import FieldError, UsageError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.run_files.result import Result
from adapter_tune.strategies import REGISTRY, Strategy

_NO_PATH = "is no path of an option; write it as training.learning_rate"

Values = dict[str, Any]
"""Value by dotted path: ``{"task": "cola", "strategy.name": "houlsby", "strategy.m": 8}``."""


class Range(Section):
    """Numbers between two bounds, for a search."""

    low: float
    """The lowest value."""
    high: float
    """The highest one."""
    log: bool = False
    """Draw the logarithm evenly."""
    integer: bool = False
    """Whole numbers only."""


class Sweep(Section):
    """A sweep's file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Of the study and of its folder."""
    base: str | None = None
    """A YAML file, or the name of a shipped configuration, that every run starts from."""
    demo: bool = False
    """Run on the embedded backbone and data."""
    set: dict[str, Any] = Field(default={})
    """Values for every run, by their paths."""
    parameters: dict[str, Any]
    """By path: a list of values or, for a search, a range; strategy takes names, or sections with lists in them."""
    method: Literal["grid", "random", "tpe"] = "grid"
    """grid goes through all; random and tpe draw trials."""
    trials: int | None = Field(default=None, ge=1, le=1_000_000)
    """How many runs a search makes."""
    prune: Literal["none", "median", "halving"] = "none"
    """Stop runs that fall behind the others at the same epoch."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the search."""
    group_by: list[str] = Field(default=["task", "strategy.name"])
    """The best is chosen within each group: runs that agree in these values."""
    average_over: list[str] = Field(default=["training.seed"])
    """Runs that differ in these alone are one choice, with the mean of their headline scores."""
    repeat: dict[str, list[Any]] = Field(default={})
    """Run the best of each group again with these values by path, as in training.seed: [2, 3]."""


def read_sweep(name: str) -> Sweep:
    """The sweep in a file, or a shipped one by its name.

    Raises:
        UsageError: it is not there, or something in it is wrong; with the line.
    """
    path = find_config(name, sweeps=True)
    values, lines = read_yaml(path)
    try:
        sweep = Sweep(**{str(key): value for key, value in values.items() if value is not None})
        _check(sweep)
    except (ValidationError, FieldError) as error:
        loc, problem = first_problem(error, Sweep) if isinstance(error, ValidationError) else (error.loc, error.problem)
        line = next((lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in lines), None)
        where = f"{path}:{line}" if line else str(path)
        raise UsageError(f"{where}: {'.'.join(loc)} {problem}") from None
    return sweep


def _check(sweep: Sweep) -> None:
    if not sweep.parameters:
        raise FieldError(("parameters",), "is empty: name what should vary, as in training.learning_rate: [1e-4, 3e-4]")
    _check_paths(sweep)
    for path, value in sweep.parameters.items():
        _check_parameter(sweep, path, value)
    if sweep.method != "grid" and sweep.trials is None:
        raise FieldError(("trials",), f"is missing: say how many runs method: {sweep.method} makes")
    if sweep.method == "grid" and sweep.trials is not None:
        raise FieldError(("trials",), "goes with method: random or tpe; a grid runs every cell")
    left = [path for path in sweep.average_over if path in sweep.parameters and path not in sweep.repeat]
    if sweep.repeat and left:
        raise FieldError(("repeat",), f"lacks {left[0]}, over which the best is averaged; give its values")


def _check_paths(sweep: Sweep) -> None:
    for section in ("set", "parameters", "repeat"):
        for path in getattr(sweep, section):
            if not _is_path(path):
                raise FieldError((section, path), _NO_PATH)
    for section in ("group_by", "average_over"):
        for path in getattr(sweep, section):
            _check_option(section, path)


def _is_path(text: str) -> bool:
    return all(text.split(".")) and text.split() == [text]


def _check_option(section: str, path: str) -> None:
    schema: Any = RunConfig
    for part in path.split("."):
        names = getattr(schema, "model_fields", {})
        if schema is Strategy:  # whichever it will be
            names = {"name": None} | {name: None for one in REGISTRY.values() for name in one.model_fields}
        if part not in names:
            raise FieldError((section,), f"{path}: {unknown_name('option', part, names)}")
        schema = getattr(names[part], "annotation", None)


def _check_parameter(sweep: Sweep, path: str, value: Any) -> None:
    loc = ("parameters", path)
    if isinstance(value, dict):
        if sweep.method == "grid":
            raise FieldError(loc, "is a range, and a grid goes through lists; set method: random or tpe")
        try:
            bounds = Range(**value)
        except ValidationError as error:
            inner, problem = first_problem(error, Range)
            raise FieldError((*loc, *inner), problem) from None
        if not bounds.low < bounds.high or (bounds.log and bounds.low <= 0):
            raise FieldError(loc, "needs low < high, and low > 0 where log is true")
        if bounds.integer and not (bounds.low.is_integer() and bounds.high.is_integer()):
            raise FieldError(loc, "needs whole bounds where integer is true")
    elif not isinstance(value, list) or not value:
        raise FieldError(loc, "should be a list of values" + (" or a range" if sweep.method != "grid" else ""))


def cells(sweep: Sweep) -> list[Values]:
    """Every cell of a grid, in the order of the file: the last parameter changes fastest."""
    return _product(list(_axis(path, values)) for path, values in sweep.parameters.items())


def samples(sweep: Sweep) -> list[Values]:
    """Cells of a search that between them hold every value of its lists and both bounds of its ranges."""
    axes = []
    for path, given in sweep.parameters.items():
        values = [_whole(given["low"], given), _whole(given["high"], given)] if isinstance(given, dict) else given
        axes.append(list(_axis(path, values)))
    most = max(map(len, axes))
    return [{key: one for axis in axes for key, one in axis[n % len(axis)].items()} for n in range(most)]


def _whole(bound: Any, given: dict[str, Any]) -> Any:
    return int(bound) if given.get("integer") else float(bound)


def _product(axes: Iterable[list[Values]]) -> list[Values]:
    return [{key: value for part in parts for key, value in part.items()} for parts in product(*axes)]


def _axis(path: str, values: list[Any]) -> Iterator[Values]:
    """What one parameter contributes: a strategy's section with lists in it is a grid of its own."""
    for value in values:
        if path != "strategy":
            yield {path: value}
        elif isinstance(value, dict):
            lists = [(_inside(key), given if isinstance(given, list) else [given]) for key, given in value.items()]
            for chosen in product(*(given for _, given in lists)):
                yield {key: one for (key, _), one in zip(lists, chosen, strict=True)}
        else:
            yield {"strategy.name": value}


def _inside(key: str) -> str:
    return key if "." in key else f"strategy.{key}"


def repeats(sweep: Sweep, best: list[dict[str, Any]]) -> list[Values]:
    """The cells that ``repeat`` adds.

    Args:
        sweep: the sweep.
        best: what was chosen of the runs so far, as ``chosen`` gives it.
    """
    again = _product([{path: value} for value in values] for path, values in sweep.repeat.items())
    return [{**choice["choice"], **values} for choice in best for values in again]


def config_of(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> RunConfig:
    """The configuration of one run.

    Args:
        sweep: the sweep.
        values: of its cell.
        folder: of the sweep; run folders lie in ``runs`` in it.

    Raises:
        UsageError: a value is wrong.
    """
    for key in values:
        if not _is_path(key):
            raise UsageError(f"parameters: {key!r} {_NO_PATH}")
    flags = {f"set.{key} {key}": value for key, value in sweep.set.items()}
    flags |= {f"parameters.{key} {key}": value for key, value in values.items()}
    flags["output output"] = str(folder / "runs")
    return compose(sweep.base, flags, demo=sweep.demo)


def choice_of(sweep: Sweep, values: Values) -> Values:
    """What is chosen among: the values of a cell without those that are averaged over."""
    return {path: value for path, value in values.items() if path not in sweep.average_over}


def chosen(sweep: Sweep, results: list[tuple[Values, Result]]) -> list[dict[str, Any]]:
    """The best choice of each group: by the mean validation headline over ``average_over``.

    Args:
        sweep: the sweep.
        results: finished runs with the values of their cells.
    """
    groups: dict[str, dict[str, list[tuple[Values, Result]]]] = {}
    for values, result in results:
        group = group_of(sweep, result.config)
        choice = choice_of(sweep, values)
        inner = groups.setdefault(json.dumps(group), {})
        inner.setdefault(json.dumps(choice, sort_keys=True), []).append((values, result))
    best = []
    for group_text, choices in groups.items():
        means = {text: mean(result.headline.value for _, result in runs) for text, runs in choices.items()}
        top = max(means, key=lambda text: means[text])
        runs = choices[top]
        best.append({
            "group": json.loads(group_text),
            "choice": json.loads(top),
            "metric": runs[0][1].headline.metric,
            "mean": means[top],
            "seeds": len(runs),
            "of_choices": len(choices),
            "runs": [result.storage.folder for _, result in runs],
        })  # fmt: skip
    return best


def group_of(sweep: Sweep, config: Mapping[str, Any]) -> Values:
    """What the runs of one group share: the values of ``group_by`` in a run's configuration."""
    return {path: _value(config, path) for path in sweep.group_by}


def _value(config: Any, path: str) -> Any:
    for part in path.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config
