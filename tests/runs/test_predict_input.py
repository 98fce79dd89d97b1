"""Nothing of the input is lost, overwritten or passed over, whatever kind of task predicts."""

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import BatchEncoding

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.data import parquet_writer
from adapter_tune.data.row_files import read_rows, write_rows
from adapter_tune.data.rows import Row
from adapter_tune.data.splits import encode_texts
from adapter_tune.foundation.errors import RunError
from adapter_tune.runs import predict

LABELS: dict[str, list[Any]] = {
    "classification": ["ham", "spam"] * 10,
    "regression": [n / 7 for n in range(20)],
    "multi_label": [["a"], ["b"], ["a", "b"], []] * 5,
}


@pytest.fixture
def trained(make_config: Any, tmp_path: Path) -> Any:
    def train(problem: str, **data: Any) -> Path:
        file = tmp_path / "rows.jsonl"
        write_rows(file, iter([{"text": f"the dog {n}", "label": label} for n, label in enumerate(LABELS[problem])]))
        config = make_config(
            "custom",
            data={"source": "demo", "custom": {"train_file": str(file), "problem": problem, **data}},
            max_steps=1,
        )
        return Path(adapter_tune.run(config).storage.folder)

    return train


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, Any]:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return capsys.readouterr().err.strip().splitlines()[-1], stopped.value.code


@pytest.mark.parametrize("problem", LABELS)
def test_a_text_is_shown_and_written_by_every_kind_of_task(
    trained: Any, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, target = trained(problem), tmp_path / "out.jsonl"
    main(["predict", str(folder), "--text", "the dog 1", "--output", str(target)])
    shown = capsys.readouterr().out
    assert "prediction" in shown
    assert f"1 prediction in {target}" in shown
    (row,) = read_rows(str(target), ["text"])
    assert row["text"] == "the dog 1"
    assert isinstance(row["prediction"], {"classification": str, "regression": float, "multi_label": list}[problem])


def test_a_column_that_a_prediction_would_take_is_refused_in_any_row(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, source, target = trained("classification"), tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    for window in (2, 100):
        monkeypatch.setattr(predict, "WINDOW", window)
        for column in ("prediction", "score_ham"):
            write_rows(source, iter([{"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "d", column: "mine"}]))
            error, code = refused(capsys, "predict", folder, "--input", source, "--output", target)
            assert f"the input has a column '{column}' already; rename it" in error
            assert code == 2
            assert not target.exists()


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_column_that_the_first_row_lacks_is_refused_where_it_would_be_lost(
    trained: Any, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, source = trained("classification"), tmp_path / "in.jsonl"
    rows: list[Row] = [{"text": "a", "note": "n"}, {"text": "b"}, {"text": "c", "id": 3}]
    write_rows(source, iter(rows))
    target = tmp_path / f"out.{ending}"
    error, code = refused(capsys, "predict", folder, "--input", source, "--output", target)
    assert "row 3 has a column 'id' that the first row does not have" in error
    assert code == 1
    assert not target.exists()
    main(["predict", str(folder), "--input", str(source), "--output", str(tmp_path / "out.jsonl")])
    said = list(read_rows(str(tmp_path / "out.jsonl"), []))
    assert [{key: row[key] for key in row if key in ("text", "note", "id")} for row in said] == rows


def test_a_parquet_file_keeps_its_types(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_writer, "BATCH", 3)
    table = pa.table({
        "text": pa.array([f"the dog {n}" for n in range(8)]),
        "late": pa.array([None] * 5 + [7, 8, 9], pa.int8()),
        "when": pa.array([datetime.datetime(2020, 1, n + 1, tzinfo=datetime.timezone.utc) for n in range(8)],
                         pa.timestamp("us", "UTC")),
        "kind": pa.array(["x", "y"] * 4).dictionary_encode(),
        "held": pa.array([[]] * 4 + [[1]] * 4, pa.list_(pa.int32())),
        "pairs": pa.array([[("a", 1)]] * 8, pa.map_(pa.string(), pa.int64())),
    })  # fmt: skip
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    for problem in LABELS:
        main(["predict", str(trained(problem)), "--input", str(source), "--output", str(target)])
        found = pq.read_table(target)
        assert found.select(table.column_names).schema.equals(table.schema)
        assert found.select(table.column_names).to_pylist() == table.to_pylist()
        assert found.num_columns == table.num_columns + {"regression": 1}.get(problem, 3)


def test_values_that_come_late_are_written_and_mixed_ones_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_writer, "BATCH", 2)
    target = tmp_path / "out.parquet"

    def written(column: list[Any]) -> list[Any]:
        write_rows(target, iter([{"n": value} for value in column]))
        return [row["n"] for row in read_rows(str(target), [])]

    for values in ([None, None, "a", None], [[], [], ["a"]], [None, 1, None, 2], [1, 2, None], [0.5, 1, 3],
                   [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]):  # fmt: skip
        assert written(values) == values
    before = target.read_bytes()
    mixed: list[tuple[list[Any], str]] = [
        ([1, "a"], "column 'n' contains several types"),
        (
            [1, 2, "a"],
            "column 'n' contains 'a', but the first rows contain int64; give its values one type, or write a ",
        ),
        ([None, None, None, 3], "column 'n' contains 3, but the first rows contain string"),
        (["a", "b", "c", 4], "column 'n' contains 4, but the first rows contain string"),
        ([1, 2, 2.5], "column 'n' contains 2.5, but the first rows contain int64"),
        ([{"a": 1}, None, {"a": 1, "b": 2}], "column 'n' contains {'a': 1, 'b': 2}, but the first rows contain struct"),
        ([1, 2, 2**70], "column 'n' contains 1180591620717411303424, but the"),
        ([2**70], "column 'n' contains several types"),
        ([{}], "write a .jsonl file"),
    ]
    for values, message in mixed:
        with pytest.raises(RunError) as error:
            written(values)
        assert message in str(error.value), values
        assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_split_of_own_data_has_its_labels_by_name(trained: Any, tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text('{"text": "a", "label": "spam"}\n{"text": "b"}\n{"text": "c", "label": "ham"}\n')
    folder = trained("classification", test_file=str(test))
    for ending, none in (("jsonl", None), ("csv", ""), ("parquet", None)):
        target = tmp_path / f"out.{ending}"
        main(["predict", str(folder), "--split", "test", "--output", str(target)])
        assert [row["label"] for row in read_rows(str(target), [])] == ["spam", none, "ham"]
    target = tmp_path / "out.jsonl"
    main(["predict", str(trained("multi_label")), "--split", "train", "--output", str(target)])
    assert {json.dumps(row["label"]) for row in read_rows(str(target), [])} <= {'["a"]', '["b"]', '["a", "b"]', "[]"}
    main(["predict", str(trained("regression")), "--split", "train", "--output", str(target)])
    assert all(0 <= row["label"] < 3 for row in read_rows(str(target), []))


def test_options_that_would_be_passed_over_are_refused(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("classification")
    monkeypatch.chdir(tmp_path)
    cases = [
        ("--text a --text-column text", "--text-column is only for --input FILE; remove it"),
        ("--split train --output x.csv --text-column text", "--text-column is only for --input FILE; remove it"),
        ("--input - --output x.csv --text-pair-column b", "--text-pair-column is only for --input FILE; remove it"),
        ("--input rows.jsonl --output x.csv --text-pair b", "--text-pair is only for --text; remove it"),
        ("--split train --output x.csv --text-pair b", "--text-pair is only for --text; remove it"),
        ("--input rows.jsonl --output x.csv --text-pair-column label",
         "--text-pair-column: task custom reads one text, text; remove the option"),
    ]  # fmt: skip
    for words, message in cases:
        error, code = refused(capsys, "predict", folder, *words.split())
        assert message in error, words
        assert code == 2
        assert not Path("x.csv").exists()


CUT = "1 of 3 rows are longer than data.max_length=32 tokens and are truncated"


@pytest.mark.parametrize("source", ["file", "standard input", "split"])
def test_how_many_rows_are_cut_is_said_wherever_they_come_from(
    trained: Any, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the dog", "the cat " * 40, "the dog sleeps"]
    test = tmp_path / "test.jsonl"
    write_rows(test, iter([{"text": text, "label": "ham"} for text in texts]))
    folder = trained("classification", test_file=str(test))
    monkeypatch.setattr(predict, "WINDOW", 2)  # counted over all windows
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
    words = {"file": ["--input", str(test)], "standard input": ["--input", "-"], "split": ["--split", "test"]}[source]
    capsys.readouterr()
    main(["predict", str(folder), *words, "--output", str(tmp_path / "out.jsonl")])
    where = {"file": str(test), "standard input": source, "split": "test"}[source]
    assert f"{where}: {CUT}" in capsys.readouterr().err.splitlines()


def test_a_text_that_is_cut_is_said_to_be_cut_and_another_is_not(
    trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("classification")
    for text, is_cut in (("the dog", False), ("the dog " * 40, True)):
        capsys.readouterr()
        main(["predict", str(folder), "--text", text])
        assert ("the text: 1 of 1 rows are longer" in capsys.readouterr().err) == is_cut


def test_a_tokenizer_in_python_tells_of_cut_rows_too() -> None:
    class InPython:
        """Splits at spaces, as transformers' tokenizers in Python answer: without encodings."""

        def __call__(self, *texts: list[str], truncation: bool, max_length: int = 0, **_: Any) -> BatchEncoding:
            rows = [text.split()[: max_length if truncation else None] for text in texts[0]]
            return BatchEncoding({"input_ids": rows})

    tokenizer: Any = InPython()
    rows, are_cut = encode_texts([["a b c d", "a b c", "a"]], tokenizer, 3)
    assert [len(row["input_ids"]) for row in rows] == [3, 3, 1]
    assert are_cut == [True, False, False]
