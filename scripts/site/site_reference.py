"""The reference pages of the documentation's site, as Markdown written from the code.

Nothing here is stored: ``site_hooks.py`` puts each text where a page has ``<!-- generated: NAME -->``.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer

import adapter_tune
from adapter_tune import testing
from adapter_tune.cli import app
from adapter_tune.commands.help import entries
from adapter_tune.config.json_schema import run_schema
from adapter_tune.config.shipped import shipped_configs, summary
from adapter_tune.report.strategy_listing import facts, percent_trained
from adapter_tune.strategies import REGISTRY, Strategy
from adapter_tune.sweeps.json_schema import sweep_schema
from adapter_tune.tasks.glue import TASKS

Schema = dict[str, Any]


def generated(name: str) -> str:
    """Return the Markdown of a marker: ``options COMMAND`` or a key of ``_TEXTS``.

    Raises:
        KeyError: there is no such text.
        ValueError: a public name of the package has no docstring.
    """
    kind, _, words = name.partition(" ")
    return _options(words) if kind == "options" else _TEXTS[name]()


# Commands -----------------------------------------------------------------------------------------------------------


def command_names() -> list[str]:
    """Return the commands that have options of their own: ``train``, ``config show``, ..."""
    return list(_commands())


def _commands() -> dict[str, Any]:
    commands: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        inner = getattr(command, "commands", {})
        for name, each in inner.items():
            walk(each, (*words, name))
        if not inner:
            commands[" ".join(words)] = command

    walk(typer.main.get_command(app), ())
    return commands


def _options(words: str) -> str:
    """Return usage, options by group, and examples of a command, from what its ``--help`` is written from."""
    command: Any = typer.main.get_command(app) if words == "adapter-tune" else _commands()[words]
    ctx = command.make_context(words.rsplit(maxsplit=1)[-1], [], resilient_parsing=True)
    if words == "adapter-tune":
        options = [each for each in command.get_params(ctx) if each.name != "help"]
        return _table(
            ["option", "meaning"], [[_code(", ".join(each.opts)), _cell(each.help or "")] for each in options]
        )
    blocks = [f"```text\nadapter-tune {words} {' '.join(command.collect_usage_pieces(ctx))}\n```"]
    for group, rows in entries(command, ctx).items():
        own = [[_code(name), _cell(text)] for name, text in rows if name != "--help"]
        if own:
            blocks.append(_table([group, "meaning"], own))
    blocks.append(f"Examples:\n\n```sh\n{command.epilog}\n```")
    return "\n\n".join(blocks)


# Configuration ------------------------------------------------------------------------------------------------------


def _configuration() -> str:
    schema = run_schema()
    definitions = schema["$defs"]
    blocks = []

    def section(path: str, title: str, options: dict[str, Schema]) -> None:
        inner = {}
        rows = []
        for name, option in options.items():
            target = _section_of(option)
            if target is not None and target != "Strategy":
                inner[f"{path}{name}."] = target
            rows.append(_row(path + name, option, _link(path + name, target) if target else _kind(option)))
        blocks.append(f"## {title}\n\n{_table(['key', 'meaning'], rows)}")
        for prefix, target in inner.items():
            section(prefix, f"`{prefix.rstrip('.')}`", definitions[target]["properties"])

    section("", "The top level", schema["properties"])
    return "\n\n".join(blocks)


def _sweep() -> str:
    schema = sweep_schema()
    options = _table(["key", "meaning"], [_row(*each) for each in schema["properties"].items()])
    ranges = _table(["key", "meaning"], [_row(*each) for each in schema["$defs"]["Range"]["properties"].items()])
    return f"{options}\n\n### A range of a search\n\n{ranges}"


def _row(key: str, option: Schema, kind: str | None = None) -> list[str]:
    """Return the row of a key: with its default, and its meaning with its type and its values."""
    default = _default(option)
    what = f"{_cell(option.get('description', ''))}<br>{kind or _kind(option)}"
    return [_code(key) + (f"<br>default {default}" if default else ""), what]


def _shipped() -> str:
    blocks = []
    for title, sweeps in (("Configurations", False), ("Sweeps", True)):
        rows = [[_code(name), _cell(summary(path))] for name, path in shipped_configs(sweeps=sweeps).items()]
        blocks.append(f"### {title}\n\n{_table(['name', 'what'], rows)}")
    return "\n\n".join(blocks)


def _section_of(option: Schema) -> str | None:
    """Return the definition that an option's value is a section of, or None."""
    references = [
        each["$ref"] for each in (option, *option.get("anyOf", ()), *option.get("allOf", ())) if "$ref" in each
    ]
    return references[0].rpartition("/")[2] if references else None


def _link(path: str, target: str) -> str:
    if target == "Strategy":
        return "a name, or a section: [strategies](strategies.md)"
    return f"section: [`{path}`](#{path.replace('.', '')})"


def _kind(option: Schema) -> str:
    """Return the type of an option in words, from its JSON Schema."""
    parts = list(dict.fromkeys(_kinds(option)))
    if option.get("default") is not None and _TYPES["null"] in parts:
        parts.remove(_TYPES["null"])  # it is another way to write the default
    return " or ".join(parts) or "any value"


def _kinds(option: Schema) -> Iterator[str]:
    for each in (*option.get("anyOf", ()), *(each for each in option.get("allOf", ()) if "type" in each)):
        yield from _kinds(each)
    if "enum" in option:
        yield ", ".join(_code(value) for value in option["enum"])
    elif "const" in option:
        yield _code(option["const"])
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
    return (
        "" if isinstance(value, dict) and value else _code(json.dumps(value) if not isinstance(value, str) else value)
    )


# Strategies and tasks -----------------------------------------------------------------------------------------------


def _strategies() -> str:
    rows = [
        [f"[`{name}`](#{name})", _cell(cls.summary()), f"{percent_trained(cls()):.2f}", _cell(cls.paper)]
        for name, cls in _own()
    ]
    table = _table(["strategy", "what is trained", "% of BERT-base", "source"], rows)
    return "\n\n".join([table, *(_strategy(name, cls) for name, cls in _own())])


def _own() -> list[tuple[str, type[Strategy]]]:
    """Return the strategies of this package; other installed packages may have registered more."""
    return [(name, cls) for name, cls in REGISTRY.items() if cls.__module__.startswith("adapter_tune.")]


def _strategy(name: str, cls: type[Strategy]) -> str:
    definitions = run_schema()["$defs"]
    options = {key: each for key, each in definitions[f"strategy.{name}"]["properties"].items() if key != "name"}
    blocks = [f"## `{name}` {{ #{name} }}", f"{cls.summary()} Source: {cls.paper}."]
    if cls.drawing.strip():
        blocks.append(f"```text\n{inspect.cleandoc(cls.drawing)}\n```")
    rows = [_row(f"strategy.{key}", option) for key, option in options.items()]
    if rows:
        blocks.append(_table(["key", "meaning"], rows))
    else:
        blocks.append("It has no options.")
    rows = [[_cell(label), _code(value) if label == "formula" else value] for label, value in facts(cls)]
    blocks.append(_table(["with the default options", ""], rows))
    return "\n\n".join(blocks)


def _tasks() -> str:
    rows = []
    for task in TASKS.values():
        labels = ", ".join(_code(label) for label in task.labels) or "a number, {:g} to {:g}".format(*task.bounds)
        splits = ", ".join(_code(split) for split in ("train", *task.validation, *task.test, *task.diagnostic))
        columns = ", ".join(map(_code, task.text))
        metrics = ", ".join(f"**{_code(m)}**" if m == task.headline else _code(m) for m in task.metrics)
        rows.append([_code(task.name), task.title, columns, labels, metrics, splits])
    return _table(["task", "what", "columns", "labels by id", "metrics, the headline one bold", "splits"], rows)


# Python ------------------------------------------------------------------------------------------------------------


def _python() -> str:
    """Return the directives of mkdocstrings for the public names of the package."""
    blocks = ["## `adapter_tune`"]
    blocks += [_directive("adapter_tune", name) for name in adapter_tune.__all__ if name != "__version__"]
    blocks += ["## `adapter_tune.testing`", inspect.getdoc(testing) or ""]
    blocks += [_directive("adapter_tune.testing", name) for name in testing.__all__]
    return "\n\n".join(blocks)


def _directive(module: str, name: str) -> str:
    value = getattr(importlib.import_module(module), name)
    if not inspect.getdoc(value):
        raise ValueError(f"{module}.{name} has no docstring; write one")
    options = f"    options:\n      heading: {module}.{name}\n      toc_label: {name}"
    return f"::: {value.__module__}.{value.__qualname__}\n{options}"


def package_version() -> str:
    """Return the version of the package."""
    return adapter_tune.__version__


# Markdown -----------------------------------------------------------------------------------------------------------


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(text: str) -> str:
    """Return a text for a cell of a table: one line, with vertical bars and angle brackets as characters."""
    plain = " ".join(text.replace("``", "`").split())
    parts = plain.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_") for part in parts[::2]]
    return "`".join(parts).replace("|", r"\|")


def _code(value: object) -> str:
    return f"`{value}`"  # vertical bars in code do not divide cells


_TEXTS: dict[str, Callable[[], str]] = {
    "configuration": _configuration,
    "sweep": _sweep,
    "shipped": _shipped,
    "strategies": _strategies,
    "tasks": _tasks,
    "python": _python,
    "version": package_version,
}
"""The texts by the name in the marker, besides ``options COMMAND``."""
