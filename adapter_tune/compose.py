"""Configurations from YAML files and command-line values, with the origin of every value for error messages."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from adapter_tune.config import RunConfig, parse_config
from adapter_tune.errors import FieldError, UsageError, unknown

_PACKAGE = Path(__file__).parent

_SHORT_FORM = {"model": "id", "strategy": "name"}
"""Sections that may be written as a plain string, and which of their values that is."""

Origins = dict[tuple[str, ...], str]
"""Where the value at a path was written: ``configs/x.yaml:4`` or ``--lr``."""


def compose(file: str | None = None, flags: Mapping[str, Any] | None = None, sets: Iterable[str] = ()) -> RunConfig:
    """The configuration that defaults, a YAML file, flags and ``--set`` give together, later ones winning.

    Args:
        file: path of a YAML file, or the name of a shipped configuration.
        flags: value by ``"--flag section.key"``; None means that the flag was not given.
        sets: ``section.key=value`` texts; the value is read as YAML.

    Raises:
        UsageError: a file that is not there or does not parse, or a wrong value, with where it was written.
    """
    values, origins = read_yaml(find_config(file)) if file else ({}, {})
    given = [(*name.split(), value) for name, value in (flags or {}).items() if value is not None]
    given += [("--set", *_split_set(text)) for text in sets]
    # A strategy's name goes first, since another strategy has other options.
    for flag, path, value in sorted(given, key=lambda item: item[1] not in ("strategy", "strategy.name")):
        _assign(values, path, value)
        origins[tuple(path.split("."))] = flag
    try:
        return parse_config(values)
    except FieldError as error:
        where = _origin(origins, error.loc)
        is_flag = where is not None and where.startswith("--") and where != "--set"
        raise UsageError(f"{where}: {error.problem if is_flag else error}" if where else str(error)) from None


def parse_value(text: str, origin: str) -> Any:
    """A command-line text read as YAML, so that ``8`` is a number and ``null`` is nothing."""
    try:
        return _yaml().load(text)
    except YAMLError:
        raise UsageError(f"{origin}: cannot read {text!r} as a YAML value; quote it") from None


def read_yaml(path: Path) -> tuple[dict[str, Any], Origins]:
    """The nested values of a YAML file and where each stands.

    Raises:
        UsageError: not there, not text, not YAML (with line and column), or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = _yaml().compose(text)
        values = _yaml().load(text)
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a UTF-8 text file; save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give the path of a YAML file") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{where}: not valid YAML: {error.problem or error.context}") from None
    except YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: should hold keys and values, as in 'task: mnli'; got {type(values).__name__}")
    return values, {loc: f"{path}:{line}" for loc, line in _lines(node)}


def to_yaml(values: Mapping[str, Any]) -> str:
    """Nested values as YAML text, keys in their own order."""
    stream = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.representer.add_representer(
        type(None), lambda rep, _: rep.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    writer.dump(dict(values), stream)
    return stream.getvalue()


def shipped_configs() -> dict[str, Path]:
    """Every configuration that ships with the package, by name: its path under ``configs/`` without ``.yaml``."""
    installed, checkout = _PACKAGE / "configs", _PACKAGE.parent / "configs"
    root = installed if installed.is_dir() else checkout
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}


def summary(path: Path) -> str:
    """What a configuration says of itself: its first comment line."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ")


def find_config(name: str) -> Path:
    """The file at a path or, where there is none, the shipped configuration of that name."""
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return path
    shipped = shipped_configs()
    if name not in shipped:
        raise UsageError(f"no file {name}, and {unknown('shipped configuration', name, shipped)}")
    return shipped[name]


def _yaml() -> Any:
    return YAML(typ="safe", pure=True)  # YAML 1.2: 3e-4 is a number, on is a word, keys may not repeat


def _lines(node: Node | None, loc: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], int]]:
    """Line of every key, by its path."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            here = (*loc, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _lines(value, here)


def _split_set(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"--set {text!r}: write it as section.key=value, for example training.epochs=5")
    return key, parse_value(value, f"--set {key}")


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path. Naming another strategy drops the options of the one before."""
    *sections, key = path.split(".")
    if path == "strategy.name":
        old = values.get("strategy", {})
        if value != (old.get("name") if isinstance(old, dict) else old):
            values["strategy"] = {}
    for section in sections:
        inner = values.setdefault(section, {})
        if isinstance(inner, str) and section in _SHORT_FORM:
            inner = values[section] = {_SHORT_FORM[section]: inner}
        if not isinstance(inner, dict):
            raise UsageError(f"{path}: '{section}' is not a section but {inner!r}")
        values = inner
    values[key] = value


def _origin(origins: Origins, loc: tuple[str, ...]) -> str | None:
    """The origin of the value at a path, of one inside it, or of the section around it."""
    inside = (origin for path, origin in origins.items() if path[: len(loc)] == loc)
    around = (origins[loc[:n]] for n in range(len(loc) - 1, 0, -1) if loc[:n] in origins)
    return next(inside, None) or next(around, None)
