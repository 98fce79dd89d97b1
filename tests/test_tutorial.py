"""docs/tutorial.md: its commands are run in order in one folder, and their outputs are those in the document.

ADAPTER_TUNE_WRITE=1 python -m pytest -m slow tests/test_tutorial.py     # writes the outputs again
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+)\")?\n(.*?)^```$", re.M | re.S)
VARYING = re.compile(r"(examples/s|peak memory|\bMiB|\bs\b|seconds)")
"""In a line of output with one of these, numbers depend on the machine and its load."""
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
TOLERANCE = 0.04  # of a score or a probability, on another processor


def run(command: str, folder: Path) -> str:
    """What a command of the document writes on standard output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def written(text: str, folder: Path) -> str:
    """The document with the outputs of its commands, which are run in order."""
    output: str | None = None

    def change(match: re.Match[str]) -> str:
        nonlocal output
        language, title, body = match.groups()
        if title:
            (folder / title).write_text(body)
        if language == "sh" and not body.startswith("pip install"):
            output = run(body, folder)
        if language == "text":
            assert output is not None, "an output without a command"
            return f"```text\n{output}```"
        return match[0]

    return BLOCK.sub(change, text)


def differences(expected: str, measured: str) -> list[str]:
    """The lines that differ, but for what depends on the machine."""
    rows = list(zip(expected.splitlines(), measured.splitlines(), strict=False))
    return [f"- {one}\n+ {other}" for one, other in rows if not equal(one, other)]


def equal(expected: str, measured: str) -> bool:
    one, other = NUMBER.split(expected), NUMBER.split(measured)
    if [" ".join(part.split()) for part in one] != [" ".join(part.split()) for part in other]:
        return False
    if VARYING.search(expected):
        return True
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(measured), strict=True)
    return all(close(*pair) for pair in pairs)


def close(expected: str, measured: str) -> bool:
    if "." not in expected:
        return expected == measured
    return abs(float(expected.replace(",", "")) - float(measured.replace(",", ""))) <= TOLERANCE


@pytest.mark.parametrize(
    ("expected", "measured", "result"),
    [
        ("  accuracy  0.9760", "  accuracy  0.9740", True),
        ("  accuracy  0.9760", "  accuracy  0.8760", False),
        ("  trained parameters  151,426", "  trained parameters  151,427", False),
        ("  training  176.9 examples/s", "  training  99 examples/s", True),
        ("  prediction  entailment", "  prediction  not_entailment", False),
    ],
)
def test_scores_may_differ_by_little_and_counts_not_at_all(expected: str, measured: str, result: bool) -> None:
    assert equal(expected, measured) is result


def test_every_output_is_there() -> None:
    outputs = [body for language, _, body in BLOCK.findall(DOCUMENT.read_text()) if language == "text"]
    assert outputs
    assert all(outputs)


@pytest.mark.slow
def test_the_commands_give_these_outputs(tmp_path: Path) -> None:
    text = DOCUMENT.read_text()
    measured = written(text, tmp_path)
    if os.environ.get("ADAPTER_TUNE_WRITE"):
        DOCUMENT.write_text(measured)
    else:
        assert len(text.splitlines()) == len(measured.splitlines())
        assert not differences(text, measured)
