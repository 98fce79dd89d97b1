"""Every command, configuration and Python block in the documents, checked by the program itself.

Fast: each command is parsed by the real command line, with the options, values, shipped names and configurations that
it has. ``-m slow``: the commands that need neither a network nor a GPU are run, document by document, in a folder with
the files and runs that the documents name. docs/tutorial.md has a test of its own, and so have the examples.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

import adapter_tune
from adapter_tune.cli import app, main
from adapter_tune.config.schema import parse_config
from adapter_tune.config.shipped import find_config
from adapter_tune.foundation.errors import UsageError
from adapter_tune.sweeps.spec import read_sweep

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    str(path.relative_to(ROOT)): path
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").rglob("*.md")),
    )
}
COMMANDS = ("", "sh")
"""Languages of blocks with commands; a block without a language has commands, too."""
OTHER_LANGUAGES = ("json", "python", "text", "toml", "yaml")
OTHER_PROGRAMS = {"check-jsonschema", "curl", "cut", "head", "hf", "printf", "scontrol", "sed", "sha256sum"}
"""Programs that are not ours; nothing of their arguments is checked."""
LAUNCHERS = ("torchrun", "accelerate", "srun")
NOT_INSTALLED = {"adapters"}  # AdapterHub's package, which needs another version of transformers
TESTED_ELSEWHERE = ("docs/tutorial.md", "examples/")


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    title: str
    text: str


def blocks(document: str) -> list[Block]:
    found: list[Block] = []
    lines: list[str] = []
    start, info = 0, ""
    for number, line in enumerate(DOCUMENTS[document].read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if not start:
                start, info, lines = number, line.strip().removeprefix("```"), []
            else:
                title = re.search(r'title="(.+?)"', info)
                language = info.split()[0] if info else ""
                found.append(Block(document, start, language, title[1] if title else "", "\n".join(lines) + "\n"))
                start = 0
        else:
            lines.append(line)
    assert not start, f"{document}:{start}: the block has no end"
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block, each as its words: comments, loops, pipes and variables are taken apart."""
    variables: dict[str, str] = {}
    unfinished = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        unfinished += re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], "0"), line) + "\n"
        tokens = _tokens(unfinished)
        if tokens is None:  # a text over several lines
            continue
        unfinished = ""
        words: list[str] = []
        for token in (*tokens, ";"):
            if token and set(token) <= set("();|&"):
                yield from _simple(words, variables)
                words = []
            else:
                words.append(token)
    assert not unfinished, f"{block.document}:{block.line}: {unfinished}"


def _tokens(line: str) -> list[str] | None:
    """Words and operators of the shell; None if a quote is still open."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return None


def _simple(words: list[str], variables: dict[str, str]) -> Iterator[list[str]]:
    while words and (words[0] in ("do", "done") or re.match(r"\w+=", words[0])):
        name, equals, value = words[0].partition("=")
        if equals:
            variables[name] = value
        words = words[1:]
    if words[:1] == ["for"]:
        variables[words[1]] = words[3]
    elif words:
        yield words[: words.index(">")] if ">" in words else words


def own_arguments(words: list[str]) -> list[str] | None:
    """The arguments of adapter-tune in a command, also behind a launcher; None for another program."""
    program = words[0].rpartition("/")[2]
    if program == "adapter-tune":
        return words[1:]
    if program in LAUNCHERS:
        return words[words.index("adapter_tune") + 1 :]
    return None


# What a command says is true ----------------------------------------------------------------------------------------


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
    command: Any = typer.main.get_command(app)
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
        assert block.language in (*COMMANDS, *OTHER_LANGUAGES), f"{place}; outputs are 'text', commands 'sh'"


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
    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
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
    values = YAML(typ="safe").load(text)
    path.write_text(text)
    try:
        if "parameters" in values:
            read_sweep(str(path))
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


# The commands are run -----------------------------------------------------------------------------------------------

SHORT = ["--demo", *(f"--set={key}" for key in ("training.max_steps=1", "data.max_train_samples=64"))]
SHORT += ["--set=data.max_eval_samples=32", "--set=training.device=cpu"]
"""Added to a command that trains: one step on the demo data, instead of hours on data from the Hub."""
NOT_RUN = {
    "push": "needs the Hub: tests/run_files/test_hub_runs.py",
    "serve": "does not end: tests/serving",
    "someone/": "needs the Hub: tests/run_files/test_hub_runs.py",
    "postgresql:": "needs a database: tests/sweeps",
    "/shared": "a folder that this machine does not have",
    "paper/sweeps/": "trains for hours: tests/sweeps",
    "bench": "measures for minutes: tests/bench",
    "scaling": "needs a package: tests/test_examples.py",
    "--train-file messages.csv --model": "needs the Hub: tests/data/test_custom.py",
}
"""Commands that are only parsed, by a part of their text."""
PLACEHOLDERS = re.compile(r"\bruns/(\w+?)-(houlsby|lora)-(m64|r8)-[0-9a-f]{8}\b|\bruns/[ab]\b|\bRUN\b|\bmy-runs\b")
PAIRS = [("A man plays the guitar.", "A man plays music."), ("The potter toiled.", "The potter slept.")] * 6


def write_files(folder: Path, document: str) -> None:
    """The files that documents name, with rows of the kind that they describe, and the YAML files that they show."""
    body = [f'"The film number {i} is {"good" if i % 2 else "bad"}.",{"yes" if i % 2 else "no"}' for i in range(40)]
    single = "\n".join(["text,label", *body]) + "\n"
    pairs = [f"{one},{two},{i % 2}" for i, (one, two) in enumerate(PAIRS)]
    pair_rows = "\n".join(["sentence1,sentence2,label", *pairs]) + "\n"
    for name in ("messages.csv", "new.csv", "checked.csv"):
        (folder / name).write_text(single)
    (folder / "reviews.csv").write_text(single.replace("text", "body", 1) if "commands" in document else single)
    (folder / "pairs.csv").write_text(pair_rows)
    (folder / "pairs.tsv").write_text("".join(f"{i}\t{one}\t{two}\n" for i, (one, two) in enumerate(PAIRS)))
    for name in ("my.yaml", "big.yaml"):
        (folder / name).write_text("task: rte\nmodel: demo\ndata: {source: demo}\n")
    for block in blocks(document):
        if block.title:
            (folder / block.title).write_text(block.text)


def how_to_run(words: list[str]) -> list[str] | None:
    """The arguments with which a command is run here, or None if it is only parsed."""
    arguments = own_arguments(words)
    text = " ".join(words)
    if arguments is None or words[0] in LAUNCHERS or any(part in text for part in NOT_RUN):
        return None
    if arguments[0] == "train" and "--dry-run" not in arguments:
        arguments = [*_on_the_demo(arguments), *SHORT]
    elif arguments[0] == "inspect-data" and "--demo" not in arguments:
        arguments = [*_on_the_demo(arguments), "--demo"]
    elif arguments[0] == "sweep":
        arguments = [*arguments, "--dry-run"]
    return arguments


def _on_the_demo(arguments: list[str]) -> list[str]:
    model = arguments.index("--model") if "--model" in arguments else None
    return arguments if model is None else [*arguments[:model], *arguments[model + 2 :]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which runs are trained once, whatever the documents call them."""
    return tmp_path_factory.mktemp("trained")


def placeholder_run(trained: Path, task: str, strategy: str) -> Path:
    """The folder of a run of one step on the demo data, or on reviews for task ``custom``."""
    output = trained / f"{task}-{strategy}"
    if not output.is_dir():
        what = ["--task", task]
        if task == "custom":
            write_files(trained, "docs/commands.md")
            rows = str(trained / "reviews.csv")
            what = ["--train-file", rows, "--test-file", rows, "--text-column", "body"]
        main(["train", *what, "--strategy", strategy, *SHORT, "--output", str(output)])
    (folder,) = output.iterdir()
    return folder


def put_runs(trained: Path, words: list[str]) -> None:
    """Copy a run to every place in the current folder that a command names."""
    text = " ".join(words)
    for match in PLACEHOLDERS.finditer(text):
        place, task, strategy = Path(match[0]), match[1] or "rte", match[2] or "houlsby"
        if match[0] == "my-runs":
            place = place / "rte"
        if "--text-column body" in text or "eval RUN" in text or "--split test" in text:
            task = "custom"
        if ("reviews.csv" in text and len(PLACEHOLDERS.findall(text)) > 1) or "runs/a" in text:
            task = match[1] or {"runs/a": "sst2", "runs/b": "cola"}.get(match[0], task)
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(placeholder_run(trained, task, strategy), place)


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith(TESTED_ELSEWHERE)])
def test_the_commands_run(
    document: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, document)
    done = 0
    for block in blocks(document):
        for words in commands(block) if block.language in COMMANDS else ():
            arguments = how_to_run(words)
            if arguments is None:
                continue
            put_runs(trained, arguments)
            stdin = tmp_path / "stdin"
            stdin.write_text("".join(f"{one}\t{two}\n" for one, two in PAIRS))
            with stdin.open() as lines, monkeypatch.context() as patch:
                patch.setattr("sys.stdin", lines)
                _run(arguments, f"{document}:{block.line}: {' '.join(words)}", capsys)
            done += 1
    if not done:
        pytest.skip("no command that can be run here")


def _run(arguments: list[str], place: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code in (None, 0), f"{place}\n{capsys.readouterr().err}"


def test_reasons_not_to_run_a_command_are_still_needed() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS.values())
    assert not [part for part in NOT_RUN if part not in text]
    files = re.findall(r"tests/[\w/.]+", " ".join(NOT_RUN.values()))
    assert not [name for name in files if not (ROOT / name).exists()]
