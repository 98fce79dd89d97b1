"""``adapter-tune config cp``, ``diff`` and ``schema``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_tune.cli import main
from adapter_tune.config.compose import compose
from adapter_tune.config.difference import differences
from adapter_tune.config.json_schema import run_schema
from adapter_tune.config.shipped import SCHEMA_COMMENT, schema_file, shipped_configs
from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.sweeps.json_schema import sweep_schema

Printed = Callable[..., str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Printed:
    """Call the command line in an empty folder; what it prints, or its error."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> str:
        try:
            main(list(words))
        except SystemExit as stop:
            assert stop.code == 2
            return capsys.readouterr().err
        return capsys.readouterr().out

    return call


def test_a_copy_is_the_shipped_text_with_the_path_of_the_schema(printed: Printed) -> None:
    assert printed("config", "cp", "glue/cola", "own/cola.yaml") == "own/cola.yaml\n"
    first, _, text = Path("own/cola.yaml").read_text().partition("\n")
    assert first == f"{SCHEMA_COMMENT}{schema_file().resolve()}"
    assert text == shipped_configs()["glue/cola"].read_text().partition("\n")[2]
    assert "# Acceptability" in text
    assert compose("own/cola.yaml") == compose("glue/cola")


def test_a_sweep_is_copied_with_its_own_schema(printed: Printed) -> None:
    printed("config", "cp", "paper/sweeps/glue", "glue.yaml")
    assert Path("glue.yaml").read_text().startswith(f"{SCHEMA_COMMENT}{schema_file(sweeps=True).resolve()}\n")


def test_a_copy_replaces_nothing_without_force(printed: Printed) -> None:
    Path("my.yaml").write_text("mine")
    assert "my.yaml exists; give another path, or --force" in printed("config", "cp", "demo", "my.yaml")
    assert Path("my.yaml").read_text() == "mine"
    printed("config", "cp", "demo", "my.yaml", "--force")
    assert compose("my.yaml") == compose("demo")
    assert "is a folder; give the path of a file in it" in printed("config", "cp", "demo", ".")
    assert "did you mean 'glue/cola'" in printed("config", "cp", "glue/colla", "x.yaml")
    assert not Path("x.yaml").exists()


def test_what_differs_and_where_it_is_from(printed: Printed) -> None:
    Path("a.yaml").write_text("task: rte\nstrategy: full\ntraining:\n  epochs: 5\n")
    Path("b.yaml").write_text("task: rte\nstrategy: {name: top_n, n: 3}\ntraining: {learning_rate_factor: 10}\n")
    pairs = {path: (str(a), str(b)) for path, (a, b) in differences("a.yaml", "b.yaml").items()}
    assert pairs == {
        "strategy.name": ("full (line 2)", "top_n (line 2)"),
        "training.epochs": ("5.0 (line 4)", "3.0 (default)"),
        "training.learning_rate": ("3e-05 (default of full)", "0.0003 (default of top_n, times 10)"),
        "training.learning_rate_factor": ("1.0 (default)", "10.0 (line 3)"),
        "strategy.n": ("no such option", "3 (line 2)"),
        "strategy.embeddings": ("no such option", "false (default)"),
    }
    table = printed("config", "diff", "a.yaml", "b.yaml")
    assert table.startswith("6 options differ\n")
    assert all(path in table and a in table and b in table for path, (a, b) in pairs.items())
    listed = json.loads(printed("config", "diff", "a.yaml", "b.yaml", "--json"))
    assert listed["training.epochs"] == [{"value": 5.0, "origin": "line 4"}, {"value": 3.0, "origin": "default"}]


def test_a_run_folder_is_compared_by_its_configuration(printed: Printed) -> None:
    run = Path("runs/rte")
    run.mkdir(parents=True)
    assert "no config.yaml in this folder" in printed("config", "diff", "runs/rte", "glue/rte")
    config = compose("glue/rte", {"--seed training.seed": 7})
    (run / "config.yaml").write_text(to_yaml(config.model_dump()))
    table = printed("config", "diff", "runs/rte", "glue/rte")
    assert table.startswith("1 option differs\n")
    assert "training.seed" in table
    assert "42 (default)" in table
    assert printed("config", "diff", "demo", "demo") == "no option differs between demo and demo\n"


def test_a_sweep_is_no_configuration(printed: Printed) -> None:
    assert "is a sweep, not a configuration" in printed("config", "diff", "paper/sweeps/glue", "demo")
    assert "is a configuration, not a sweep" in printed("sweep", "demo", "--dry-run")


def test_the_schemas_are_printed(printed: Printed) -> None:
    assert json.loads(printed("config", "schema")) == run_schema()
    assert json.loads(printed("config", "schema", "sweep")) == sweep_schema()
