"""What the user's data are."""

from pathlib import Path

import datasets
import pytest

from adapter_tune.foundation.errors import UsageError
from adapter_tune.setup.questions import Interview, chosen_subset
from adapter_tune.setup.source import source_options


@pytest.fixture
def glue_on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A data set with subsets, none of which is the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda _: ["rte", "ax"])
    monkeypatch.setattr(datasets, "get_dataset_default_config_name", lambda _: None)
    return source_options("nyu-mll/glue", {})


def test_a_subset_of_glue_is_the_task(glue_on_the_hub: dict[str, str]) -> None:
    assert glue_on_the_hub == {"task": "custom", "data.source": "nyu-mll/glue"}
    nobody = Interview(asks=False)
    assert chosen_subset(glue_on_the_hub, "rte", nobody) == {"task": "rte"}
    assert chosen_subset(glue_on_the_hub, "ax", nobody) == {**glue_on_the_hub, "data.custom.subset": "ax"}
    other = {**glue_on_the_hub, "data.source": "someone/glue"}
    assert chosen_subset(other, "rte", nobody) == {**other, "data.custom.subset": "rte"}


def test_a_subset_is_not_guessed(glue_on_the_hub: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"^nyu-mll/glue has the subsets rte, ax; give one with --subset$"):
        chosen_subset(glue_on_the_hub, None, Interview(asks=False))


def test_a_default_subset_is_taken(glue_on_the_hub: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "get_dataset_default_config_name", lambda _: "rte")
    assert chosen_subset(glue_on_the_hub, None, Interview(asks=False)) == glue_on_the_hub


@pytest.mark.parametrize(
    ("data", "message"), [("", "^the data are empty"), ("/dev/null", "^/dev/null: neither a file")]
)
def test_what_is_neither_a_file_nor_a_folder_is_refused(data: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        source_options(data, {})


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_text("text,label\n")
    options = source_options("~/a.csv", {"validation_file": "~/b.csv"})
    assert options["data.custom.train_file"] == str(tmp_path / "a.csv")
    assert options["data.custom.validation_file"] == str(tmp_path / "b.csv")


def test_a_file_is_preferred_to_a_task_and_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_options("rte", {}) == {"task": "rte"}
    Path("rte").mkdir()
    assert source_options("rte", {"validation_file": "x.csv", "test_file": None}) == {
        "task": "custom",
        "data.source": "rte",
        "data.custom.validation_file": "x.csv",
    }
