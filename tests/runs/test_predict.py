import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.data.row_files import read_rows, row_count, write_rows
from adapter_tune.data.splits import raw_split
from adapter_tune.demo.glue import DEMO_TASKS
from adapter_tune.runs import predict
from adapter_tune.tasks.glue import TASKS


@pytest.fixture
def trained(make_config: Any) -> Any:
    def train(task: str, **changes: Any) -> Path:
        config = make_config(task, epochs=1, **changes)
        adapter_tune.run(config)
        folder: Path = config.folder
        return folder

    return train


def run(*words: object) -> None:
    main([str(word) for word in words])


def rows_in(path: Path) -> list[dict[str, Any]]:
    return list(read_rows(str(path), []))


@pytest.mark.parametrize("task", DEMO_TASKS)
def test_predictions_on_validation_score_as_the_result_says(trained: Any, tmp_path: Path, task: str) -> None:
    folder, record = trained(task), TASKS[task]
    result = json.loads((folder / "result.json").read_text())
    for split in record.validation:
        target = tmp_path / f"{split}.parquet"
        run("predict", folder, "--split", split, "--output", target)
        found = rows_in(target)
        truth, said = [row["label"] for row in found], [row["prediction"] for row in found]
        scores = result["scores"][split]
        if record.is_regression:
            from scipy.stats import pearsonr, spearmanr

            assert scores["pearson"] == pytest.approx(pearsonr(truth, said)[0], abs=1e-12)
            assert scores["spearmanr"] == pytest.approx(spearmanr(truth, said)[0], abs=1e-12)
            continue
        ids = [record.labels.index(name) for name in said]
        assert scores["accuracy"] == accuracy_score(truth, ids)
        if "f1" in scores:
            assert scores["f1"] == f1_score(truth, ids)
        if "matthews_correlation" in scores:
            assert scores["matthews_correlation"] == pytest.approx(matthews_corrcoef(truth, ids), abs=1e-12)
        for row in found:
            shares = [row[f"score_{name}"] for name in record.labels]
            assert sum(shares) == pytest.approx(1)
            assert record.labels[shares.index(max(shares))] == row["prediction"]


def test_every_split_and_the_diagnostic_set_can_be_predicted(trained: Any, tmp_path: Path) -> None:
    folder = trained("mnli")
    for split in ("train", "test_matched", "test_mismatched", "ax"):
        run("predict", folder, "--split", split, "--output", tmp_path / "out.jsonl")
        found = rows_in(tmp_path / "out.jsonl")
        assert [row["idx"] for row in found] == list(range(len(found)))
        assert {"premise", "hypothesis", "label", "prediction", "score_neutral"} <= found[0].keys()
        assert all((row["label"] == -1) == (split != "train") for row in found)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_comes_back_in_its_order_with_its_columns(
    trained: Any, make_config: Any, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained("rte")
    monkeypatch.setattr(predict, "WINDOW", 7)
    found = [dict(row) for row in raw_split(make_config("rte"), "validation")]
    tab = "" if ending == "tsv" else "\t"
    rows = [{"note": f'n, {i}{tab}"', "b": row["sentence2"], "a": row["sentence1"]} for i, row in enumerate(found)]
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    assert write_rows(source, iter(rows)) == len(rows) == row_count(str(source)) + (ending in ("csv", "tsv")) * -1  # type: ignore[operator]
    run("predict", folder, "--input", source, "--output", target, "--text-column", "a", "--text-pair-column", "b")
    said = rows_in(target)
    assert [{key: row[key] for key in ("note", "b", "a")} for row in said] == rows
    assert list(said[0]) == ["note", "b", "a", "prediction", "score_entailment", "score_not_entailment"]
    run("predict", folder, "--split", "validation", "--output", tmp_path / "split.jsonl")
    assert [row["prediction"] for row in said] == [row["prediction"] for row in rows_in(tmp_path / "split.jsonl")]


def test_standard_input_and_a_single_text(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("rte")
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("the dog sleeps .\tthe cat runs .\nthe cat runs .\tthe dog sleeps .\n")
    )
    run("predict", folder, "--input", "-", "--output", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        said = list(csv.DictReader(file))
    assert [row["sentence1"] for row in said] == ["the dog sleeps .", "the cat runs ."]
    run("predict", folder, "--text", "the dog sleeps .", "--text-pair", "the cat runs .")
    out = capsys.readouterr().out
    assert said[0]["prediction"] in out
    assert f"{float(said[0]['score_entailment']):.4f}" in out


BAD = [
    (["--split", "dev", "--output", "x.csv"], "no split 'dev'; choose from train, validation, test", 2),
    (["--split", "test"], "--split needs --output", 2),
    ([], "give one of --split, --input and --text", 2),
    (["--split", "test", "--text", "a"], "not --split and --text", 2),
    (["--text", "a"], "give --text and --text-pair", 2),
    (
        ["--split", "test", "--output", "x.xlsx"],
        "unknown file extension '.xlsx'; known: .csv, .tsv, .jsonl, .parquet",
        2,
    ),
    (["--split", "test", "--output", "nowhere/x.csv"], "choose a file in an existing folder", 2),
    (["--input", "none.csv", "--output", "x.csv"], "none.csv: no such file", 2),
]
FILES: list[tuple[str, bytes, str, int]] = [
    ("in.csv", b"", "the file is empty", 1),
    ("in.csv", b"sentence1,sentence2\n", "there are no rows", 1),
    ("in.csv", b"sentence1,sentnce2\na,b\n", "unknown column 'sentence2'; did you mean 'sentnce2'?", 2),
    ("in.csv", b"sentence1,sentence2\na,b\na,b,c\n", "line 3: 3 fields, but the header has 2", 1),
    ("in.csv", b'sentence1,sentence2\n"a,b\n', "line 2: unexpected end of data", 1),
    ("in.csv", b"sentence1,sentence2\ncaf\xe9,b\n", "not UTF-8 (byte 0xe9); save the file as UTF-8", 1),
    ("in.csv", b"sentence1,sentence2,prediction\na,b,c\n", "a column 'prediction' already", 2),
    ("in.jsonl", b'{"sentence1": "a", "sentence2": "b"}\n{"sentence1": "a"\n', "line 2: not JSON", 1),
    ("in.jsonl", b'{"sentence1": "a", "sentence2": null}\n', "line 1: column 'sentence2' is empty", 1),
    ("in.jsonl", b'{"sentence1": "a", "sentence2": 3}\n', "column 'sentence2' contains int, not text", 1),
    ("in.jsonl", b"[1]\n", "line 1: list, not an object", 1),
    ("in.jsonl", b'{"sentence1": "caf\xe9"}\n', "line 1: not UTF-8", 1),
    ("in.parquet", b"PAR1 nonsense", "cannot be read", 1),
]


def test_what_is_wrong_is_one_line_and_leaves_no_file(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("rte")
    monkeypatch.chdir(tmp_path)
    cases = [(words, "", b"", message, code) for words, message, code in BAD]
    cases += [(["--input", n, "--output", "x.csv"], n, content, m, code) for n, content, m, code in FILES]
    for words, name, content, message, code in cases:
        if name:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SystemExit) as stopped:
            run("predict", folder, *words)
        error = capsys.readouterr().err.strip().splitlines()
        assert message in error[-1], (words, error)
        assert stopped.value.code == code, (words, error)
        assert not (tmp_path / "x.csv").exists()
        assert not list(tmp_path.glob(".*.part"))


def test_the_newest_run_is_taken(trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trained("cola")
    run("predict", "--runs", folder.parent, "--text", "the dog sleeps .")
    assert "acceptable" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run("predict", "--runs", tmp_path / "none", "--text", "the dog sleeps .")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("before")

    def rows() -> Any:
        yield {"a": "b"}
        raise OSError(28, "No space left on device")

    with pytest.raises(
        adapter_tune.AdapterTuneError, match=r"cannot write .*: No space left on device; free some space"
    ):
        write_rows(target, rows())
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_null_columns_survive_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["x", None], "n": [1, 2]}), path)
    write_rows(tmp_path / "again.parquet", read_rows(str(path), []))
    assert rows_in(tmp_path / "again.parquet") == [{"a": "x", "n": 1}, {"a": None, "n": 2}]
