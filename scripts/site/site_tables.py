"""Tables of Markdown, and the rows of a configuration's keys from its JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

Schema = dict[str, Any]


def options_table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table of two columns; the style of the site puts one below the other on a narrow screen."""
    return f'<div class="options" markdown>\n\n{table(head, rows)}\n\n</div>'


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cell(text: str) -> str:
    """Return a text for a cell of a table: one line, with vertical bars and angle brackets as characters."""
    plain = " ".join(text.replace("``", "`").split())
    parts = plain.split("`")
    parts[::2] = [re.sub(r"([*_|])", r"\\\1", part.replace("<", "&lt;")) for part in parts[::2]]
    return "`".join(parts)


def code(value: object) -> str:
    """Return a value as code."""
    return f"`{value}`"  # vertical bars in code do not divide cells


def row(key: str, option: Schema, kind: str | None = None) -> list[str]:
    """Return the row of a key: with its default, and its meaning with its type and its values."""
    default = _default(option)
    kind = kind or kind_of(option)
    what = f"{cell(option.get('description', ''))}<br>{'Values' if kind.startswith('`') else 'Type'}: {kind}"
    return [code(key) + (f"<br>default {default}" if default else ""), what]


def kind_of(option: Schema) -> str:
    """Return the type of an option in words, from its JSON Schema."""
    parts = list(dict.fromkeys(_kinds(option)))
    if option.get("default") is not None and _TYPES["null"] in parts:
        parts.remove(_TYPES["null"])  # it is another way to write the default
    return " or ".join(parts) or "any value"


def _kinds(option: Schema) -> Iterator[str]:
    for each in (*option.get("anyOf", ()), *(each for each in option.get("allOf", ()) if "type" in each)):
        yield from _kinds(each)
    if "enum" in option:
        yield ", ".join(code(value) for value in option["enum"])
    elif "const" in option:
        yield code(option["const"])
    elif isinstance(option.get("type"), list):
        yield ", ".join(_TYPES[each] for each in option["type"])
    elif option.get("type") == "array":
        yield f"list of {_plural(option.get('items', {}))}"
    elif "type" in option:
        yield _TYPES[option["type"]] + _bounds(option)


_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "`null`",
    "object": "section",
}


def _plural(option: Schema) -> str:
    kinds = {"integer": "whole numbers", "number": "numbers", "object": "sections"}
    kind = option.get("type")
    return kinds.get(kind, "values") if isinstance(kind, str) and kind != "string" else "texts"


def _bounds(option: Schema) -> str:
    above, low, high, below = (
        _number(option[key]) if key in option else ""
        for key in ("exclusiveMinimum", "minimum", "maximum", "exclusiveMaximum")
    )
    if low and high:
        return f" ({low} to {high})"
    words = [f"above {above}" if above else f"at least {low}" if low else "", f"at most {high}" if high else ""]
    words.append(f"below {below}" if below else "")
    text = ", ".join(filter(None, words))
    return f" ({text})" if text else ""


def _number(value: float) -> str:
    return f"{value:,}" if value >= 10_000 and value == int(value) else f"{value:g}"


def _default(option: Schema) -> str:
    if "default" not in option:
        return ""
    value = option["default"]
    return "" if isinstance(value, dict) and value else code(json.dumps(value) if not isinstance(value, str) else value)
