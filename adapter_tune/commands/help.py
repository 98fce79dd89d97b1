"""The help of a command as plain text: options in groups, with type, values and default, then two examples.

Typer has groups (panels) only in its rich mode, which draws boxes; plain text is easier to read in a narrow terminal,
in a pipe and aloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from typer.core import TyperCommand, TyperGroup

from adapter_tune.commands import completion
from adapter_tune.foundation.errors import UsageError, unknown_name

GROUPS = {
    "What": "config task strategy m model language-adapter demo init-from onnx runs attention-only feed-forward-only "
    "train-pooler num-labels set lengths kept yes",
    "Data": "train-file validation-file test-file data-source problem split input text text-pair text-column "
    "text-pair-column label-column subset max-length",
    "Training": "lr epochs batch-size seed resume force steps",
    "Computation": "device precision resident batch-tokens wait-ms workers storage",
    "Requests": "host port max-body max-rows max-characters max-queue timeout allow-changes adapters",
    "Output": "output output-json json dry-run format safetensors int8 allow-partial private revision",
}
"""The groups of options in the order of the help, each with its options; all others are in the last group."""
OTHERS = "Other"

_VALUES = {"--task": completion.tasks, "--strategy": completion.strategies}
"""Options whose values are listed in the help of ``train``."""
_DEFAULTS = {
    "--strategy": "strategy.name",
    "--m": "strategy.m",
    "--model": "model.id",
    "--epochs": "training.epochs",
    "--batch-size": "training.batch_size",
    "--seed": "training.seed",
    "--output": "output",
}
"""Options whose defaults are those of the configuration, by path."""
_COMPOSING = ("train", "inspect-data", "count-params", "bench")
"""The commands in which these options are options of a configuration."""


def group_of(parameter: Any) -> str:
    """Return the group of an option: its own ``rich_help_panel``, or the one that the table has for its flag."""
    if parameter.rich_help_panel is not None:
        return str(parameter.rich_help_panel)
    flags = {flag.lstrip("-") for flag in parameter.opts}
    return next((group for group, names in GROUPS.items() if flags & set(names.split())), OTHERS)


class Command(TyperCommand):
    """A command whose help is in groups and ends with its examples, the epilog."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name: optional arguments are in brackets."""
        return ["[OPTIONS]", *(_argument_name(each) for each in self.params if each.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options in their groups."""
        for group, rows in entries(self, ctx).items():
            _write(formatter, group, rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on a line of its own that is not wrapped."""
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """The commands in groups, each with the whole first line of its help; unknown ones with a suggestion."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in their groups, in the order in which they were added."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            panel = getattr(command, "rich_help_panel", None)
            title = panel if isinstance(panel, str) else "Commands"
            groups.setdefault(title, []).append((name, (command.help or "").partition("\n")[0]))
        for title, rows in groups.items():
            _write(formatter, title, rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name.

        Raises:
            UsageError: there is none; the message names the most similar one.
        """
        if args and args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(unknown_name("command", args[0], self.commands))
        return super().resolve_command(ctx, args)


def entries(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the arguments and options of a command by group, each with its name and its whole text.

    The help and the reference of the documentation's site are both written from it. A command with few groups has its
    options in one group, "Options".
    """
    parameters = [each for each in command.get_params(ctx) if not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    rows = {"Arguments": [(_argument_name(each), _text(each, command.name)) for each in arguments]}
    options = [each for each in parameters if each.param_type_name == "option"]
    is_long = len({group_of(each) for each in options}) > 2
    for group in (*GROUPS, OTHERS) if is_long else ("Options",):
        own = [each for each in options if not is_long or group_of(each) == group]
        rows[group] = [(_option_name(each), _text(each, command.name)) for each in own]
    return {group: each for group, each in rows.items() if each}


def _write(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    with formatter.section(title):
        formatter.write_dl(rows)


def _write_examples(text: str | None, formatter: Any) -> None:
    if text:
        with formatter.section("Examples"):
            for line in text.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _argument_name(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = name if argument.required else f"[{name}]"
    return name if argument.nargs == 1 else f"{name}..."


def _option_name(option: Any) -> str:
    flags = ", ".join(sorted((*option.opts, *option.secondary_opts), key=lambda flag: flag.startswith("--no-")))
    return flags if option.is_flag else f"{flags} {option.metavar}"


def _text(parameter: Any, command: str | None) -> str:
    """The help of a parameter, with its values and its default where they are not in it already."""
    return " ".join([parameter.help or "", *_additions(parameter, command)]).strip()


def _additions(parameter: Any, command: str | None) -> Iterator[str]:
    flag = parameter.opts[0]
    if command == "train" and flag in _VALUES:
        yield f"Values: {', '.join(_VALUES[flag](''))}."
    is_configured = command in _COMPOSING and flag in _DEFAULTS
    default = _configured_default(_DEFAULTS[flag]) if is_configured else parameter.default
    if isinstance(default, Enum):
        default = default.value
    is_flag = getattr(parameter, "is_flag", False)
    if is_flag and parameter.secondary_opts:
        yield f"Default: {(parameter.opts if default else parameter.secondary_opts)[0]}."
    if default is not None and not is_flag and "Default:" not in (parameter.help or ""):
        yield f"Default: {default}."


def _configured_default(path: str) -> Any:
    """The default of an option of a run's configuration."""
    from adapter_tune.config.schema import RunConfig

    value: Any = RunConfig(task="mnli")
    for part in path.split("."):
        value = getattr(value, part)
    return value
