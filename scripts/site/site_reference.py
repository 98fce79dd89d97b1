"""The reference pages of the documentation's site, as Markdown written from the code.

Nothing here is stored: ``site_hooks.py`` puts each text where a page has ``<!-- generated: NAME -->``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import typer
from site_tables import Schema, cell, code, kind_of, options_table, row, table

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
        return table(["option", "meaning"], [[code(", ".join(each.opts)), cell(each.help or "")] for each in options])
    blocks = [f"```text\nadapter-tune {words} {' '.join(command.collect_usage_pieces(ctx))}\n```"]
    for group, rows in entries(command, ctx).items():
        own = [[code(name), cell(text)] for name, text in rows if name != "--help"]
        if own:
            blocks.append(options_table([group, "meaning"], own))
    blocks.append(f"Examples:\n\n```sh\n{command.epilog}\n```")
    return "\n\n".join(blocks)


# Configuration -----------------------------------------------------------------------------------------------------


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
            rows.append(row(path + name, option, _link(path + name, target) if target else kind_of(option)))
        blocks.append(f"## {title}\n\n{options_table(['key', 'meaning'], rows)}")
        for prefix, target in inner.items():
            section(prefix, f"`{prefix.rstrip('.')}`", definitions[target]["properties"])

    section("", "The top level", schema["properties"])
    return "\n\n".join(blocks)


def _sweep() -> str:
    schema = sweep_schema()
    options = options_table(["key", "meaning"], [row(*each) for each in schema["properties"].items()])
    ranges = options_table(["key", "meaning"], [row(*each) for each in schema["$defs"]["Range"]["properties"].items()])
    return f"{options}\n\n### A range of a search\n\n{ranges}"


def _shipped() -> str:
    blocks = []
    for title, sweeps in (("Configurations", False), ("Sweeps", True)):
        rows = [[code(name), cell(summary(path))] for name, path in shipped_configs(sweeps=sweeps).items()]
        blocks.append(f"### {title}\n\n{table(['name', 'what'], rows)}")
    return "\n\n".join(blocks)


def _section_of(option: Schema) -> str | None:
    """Return the definition that an option's value is a section of, or None."""
    references = [
        each["$ref"] for each in (option, *option.get("anyOf", ()), *option.get("allOf", ())) if "$ref" in each
    ]
    return references[0].rpartition("/")[2] if references else None


def _link(path: str, target: str) -> str:
    if target == "Strategy":
        return "a name or a section, see [strategies](strategies.md)"
    return f"a section, [`{path}`](#{path.replace('.', '')})"


# Strategies and tasks -----------------------------------------------------------------------------------------------


def _strategies() -> str:
    rows = [
        [f"[`{name}`](#{name})", cell(cls.summary()), f"{percent_trained(cls()):.2f}", cell(cls.paper)]
        for name, cls in _own()
    ]
    overview = table(["strategy", "what is trained", "% of BERT-base", "source"], rows)
    return "\n\n".join([overview, *(_strategy(name, cls) for name, cls in _own())])


def _own() -> list[tuple[str, type[Strategy]]]:
    """Return the strategies of this package; other installed packages may have registered more."""
    return [(name, cls) for name, cls in REGISTRY.items() if cls.__module__.startswith("adapter_tune.")]


def _strategy(name: str, cls: type[Strategy]) -> str:
    definitions = run_schema()["$defs"]
    options = {key: each for key, each in definitions[f"strategy.{name}"]["properties"].items() if key != "name"}
    blocks = [f"## `{name}` {{ #{name} }}", f"{cls.summary()} Source: {cls.paper}."]
    if cls.drawing.strip():
        blocks.append(f"```text\n{inspect.cleandoc(cls.drawing)}\n```")
    rows = [row(f"strategy.{key}", option) for key, option in options.items()]
    if rows:
        blocks.append(options_table(["key", "meaning"], rows))
    else:
        blocks.append("It has no options.")
    rows = [[cell(label), code(value) if label == "formula" else value] for label, value in facts(cls)]
    blocks.append(table(["with the default options", ""], rows))
    return "\n\n".join(blocks)


def _tasks() -> str:
    rows = []
    for task in TASKS.values():
        labels = ", ".join(code(label) for label in task.labels) or "a number, {:g} to {:g}".format(*task.bounds)
        splits = ", ".join(code(split) for split in ("train", *task.validation, *task.test, *task.diagnostic))
        columns = ", ".join(map(code, task.text))
        metrics = ", ".join(f"**{code(m)}**" if m == task.headline else code(m) for m in task.metrics)
        rows.append([code(task.name), task.title, columns, labels, metrics, splits])
    return table(["task", "what", "columns", "labels by id", "metrics, the headline one bold", "splits"], rows)


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
