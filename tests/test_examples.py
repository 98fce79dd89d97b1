"""The examples do what their READMEs say, offline."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from adapter_tune.cli import main
from adapter_tune.strategies import REGISTRY
from adapter_tune.testing import check_strategy

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.rglob("*.ipynb"))


def python(*words: str, folder: Path, path: Path | None = None) -> str:
    """The output of a Python process in a folder, with a folder of packages that come first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(part) for part in (path, EXAMPLES.parent) if part)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def commands_in(readme: Path) -> list[list[str]]:
    """The commands of this package in the code blocks of a README, without their first word."""
    blocks = readme.read_text().split("```")[1::2]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("adapter-tune ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_every_example_is_listed() -> None:
    listed = {link.split("/")[0] for link in re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text())}
    assert listed == {path.name for path in EXAMPLES.iterdir() if path.is_dir()}


def test_the_csv_files_are_what_their_script_writes(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "own_csv" / "make_reviews.py", tmp_path)
    python("make_reviews.py", folder=tmp_path)
    for name in ("reviews.csv", "new.csv"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / "own_csv" / name).read_bytes()


def test_from_the_csv_to_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(EXAMPLES / "own_csv", tmp_path / "own_csv")
    commands = commands_in(folder / "README.md")
    assert [words[0] for words in commands] == ["inspect-data", "train", "eval", "predict"]
    monkeypatch.chdir(folder)
    for words in commands:
        main(words)
    with (folder / "labelled.csv").open() as file:
        predictions = [row["prediction"] for row in csv.DictReader(file)]
    correct = [a == b for a, b in zip(predictions, ["praise", "blame"] * 4, strict=True)]
    assert sum(correct) >= 7  # "stale" is also said of bread


def test_the_strategy_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "strategy_package" / "src"))
    monkeypatch.setattr(REGISTRY, "_classes", dict(REGISTRY))
    module = import_module("scaling_strategy.strategy")
    check_strategy(module.Scaling, families=["bert"], start_tolerance=0.0)


@pytest.mark.slow
def test_a_strategy_in_a_package_of_its_own(tmp_path: Path) -> None:
    """Installed, it is on the command line, passes its own test, and can be trained."""
    pytest.importorskip("setuptools", reason="the package is built without a network")
    source = shutil.copytree(EXAMPLES / "strategy_package", tmp_path / "source")
    packages = tmp_path / "packages"
    install = "-m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --target"
    python(*install.split(), str(packages), str(source), folder=tmp_path)
    assert "unknown strategy" not in python("-m", "adapter_tune", "list", folder=tmp_path, path=packages)
    commands = commands_in(source / "README.md")
    assert [words[0] for words in commands] == ["list", "train", "count-params"]
    for words in commands:
        small = ["--set", "data.max_train_samples=32", "--epochs", "1"] if words[0] == "train" else []
        output = python("-m", "adapter_tune", *words, *small, folder=tmp_path, path=packages)
        assert "scaling" in output
        assert "not available" not in output
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", folder=source, path=packages)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    (tmp_path / "cells.py").write_text("\n\n".join("".join(cell["source"]) for cell in cells))
    output = python("cells.py", folder=tmp_path)
    assert "without adapters" in output
