"""Two configurations compared: the options whose resolved values differ, and where each value is from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_tune.config.compose import SHORT_FORM, Origins, compose_with_origins
from adapter_tune.config.resolved import flat, learning_rate
from adapter_tune.config.schema import RunConfig
from adapter_tune.foundation.errors import UsageError

_RUN_FILE = "config.yaml"


@dataclass(frozen=True)
class Value:
    """The value of an option in one of two configurations."""

    value: Any
    """As in YAML; None also where the configuration's strategy has no such option."""
    origin: str
    """``line 4`` of its file, ``default``, ``default of houlsby``, or ``no such option``."""

    def __str__(self) -> str:
        """The value as JSON with its origin; nothing but the origin where there is no such option."""
        if self.origin == _NO_OPTION:
            return self.origin
        text = self.value if isinstance(self.value, str) else json.dumps(self.value)
        return f"{text} ({self.origin})"


_NO_OPTION = "no such option"


def differences(first: str, second: str) -> dict[str, tuple[Value, Value]]:
    """Return the options that differ, by dotted path, each with its two values.

    Args:
        first: a YAML file, the name of a shipped configuration, or a run folder.
        second: the other one.

    Raises:
        UsageError: one of them cannot be read, or is not valid.
    """
    left = _values(first)
    right = _values(second)
    absent = Value(None, _NO_OPTION)
    pairs = {path: (left.get(path, absent), right.get(path, absent)) for path in [*left, *right]}
    return {path: pair for path, pair in pairs.items() if _key(pair[0]) != _key(pair[1])}


def _key(value: Value) -> str:
    """What is compared: the value, or that there is no such option."""
    return _NO_OPTION if value.origin == _NO_OPTION else json.dumps(value.value)


def _values(name: str) -> dict[str, Value]:
    """Every option of a configuration by its dotted path."""
    config, origins = compose_with_origins(_file(name))
    values = flat(config.model_dump())
    options = {path: Value(value, _origin(path, origins)) for path, value in values.items()}
    if config.training.learning_rate is None:
        options["training.learning_rate"] = Value(learning_rate(config), _rate_origin(config))
    return options


def _file(name: str) -> str:
    """The name of a configuration, or the path of the one in a run folder.

    Raises:
        UsageError: it is a folder without a configuration.
    """
    if not Path(name).is_dir():
        return name
    file = Path(name) / _RUN_FILE
    if not file.is_file():
        raise UsageError(f"{name}: no {_RUN_FILE} in this folder; give a run folder, a YAML file or a shipped name")
    return str(file)


def _origin(path: str, origins: Origins) -> str:
    """The line where an option was written, also as the plain string that stands for its section."""
    loc = tuple(path.split("."))
    is_short_form = SHORT_FORM.get(loc[0]) == loc[-1] and not any(other[:1] == loc[:1] != other for other in origins)
    where = origins.get(loc) or (origins.get(loc[:1]) if is_short_form else None)
    return f"line {where.rpartition(':')[2]}" if where else "default"


def _rate_origin(config: RunConfig) -> str:
    factor = config.training.learning_rate_factor
    origin = f"default of {config.strategy.name}"
    return origin if factor == 1 else f"{origin}, times {factor:g}"
