"""What the shell completes, and that this imports nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapter_tune.commands import completion
from adapter_tune.strategies import REGISTRY
from adapter_tune.tasks.glue import TASKS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a finished run, an unfinished one, and a YAML file."""
    for name in ("runs/rte-head-1", "runs/rte-head-2", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs" / "rte-head-1" / "result.json").write_text("{}")
    (tmp_path / "my.yaml").write_text("task: rte\n")
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names() -> None:
    assert completion.tasks("") == [*TASKS, "custom"]
    assert completion.tasks("mn") == ["mnli"]
    assert completion.strategies("") == sorted(REGISTRY)
    assert completion.strategies("hou") == ["houlsby"]
    assert "paper/sweeps/glue" in completion.shipped_files("paper/")


def test_files_and_runs(folder: Path) -> None:
    assert completion.configs("m") == ["my.yaml"]
    assert completion.configs("glue/c") == ["glue/cola"]
    Path("Rows.CSV").write_text("")
    assert completion.data("R") == ["Rows.CSV"]
    assert completion.data("r") == ["rte", "runs/"]
    assert completion.configs("o") == ["other/"]
    assert completion.sweeps("paper/sweeps/top-n") == ["paper/sweeps/top-n", "paper/sweeps/top-n-small"]
    assert completion.runs("") == ["runs/rte-head-1", "other/", "runs/"]
    assert completion.runs("runs/rte") == ["runs/rte-head-1", "runs/rte-head-2/"]
    assert completion.configs_and_runs("runs/r") == ["runs/rte-head-1/", "runs/rte-head-2/", "runs/rte-head-1"]
    assert completion.runs("[") == []
    assert completion.runs(f"{folder}/o") == [f"{folder}/other/"]
    assert completion.runs("nowhere/x") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train --task mn", ["mnli"]),
        ("train --strategy lo", ["lora"]),
        ("train --config glue/m", ["glue/mnli", "glue/mrpc"]),
        ("train my", ["my.yaml"]),
        ("init mn", ["mnli"]),
        ("eval runs/rte-head-1", ["runs/rte-head-1"]),
        ("list ta", ["tasks"]),
        ("list strategies pf", ["pfeiffer"]),
        (
            "sweep paper/sweeps/gl",
            ["paper/sweeps/glue", "paper/sweeps/glue-64", "paper/sweeps/glue-64-small", "paper/sweeps/glue-small"],
        ),
        ("config cp dem", ["demo"]),
        ("serve --device cu", ["cuda"]),
        ("coun", ["count-params"]),
    ],
)
def test_the_shell_gets_them(words: str, expected: list[str], folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['adapter-tune']\n"
        "from adapter_tune.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'sklearn', 'rich.table'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    all_words = ["adapter-tune", *words.split()]
    environment = {"COMP_WORDS": " ".join(all_words), "COMP_CWORD": str(len(all_words) - 1)}
    environment = {**os.environ, **environment, "_ADAPTER_TUNE_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
