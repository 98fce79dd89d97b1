"""The schema of a sweep's file: a base configuration, parameters to vary, and how the best is chosen.

A cell is one combination of the parameters' values, and so one run; a choice is a cell without the values that are
averaged over, as the seeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from adapter_tune.config.relative_paths import locate_paths, located
from adapter_tune.config.schema import RunConfig, Section, without_nulls
from adapter_tune.config.shipped import find_config
from adapter_tune.config.yaml_files import Lines, read_yaml
from adapter_tune.foundation.errors import FieldError, UsageError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.strategies import REGISTRY, Strategy

NO_PATH = "is not the path of an option; write a path such as training.learning_rate"

Values = dict[str, Any]
"""Value by dotted path: ``{"task": "cola", "strategy.name": "houlsby", "strategy.m": 8}``."""


class Range(Section):
    """The range of a numeric parameter in a search."""

    low: float
    """The lower bound."""
    high: float
    """The upper bound."""
    log: bool = False
    """Draw on a logarithmic scale."""
    integer: bool = False
    """Whole numbers only."""


class Sweep(Section):
    """The contents of a sweep's file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the Optuna study and of the sweep's folder."""
    base: str | None = None
    """The configuration that every run starts from: a YAML file, or the name of a shipped one."""
    demo: bool = False
    """Run on the embedded demo backbone and data."""
    set: dict[str, Any] = Field(default={})
    """Values for every run, by path."""
    parameters: dict[str, Any]
    """By path: a list of values or, for a search, a range. ``strategy`` takes names, or sections with lists in them."""
    method: Literal["grid", "random", "tpe"] = "grid"
    """grid runs every combination; random and tpe draw values."""
    trials: int | None = Field(default=None, ge=1, le=1_000_000)
    """Number of runs of a search."""
    prune: Literal["none", "median", "halving"] = "none"
    """Stop a run early if its score is worse than that of other runs at the same epoch."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed of the search."""
    group_by: list[str] = Field(default=["task", "strategy.name"])
    """The best choice is found within each group; a group's runs have these values in common."""
    average_over: list[str] = Field(default=["training.seed"])
    """Runs that differ only in these values are one choice; its score is the mean of their headline scores."""
    repeat: dict[str, list[Any]] = Field(default={})
    """Run the best choice of each group again with these values by path, as in training.seed: [2, 3]."""


def read_sweep(name: str) -> Sweep:
    """Return the sweep in a file, or the shipped sweep of this name.

    Raises:
        UsageError: there is no such file, or a value in it is wrong; the message names the line.
    """
    path = find_config(name, sweeps=True)
    values, lines = read_yaml(path)
    _locate_paths(values, lines, path)
    try:
        sweep = Sweep(**without_nulls(values, Sweep))
        _check(sweep)
    except (ValidationError, FieldError) as error:
        if isinstance(error, ValidationError):
            loc, problem = first_problem(error, Sweep)
        else:
            loc = error.loc
            problem = error.problem
        line = _line_of(loc, lines)
        where = f"{path}:{line}" if line else str(path)
        raise UsageError(f"{where}: {'.'.join(loc)} {problem}") from None
    return sweep


def _locate_paths(values: Values, lines: Lines, path: Path) -> None:
    """Find the files and folders that the sweep names, as in a configuration: from the sweep's folder if not from here.

    Raises:
        UsageError: both folders have such a file or folder, and they are not the same one.
    """
    base = values.get("base")
    if isinstance(base, str) and base.endswith((".yaml", ".yml")):
        values["base"] = located(base, path, lines.get(("base",), 1), "base")
    for section in ("set", "parameters", "repeat"):
        if isinstance(values.get(section), dict):
            locate_paths(values[section], lines, path, (section,))


def _line_of(loc: tuple[str, ...], lines: Lines) -> int | None:
    """Return the line of a key, or else of the nearest key above it."""
    for depth in range(len(loc), 0, -1):
        if loc[:depth] in lines:
            return lines[loc[:depth]]
    return None


def _check(sweep: Sweep) -> None:
    if not sweep.parameters:
        raise FieldError(("parameters",), "is empty; give at least one, as in training.learning_rate: [1e-4, 3e-4]")
    _check_paths(sweep)
    for path, value in sweep.parameters.items():
        _check_parameter(sweep, path, value)
    if sweep.method != "grid" and sweep.trials is None:
        raise FieldError(("trials",), f"is missing; give the number of runs, which method: {sweep.method} needs")
    if sweep.method == "grid" and sweep.trials is not None:
        raise FieldError(
            ("trials",), "is only for method: random or tpe; remove it, because a grid runs all combinations"
        )
    missing = [path for path in sweep.average_over if path in sweep.parameters and path not in sweep.repeat]
    if sweep.repeat and missing:
        raise FieldError(("repeat",), f"lacks {missing[0]}, which is in average_over; give its values")


def _check_paths(sweep: Sweep) -> None:
    for section in ("set", "parameters", "repeat"):
        for path in getattr(sweep, section):
            if not is_path(path):
                raise FieldError((section, path), NO_PATH)
    for section in ("group_by", "average_over"):
        for path in getattr(sweep, section):
            _check_option(section, path)


def is_path(text: str) -> bool:
    """Return whether a text has the form of an option's path: words with dots between them."""
    return all(text.split(".")) and text.split() == [text]


def strategy_path(key: object) -> str:
    """Return the path of a key in a strategy's section; a key with a dot is a path already."""
    text = str(key)
    return text if "." in text else f"strategy.{text}"


def _check_option(section: str, path: str) -> None:
    """Check that a path leads to an option of RunConfig, in ``strategy`` to an option of any strategy."""
    schema: Any = RunConfig
    for part in path.split("."):
        names = getattr(schema, "model_fields", {})
        if schema is Strategy:
            options = [name for cls in REGISTRY.values() for name in cls.model_fields]
            names = dict.fromkeys(["name", *options])
        if part not in names:
            raise FieldError((section,), f"{path}: {unknown_name('option', part, names)}")
        schema = getattr(names[part], "annotation", None)


def _check_parameter(sweep: Sweep, path: str, value: Any) -> None:
    loc = ("parameters", path)
    if path in ("training.report_to", "output"):
        raise FieldError(loc, "changes no result, so its values would be one and the same run; write it under set")
    if isinstance(value, dict):
        if sweep.method == "grid":
            raise FieldError(loc, "is a range, but a grid needs a list; give one, or set method: random or tpe")
        _check_range(loc, value)
    elif not isinstance(value, list) or not value:
        raise FieldError(loc, "should be a list of values" + (" or a range" if sweep.method != "grid" else ""))


def _check_range(loc: tuple[str, ...], value: dict[str, Any]) -> None:
    try:
        bounds = Range(**value)
    except ValidationError as error:
        inner_loc, problem = first_problem(error, Range)
        raise FieldError((*loc, *inner_loc), problem) from None
    if not bounds.low < bounds.high or (bounds.log and bounds.low <= 0):
        raise FieldError(loc, "needs low < high, and low > 0 if log is true")
    if bounds.integer and not (bounds.low.is_integer() and bounds.high.is_integer()):
        raise FieldError(loc, "needs whole numbers as bounds if integer is true")
