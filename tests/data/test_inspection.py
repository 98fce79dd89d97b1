import json
from pathlib import Path

import pytest

from adapter_tune.cli import main
from adapter_tune.demo.glue import DEMO_TASKS
from adapter_tune.demo.location import DEMO
from adapter_tune.tasks.glue import TASKS

TRAIN = "text,label\n" + "".join(f"the dog {i},{'ab'[i % 2]}\n" for i in range(8)) + "the dog 0,a\nthe dog 1,a\n,b\n"
DEV = "text,label\nthe dog 0,a\nthe cat runs and runs and runs and runs,b\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text(TRAIN)
    Path("dev.csv").write_text(DEV)
    return ["--train-file", "train.csv", "--validation-file", "dev.csv", "--model", DEMO]


def test_the_facts_about_own_files(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect-data", *files, "--set", "data.max_length=8", "--json"])
    inspection = json.loads(capsys.readouterr().out)
    train, dev = inspection["splits"]
    counts = {name: train[name] for name in ("rows", "repeated", "contradicted", "empty", "in_train")}
    assert counts == {"rows": 11, "repeated": 2, "contradicted": 1, "empty": 1, "in_train": 0}
    assert (dev["rows"], dev["repeated"], dev["in_train"], dev["cut_share"]) == (2, 0, 1, 0.5)
    assert train["labels"] == {"a": 6 / 11, "b": 5 / 11}
    assert train["tokens"] == {"50 %": 5, "90 %": 5, "95 %": 5, "99 %": 5, "longest": 5}
    assert dev["tokens"]["longest"] == 11
    assert inspection["samples"][0] == ["[CLS] the dog 0 [SEP]", "a"]


def test_the_table_has_every_fact(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect-data", *files])
    out = capsys.readouterr().out
    for name in ("rows", "label a", "tokens, longest", "truncated at max_length", "also in train"):
        assert f"  {name}" in out
    assert "54.5%" in out
    assert "b: [CLS] the dog 1 [SEP]" in out


@pytest.mark.parametrize("task", DEMO_TASKS)
def test_every_task_can_be_inspected(task: str, glue: str, backbone: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect-data", "--task", task, "--model", backbone, "--set", f"data.source={glue}", "--json"])
    inspection = json.loads(capsys.readouterr().out)
    assert [split["split"] for split in inspection["splits"]] == ["train", *TASKS[task].validation, *TASKS[task].test]
    assert [split["rows"] for split in inspection["splits"]][:2] == [64, 24]
    assert inspection["splits"][-1]["labels"] == {}  # hidden
    assert {split["in_train"] for split in inspection["splits"]} == {0}  # the demo's splits share no rows
    shares = inspection["splits"][0]["labels"]
    assert shares.keys() == ({"lowest", "mean", "highest"} if task == "stsb" else set(TASKS[task].labels))
