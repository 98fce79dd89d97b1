"""Configurations from YAML files and command-line values, with the origin of every value for error messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapter_tune.config.relative_paths import locate_paths
from adapter_tune.config.schema import RunConfig, parse_config
from adapter_tune.config.shipped import find_config
from adapter_tune.config.yaml_files import parse_value, read_yaml
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.errors import FieldError, UsageError

SHORT_FORM = {"model": "id", "strategy": "name", "init_from": "run"}
"""Sections that may be written as a plain string, and which of their values that is."""

_WRITTEN_BY_THE_RUN = ("data.custom.digest", "init_from.digest", "model.language_digest")

Origins = dict[tuple[str, ...], str]
"""Where the value at a path was written: ``configs/x.yaml:4`` or ``--lr``."""


def compose(
    file: str | None = None, flags: Mapping[str, Any] | None = None, sets: Iterable[str] = (), *, demo: bool = False
) -> RunConfig:
    """The configuration that defaults, a YAML file, flags and ``--set`` give together, later ones winning.

    Args:
        file: path of a YAML file, or the name of a shipped configuration.
        flags: value by ``"--flag section.key"``; None means that the flag was not given.
        sets: ``section.key=value`` texts; the value is read as YAML.
        demo: start from the shipped ``demo`` configuration; its backbone and data stay where no flag says otherwise.

    Raises:
        UsageError: a file that is not there or does not parse, or a wrong value, with where it was written.
    """
    return compose_with_origins(file, flags, sets, demo=demo)[0]


def compose_with_origins(
    file: str | None = None, flags: Mapping[str, Any] | None = None, sets: Iterable[str] = (), *, demo: bool = False
) -> tuple[RunConfig, Origins]:
    """As ``compose``; also the file and line, or the flag, of every value that was written."""
    origins: Origins = {}
    values = _read_file("demo", origins) if demo else {}
    if file is not None:
        own_values = _read_file(file, origins)
        values = _merged(values, own_values) if demo else own_values
    if demo:
        flags = {"--demo model.id": DEMO, "--demo data.source": DEMO, **(flags or {})}
    given = [(*name.split(), value) for name, value in (flags or {}).items() if value is not None]
    given += [("--set", *_split_set(text)) for text in sets]
    # A strategy's name goes first, since another strategy has other options.
    for flag, key, value in sorted(given, key=lambda item: item[1] not in ("strategy", "strategy.name")):
        if key in _WRITTEN_BY_THE_RUN:
            raise UsageError(f"{flag}: {key} is set by the run; remove it")
        _assign(values, key, value)
        origins[tuple(key.split("."))] = flag
    try:
        return parse_config(values), origins
    except FieldError as error:
        raise UsageError(_located(error, origins)) from None


def _read_file(name: str, origins: Origins) -> dict[str, Any]:
    """The values of a YAML file; the line of each is added to ``origins``."""
    path = find_config(name)
    values, lines = read_yaml(path)
    if ("parameters",) in lines:
        raise UsageError(f"{path} is a sweep, not a configuration; 'adapter-tune sweep {name} --dry-run' checks it")
    for loc, line in lines.items():
        if "." in loc[-1]:
            section, _, key = loc[-1].rpartition(".")
            raise UsageError(f"{path}:{line}: '{loc[-1]}' should be '{key}' in a section '{section}'")
    locate_paths(values, lines, path)
    origins.update({loc: f"{path}:{line}" for loc, line in lines.items()})
    return values


def _merged(values: dict[str, Any], own_values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with those of a file put over them; a key without a value changes nothing."""
    for key in sorted(own_values, key=str):
        if own_values[key] is not None:
            _assign(values, str(key), own_values[key])
    return values


def _located(error: FieldError, origins: Origins) -> str:
    """The error's message after the place where its value was written; after a flag, the key is left out."""
    where = _origin(origins, error.loc)
    if where is None:
        return str(error)
    is_flag = where.startswith("--") and where != "--set"
    return f"{where}: {error.problem if is_flag else error}"


def _split_set(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"--set {text!r}: write it as section.key=value, for example training.epochs=5")
    return key, parse_value(value, f"--set {key}")


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path; a section is merged into the one that is there.

    Naming another strategy drops the options of the one before.
    """
    if path in SHORT_FORM and isinstance(value, str):
        path = f"{path}.{SHORT_FORM[path]}"
    if isinstance(value, dict):
        for key in sorted(value, key=lambda key: key != "name"):
            _assign(values, f"{path}.{key}", value[key])
        return
    *sections, key = path.split(".")
    if path == "strategy.name":
        old = values.get("strategy")
        if value != (old.get("name") if isinstance(old, dict) else old):
            values["strategy"] = {}
    for section in sections:
        inner = values.get(section)
        if inner is None:
            inner = values[section] = {}
        if isinstance(inner, str) and section in SHORT_FORM:
            inner = values[section] = {SHORT_FORM[section]: inner}
        if not isinstance(inner, dict):
            raise UsageError(f"{path}: '{section}' is not a section but {inner!r}")
        values = inner
    values[key] = value


def _origin(origins: Origins, loc: tuple[str, ...]) -> str | None:
    """The origin of the value at a path, else of one inside it, else of the section around it."""
    if loc in origins:
        return origins[loc]
    inside = (origin for path, origin in origins.items() if path[: len(loc)] == loc)
    around = (origins[loc[:n]] for n in range(len(loc) - 1, 0, -1) if loc[:n] in origins)
    return next(inside, None) or next(around, None)
