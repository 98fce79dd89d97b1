"""Held-out validation rows: of every class or label, and said where a score on them means nothing."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.schema import parse_config
from adapter_tune.data.custom import load_tables, resolve_config
from adapter_tune.data.custom_rows import content_digest
from adapter_tune.data.holdout import rows_by_label
from adapter_tune.data.row_files import write_rows
from adapter_tune.foundation.errors import RunError


def configured(path: Path, label_of_rows: list[Any], model: str = "demo", **custom: Any) -> Any:
    write_rows(path, iter([{"text": f"the dog {i}", "label": label} for i, label in enumerate(label_of_rows)]))
    return parse_config(
        {
            "task": "custom",
            "model": model,
            "output": str(path.parent / "runs"),
            "data": {"max_length": 16, "custom": {"train_file": str(path), **custom}},
            "training": {"epochs": 1},
        }
    )


def test_rare_labels_are_held_out_and_trained(tmp_path: Path) -> None:
    labels = [["rare"]] * 4 + [["odd"]] * 3 + [["rare", "odd"]] * 2 + [[]] * 51
    config = resolve_config(configured(tmp_path / "rows.jsonl", labels))
    first, second = load_tables(config), load_tables(config)
    assert first["validation"]["text"][:] == second["validation"]["text"][:]
    assert (len(first["train"]), len(first["validation"])) == (54, 6)
    for table in first.values():
        assert (np.asarray(table["label"][:]).sum(axis=0) > 0).all()
    assert sorted([*first["train"]["text"], *first["validation"]["text"]]) == sorted(f"the dog {i}" for i in range(60))


@given(
    rows=st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=8, max_size=60),
    share=st.floats(0.1, 0.5),
)
def test_no_label_with_two_rows_is_held_out_whole(rows: list[list[int]], share: float) -> None:
    labels = np.array(rows)
    count = max(round(share * len(rows)), 3)
    held_out = rows_by_label(labels, count)
    assert len(set(held_out)) == len(held_out) == count
    assert held_out == rows_by_label(labels, count)
    train = sorted(set(range(len(rows))) - set(held_out))
    for label, total in enumerate(labels.sum(axis=0)):
        if total > 1:
            assert labels[train, label].any(), label


def test_shares_of_many_rows_are_kept() -> None:
    labels = (np.random.default_rng(1).random((2000, 5)) < [0.5, 0.2, 0.1, 0.05, 0.01]).astype(int)
    held = labels[rows_by_label(labels, 200)].sum(axis=0)
    assert held.tolist() == pytest.approx((labels.sum(axis=0) / 10).tolist(), abs=1.5)


WARNED: list[tuple[str, list[Any], list[Any], dict[str, Any], list[str]]] = [
    ("no label at all", [["a"], ["b"]], [[], []], {}, [
        "no row of class 'a', 'b', so its score is not measured; f1_macro counts such a class as 0",
        "f1_micro is 0 whatever is predicted, so no epoch is better; add rows",
    ]),
    ("a label is missing", [["a"], ["b"]], [["a"], []], {}, ["no row of class 'b', so its score is not measured; f1"]),
    ("the positive class is missing", ["a", "b", "b"], ["b", "b"], {"metric": "f1"}, [
        "no row of class 'a', so its score is not measured",
        "f1(a) is 0 whatever is predicted, so no epoch is better; add rows",
    ]),
    ("one class of three", ["a", "b", "c"], ["a"], {"metric": "matthews_correlation"}, [
        "no row of class 'b', 'c', so its score",
        "matthews_correlation is 0 whatever is predicted",
    ]),
    ("a class is not trained", ["a", "b"], ["a", "b"], {"labels": ["a", "b", "c"]}, [
        "no training row of class 'c', which is not learnt",
        "no row of class 'c', so its score is not measured",
    ]),
    ("all is there", ["a", "b"], ["a", "b"], {}, []),
    ("equal numbers", [0.5, 1.5], [2, 2], {}, ["every label is 2, so no score means anything; add other rows"]),
    ("numbers", [0.5, 1.5], [0.5, 1.5], {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("train", "validation", "custom", "said"), [w[1:] for w in WARNED], ids=[w[0] for w in WARNED])
def test_a_score_that_means_nothing_is_named_before_training_and_in_the_result(
    tmp_path: Path,
    backbone: str,
    caplog: pytest.LogCaptureFixture,
    train: list[Any],
    validation: list[Any],
    custom: dict[str, Any],
    said: list[str],
) -> None:
    dev = tmp_path / "dev.jsonl"
    write_rows(dev, iter([{"text": "the cat", "label": label} for label in validation]))
    config = configured(tmp_path / "rows.jsonl", train * 6, backbone, validation_file=str(dev), **custom)
    with caplog.at_level(logging.WARNING, "adapter_tune"), warnings.catch_warnings():
        warnings.filterwarnings("error", module="sklearn")
        result = adapter_tune.run(config)
    logged = [record.getMessage() for record in caplog.records]
    assert [text in line for text, line in zip(said, logged, strict=True)] == [True] * len(said)
    in_result = [text for text in said if "training row" not in text]
    noted = [note for note in result.warnings if note.startswith("validation: ")]
    assert [text in note for text, note in zip(in_result, noted, strict=True)] == [True] * len(in_result)


def test_a_run_whose_rows_an_earlier_version_held_out_is_not_scored_on_trained_rows(tmp_path: Path) -> None:
    config = resolve_config(configured(tmp_path / "rows.jsonl", [["a"], ["b"], []] * 10))
    earlier = content_digest(config.data.with_custom(problem="classification"))  # without regard to labels
    old = config.with_values({"data": config.data.with_custom(digest=earlier)})
    with pytest.raises(RunError, match="an earlier version held out other validation rows for this run; train again"):
        load_tables(old)


@pytest.mark.parametrize(
    ("labels", "words", "message"),
    [
        (["a", "b"], [], "2 rows are too few to hold out validation rows of 2 classes; give validation rows with"),
        (["a", "b", "c", "d"], [], "--validation-file, or give the label's column with --label-column"),
        (["a", "b"], ["--problem", "multi_label"], "2 rows are too few to hold out validation rows of 2 classes; give"),
    ],
)  # fmt: skip
def test_too_few_rows_say_for_how_many_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str], words: list[str], message: str
) -> None:
    configured(tmp_path / "rows.csv", labels)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--train-file", str(tmp_path / "rows.csv"), "--model", "demo", *words])
    assert message in capsys.readouterr().err
    assert stopped.value.code == 1
