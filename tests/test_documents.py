"""Every command, configuration and program in the documents, checked by the program itself.

Each command is parsed by the real command line, with the options, values, shipped names and configurations that it has.
``tests/test_documents_run.py`` runs those that can be run.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

import adapter_tune
from adapter_tune.cli import app
from adapter_tune.config.schema import parse_config
from adapter_tune.config.shipped import find_config
from adapter_tune.foundation.errors import UsageError
from adapter_tune.sweeps.cells import config_of, samples
from adapter_tune.sweeps.spec import read_sweep
from tests.documents import COMMANDS, DOCUMENTS, LANGUAGES, ROOT, Block, blocks, commands, own_arguments, write_files

COMMAND_LINE: Any = typer.main.get_command(app)
OTHER_PROGRAMS = {"check-jsonschema", "curl", "cut", "head", "hf", "printf", "scontrol", "sed", "sha256sum"}
"""Programs that are not ours; nothing of their arguments is checked."""
NOT_INSTALLED = {"adapters"}  # AdapterHub's package, which needs another version of transformers


class ComposedError(Exception):
    """The configuration of a command is complete and valid; the command need not go on."""


@pytest.fixture
def composing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands with a configuration end as soon as it is composed."""
    from adapter_tune.config import compose as module

    real = module.compose

    def composed(*args: Any, **options: Any) -> None:
        real(*args, **options)
        raise ComposedError

    monkeypatch.setattr(module, "compose", composed)


def check_own(arguments: list[str], place: str) -> None:
    """The command exists, its options and values are valid, its configuration is, and shipped names exist."""
    command = COMMAND_LINE
    words = [word for word in arguments if word != "--debug"]
    if words == ["--help"]:
        return
    name = ""
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"{place}: unknown command {words[:1]}"
        name, words, command = words[0], words[1:], command.commands[words[0]]
    try:
        context = command.make_context(name, list(words))
    except Exception as error:
        explain = getattr(error, "format_message", error.__str__)
        pytest.fail(f"{place}: {explain()}")
    try:
        if name in ("train", "inspect-data", "count-params"):
            with pytest.raises(ComposedError):
                command.callback(**context.params)
        if name == "init":
            context.params["output"].write_text("task: mnli\n")  # the commands after it read what init writes
        if name in ("sweep", "show", "cp"):
            shipped = context.params["file" if name == "sweep" else "name"]
            if not shipped.endswith(".yaml"):
                find_config(shipped, sweeps=name == "sweep" or "sweeps/" in shipped)
    except UsageError as error:
        pytest.fail(f"{place}: {error}")


def check_other(words: list[str], place: str) -> None:
    """Another program: a target of make, a script of ours with its options, a package with its extras, a known one."""
    program = words[0].rpartition("/")[2]
    if program == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), f"{place}: no target {words[1]}"
    elif words[0].startswith("scripts/"):
        assert (ROOT / words[0]).is_file(), place
    elif program == "python" and words[1].startswith("scripts/"):
        source = (ROOT / words[1]).read_text()
        for flag in (word for word in words if word.startswith("--")):
            assert flag in source or f"{flag[2:].replace('-', '_')}:" in source, f"{place}: {words[1]} has no {flag}"
    elif program == "pip":
        assert words[1] == "install", place
        extras = re.search(r"^adapter-tune\[(\w+)\]$", words[2])
        known = re.search(rf"^{extras[1]} = ", (ROOT / "pyproject.toml").read_text(), re.M) if extras else True
        assert known and (extras or (ROOT / words[2]).is_dir()), f"{place}: {words[2]}"
    elif program not in ("pre-commit", *OTHER_PROGRAMS):
        assert program == "python" and words[1:3] == ["-m", "pytest"], f"{place}: is {program} a program of others?"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_has_a_known_language(document: str) -> None:
    for block in blocks(document):
        place = f"{document}:{block.line}: {block.language}"
        assert block.language in (*COMMANDS, *LANGUAGES), f"{place}; outputs are 'text', commands 'sh'"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith("examples/strategy")])
@pytest.mark.usefixtures("composing_only")
def test_every_command_is_valid(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, document)
    for block in blocks(document):
        if block.language in COMMANDS:
            for words in commands(block):
                place = f"{document}:{block.line}: {' '.join(words)}"
                arguments = own_arguments(words)
                if arguments is None:
                    check_other(words, place)
                else:
                    check_own(arguments, place)


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.usefixtures("composing_only")
def test_every_command_within_a_sentence_is_valid(document: str) -> None:
    """In code spans: the command and its options exist; arguments may be left out or be placeholders."""
    text = re.sub(r"^```.*?^```", "", DOCUMENTS[document].read_text(), flags=re.M | re.S)
    groups = COMMAND_LINE.commands
    for span in re.findall(r"`(?:\.venv/bin/)?adapter-tune ([^`]+)`", text):
        words = shlex.split(span.replace("\\|", "|"))
        if words[0] == "COMMAND" or words[0].startswith("-"):
            continue
        assert words[0] in groups, f"{document}: adapter-tune {span}"
        inner = getattr(groups[words[0]], "commands", {})
        command = inner[words[1]] if len(words) > 1 and words[1] in inner else groups[words[0]]
        flags = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)} | {"--help", "--debug"}
        unknown = {word for word in words if word.startswith("--")} - flags
        assert not unknown, f"{document}: adapter-tune {span}: {unknown}"
        if words[0] == "train" and "BERT" in words:
            check_own(words, f"{document}: {span}")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_configuration_and_program_is_valid(document: str, tmp_path: Path) -> None:
    for block in blocks(document):
        place = f"{document}:{block.line}"
        if block.language == "yaml":
            check_yaml(block.text, tmp_path / "block.yaml", place)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            check_python(block.text, place)


def check_yaml(text: str, path: Path, place: str) -> None:
    """A sweep, of which a few runs are composed, or a part of a configuration."""
    values = YAML(typ="safe").load(text)
    path.write_text(text)
    try:
        if "parameters" in values:
            sweep = read_sweep(str(path))
            for values in samples(sweep):
                config_of(sweep, values, path.parent)
        else:
            parse_config({"task": "rte", **values})
    except UsageError as error:
        pytest.fail(f"{place}: {error}")


def check_python(text: str, place: str) -> None:
    """It compiles, its imports exist, and what it takes from the package is public."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            assert module and (module.split(".")[0] in NOT_INSTALLED or importlib.util.find_spec(module)), place
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adapter_tune"):
            for alias in node.names:
                assert hasattr(importlib.import_module(str(node.module)), alias.name), f"{place}: {alias.name}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "adapter_tune":
            assert node.attr in adapter_tune.__all__, f"{place}: adapter_tune.{node.attr} is not public"


# These checks can fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "trian",
        "train --epoch 3",
        "train --task mnly",
        "train --task rte --set training.epoch=3",
        "train --task rte --strategy hulsby",
        "train --config glue/nothing",
        "eval --batch-size many",
        "config show nothing",
        "sweep paper/sweeps/nothing",
    ],
)
@pytest.mark.usefixtures("composing_only")
def test_a_wrong_command_is_refused(command: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=r"^place: "):
        check_own(command.split(), "place")


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "python scripts/demo.py --nothing",
        "pip install adapter-tune[nothing]",
        "scripts/nothing.sh",
        "unheard-of x",
    ],
)
def test_a_wrong_command_of_another_program_is_refused(command: str) -> None:
    with pytest.raises(AssertionError):
        check_other(command.split(), "place")


@pytest.mark.parametrize(
    "text", ["import adapter_tuna", "from adapter_tune import nothing", "import adapter_tune\nadapter_tune.nothing()"]
)
def test_a_wrong_program_is_refused(text: str) -> None:
    with pytest.raises(AssertionError):
        check_python(text, "place")


@pytest.mark.parametrize("text", ["training: {epoch: 3}", "name: x\nparameters: {training.epoch: [1]}\ndemo: true"])
def test_a_wrong_configuration_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="epoch"):
        check_yaml(text, tmp_path / "block.yaml", "place")


def test_a_block_is_taken_apart_as_the_shell_does_it() -> None:
    text = """M=bert
for t in rte cola; do
  adapter-tune train --task $t --model $M  # it's a comment
done
cut -f2 pairs.tsv | adapter-tune ask > answers.txt
first=$(scontrol show | head -n 1)
adapter-tune predict --text 'two
lines'
torchrun --nproc-per-node 4 -m adapter_tune train \\
  --task rte
"""
    taken = list(commands(Block("document", 1, "sh", "", text)))
    assert taken == [
        ["adapter-tune", "train", "--task", "rte", "--model", "bert"],
        ["cut", "-f2", "pairs.tsv"],
        ["adapter-tune", "ask"],
        ["scontrol", "show"],
        ["head", "-n", "1"],
        ["adapter-tune", "predict", "--text", "two\nlines"],
        ["torchrun", "--nproc-per-node", "4", "-m", "adapter_tune", "train", "--task", "rte"],
    ]
    assert own_arguments(taken[-1]) == ["train", "--task", "rte"]
