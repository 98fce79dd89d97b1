"""The configuration as the first argument, or with --config."""

from pathlib import Path

import pytest

from adapter_tune.cli import main
from adapter_tune.commands.common import given_config
from adapter_tune.commands.completion import ROW_FILES
from adapter_tune.data.row_formats import READERS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("task: rte\nmodel: demo\ntraining: {epochs: 7}\n")
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/config.yaml").write_text("task: rte\n")


@pytest.mark.parametrize("words", [["my.yaml"], ["--config", "my.yaml"]])
def test_both_ways_are_the_same(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", *words, "--dry-run"])
    assert "epochs: 7" in capsys.readouterr().out


def test_a_shipped_configuration_has_a_name() -> None:
    assert given_config("glue/rte", None) == given_config(None, "glue/rte") == "glue/rte"
    assert given_config("demo", None) == "demo"
    assert given_config(None, None) is None


def test_the_known_extensions_are_those_that_can_be_read() -> None:
    assert set(ROW_FILES) == READERS.keys()


@pytest.mark.parametrize("command", ["train", "inspect-data"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["my.yaml", "--config", "glue/rte"], "my.yaml and --config glue/rte are both configurations; give only one"),
        (["my rows.csv"], "give it with --train-file, or let adapter-tune init 'my rows.csv' write a configuration"),
        (["rte"], "rte is a task, not a configuration; give it with --task rte"),
        (["--config", "custom"], "custom is a task, not a configuration; give it with --task custom"),
        (["runs/a"], "runs/a is a folder, not a configuration; give runs/a/config.yaml"),
        (["runs"], "runs is a folder, not a configuration; give a YAML file"),
        (["glue/rtee"], "did you mean 'glue/rte'?"),
    ],
)
def test_what_is_no_configuration(
    command: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, *words])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_file_with_the_name_of_a_task_is_a_file() -> None:
    Path("rte").write_text("task: rte\n")
    assert given_config("rte", None) == "rte"
