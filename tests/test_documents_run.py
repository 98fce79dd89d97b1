"""The commands and programs of the documents that need neither a network nor a GPU are run, document by document.

Each has a folder with the files and the runs that it names. Commands that train take one step on the demo data.
docs/tutorial.md has a test of its own, and so have the examples.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.schema import parse_config
from adapter_tune.demo.location import BACKBONE
from adapter_tune.tasks.glue import TASKS
from tests.documents import (
    COMMANDS,
    DOCUMENTS,
    LAUNCHERS,
    PAIRS,
    ROOT,
    Block,
    blocks,
    commands,
    own_arguments,
    write_files,
)

TESTED_ELSEWHERE = ("docs/tutorial.md", "examples/")
SHORT = ["--demo", *(f"--set={key}" for key in ("training.max_steps=1", "data.max_train_samples=64"))]
SHORT += ["--set=data.max_eval_samples=32", "--set=training.device=cpu"]
"""Added to a command that trains: one step on the demo data, instead of hours on data from the Hub."""
NOT_RUN = {
    "push": "needs the Hub: tests/run_files/test_hub_runs.py",
    "serve": "does not end: tests/serving",
    "AdapterHub/": "needs the Hub: tests/run_files/test_hub_runs.py",
    "someone/": "needs the Hub: tests/run_files/test_hub_runs.py",
    "postgresql:": "needs a database: tests/sweeps",
    "/shared": "a folder that this machine does not have",
    "paper/sweeps/": "trains for hours: tests/sweeps",
    "submit": "needs nine runs: tests/runs/test_submit.py",
    "bench": "measures for minutes: tests/bench",
    "scaling": "needs a package: tests/test_examples.py",
    "@strategy(": "defines a class: tests/test_architecture.py",
    "check_strategy(": "belongs into a test: tests/test_examples.py",
    "from adapters import": "needs a package that is not installed: tests/exchange/test_adapterhub.py",
}
"""Commands and programs that are only parsed, by a part of their text."""
PLACEHOLDERS = re.compile(
    r"\bruns/(\w+?)-(houlsby|lora)-(m64|r8)-[0-9a-f]{8}\b|\bruns/[ab]\b|\bRUN\b|\bmy-runs\b|(?<![/\w])sweeps(?![/\w])"
)
"""Runs, and folders that contain runs, that the documents name."""
FOLDERS = ("my-runs", "sweeps")


def write_input(path: Path, task: str) -> None:
    """A file with the columns of every task, and the labels of one."""
    columns = dict.fromkeys(["text", "body", *(column for each in TASKS.values() for column in each.text)])
    labels = TASKS[task].labels or ("0.0", "5.0") if task in TASKS else ("no", "yes")
    rows = []
    for i, (one, two) in enumerate(PAIRS):
        seconds = ("sentence2", "question2", "hypothesis")
        texts = [f'"{two if column in seconds else one}"' for column in columns]
        rows.append(",".join([*texts, labels[i % len(labels)]]))
    path.write_text("\n".join([",".join([*columns, "label"]), *rows]) + "\n")


def how_to_run(words: list[str]) -> list[str] | None:
    """The arguments with which a command is run here, or None if it is only parsed."""
    arguments = own_arguments(words)
    text = " ".join(words)
    if arguments is None or words[0] in LAUNCHERS or any(part in text for part in NOT_RUN):
        return None
    if arguments[0] == "init":  # without data it asks a person: tests/setup
        return [*_on_the_demo(arguments), "--demo", "--yes", "--force"] if len(arguments) > 1 else None
    if arguments[0] == "train" and "--dry-run" not in arguments:
        arguments = [*_on_the_demo(arguments), *SHORT]
    elif arguments[0] == "inspect-data" and "--demo" not in arguments:
        arguments = [*_on_the_demo(arguments), "--demo"]
    elif arguments[0] == "eval" and "imported" in text:  # an import does not say where its data were
        arguments = [*arguments, "--demo"]
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


def put_runs(trained: Path, text: str) -> str:
    """Copy a run to every place in the current folder that a command names; the task of the last one."""
    last = newest_task()
    is_own = "body" in text or "eval RUN" in text or "--split test" in text
    for match in PLACEHOLDERS.finditer(text):
        place = Path(match[0]) / "rte" if match[0] in FOLDERS else Path(match[0])
        others = {"runs/a": "sst2", "runs/b": "cola", "RUN": "custom" if is_own else "rte"}
        last = match[1] or others.get(match[0], "rte")
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(placeholder_run(trained, last, match[2] or "houlsby"), place)
    return last


def newest_task() -> str:
    results = sorted(Path("runs").glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    return str(json.loads(results[-1].read_text())["config"]["task"]) if results else "rte"


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith(TESTED_ELSEWHERE)])
def test_the_commands_run(
    document: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, document)
    done = 0
    for block in blocks(document):
        if block.language == "python" and not any(part in block.text for part in NOT_RUN):
            with monkeypatch.context() as patch:
                run_python(block, trained, patch)
            done += 1
        for words in commands(block) if block.language in COMMANDS else ():
            arguments = how_to_run(words)
            if arguments is None:
                continue
            if arguments[:2] == ["config", "cp"]:
                Path(arguments[-1]).unlink(missing_ok=True)
            task = put_runs(trained, " ".join(arguments))
            if "--input" in arguments and "-" not in arguments:
                write_input(Path(arguments[arguments.index("--input") + 1]), task)
            is_pair = task in TASKS and len(TASKS[task].text) == 2
            stdin = tmp_path / "stdin"
            stdin.write_text("".join(f"{one}\t{two}\n" if is_pair else f"{one}\n" for one, two in PAIRS))
            with stdin.open() as lines, monkeypatch.context() as patch:
                patch.setattr("sys.stdin", lines)
                _run(arguments, f"{document}:{block.line}: {' '.join(words)}", capsys)
            done += 1
    if not done:
        pytest.skip("no command or program that can be run here")


def run_python(block: Block, trained: Path, patch: pytest.MonkeyPatch) -> None:
    """Run a program of a document on the demo backbone, with one step of training."""
    short = {"max_steps": 1, "device": "cpu"}
    data = {"source": "demo", "max_train_samples": 64, "max_eval_samples": 32}
    config = parse_config({"task": "rte", "model": "demo", "data": data, "training": short})
    patch.setattr(adapter_tune, "RunConfig", lambda task: config, raising=False)
    put_runs(trained, block.text)
    tokens = torch.ones(4, 6, dtype=torch.long)
    names = {"input_ids": tokens, "attention_mask": tokens, "adapter_tune": adapter_tune}
    text = block.text.replace("google-bert/bert-base-uncased", str(BACKBONE))
    exec(compile(text, f"{block.document}:{block.line}", "exec"), names)


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
