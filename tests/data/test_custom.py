import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.schema import parse_config
from adapter_tune.data.columns import PAIR_NAMES, TEXT_NAMES
from adapter_tune.data.custom import load_tables, resolve_config
from adapter_tune.data.row_files import read_rows, write_rows
from adapter_tune.data.splits import load_rows, load_splits, raw_split
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.backbone import load_tokenizer
from adapter_tune.run_files.result import read_result
from adapter_tune.runs.reload import _requested
from adapter_tune.training.loss_weights import balanced_class_weights
from tests.helpers import rows_of


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A CSV as a new user has it: 60 reviews, and the opinion of each."""
    columns = rows_of("sst2", 60)
    names = ["blame", "praise"]
    rows = []
    for number, (text, label) in enumerate(zip(columns["sentence"], columns["label"], strict=True)):
        rows.append({"id": number, "body": text, "opinion": names[label]})
    path = tmp_path / "reviews.csv"
    write_rows(path, iter(rows))
    return path


def configured(model: str, output: Path, source: str | None = None, **custom: Any) -> Any:
    data = {} if source is None else {"source": source}
    return parse_config(
        {
            "task": "custom",
            "model": model,
            "output": str(output),
            "data": {"max_length": 32, **data, "custom": custom},
            "strategy": {"name": "houlsby", "m": 4},
            "training": {"epochs": 1, "batch_size": 16},
        }
    )


def test_from_a_csv_to_predictions_in_three_commands(
    reviews: Path, backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = ["--model", backbone, "--output", str(runs), "--set", "data.max_length=32", "--epochs", "2"]
    main(["train", "--train-file", str(reviews), "--label-column", "opinion", "--text-column", "body", *words])
    printed = capsys.readouterr()
    assert "2 classes" in printed.err
    assert "6 of 60 training rows are held out (seed 0)" in printed.err
    assert "  headline                         accuracy" in printed.out
    folder = next(runs.iterdir())
    result = read_result(folder)
    assert result.scores["validation"].keys() == {"accuracy", "f1_macro"}
    assert result.config["data"]["custom"]["labels"] == ["blame", "praise"]
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["labels"] == ["blame", "praise"]
    main(["eval", str(folder)])
    assert f"accuracy {result.headline.value:.4f}" in capsys.readouterr().out
    target = tmp_path / "predictions.csv"
    main(["predict", str(folder), "--input", str(reviews), "--output", str(target)])
    predictions = list(read_rows(str(target), []))
    assert [row["id"] for row in predictions] == [str(i) for i in range(60)]
    assert {row["prediction"] for row in predictions} <= {"blame", "praise"}
    assert {"score_blame", "score_praise"} <= predictions[0].keys()
    main(["predict", str(folder), "--split", "validation", "--output", str(target)])
    assert len(list(read_rows(str(target), []))) == 6


def test_a_finished_run_is_known_by_what_the_file_holds(reviews: Path, backbone: str, tmp_path: Path) -> None:
    config = configured(backbone, tmp_path, train_file=str(reviews), text_column="body", label_column="opinion")
    before = resolve_config(config)
    assert resolve_config(config) == before
    assert resolve_config(before) == before
    reviews.write_text(reviews.read_text().replace("praise", "joy"))
    assert resolve_config(config).folder != before.folder


def test_a_tsv_with_double_quotes_has_all_its_rows_and_a_digest_of_its_own(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    for quoted in ((), (3, 9)):
        lines = [f"{chr(34) * (i in quoted)}the dog {i}\t{'ab'[i % 2]}\n" for i in range(40)]
        path.write_text("".join(["text\tlabel\n", *lines]))
        config = resolve_config(configured(backbone, tmp_path, train_file=str(path)))
        assert sum(len(table) for table in load_tables(config).values()) == 40
        file = hashlib.sha256(path.read_bytes()).hexdigest()
        earlier = hashlib.sha256(f"train {file}\n".encode()).hexdigest()[:16]  # earlier versions read quotes in a TSV
        assert (config.data.custom.digest == earlier) == (not quoted)


def test_held_out_rows_are_the_same_every_time_and_of_every_class(reviews: Path, backbone: str, tmp_path: Path) -> None:
    data: Any = {"train_file": str(reviews), "text_column": "body", "label_column": "opinion", "holdout": 0.25}
    config = configured(backbone, tmp_path, **data)
    first, second = (load_tables(resolve_config(config)) for _ in range(2))
    assert first["validation"]["body"][:] == second["validation"]["body"][:]
    assert sorted(list(first["validation"]["label"]).count(label) for label in (0, 1)) == [7, 8]
    assert not set(first["train"]["body"]) & set(first["validation"]["body"])
    assert len(first["train"]) + len(first["validation"]) == 60


KINDS: list[tuple[str, list[Any], list[str] | None]] = [
    ("words", ["b", "a", "b", "a"], ["a", "b"]),
    ("whole numbers in their order", [10, 2, 10, 2], ["2", "10"]),
    ("decimals", [1.5, 2.0, 3.25, 4.0], None),
    ("truth values", [True, False, True, False], ["false", "true"]),
    ("whole numbers written as decimals", [1.0, 0.0, 1.0, 0.0], ["0", "1"]),
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(("labels", "names"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_the_kind_of_labels_is_guessed(
    backbone: str, tmp_path: Path, ending: str, labels: list[Any], names: list[str] | None
) -> None:
    path = tmp_path / f"rows.{ending}"
    write_rows(path, iter([{"text": f"t {i}", "label": y} for i, y in enumerate(labels)]))
    config = resolve_config(configured(backbone, tmp_path, train_file=str(path), validation_file=str(path)))
    if ending == "csv" and isinstance(labels[0], bool):
        names = ["False", "True"]  # as they are written there
    if ending == "csv" and labels[0] == 1.0 and names == ["0", "1"] and isinstance(labels[0], float):
        names = ["0.0", "1.0"]
    assert config.data.custom.labels == names
    assert config.task_spec.is_regression == (names is None)
    rows = load_splits(config, load_tokenizer(config.model))
    if names is None:
        assert rows.train["labels"][:] == labels
        data = {"train_file": str(path), "validation_file": str(path), "problem": "classification"}
        forced = configured(backbone, tmp_path, **data)
        assert len(resolve_config(forced).data.custom.labels or []) == 4


def test_a_regression_is_trained_and_forced(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, iter([{"text": f"the dog {i}", "label": i} for i in range(40)]))
    words = ["--model", backbone, "--output", str(tmp_path / "runs"), "--set", "data.max_length=16", "--epochs", "1"]
    main(["train", "--train-file", str(path), "--problem", "regression", *words])
    result = read_result(next((tmp_path / "runs").iterdir()))
    assert result.headline.metric == "r2"
    assert result.scores["validation"].keys() == {"r2", "pearson", "spearmanr"}


def test_one_number_is_not_enough_to_score_a_regression(backbone: str, tmp_path: Path) -> None:
    path, dev = tmp_path / "rows.csv", tmp_path / "dev.csv"
    write_rows(path, iter([{"text": f"the dog {i}", "label": i + 0.5} for i in range(8)]))
    config = configured(backbone, tmp_path / "runs", train_file=str(path))
    assert len(load_tables(resolve_config(config))["validation"]) == 2
    assert "r2" in adapter_tune.run(config).scores["validation"]
    write_rows(dev, iter([{"text": "the cat", "label": 1.5}]))
    config = configured(backbone, tmp_path / "other", train_file=str(path), validation_file=str(dev))
    with pytest.raises(RunError, match=r"dev\.csv: r2 cannot be computed from 1 row \(the result is NaN\); add"):
        adapter_tune.run(config)
    assert not (tmp_path / "other" / "config.yaml").exists()


def test_pairs_and_other_names_are_guessed(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    write_rows(path, iter([{"Premise": "a", "hypothesis": "b", "Class": "xy"[i % 2]} for i in range(20)]))
    data = resolve_config(configured(backbone, tmp_path, train_file=str(path))).data
    assert (data.custom.text_column, data.custom.text_pair_column, data.custom.label_column) == (
        "Premise",
        "hypothesis",
        "Class",
    )


PAIRS: list[tuple[str, str, str | None, str]] = [
    ("text1 text2", "text1", "text2", ""),
    ("question answer", "question", "answer", ""),
    ("question sentence", "question", "sentence", ""),
    ("query document", "query", "document", ""),
    ("query passage", "query", "passage", ""),
    ("body title", "title", "body", ""),
    ("text context", "text", "context", ""),
    ("claim evidence", "claim", "evidence", ""),
    ("sentence_A sentence_B", "sentence_A", "sentence_B", ""),
    ("text title body", "text", None, "'title', 'body' (--text-pair-column adds one)"),
    ("question answer context", "question", "answer", "'context' (--text-pair-column changes it)"),
    ("text reply id", "text", None, "'reply' (--text-pair-column adds one)"),
]


@pytest.mark.parametrize(("columns", "text", "pair", "unused"), PAIRS, ids=[p[0] for p in PAIRS])
def test_usual_pairs_are_read_and_texts_that_are_not_read_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, columns: str, text: str, pair: str | None, unused: str
) -> None:
    path = tmp_path / "rows.csv"
    values = {name: "7" if name == "id" else "the dog sleeps" for name in columns.split()}
    write_rows(path, iter([{**values, "label": "ab"[i % 2]} for i in range(20)]))
    with caplog.at_level("WARNING", "adapter_tune"):
        custom = resolve_config(configured("demo", tmp_path, train_file=str(path))).data.custom
    assert (custom.text_column, custom.text_pair_column) == (text, pair)
    said = [f"{path}: columns that look like text but are not read: {unused}"] if unused else []
    assert [record.getMessage() for record in caplog.records] == said


@pytest.mark.parametrize("name", PAIR_NAMES)
def test_the_first_text_of_every_usual_pair_can_be_guessed(name: str) -> None:
    assert name in TEXT_NAMES


@pytest.mark.parametrize("saved", [True, False])
def test_a_data_set_on_disk(backbone: str, tmp_path: Path, saved: bool) -> None:
    names = datasets.ClassLabel(names=["no", "yes"])
    rows = datasets.Dataset.from_dict({"text": [f"t {i}" for i in range(20)], "label": [i % 2 for i in range(20)]})
    splits = datasets.DatasetDict(
        {"train": rows.cast_column("label", names), "validation": rows.cast_column("label", names)}
    )
    folder = tmp_path / "set"
    if saved:
        splits.save_to_disk(str(folder))
    else:
        folder.mkdir()
        for split, part in splits.items():
            part.to_parquet(str(folder / f"{split}.parquet"))
    config = resolve_config(configured(backbone, tmp_path, source=str(folder)))
    assert config.data.custom.labels == ["no", "yes"]
    assert len(load_tables(config)["validation"]) == 20
    assert resolve_config(config) == config
    splits["validation"] = splits["validation"].select(range(1, 20))
    other = tmp_path / "other set"
    splits.save_to_disk(str(other))
    moved = config.data.model_copy(update={"source": str(other)})
    with pytest.raises(RunError, match=f"data set {other}: the data changed since training"):
        load_tables(config.model_copy(update={"data": moved}))


def test_the_current_folder_may_be_the_data_set(backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path / "train.csv", ({"text": f"t {i}", "label": ["no", "yes"][i % 2]} for i in range(20)))
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for source in ("..", "../inner/.."):
        config = resolve_config(configured(backbone, tmp_path, source=source))
        assert (config.data.source, config.data.custom.labels) == (source, ["no", "yes"])
    monkeypatch.chdir(tmp_path)
    assert resolve_config(configured(backbone, tmp_path, source=".")).data.custom.labels == ["no", "yes"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_the_files_of_a_folder_are_read_as_those_that_are_named(backbone: str, tmp_path: Path, ending: str) -> None:
    texts = ["NA", "None", "null", "nan", "2020-01-01", "1.50", "true", '"quoted', 'twice"', "the dog"]
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    for split in ("train-0", "train-1", "validation", "test"):
        rows = [{"text": f"{text}", "label": ["007", "010"][i % 2]} for i, text in enumerate(texts)]
        write_rows(folder / f"{split}.{ending}", iter(rows))
    config = resolve_config(configured(backbone, tmp_path, source=str(tmp_path / "set")))
    assert config.data.custom.labels == ["007", "010"]
    tables = load_tables(config)
    assert {split: len(table) for split, table in tables.items()} == {"train": 20, "validation": 10, "test": 10}
    assert tables["train"]["text"][:] == 2 * texts
    assert resolve_config(config) == config
    data = {f"{name}_file": str(folder / f"{name}.{ending}") for name in ("validation", "test")}
    named = configured(backbone, tmp_path, train_file=str(folder / f"train-0.{ending}"), **data)
    named_tables = load_tables(resolve_config(named))
    assert named_tables["validation"].to_dict() == tables["validation"].to_dict()
    (folder / f"train-1.{ending}").write_text({"csv": "a,b\nx\n", "tsv": "a\tb\nx\n", "jsonl": "{"}[ending])
    with pytest.raises(RunError, match=rf"train-1\.{ending}"):
        resolve_config(configured(backbone, tmp_path, source=str(tmp_path / "set")))


def test_a_folder_whose_readme_says_how_to_read_it_is_read_so(backbone: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.csv").write_text("text;label\n" + "the dog;0\nNA;1\n" * 8)
    for configuration, error in (
        ("sep: ';'", "is empty; if this is a CSV file"),
        ("", "its columns are separated by ';'"),
    ):
        lines = ["---", "configs:", "- config_name: default", "  data_files: train.csv"]
        (folder / "README.md").write_text("\n".join([*lines, f"  {configuration}", "---", ""]))
        with pytest.raises(adapter_tune.AdapterTuneError, match=error):
            load_tables(resolve_config(configured(backbone, tmp_path, source=str(folder))))


def test_lists_of_classes_in_a_data_set_have_their_names(backbone: str, tmp_path: Path) -> None:
    names = datasets.List(datasets.ClassLabel(names=["joy", "anger", "awe"]))
    rows = datasets.Dataset.from_dict({"text": [f"t {i}" for i in range(20)], "labels": [[0], [], [2, 0], [1]] * 5})
    rows.cast_column("labels", names).save_to_disk(str(tmp_path / "set"))
    config = resolve_config(configured(backbone, tmp_path, source=str(tmp_path / "set")))
    assert (config.data.custom.problem, config.data.custom.labels) == ("multi_label", ["anger", "awe", "joy"])
    labels = {row["text"]: row["label"] for table in load_tables(config).values() for row in table}
    assert [labels[f"t {i}"] for i in range(4)] == [[0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 0, 0]]


def test_custom_test_rows_with_labels_can_be_scored(reviews: Path, backbone: str, tmp_path: Path) -> None:
    data = {"train_file": str(reviews), "test_file": str(reviews), "text_column": "body", "label_column": "opinion"}
    config = resolve_config(configured(backbone, tmp_path, **data))
    rows = load_rows(config, load_tokenizer(config.model), ["test"])["test"]
    assert None not in rows["labels"]
    assert len(rows) == len(load_tables(config)["test"])


def test_a_split_that_custom_data_lack(reviews: Path, backbone: str, tmp_path: Path) -> None:
    config = configured(backbone, tmp_path, train_file=str(reviews), text_column="body", label_column="opinion")
    with pytest.raises(UsageError, match=f"{reviews}: no split test; choose from train, validation"):
        raw_split(resolve_config(config), "test")


def test_the_demo_data_do_not_replace_custom_data(backbone: str, tmp_path: Path) -> None:
    custom = configured(backbone, tmp_path, source="a/set", text_column="text", metric="accuracy", labels=["a", "b"])

    def requested(config: Any) -> Any:
        stored = SimpleNamespace(
            config=config.model_dump(), speed=SimpleNamespace(device="cpu", precision="float32", threads=1)
        )
        return _requested(stored, tmp_path, None, None, demo=True)  # type: ignore[arg-type]

    config, model = requested(custom)
    assert (config.data.source, model) == ("a/set", "demo")
    config, _ = requested(parse_config({"task": "rte"}))
    assert config.data.source == "demo"


def test_a_share_to_hold_out_beside_validation_rows_is_refused(reviews: Path, backbone: str, tmp_path: Path) -> None:
    data: Any = {"train_file": str(reviews), "text_column": "body", "label_column": "opinion", "holdout": 0.2}
    with pytest.raises(UsageError, match=f"data.custom.holdout=0.2: .* as in {reviews}; remove one of them"):
        resolve_config(configured(backbone, tmp_path, validation_file=str(reviews), **data))
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(UsageError, match=r"data.custom.holdout=0.2: .* as in data set .*set \(validation\)"):
        resolve_config(configured(backbone, tmp_path, source=str(tmp_path / "set"), holdout=0.2))


GOOD = "text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(20))
BAD: list[tuple[str, str, list[str], str, int]] = [
    (
        "no labels",
        "text,mark\nx,a\n",
        [],
        "cannot guess the label column; set it with --label-column; the columns are text, mark",
        2,
    ),
    (
        "no text",
        "a,b,label\nx,y,z\n",
        [],
        "cannot guess the text column; set it with --text-column; the columns are a, b, label",
        2,
    ),
    (
        "wrong name",
        GOOD,
        ["--label-column", "lable"],
        "--label-column: train.csv: unknown column 'lable'; did you mean 'label'?",
        2,
    ),
    ("one class", "text,label\nx,a\ny,a\n", [], "only one class ('a') in column 'label'", 1),
    ("empty label", "text,label\nx,a\ny,\n", [], "train.csv, line 3: column 'label' is empty", 1),
    ("no rows", "text,label\n", [], "train.csv: no rows", 1),
    ("empty file", "", [], "train.csv: the file is empty", 1),
    ("ragged", "text,label\nx,a,b\n", [], "line 2: 3 fields, but the header has 2", 1),
    ("not a number", "text,label\nx,1.5\ny,two\nz,1\n", ["--problem", "regression"], "contains 'two', not a number", 1),
    ("nan", "text,label\nx,1.5\ny,nan\nz,1\n", ["--problem", "regression"], "contains 'nan', not a number", 1),
    (
        "beyond",
        "text,label\nx,1.5\ny,1e31\nz,1\n",
        [],
        "train.csv, line 3: column 'label' contains '1e31'; labels must be between -1e",
        1,
    ),
    ("too few", "text,label\nx,a\ny,b\n", [], "2 rows are too few to hold out validation rows", 1),
    (
        "metric",
        GOOD,
        ["--set", "data.custom.metric=acuracy"],
        "data.custom.metric: unknown metric 'acuracy'; did you mean 'accuracy'?",
        2,
    ),
    (
        "probabilities",
        GOOD,
        ["--set", "data.custom.metric=roc_auc"],
        "roc_auc cannot be computed from predicted labels",
        2,
    ),
    (
        "metric of two",
        GOOD + "t,c\nt,c\n",
        ["--set", "data.custom.metric=f1"],
        "f1 cannot be computed from predicted labels of 3 classes (Target is multiclass",
        2,
    ),
    (
        "labels twice",
        GOOD,
        ["--set", "data.custom.labels=[a, b, a]"],
        "data.custom.labels: 'a' appears twice; list every",
        2,
    ),
    (
        "no labels",
        GOOD,
        ["--set", "data.custom.labels=[]"],
        "data.custom.labels: 0 classes; list at least two, or remove the option",
        2,
    ),
    (
        "many whole numbers",
        "text,label\n" + "".join(f"t,{i}\n" for i in range(201)),
        [],
        "column 'label' has 201 different whole numbers; give --problem regression or --problem classification",
        1,
    ),
    ("glue", GOOD, ["--task", "rte"], "is only for task custom, and the task is rte", 2),
    ("problem", GOOD, ["--problem", "ranking"], "should be 'auto', 'classification', 'multi_label' or 'regression'", 2),
]


@pytest.mark.parametrize(("content", "words", "message", "code"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_data_give_one_line_with_the_location(
    small_world: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str,
    words: list[str],
    message: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text(content)
    options = [*words, *small_world[:6], "--set", "data.max_length=32", "--output", "runs"]
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--train-file", "train.csv", *options])
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == code
    assert not Path("runs").exists()


def test_an_unknown_label_in_validation_is_named_with_its_line(
    tmp_path: Path, backbone: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text(GOOD)
    Path("dev.csv").write_text("text,label\nx,a\ny,c\n")
    files = ["--train-file", "train.csv", "--validation-file", "dev.csv"]
    with pytest.raises(SystemExit):
        main(["train", *files, "--model", backbone, "--set", "data.max_length=32"])
    assert (
        "dev.csv, line 3: unknown label 'c'; Known: a, b (the classes of the training rows)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("name", "message"), [("none.csv", "no such file; give a"), ("dev.xlsx", "unknown file extension")]
)
@pytest.mark.parametrize("flag", ["--train-file", "--validation-file", "--test-file"])
def test_a_file_that_cannot_be_read_is_reported_for_every_split(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    name: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text(GOOD)
    Path("dev.xlsx").write_text(GOOD)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--train-file", "train.csv", "--model", "demo", flag, name])
    assert capsys.readouterr().err.startswith(f"error: {name}: {message}")
    assert stopped.value.code == 2


def test_a_file_beside_a_data_set_is_read(tmp_path: Path, backbone: str) -> None:
    rows = datasets.Dataset.from_dict({"text": [f"t {i}" for i in range(20)], "label": ["a", "b"] * 10})
    for splits in (["train"], ["train", "validation", "test"]):
        folder = tmp_path / f"set {len(splits)}"
        datasets.DatasetDict(dict.fromkeys(splits, rows)).save_to_disk(str(folder))
        (tmp_path / "dev.csv").write_text("text,label\nx,a\ny,b\nz,b\n")
        dev = str(tmp_path / "dev.csv")
        config = configured(backbone, tmp_path, source=str(folder), validation_file=dev, test_file=dev)
        tables = load_tables(resolve_config(config))
        row_counts = {split: len(table) for split, table in tables.items()}
        assert row_counts == {"train": 20, "validation": 3, "test": 3}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"source": "a/set"}, "data.source=a/set and --train-file .* are both training data"),
        ({"subset": "x"}, "data.custom.subset=x selects a part of"),
        ({"train_file": None, "source": __file__}, r"data.source=.*\.py: is a file; give it with --train-file"),
    ],
)
def test_two_sources_of_training_rows_are_refused(
    reviews: Path, backbone: str, tmp_path: Path, data: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_config(
            configured(backbone, tmp_path, **{"train_file": str(reviews), "label_column": "opinion", **data})
        )
    assert resolve_config(
        configured(backbone, tmp_path, train_file=str(reviews), label_column="opinion", source="demo")
    )


@pytest.mark.parametrize("demo", [[], ["--demo"]])
def test_without_data_the_message_names_the_options(
    demo: list[str], backbone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--task", "custom", "--model", backbone, *demo])
    assert "task custom needs data: --train-file FILE" in capsys.readouterr().err
    assert stopped.value.code == 2


TOPICS = [["animal"], ["place", "animal"], [], ["place"]]
FORMS: list[tuple[str, str, list[dict[str, Any]], dict[str, Any]]] = [
    ("lists", "jsonl", [{"label": topics} for topics in TOPICS], {}),
    ("lists in a table", "parquet", [{"label": topics} for topics in TOPICS], {}),
    ("words with ; between", "csv", [{"label": ";".join(topics)} for topics in TOPICS], {"problem": "multi_label"}),
    (
        "columns of 0 and 1",
        "csv",
        [{"animal": int("animal" in topics), "place": int("place" in topics)} for topics in TOPICS],
        {"problem": "multi_label", "label_column": "animal,place"},
    ),
]


@pytest.mark.parametrize(("ending", "labels", "data"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
def test_a_row_may_have_several_labels(
    backbone: str, tmp_path: Path, ending: str, labels: list[dict[str, Any]], data: dict[str, Any]
) -> None:
    path = tmp_path / f"rows.{ending}"
    write_rows(path, iter([{"text": f"the dog {i}", **labels[i % 4]} for i in range(40)]))
    config = configured(backbone, tmp_path / "runs", train_file=str(path), **data)
    result = adapter_tune.run(config)
    assert result.config["data"]["custom"]["labels"] == ["animal", "place"]
    assert result.headline.metric == "f1_micro"
    assert result.scores["validation"].keys() == {"f1_micro", "f1_macro"}
    resolved = resolve_config(config)
    rows = load_splits(resolved, load_tokenizer(config.model))
    expected = [[float(name in TOPICS[i % 4]) for name in ("animal", "place")] for i in range(40)]
    assert sorted([*rows.train["labels"], *rows.validation["validation"]["labels"]]) == sorted(expected)
    folder = resolve_config(config).folder
    for target in (tmp_path / "predictions.csv", tmp_path / "predictions.jsonl"):
        main(["predict", str(folder), "--split", "validation", "--output", str(target)])
    csv_rows = list(read_rows(str(tmp_path / "predictions.csv"), []))
    jsonl_rows = list(read_rows(str(tmp_path / "predictions.jsonl"), []))
    for csv_row, row in zip(csv_rows, jsonl_rows, strict=True):
        assert row["prediction"] == [name for name in ("animal", "place") if row[f"score_{name}"] > 0.5]
        assert csv_row["prediction"] == ";".join(row["prediction"])
    true = rows.validation["validation"]["labels"][:]
    predicted = [[float(name in row["prediction"]) for name in ("animal", "place")] for row in jsonl_rows]
    assert result.scores["validation"]["f1_micro"] == f1_score(true, predicted, average="micro", zero_division=0)


def test_bad_lists_of_labels_are_refused(tmp_path: Path, backbone: str) -> None:
    bad: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
        ([{"text": "a", "label": ["x"]}, {"text": "b", "label": 3}], {}, "contains 3, not a list of labels"),
        (
            [{"text": "a", "x": 1, "y": 2}],
            {"problem": "multi_label", "label_column": "x,y"},
            "'y' contains 2, not 0 or 1",
        ),
        ([{"text": "a", "label": []}], {}, "no row has a label"),
        ([{"text": "a", "x": 1}], {"problem": "multi_label", "label_column": "x,z"}, "unknown column 'z'"),
    ]
    for rows, data, message in bad:
        path = tmp_path / "rows.jsonl"
        write_rows(path, iter(rows))
        with pytest.raises(adapter_tune.AdapterTuneError, match=re.escape(message)):
            load_tables(
                resolve_config(configured(backbone, tmp_path, train_file=str(path), validation_file=str(path), **data))
            )


def test_class_weights_are_scikit_learns(tmp_path: Path, backbone: str) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, iter([{"text": f"the dog {i}", "label": "ab"[i % 5 == 0]} for i in range(40)]))
    losses = []
    for weights in ("none", "balanced"):
        values = configured(backbone, tmp_path / "runs", train_file=str(path), validation_file=str(path)).model_dump()
        values["training"].update(class_weights=weights, logging_steps=1, batch_size=40)
        config = parse_config(values)
        result = adapter_tune.run(config)
        losses.append(result.history[0]["loss"])
        assert adapter_tune.run(config, force=True).history == result.history
    assert losses[0] != losses[1]
    resolved = resolve_config(config)
    rows = load_splits(resolved, load_tokenizer(config.model))
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=np.array(rows.train["labels"]))
    weights_tensor = balanced_class_weights(resolved, rows, torch.device("cpu"))
    assert weights_tensor is not None
    assert weights_tensor.tolist() == pytest.approx(expected.tolist())


def test_class_weights_need_classes(tmp_path: Path, make_config: Any) -> None:
    with pytest.raises(adapter_tune.AdapterTuneError, match="balanced needs classes"):
        adapter_tune.run(make_config("stsb", class_weights="balanced"))


@pytest.mark.parametrize("problem", ["auto", "classification", "regression", "multi_label"])
def test_a_row_without_its_label_is_named(tmp_path: Path, problem: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "x", "label": "a"}\n{"text": "y"}\n')
    with pytest.raises(RunError, match=r"train\.jsonl, line [12]: column 'label'"):
        load_tables(
            resolve_config(
                parse_config({"task": "custom", "data": {"custom": {"train_file": str(path), "problem": problem}}})
            )
        )


def test_a_run_is_not_scored_on_a_file_that_changed(
    reviews: Path, backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(
        backbone, tmp_path / "runs", train_file=str(reviews), text_column="body", label_column="opinion"
    )
    adapter_tune.run(config)
    folder = str(resolve_config(config).folder)
    target = tmp_path / "predictions.csv"
    before = resolve_config(config).data.custom.digest
    lines = reviews.read_text().splitlines(keepends=True)
    reviews.write_text("".join(lines[:1] + lines[:10:-1]))
    split = ["predict", folder, "--split", "validation", "--output", str(target)]
    for words in (["eval", folder], ["ablate", folder], split):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert stopped.value.code == 1
        digest = resolve_config(config).data.custom.digest
        assert f"{reviews}: the data changed since training (digest {digest}, at training {before})" in message
        assert message.endswith("; restore the data or train again")
    with pytest.raises(RunError, match="the data changed since training"):  # a run's own configuration, taken again
        resolve_config(config.model_copy(update={"data": config.data.with_custom(digest=before)}))
    reviews.rename(tmp_path / "other.csv")
    main(["predict", folder, "--input", str(tmp_path / "other.csv"), "--output", str(target)])
    assert len(list(read_rows(str(target), []))) == len(lines[:10:-1])
    with pytest.raises(SystemExit) as stopped:
        main(["eval", folder])
    assert stopped.value.code == 2
    assert f"{reviews}: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,mark\nx,a\n", "dev.csv, line 2: column 'label' is missing; the columns are text, mark"),
        ("text,label\n", "dev.csv: no rows; add rows, or remove the file"),
    ],
)
def test_an_incomplete_validation_or_test_file_is_refused(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dev.csv").write_text(content)
    one_column: tuple[str, dict[str, str]] = (GOOD, {})
    two_columns = ("text,label,other\n" + "x,0,1\n" * 8, {"problem": "multi_label", "label_column": "label,other"})
    for train_content, options in (one_column, two_columns):
        Path("train.csv").write_text(train_content)
        config = resolve_config(
            configured(backbone, tmp_path, train_file="train.csv", validation_file="dev.csv", **options)
        )
        with pytest.raises(RunError, match=re.escape(message)):
            load_tables(config)
    Path("train.csv").write_text(GOOD)
    Path("test.csv").write_text("text,label\n")
    with pytest.raises(RunError, match=r"test\.csv: no rows"):
        load_tables(resolve_config(configured(backbone, tmp_path, train_file="train.csv", test_file="test.csv")))


TRAIN_LABELS: dict[str, list[str]] = {
    "classification": ["a", "b"],
    "regression": ["1.5", "-1"],
    "multi_label": ["a;b", "a"],
}
TEST_LABELS: dict[str, Any] = {
    "classification": 1,
    "regression": -1.0,
    "multi_label": [1.0, 0.0],
}
TEST_SHARES: dict[str, dict[str, float]] = {
    "classification": {"a": 0.0, "b": 1.0},
    "regression": {"lowest": -1.0, "mean": -1.0, "highest": -1.0},
    "multi_label": {"a": 1.0, "b": 0.0},
}


@pytest.mark.parametrize("problem", TRAIN_LABELS)
def test_test_rows_need_no_label(
    backbone: str, tmp_path: Path, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = TRAIN_LABELS[problem]
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    write_rows(train, iter([{"text": f"t {i}", "label": (first, second)[i % 2]} for i in range(20)]))
    write_rows(test, iter([{"text": "x", "label": label} for label in ("", second, "unknown")]))
    config = resolve_config(configured(backbone, tmp_path, train_file=str(train), test_file=str(test), problem=problem))
    assert list(load_tables(config)["test"]["label"]) == [None, TEST_LABELS[problem], None]
    files = ["--train-file", str(train), "--test-file", str(test), "--problem", problem, "--model", backbone]
    main(["inspect-data", *files, "--json"])
    inspection = json.loads(capsys.readouterr().out)["splits"][-1]
    assert inspection["labels"] == TEST_SHARES[problem]
    assert inspection["contradicted"] == 0


def test_test_labels_in_several_columns_are_read(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, iter([{"text": f"t {i}", "spam": i % 2, "urgent": i % 3 % 2} for i in range(20)]))
    data = {"problem": "multi_label", "label_column": "spam,urgent"}
    config = resolve_config(configured(backbone, tmp_path, train_file=str(path), test_file=str(path), **data))
    assert list(load_tables(config)["test"]["label"]) == [[float(i % 2), float(i % 3 % 2)] for i in range(20)]


def test_many_whole_numbers_are_classes_if_the_user_says_so(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, iter([{"text": f"t {i}", "label": i % 205} for i in range(410)]))
    named = [str(i) for i in range(205)]
    for options in ({"problem": "classification"}, {"labels": named}):
        data = resolve_config(configured(backbone, tmp_path, train_file=str(path), **options)).data
        assert (data.custom.labels, data.custom.problem) == (named, "classification")


def test_the_same_number_written_twice_has_one_order() -> None:
    code = (
        "from adapter_tune.data.classes import class_names;"
        "from adapter_tune.config.schema import CustomDataConfig, DataConfig;"
        "rows = [('', {'y': y}) for y in ('1', '1.0', '+1', '2', '-0', '0')];"
        "print(class_names(rows, DataConfig(custom=CustomDataConfig(label_column='y')), ''))"
    )
    outputs = set()
    for seed in "1234":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
        outputs.add(done.stdout)
    assert outputs == {"['0', '1', '2']\n"}


CLASHES: list[tuple[dict[str, str], str]] = [
    ({"text_column": "a", "label_column": "a"}, "'a' is used for both --text-column and --label-column"),
    ({"text_column": "a", "text_pair_column": "a"}, "'a' is used for both --text-column and --text-pair-column"),
    ({"text_pair_column": "label"}, "cannot guess the label column; set it with --label-column"),
    ({"text_column": "a", "label_column": "y,z"}, "'y,z' is several columns, which need --problem multi_label"),
    ({"text_column": "a", "label_column": "y,nowhere"}, "unknown column 'y,nowhere'"),
    ({"text_column": "a", "label_column": "y,z,y", "problem": "multi_label"}, "'y' is used twice in --label-column"),
    (
        {"text_column": "y", "label_column": "y,z", "problem": "multi_label"},
        "'y' is used for both --text-column and --lab",
    ),
]


@pytest.mark.parametrize(("data", "message"), CLASHES, ids=lambda v: str(v)[:40])
def test_a_column_has_one_use(backbone: str, tmp_path: Path, data: dict[str, str], message: str) -> None:
    path = tmp_path / "rows.csv"
    names = ("a", "b", "y", "z", "label") if "text_column" in data else ("a", "label")
    write_rows(path, iter([{name: str(i % 2) for name in names} for i in range(20)]))
    with pytest.raises(UsageError, match=re.escape(message)):
        resolve_config(configured(backbone, tmp_path, train_file=str(path), **data))


@pytest.mark.parametrize("names", [("label", "labels"), ("labels", "label"), ("label", "target"), ("input_ids", "cut")])
def test_text_columns_may_have_names_that_are_used_internally(
    backbone: str, tmp_path: Path, names: tuple[str, str]
) -> None:
    path, (first, second) = tmp_path / "rows.csv", names
    write_rows(path, iter([{first: f"the dog {i}", second: "a cat", "kind": "xy"[i % 2]} for i in range(20)]))
    data = {"text_column": first, "text_pair_column": second, "label_column": "kind"}
    config = resolve_config(configured(backbone, tmp_path / "runs", train_file=str(path), test_file=str(path), **data))
    rows = load_splits(config, load_tokenizer(config.model)).train
    assert set(rows.column_names) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    assert set(rows["labels"]) == {0, 1}
    adapter_tune.run(config)
    main(["predict", str(config.folder), "--split", "test", "--output", str(tmp_path / "predictions.jsonl")])
    assert next(iter(read_rows(str(tmp_path / "predictions.jsonl"), [])))[first] == "the dog 0"
    flags = [word for option, name in data.items() for word in (f"--{option.replace('_', '-')}", name)]
    main(["inspect-data", "--train-file", str(path), "--model", backbone, *flags])


def test_a_column_without_a_name_is_no_second_text(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"{i},the dog,{'ab'[i % 2]}\n" for i in range(20)]  # as pandas writes them
    path.write_text(",message,label\n" + "".join(rows))
    data = resolve_config(configured(backbone, tmp_path, train_file=str(path))).data
    assert (data.custom.text_column, data.custom.text_pair_column, data.custom.label_column) == (
        "message",
        None,
        "label",
    )


def test_a_text_column_that_is_called_label_is_not_guessed_for_the_label(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, iter([{"label": f"the dog {i}", "class": "xy"[i % 2]} for i in range(20)]))
    data = resolve_config(configured(backbone, tmp_path, train_file=str(path), text_column="label")).data
    assert (data.custom.text_column, data.custom.label_column, data.custom.labels) == ("label", "class", ["x", "y"])


def test_a_split_with_one_class_is_not_reported_as_collapsed(backbone: str, tmp_path: Path) -> None:
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    write_rows(train, iter([{"text": f"the dog {i}", "label": "ab"[i % 10 == 0]} for i in range(40)]))
    for labels, warned in (("a", False), ("aaaa", False), ("aab", True)):
        write_rows(dev, iter([{"text": "the cat", "label": label} for label in labels]))
        data = {"train_file": str(train), "validation_file": str(dev), "metric": "matthews_correlation"}
        config = configured(backbone, tmp_path / "runs", **data)
        assert any("collapsed" in note for note in adapter_tune.run(config).warnings) == warned
