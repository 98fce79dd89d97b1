"""The written YAML: any value and any reason survive, and nothing of a reason becomes a value."""

from pathlib import Path
from typing import Any

import pytest

from adapter_tune.config.yaml_files import read_yaml
from adapter_tune.setup.choices import Choice
from adapter_tune.setup.task_file import task_text, unused_path, write_task_file


@pytest.mark.parametrize(
    "value",
    ["on", "null", "007", "8", "1e-3", "a: b", "#x", "- x", " x ", "x,y", "[x", "it's", '"q"', "Süße", "日本", "a\nb",
     "*a", "&a", "!x", "%x", "@x", "😀", 0.001, 3e-4, 16, True],
)  # fmt: skip
def test_every_value_is_read_as_it_was(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    write_task_file(file, "about", [Choice("task", "custom", ""), Choice("data.custom.text_column", value, "why")])
    assert read_yaml(file)[0] == {"task": "custom", "data": {"custom": {"text_column": value}}}


@pytest.mark.parametrize(
    "text", ["a\ntask: rte", "a\rb", "a\u2028b", "a\x00b", "a\x1bb", "x" * 500, "\u0085", "# a: b"]
)
def test_a_comment_stays_a_comment(text: str, tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    write_task_file(file, text, [Choice("task", "custom", text)])
    assert read_yaml(file)[0] == {"task": "custom"}


def test_the_order_of_the_sections_and_the_reasons() -> None:
    choices = [
        Choice("training.epochs", 3, "why 3"),
        Choice("data.custom.train_file", "nowhere.csv", ""),
        Choice("data.max_length", 8, "why 8"),
        Choice("task", "custom", ""),
    ]
    lines = [line for line in task_text(Path("task.yaml"), "about", choices).splitlines() if line]
    assert lines[5:] == [
        "task: custom",
        "data:",
        "  # why 8",
        "  max_length: 8",
        "  custom:",
        "    train_file: nowhere.csv",
        "training:",
        "  # why 3",
        "  epochs: 3",
    ]
    assert lines[2].endswith("Run it with: adapter-tune train task.yaml")


def test_an_unused_path(tmp_path: Path) -> None:
    path = tmp_path / "a.b.csv"
    assert unused_path(path) == path
    path.touch()
    (tmp_path / "a.b-2.csv").touch()
    assert unused_path(path) == tmp_path / "a.b-3.csv"
