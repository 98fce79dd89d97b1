"""YAML 1.2 in and out: ``3e-4`` is a number, ``on`` is a word, keys may not repeat, nothing executes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node
from ruamel.yaml.reader import ReaderError

from adapter_tune.config.shipped import read_text
from adapter_tune.foundation.errors import UsageError, first_line

Lines = dict[tuple[str, ...], int]
"""Line of every key, by its path."""

# What a loader raises beside its own errors: a tag that does not fit its value, a number of 5,000 digits, a pit of
# brackets, an alias to itself.
_BROKEN = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


def parse_value(text: str, origin: str) -> Any:
    """A command-line text read as YAML, so that ``8`` is a number and ``null`` is nothing.

    Raises:
        UsageError: the text is empty or not YAML; the message begins with ``origin``.
    """
    if not text.strip():
        raise UsageError(f"{origin}: the value is empty; remove the option to use its default")
    try:
        return _yaml().load(text)
    except (YAMLError, *_BROKEN):
        raise UsageError(f"{origin}: cannot read {text[:60]!r} as a YAML value; quote it") from None


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """The nested values of a YAML file and the line of each.

    Raises:
        UsageError: not there, not text, not YAML (with line and column), or not a mapping.
    """
    text = read_text(path)
    try:
        node, values = _yaml().compose(text), _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{where}: not valid YAML: {error.problem or error.context}") from None
    except ReaderError as error:
        before = text[: error.position]
        where = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        raise UsageError(f"{path}:{where}: not valid YAML: it contains a character that is not allowed") from None
    except (YAMLError, *_BROKEN) as error:
        raise UsageError(f"{path}: not valid YAML: {first_line(error)[:200]}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: should contain keys and values, as in 'task: mnli'; got {type(values).__name__}")
    return values, dict(_lines(node, (), set()))


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


def _yaml() -> Any:
    return YAML(typ="safe", pure=True)


def _lines(node: Node | None, loc: tuple[str, ...], seen: set[int]) -> Iterable[tuple[tuple[str, ...], int]]:
    if isinstance(node, MappingNode) and id(node) not in seen:
        seen.add(id(node))  # an alias leads here again
        for key, value in node.value:
            here = (*loc, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _lines(value, here, seen)
