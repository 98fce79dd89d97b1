"""Texts that are typed, or come through a pipe, are answered one by one, and a wrong one ends nothing."""

import io
import os
import pty
import select
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.demo.location import BACKBONE
from adapter_tune.runs.predict import predict_text
from adapter_tune.runs.reload import predictor
from adapter_tune.tasks.glue import TASKS

DOG = "the dog sleeps ."
CAT = "the cat runs ."
CTRL_C = b"\x03"


class Pipe:
    """Standard input with bytes in it, and no terminal."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call ``ask`` with content in standard input: exit code, standard output, standard error."""

    def call(content: bytes, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", Pipe(content))
        code = 0
        try:
            main(["ask", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def expected(folder: str, *texts: str) -> list[str]:
    """The cells of a line that answers the texts, from the prediction for a single text."""
    row = predict_text(predictor(Path(folder), needs_data=False), *texts)
    if isinstance(row["prediction"], float):
        return [f"{row['prediction']:.4f}"]
    return [row["prediction"], f"{row['score_' + row['prediction']]:.4f}"]


def test_each_line_from_a_pipe_is_answered(piped: Any, trained_runs: dict[str, str]) -> None:
    for task in ("cola", "mnli", "stsb"):
        lines = [[DOG, CAT], [CAT, DOG], ["", ""]]
        texts = [line[: len(TASKS[task].text)] for line in lines]
        code, out, _ = piped("".join("\t".join(line) + "\r\n" for line in texts).encode(), trained_runs[task])
        assert code == 0
        assert [line.split("\t") for line in out.splitlines()] == [expected(trained_runs[task], *t) for t in texts]


def test_several_runs_answer_each_line(piped: Any, trained_runs: dict[str, str]) -> None:
    tasks = ("rte", "mnli", "stsb")
    code, out, _ = piped(f"{DOG}\t{CAT}\n{CAT}\t{DOG}\n".encode(), *(trained_runs[task] for task in tasks))
    assert code == 0
    texts = [(DOG, CAT), (CAT, DOG)]
    assert [line.split("\t") for line in out.splitlines()] == [
        [task, *expected(trained_runs[task], *pair)] for pair in texts for task in tasks
    ]


def test_a_run_with_all_parameters_trained_answers_alone(piped: Any, make_config: Any, tmp_path: Path) -> None:
    config = make_config("sst2", strategy="full", max_steps=1)
    adapter_tune.run(config)
    code, out, err = piped(f"{DOG}\n".encode(), "--runs", config.output)
    assert code == 0
    assert "using the newest run" in err
    assert out.splitlines() == ["\t".join(expected(str(config.folder), DOG))]


def test_wrong_lines_are_reported_and_the_others_answered(piped: Any, trained_runs: dict[str, str]) -> None:
    lines = [b"caf\xe9\tb", b"alone", b"a\tb\tc", b"up\x1b[A\tb", f"{DOG}\t{CAT}".encode()]
    code, out, err = piped(b"\n".join(lines), trained_runs["rte"])
    assert code == 1
    assert out.splitlines() == ["\t".join(expected(trained_runs["rte"], DOG, CAT))]
    for number, problem in enumerate(
        ("not UTF-8 (byte 0xe9)", "1 fields; the task reads two texts", "3 fields", "contains a control character"), 1
    ):
        (message,) = (line for line in err.splitlines() if f"standard input, line {number}" in line)
        assert problem in message
        assert message.endswith("the line is skipped")
    assert err.splitlines()[-1] == "error: 4 of 5 lines were skipped; the messages above say why"


def test_a_truncated_text_is_reported(piped: Any, trained_runs: dict[str, str]) -> None:
    long = " ".join([DOG] * 20)
    code, _, err = piped(f"{DOG}\n{long}\n".encode(), trained_runs["cola"], trained_runs["sst2"])
    assert code == 0
    notes = [line for line in err.splitlines() if "truncated" in line]
    assert notes == ["standard input, line 2: the text is longer than 32 tokens and is truncated (cola, sst2)"]
    assert "truncated" not in piped(f"{DOG}\n".encode(), trained_runs["cola"])[2]


def test_runs_that_cannot_answer_together_are_refused(piped: Any, trained_runs: dict[str, str], tmp_path: Path) -> None:
    code, out, err = piped(b"", trained_runs["cola"], trained_runs["rte"])
    assert (code, out) == (2, "")
    assert "different numbers of texts: one (cola), two (rte)" in err
    code, _, err = piped(b"", tmp_path / "nowhere")
    assert code == 2
    assert "no result.json in it" in err


def typed(words: Sequence[str], *keys: bytes) -> tuple[str, int]:
    """What a terminal shows when keys are typed, each time that a prompt has appeared, and the exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads; none is needed after the fork
        child, terminal = pty.fork()
    if child == 0:
        _run_in_terminal(words)
    shown = b""
    answered = 0  # how much had been shown when the last keys were typed
    waiting = list(keys)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if shown[answered:].endswith(b"> ") and waiting:
            answered = len(shown)
            os.write(terminal, waiting.pop(0))
        if not select.select([terminal], [], [], 1)[0]:
            if keys[-1] == CTRL_C and not waiting:
                os.write(terminal, CTRL_C)  # Python misses a signal that comes just before it waits for input
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part.replace(b"\x1b[?2004h", b"").replace(b"\x1b[?2004l", b"")
    else:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return shown.decode(), os.waitstatus_to_exitcode(status)


def _run_in_terminal(words: Sequence[str]) -> None:
    """In the child process: run the command with the terminal as its standard streams, and exit."""
    code = 1
    os.environ["TERM"] = "xterm"
    try:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        main(list(words))
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def test_a_person_types_texts_and_sees_bars(trained_runs: dict[str, str]) -> None:
    keys = [DOG.encode() + b"\n", CAT.encode() + b"\n", b"a\x16\x01\n", b"b\n", b"c\n", b"\n"]
    shown, code = typed(["ask", trained_runs["rte"], trained_runs["mnli"]], *keys)
    assert code == 0
    assert "Type text and text_pair. An empty line or Ctrl-D ends." in shown
    assert "text> " in shown
    assert "text_pair> " in shown
    label, probability = expected(trained_runs["rte"], DOG, CAT)
    (first, *_) = (line for line in shown.splitlines() if line.startswith("rte"))
    assert label in first
    assert probability in first
    assert "━" in first
    assert "the text contains a control character (0x01); type it again" in shown
    assert sum(line.startswith("mnli") for line in shown.splitlines()) == 2


@pytest.mark.parametrize("key", [b"\x04", CTRL_C, b"  \n"], ids=["Ctrl-D", "Ctrl-C", "spaces"])
def test_the_keys_that_end_the_command(trained_runs: dict[str, str], key: bytes) -> None:
    shown, code = typed(["ask", trained_runs["sst2"]], key)
    assert code == 0
    assert "sentence> " in shown
    assert "error" not in shown
    assert "interrupted" not in shown
    assert "Traceback" not in shown


def test_what_is_typed_before_the_second_text_is_dropped_by_an_empty_line(trained_runs: dict[str, str]) -> None:
    shown, code = typed(["ask", trained_runs["rte"]], b"a\n", b"\n")
    assert code == 0
    assert "sentence2> " in shown
    assert "entailment" not in shown


def test_the_demo_backbone_is_taken_for_a_run_that_has_moved(piped: Any, make_config: Any, tmp_path: Path) -> None:
    shutil.copytree(BACKBONE, tmp_path / "backbone")
    folders = []
    for task in ("sst2", "cola"):
        config = make_config(task, model=str(tmp_path / "backbone"), max_steps=1)
        adapter_tune.run(config)
        folders.append(config.folder)
    shutil.rmtree(tmp_path / "backbone")
    code, out, _ = piped(f"{DOG}\n".encode(), *folders, "--demo")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["sst2", "cola"]
    code, _, err = piped(b"", *folders)
    assert code == 1
    assert "no such model" in err
