import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adapter_tune.cli import main
from adapter_tune.foundation.errors import RunError
from adapter_tune.runs import submit
from adapter_tune.runs.predict import PREDICTION, predict_split
from adapter_tune.runs.submit import FILES, HEADER

LINES = {
    "AX": 1105, "CoLA": 1064, "MNLI-mm": 9848, "MNLI-m": 9797, "MRPC": 1726, "QNLI": 5464, "QQP": 390_966, "RTE": 3001,
    "SST-2": 1822, "STS-B": 1380, "WNLI": 147,
}  # fmt: skip


def lines(archive: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(archive) as files:
        assert files.testzip() is None
        return {name: files.read(name).decode().splitlines() for name in files.namelist()}


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, Any]:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return capsys.readouterr().err.strip().splitlines()[-1], stopped.value.code


def test_official_line_counts_and_labels() -> None:
    assert {file.name: file.rows + 1 for file in FILES} == LINES
    for file in FILES:
        assert file.majority in file.labels if file.labels else file.task == "stsb"
    by_name = {file.name for file in FILES if file.by_name}
    assert by_name == {"MNLI-m", "MNLI-mm", "AX", "QNLI", "RTE"}
    mnli, similarity = FILES[5], FILES[3]
    assert mnli.label_of({PREDICTION: "neutral"}) == "neutral"
    assert FILES[0].label_of({PREDICTION: "acceptable"}) == "1"
    assert [similarity.label_of({PREDICTION: value}) for value in (-0.3, 2.34567, 7.0)] == ["0.000", "2.346", "5.000"]


def test_a_submission_of_all_tasks(
    trained_runs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "glue.zip"
    error, code = refused(["submit", *trained_runs.values(), "--output", str(target)], capsys)
    assert "the test set has 24 rows, the official one 1,063; use the official test set" in error
    assert code == 1
    assert not target.exists()
    main(["submit", *trained_runs.values(), "--output", str(target), "--allow-partial"])
    assert "CoLA: the test set has 24 rows" in capsys.readouterr().err
    first = target.read_bytes()
    found = lines(target)
    assert found.keys() == {f"{name}.tsv" for name in LINES}
    for file in FILES:
        header, *rows = found[f"{file.name}.tsv"]
        assert header == HEADER
        assert [row.split("\t")[0] for row in rows] == [str(index) for index in range(24)]
        said = {row.split("\t")[1] for row in rows}
        assert said <= set(file.labels) if file.labels else all(0 <= float(value) <= 5 for value in said)
    main(["submit", *trained_runs.values(), "--output", str(target), "--allow-partial"])
    assert target.read_bytes() == first
    monkeypatch.setattr(submit, "FILES", tuple(_shorter(file) for file in FILES))
    main(
        ["submit", *trained_runs.values(), "--output", str(target)]
    )  # sizes as they should be: nothing has to be allowed


def _shorter(file: submit.File) -> submit.File:
    return submit.File(file.name, file.task, file.split, 24, file.majority, file.by_name)


def test_missing_tasks_are_filled_only_when_allowed(
    trained_runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "glue.zip"
    error, code = refused(["submit", trained_runs["rte"], "--output", str(target)], capsys)
    assert "no run for cola, sst2, mrpc, stsb, qqp, mnli, qnli, wnli" in error
    assert code == 2
    main(["submit", trained_runs["rte"], "--output", str(target), "--allow-partial"])
    out = capsys.readouterr().out
    assert out.count("majority class: no run") == 10
    found = lines(target)
    assert {name.removesuffix(".tsv"): len(rows) for name, rows in found.items()} == {**LINES, "RTE": 25}
    assert set(found["CoLA.tsv"][1:]) == {f"{index}\t1" for index in range(1063)}


def test_what_is_refused(trained_runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = refused(["submit", trained_runs["rte"], trained_runs["rte"]], capsys)
    assert "two runs of rte" in twice[0]
    assert twice[1] == 2
    for output in ("x.tar", str(tmp_path / "none" / "x.zip")):
        error, code = refused(["submit", trained_runs["rte"], "--output", output, "--allow-partial"], capsys)
        assert "choose a .zip file in an existing folder" in error
        assert code == 2
    assert "adapter-tune train" in refused(["submit", str(tmp_path)], capsys)[0]
    changed = shutil.copytree(trained_runs["rte"], tmp_path / "changed")
    stored = changed / "result.json"
    stored.write_text(stored.read_text().replace('"task": "rte"', '"task": "custom"', 1))
    error, code = refused(["submit", str(changed), "--allow-partial"], capsys)
    assert "is a run of task custom, which the leaderboard does not have; remove it" in error
    assert code == 2


def test_a_label_that_is_none_is_never_written() -> None:
    with pytest.raises(RunError, match="index 1: '2' is not a label of cola"):
        submit._checked(FILES[0], ["1", "2"])


def test_a_diagnostic_set_that_is_not_served_is_filled_when_allowed(
    trained_runs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = predict_split

    def served(predictor: Any, split: str) -> Any:
        if split == "ax":
            raise RunError("data set x (ax): it is not served there")
        return real(predictor, split)

    monkeypatch.setattr(submit, "predict_split", served)
    monkeypatch.setattr(submit, "FILES", FILES[5:7] + FILES[-1:])
    target = tmp_path / "glue.zip"
    main(["submit", trained_runs["mnli"], "--output", str(target), "--allow-partial"])
    shown = capsys.readouterr()
    assert "AX: data set x (ax): it is not served there" in shown.err
    assert "majority class: no test set" in shown.out
    assert {name: len(rows) for name, rows in lines(target).items()} == {
        "MNLI-m.tsv": 25,
        "MNLI-mm.tsv": 25,
        "AX.tsv": 1105,
    }
