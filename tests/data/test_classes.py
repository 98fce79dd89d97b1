"""Classes of the user's own rows: equal numbers are one class, NaN is none, and of two classes one is positive."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import f1_score

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.data.classes import positive_class
from adapter_tune.data.custom import load_tables, resolve_config
from adapter_tune.data.row_files import read_rows, write_rows
from adapter_tune.foundation.errors import AdapterTuneError, FieldError, UsageError
from adapter_tune.run_files.result import read_result


def configured(path: Path, label_of_rows: list[Any], **custom: Any) -> Any:
    """The configuration of a run on rows with these labels, which are their validation rows too."""
    write_rows(path, iter([{"text": f"the dog {i}", "label": label} for i, label in enumerate(label_of_rows)]))
    custom = {"train_file": str(path), "validation_file": str(path), **custom}
    return parse_config({"task": "custom", "data": {"custom": custom}})


SAME: list[tuple[list[str], dict[str, Any], list[str], list[int]]] = [
    (["0", "0.0", "1", "1.0"], {}, ["0", "1"], [0, 0, 1, 1]),
    (["+1", "-1", "1", "-1.0"], {}, ["-1", "1"], [1, 0, 1, 0]),
    (["1e1", "10", "2.", "2"], {}, ["2", "10"], [1, 1, 0, 0]),
    (["1.50", "1.5", "2", "2.0"], {"problem": "classification"}, ["1.5", "2"], [0, 0, 1, 1]),
    (["0.0", "1.0", "0.0", "1.0"], {}, ["0.0", "1.0"], [0, 1, 0, 1]),
    (["007", "010", "007", "010"], {}, ["007", "010"], [0, 1, 0, 1]),
    (["9007199254740993", "9007199254740992"] * 2, {}, ["9007199254740992", "9007199254740993"], [1, 0, 1, 0]),
    (["0", "0.0", "1", "1.0"], {"labels": [1, 0]}, ["1", "0"], [1, 1, 0, 0]),
    (["0", "0.0", "1", "1.0"], {"labels": [1.0, 0]}, ["1", "0"], [1, 1, 0, 0]),
    (["true", "false"] * 2, {"labels": [True, False]}, ["true", "false"], [0, 1, 0, 1]),
]


@pytest.mark.parametrize(("labels", "custom", "names", "ids"), SAME, ids=[" ".join(map(str, s[0])) for s in SAME])
def test_equal_numbers_are_one_class(
    tmp_path: Path, labels: list[str], custom: dict[str, Any], names: list[str], ids: list[int]
) -> None:
    config = resolve_config(configured(tmp_path / "rows.csv", labels, **custom))
    assert config.data.custom.labels == names
    assert load_tables(config)["train"]["label"][:] == ids


def test_a_number_may_be_written_in_another_way_in_another_file(tmp_path: Path) -> None:
    config = configured(tmp_path / "rows.csv", ["0", "1"] * 5)
    dev = tmp_path / "dev.jsonl"
    write_rows(dev, iter([{"text": "x", "label": label} for label in (0, "1.0", 1.0, "0")]))
    config = config.with_values({"data": config.data.with_custom(validation_file=str(dev), test_file=str(dev))})
    tables = load_tables(resolve_config(config))
    assert tables["validation"]["label"][:] == tables["test"]["label"][:] == [0, 1, 1, 0]


def test_labels_of_a_list_are_compared_as_numbers_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    config = resolve_config(configured(path, ["1;2", "1.0", "2.0;1", ""], problem="multi_label"))
    assert config.data.custom.labels == ["1", "2"]
    assert load_tables(config)["train"]["label"][:] == [[1, 1], [1, 0], [1, 1], [0, 0]]


WRONG: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("csv", ["1", "007", "7", "1"], {}, "rows.csv, line 3: labels '7' and '007' are the same number; write it in"),
    ("csv", ["0", "1", "nan", "1"], {}, "line 4: column 'label' contains 'nan', which is no label among numbers; fix"),
    ("csv", ["0", "1", "1", "NA"], {}, "line 5: column 'label' contains 'NA', which is no label among numbers"),
    ("csv", ["0.5", "1.5", "None"], {}, "line 4: column 'label' contains 'None', not a number; fix or remove the row"),
    ("csv", ["0.5", "1.5", ""], {}, "line 4: column 'label' is empty; fix or remove the row"),
    ("jsonl", [0, 1, float("nan")], {}, "line 3: column 'label' is empty; fix or remove the row"),
    ("csv", ["0", "1"], {"labels": ["1", "1.0"]}, "data.custom.labels: '1' and '1.0' are the same number; name every"),
    ("csv", ["3,5", "4"] * 20, {}, "column 'label' contains numbers with commas ('3,5'); write them with a decimal"),
    ("csv", ["1.200,5", "4"] * 20, {}, "column 'label' contains numbers with commas ('1.200,5')"),
    ("csv", ["1.5", "3,5"], {"problem": "regression"}, "line 3: column 'label' contains '3,5', not a number; write a"),
    ("csv", [f"a {i}" for i in range(10)], {}, "column 'label' has another value in each of the 10 rows, so"),
    ("csv", list(range(40)), {}, "or give --problem regression or classification"),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "labels", "custom", "message"), WRONG, ids=[w[3][:60] for w in WRONG])
def test_labels_that_are_no_classes_are_refused(
    tmp_path: Path, ending: str, labels: list[Any], custom: dict[str, Any], message: str
) -> None:
    with pytest.raises(AdapterTuneError) as caught:
        load_tables(resolve_config(configured(tmp_path / f"rows.{ending}", labels, **custom)))
    assert message in str(caught.value)


def test_nan_is_no_label_of_a_test_row(tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    write_rows(test, iter([{"text": "x", "label": label} for label in (float("nan"), "nan", None, 1)]))
    for labels in ([0, 1], [0.5, 1]):
        config = configured(tmp_path / "rows.jsonl", labels * 4, test_file=str(test))
        assert load_tables(resolve_config(config))["test"]["label"][:] == [None, None, None, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a;b", "a", "b"], "'a;b' is one class; if it is several labels, give --problem multi_label"),
        (["a;b", "c"], ""),
        (["roti", "nan", "roti"], "line 3: a class is called 'nan'; remove the row if its label is missing"),
        (["Spam", "ham", "spam"], "['Spam', 'spam'] are different classes; write them in one way if they are one"),
        (["caf\u00e9", "tea", "cafe\u0301"], "are different classes"),
        (["none", "spam", "ham"], ""),
    ],
)
def test_classes_that_may_be_a_mistake_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, labels: list[str], message: str
) -> None:
    with caplog.at_level(logging.WARNING, "adapter_tune"):
        resolve_config(configured(tmp_path / "rows.csv", labels * 2))
    assert [message in record.getMessage() for record in caplog.records] == [True] * bool(message)


def test_several_labels_with_another_separator_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "adapter_tune"):
        resolve_config(configured(tmp_path / "rows.csv", ["a, b", "a", "b"], problem="multi_label"))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith("rows.csv: 'a, b' is one class; if it is several labels, separate them by ;")


@pytest.mark.parametrize("value", [1, 2.5, "2020-01-01"])
def test_a_text_option_that_yaml_reads_as_something_else_says_how_to_quote_it(
    value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--demo", "--task", "custom", "--set", f"data.custom.label_column={value}"])
    assert capsys.readouterr().err.strip().endswith(f"; quote it: '{value}'")


POSITIVE: list[tuple[list[str], dict[str, Any], list[str], str]] = [
    (["fraud", "ok", "ok"], {}, ["fraud", "ok"], "fraud"),
    (["ok", "spam", "ok"], {}, ["ok", "spam"], "spam"),
    (["a", "b"], {}, ["a", "b"], "b"),
    (["0", "1", "1"], {}, ["0", "1"], "1"),
    (["No", "Yes", "Yes"], {}, ["No", "Yes"], "Yes"),
    (["fraud", "ok", "ok"], {"labels": ["fraud", "ok"]}, ["fraud", "ok"], "ok"),
    (["fraud", "ok", "ok"], {"positive": "ok"}, ["fraud", "ok"], "ok"),
    (["0", "1"], {"positive": "1.0"}, ["0", "1"], "1"),
]


@pytest.mark.parametrize(("labels", "custom", "names", "positive"), POSITIVE, ids=[str(p[:2]) for p in POSITIVE])
def test_the_positive_class_of_two(labels: list[str], custom: dict[str, Any], names: list[str], positive: str) -> None:
    rows = [("line 2", {"label": label}) for label in labels]
    data = parse_config(
        {"task": "custom", "data": {"custom": {"label_column": "label", "metric": "f1", **custom}}}
    ).data
    assert positive_class(rows, data, names, "rows.csv") == positive


@pytest.mark.parametrize(
    ("labels", "custom", "message"),
    [
        (["a", "b"], {"positive": "c"}, "data.custom.positive: unknown class 'c'; "),
        (["a", "b", "c"], {"positive": "a"}, "data.custom.positive: is one of two classes, and there are 3; remove"),
        (["0.5", "1.5"], {"positive": "a"}, "is one of two classes, and this is regression; remove it"),
        (["a;b", "b"], {"positive": "a", "problem": "multi_label"}, "problem multi_label has no such classes; remove"),
    ],
)  # fmt: skip
def test_a_positive_class_that_does_not_exist_is_refused(
    tmp_path: Path, labels: list[str], custom: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, FieldError)) as caught:
        resolve_config(configured(tmp_path / "rows.csv", labels * 4, **custom))
    assert message in str(caught.value)


@pytest.mark.parametrize("metric", ["f1", "precision", "accuracy"])
@pytest.mark.parametrize("positive", ["fraud", "ok", None])
def test_the_score_of_one_class_names_it_everywhere(
    backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str, positive: str | None
) -> None:
    path, runs, target = tmp_path / "rows.csv", tmp_path / "runs", tmp_path / "predicted.jsonl"
    labels = ["fraud" if i % 5 == 0 else "ok" for i in range(40)]
    write_rows(path, iter([{"text": f"the dog {i}", "label": label} for i, label in enumerate(labels)]))
    words = ["--train-file", str(path), "--validation-file", str(path), "--model", backbone, "--output", str(runs)]
    words += ["--set", "data.max_length=16", "--epochs", "1", "--set", f"data.custom.metric={metric}"]
    main(["train", *words, *([] if positive is None else ["--set", f"data.custom.positive={positive}"])])
    printed = capsys.readouterr()
    folder = next(runs.iterdir())
    result = read_result(folder)
    scores = result.scores["validation"]
    if metric == "accuracy" and positive is None:
        assert scores.keys() == {"accuracy", "f1_macro"}
        return
    name = f"f1({positive or 'fraud'})"
    main(["predict", str(folder), "--split", "validation", "--output", str(target)])
    predicted = [row["prediction"] for row in read_rows(str(target), [])]
    assert scores[name] == f1_score(labels, predicted, pos_label=positive or "fraud", zero_division=0)
    assert f"validation_{name} {scores[name]:.4f}" in printed.err
    assert f"{name} (validation)" in printed.out
    assert result.headline.metric in (name, f"precision({positive or 'fraud'})", "accuracy")
    card = (folder / "adapter" / "README.md").read_text()
    assert f"| validation | {name} |" in card
    assert f"metric_name: {name}" in card.replace("name: " + name, "metric_name: " + name)
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["data"]["positive"] == (
        positive or "fraud"
    )
    main(["eval", str(folder)])
    assert f"{name} (validation)" in capsys.readouterr().out
    adapter_tune.load(folder)


def test_a_run_of_an_earlier_version_is_scored_as_it_was_and_says_whose_score_it_is() -> None:
    custom = {"text_column": "text", "metric": "f1", "problem": "classification", "labels": ["fraud", "ok"]}
    task = resolved(parse_config({"task": "custom", "data": {"custom": custom}})).task_spec
    assert (task.headline, task.positive, task.metrics) == ("f1(ok)", "ok", ("f1(ok)", "accuracy", "f1_macro"))
