"""A configuration file in another folder finds the data beside it, and nothing changes where the path was right."""

import logging
from pathlib import Path
from typing import Any

import pytest

from adapter_tune.config.compose import compose
from adapter_tune.foundation.errors import UsageError
from adapter_tune.sweeps.cells import cells, config_of
from adapter_tune.sweeps.spec import read_sweep

ROWS = "text,label\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and its data, seen from the folder above."""
    monkeypatch.chdir(tmp_path)
    folder = Path("project")
    (folder / "set").mkdir(parents=True)
    (folder / "rows.csv").write_text(ROWS)
    (folder / "task.yaml").write_text("task: custom\ndata:\n  custom:\n    train_file: rows.csv\n")
    return folder


def test_data_beside_the_file(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = compose("project/task.yaml")
    assert config.data.custom.train_file == str(project / "rows.csv")
    assert "train_file is in the folder of this file: project/rows.csv" in caplog.text


def test_the_current_directory_decides_where_only_it_has_the_file(project: Path) -> None:
    (project / "rows.csv").rename("rows.csv")
    assert compose("project/task.yaml").data.custom.train_file == "rows.csv"  # as written: the hash of old runs stays


def test_a_path_that_is_right_in_both_ways_stays_as_it_is_written(project: Path) -> None:
    Path("rows.csv").symlink_to(project / "rows.csv")
    assert compose("project/task.yaml").data.custom.train_file == "rows.csv"
    (project / "task.yaml").rename("task.yaml")
    assert compose("task.yaml").data.custom.train_file == "rows.csv"


def test_two_different_files_are_refused(project: Path) -> None:
    Path("rows.csv").write_text(ROWS)
    with pytest.raises(UsageError, match=r"^project/task.yaml:4: data.custom.train_file: rows.csv is in the current"):
        compose("project/task.yaml")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("data: {source: ./set}", lambda config: config.data.source),
        ("model: ./set", lambda config: config.model.id),
        ("model: {id: ./set}", lambda config: config.model.id),
        ("init_from: {run: ./set}", lambda config: config.init_from.run),
        ("model: {language_adapter: ./set}", lambda config: config.model.language_adapter),
    ],
)
def test_a_folder_is_a_path_only_if_it_is_written_as_one(project: Path, text: str, read: Any) -> None:
    (project / "task.yaml").write_text(f"task: custom\n{text}\n")
    assert read(compose("project/task.yaml")) == "project/set"
    (project / "task.yaml").write_text(f"task: custom\n{text.replace('./', '')}\n")
    assert read(compose("project/task.yaml")) == "set"  # it may be a name on the Hub


def test_a_missing_file_and_an_absolute_path_stay_as_they_are(project: Path) -> None:
    for written in ("none.csv", str(project.resolve() / "rows.csv")):
        (project / "task.yaml").write_text(f"task: custom\ndata: {{custom: {{train_file: {written}}}}}\n")
        assert compose("project/task.yaml").data.custom.train_file == written


SWEEP = """
name: s
base: task.yaml
set: {model: ./set, data.source: ./set}
parameters:
  data.custom.train_file: [rows.csv, more.csv]
"""


def test_a_sweep_finds_its_base_and_its_data_in_its_folder(project: Path) -> None:
    (project / "sweep.yaml").write_text(SWEEP)
    (project / "more.csv").write_text(ROWS)
    sweep = read_sweep("project/sweep.yaml")
    configs = [config_of(sweep, values, Path("out")) for values in cells(sweep)]
    assert [config.data.custom.train_file for config in configs] == ["project/rows.csv", "project/more.csv"]
    assert {(config.task, config.model.id, config.data.source) for config in configs} == {
        ("custom", "project/set", "project/set")
    }


def test_two_different_files_that_a_sweep_may_mean_are_refused(project: Path) -> None:
    (project / "sweep.yaml").write_text(SWEEP)
    Path("task.yaml").write_text("task: rte\n")
    with pytest.raises(UsageError, match=r"^project/sweep.yaml:3: base: task.yaml is in the current directory and"):
        read_sweep("project/sweep.yaml")
    Path("task.yaml").unlink()
    Path("rows.csv").write_text(ROWS)
    with pytest.raises(UsageError, match=r"^project/sweep.yaml:6: data.custom.train_file: rows.csv is in the current"):
        read_sweep("project/sweep.yaml")
