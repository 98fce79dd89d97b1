"""The help of every command, its examples, and suggestions for unknown commands and options."""

import re
import shlex
from typing import Any, get_args

import pytest
import typer

from adapter_tune.cli import app, main
from adapter_tune.commands.examples import EXAMPLES
from adapter_tune.commands.help import GROUPS, OTHERS, group_of
from adapter_tune.config.schema import CustomDataConfig, RunConfig
from adapter_tune.strategies import REGISTRY
from adapter_tune.tasks.glue import TASKS

ROOT = typer.main.get_command(app)


def all_commands(command: Any = ROOT, name: str = "") -> dict[str, Any]:
    """Every command that does something, by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {name: command}
    return {
        words: each
        for word, sub in inner.items()
        for words, each in all_commands(sub, f"{name} {word}".strip()).items()
    }


COMMANDS = all_commands()


def help_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    main([*words.split(), "--help"])
    return capsys.readouterr().out


def test_every_command_has_two_examples() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert all(len(set(lines)) == 2 for lines in EXAMPLES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_can_be_parsed_and_are_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(name, capsys)
    for line in EXAMPLES[name]:
        words = shlex.split(line)
        start = name.split()
        assert words[: len(start)] == start
        COMMANDS[name].make_context(name, words[len(start) :])
        assert f"\n  adapter-tune {line}\n" in text.partition("Examples:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_type_in_words(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(name, capsys)
    for parameter in COMMANDS[name].params:
        if not getattr(parameter, "is_flag", False):
            assert re.fullmatch(r"[A-Z|=/]+|([a-z0-9]+\|)+[a-z0-9]+", parameter.metavar), parameter.name
            assert parameter.metavar in text
    assert not re.search(r"<\w+>|\[default|\{", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_default_is_in_the_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(name, capsys).split())
    for parameter in COMMANDS[name].params:
        default = getattr(parameter.default, "value", parameter.default)
        if default is not None and not isinstance(default, bool):
            assert f"Default: {default}." in text, parameter.name


def test_the_help_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("train", capsys)
    titles = re.findall(r"^(\w+):$", text, flags=re.M)
    assert titles == ["Arguments", "What", "Data", "Training", "Output", OTHERS, "Examples"]
    words = " ".join(text.split())
    config = RunConfig(task="rte")
    assert f"Number of training epochs. Default: {config.training.epochs}." in words
    assert f"Default: {config.model.id}." in words
    assert f"Values: {', '.join(sorted(REGISTRY))}. Default: houlsby." in words
    assert f"Values: {', '.join(TASKS)}, custom." in words
    assert "Default: --resume." in words
    for kind in set(get_args(CustomDataConfig.model_fields["problem"].annotation)) - {"auto"}:
        assert kind in words


def test_a_group_names_only_options_that_exist() -> None:
    flags = {flag.lstrip("-") for command in COMMANDS.values() for each in command.params for flag in each.opts}
    named = [name for names in GROUPS.values() for name in names.split()]
    assert not set(named) - flags
    assert len(set(named)) == len(named)
    others = {each.name for command in COMMANDS.values() for each in command.params if group_of(each) == OTHERS}
    options = {each.name for command in COMMANDS.values() for each in command.params if each.opts[0].startswith("--")}
    assert not others & options


def test_the_batch_size_of_an_evaluation_is_no_option_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\nTraining:\n" not in help_of("eval", capsys)
    assert "--batch-size" in help_of("predict", capsys).partition("\nComputation:\n")[2].partition("\nOutput:\n")[0]


def test_a_default_of_the_configuration_is_in_the_help_of_each_command_that_composes_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, default in (("count-params", "houlsby"), ("bench", "64"), ("inspect-data", "google-bert/")):
        assert f"Default: {default}" in help_of(command, capsys), command
    assert "google-bert" not in help_of("eval", capsys)


def test_the_examples_name_shipped_files_tasks_and_strategies_that_exist() -> None:
    checked = set()
    for name, lines in EXAMPLES.items():
        for line in lines:
            context = COMMANDS[name].make_context(name, shlex.split(line)[len(name.split()) :])
            for parameter in COMMANDS[name].params:
                value = context.params[parameter.name]
                if isinstance(value, str) and not value.startswith("runs/") and not value.endswith((".yaml", ".csv")):
                    known = {each.value for each in parameter.shell_complete(context, value)}
                    if getattr(parameter, "_custom_shell_complete", None) is not None:
                        assert value in known, line
                        checked.add(value)
    assert {"mrpc", "lora", "houlsby", "glue/cola", "paper/sweeps/sizes-small"} <= checked


def test_the_commands_are_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    assert re.findall(r"^([\w ]+):$", text, flags=re.M) == [
        *("Options", "Train and use", "Many runs", "Inspect", "Other libraries", "Information", "Examples"),
    ]
    assert "..." not in text.replace("[ARGS]...", "")
    assert all(re.search(rf"^  {word} ", text, flags=re.M) for word in ROOT.commands)  # type: ignore[attr-defined]


def test_the_usage_names_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_of("predict", capsys).startswith("Usage: adapter-tune predict [OPTIONS] [RUN]...\n")
    assert help_of("config cp", capsys).startswith("Usage: adapter-tune config cp [OPTIONS] NAME FILE\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "unknown command 'trian'; did you mean 'train'? Known: "),
        ("config shw", "unknown command 'shw'; did you mean 'show'? Known: cp, diff, "),
        ("train --epoch 3", "unknown option '--epoch'; did you mean '--epochs'? 'adapter-tune train --help' lists "),
        ("train --no-resum", "unknown option '--no-resum'; did you mean '--no-resume'? "),
        ("--versoin", "unknown option '--versoin'; did you mean '--version'? "),
        ("train --xyzzy", "unknown option '--xyzzy'; '"),
        ("train --epochs", "Option '--epochs' requires an argument. (--help lists the options)"),
    ],
)
def test_the_nearest_name(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
