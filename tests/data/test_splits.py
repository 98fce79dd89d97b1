from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import AutoTokenizer

from adapter_tune.data.splits import lengths, load_rows, load_splits
from adapter_tune.demo.glue import DEMO_TASKS
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.backbone import load_tokenizer
from adapter_tune.tasks.glue import TASKS
from tests.helpers import rows_of


@pytest.fixture(scope="module")
def tokenizer(backbone: str) -> Any:
    return AutoTokenizer.from_pretrained(backbone)


@pytest.mark.parametrize("task", [TASKS[name] for name in DEMO_TASKS], ids=lambda t: t.name)
def test_every_task_gives_tokenised_splits(make_config: Any, tokenizer: Any, task: Any) -> None:
    splits = load_splits(make_config(task.name), tokenizer)
    assert tuple(splits.validation) == task.validation
    assert (len(splits.train), [len(s) for s in splits.validation.values()]) == (64, [24] * len(task.validation))
    row = splits.train[0]
    assert set(row) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    source = rows_of(task.name, 64)
    texts = [source[column][0] for column in task.text]
    assert row["input_ids"] == tokenizer(*texts).input_ids[:32]
    assert (1 in row["token_type_ids"]) == (len(texts) == 2)
    assert row["labels"] == pytest.approx(source["label"][0])


def test_lengths_are_those_of_the_rows(make_config: Any, tokenizer: Any) -> None:
    rows = load_splits(make_config("rte", data={"max_train_samples": 20}), tokenizer).train
    assert list(lengths(rows)) == [len(ids) for ids in rows["input_ids"]]


def test_a_sample_is_drawn_at_random_and_is_the_same_for_every_seed(make_config: Any, tokenizer: Any) -> None:
    def rows(seed: int) -> Any:
        config = make_config("sst2", data={"max_train_samples": 10, "max_eval_samples": 5}, seed=seed)
        splits = load_splits(config, tokenizer)
        return splits.train["input_ids"][:], splits.validation["validation"]["input_ids"][:]

    train, validation = rows(1)
    assert (train, validation) == rows(2)
    assert (len(train), len(validation)) == (10, 5)
    everything = load_splits(make_config("sst2"), tokenizer).train["input_ids"][:]
    assert train != everything[:10]


def test_tokenisation_is_cached(make_config: Any, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("qnli", data={"max_length": 23})
    first = load_splits(config, load_tokenizer(config.model)).train["input_ids"][:]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr("adapter_tune.data.splits._encode", never)
    other_tokenizer = load_tokenizer(config.model)
    other_tokenizer("a call that changes how it cuts and pads", truncation=True, max_length=3, padding="max_length")
    assert load_splits(config, other_tokenizer).train["input_ids"][:] == first


def test_a_tokenizer_that_gives_other_columns_or_cuts_elsewhere_has_rows_of_its_own(
    make_config: Any, backbone: str
) -> None:
    config = make_config("qnli", data={"max_length": 11})
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    first = load_splits(config, tokenizer).train
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # as DistilBERT's, with the same tokenizer.json
    assert set(load_splits(config, tokenizer).train[0]) == {"input_ids", "attention_mask", "labels"}
    tokenizer.truncation_side = "left"
    assert load_splits(config, tokenizer).train["input_ids"][:] != first["input_ids"][:]


def write_rte(folder: Path, **changes: Any) -> str:
    rows = rows_of("rte", 6)
    rows.update(changes.pop("columns", {}))
    for column in changes.pop("drop", []):
        del rows[column]
    table = datasets.Dataset.from_dict(rows)
    if "names" in changes:
        table = table.cast_column("label", datasets.ClassLabel(names=changes["names"]))
    for split in ("train", "validation"):
        table.select(range(changes.get("rows", 6))).to_parquet(folder / "rte" / f"{split}.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: rte\n  data_files:\n"
        "  - {split: train, path: rte/train.parquet}\n  - {split: validation, path: rte/validation.parquet}\n---\n"
    )
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": ["sentence2"]}, "no column 'sentence2'; it has sentence1, label, idx"),
        ({"drop": ["label"]}, "no column 'label'"),
        ({"columns": {"label": [0, 1, 0, 2, 0, 1]}}, "row 3 has label 2; labels are 0 to 1"),
        ({"columns": {"label": [0, 1, -1, 0, 0, 1]}}, "row 2 has label -1"),
        ({"names": ["not_entailment", "entailment"]}, "labels are in the order"),
        ({"rows": 0}, "no rows"),
        ({"columns": {"label": [0, 1, None, 0, 0, 1]}}, "column 'label' is empty in 1 rows"),
        ({"columns": {"label": [0.0, 0.5, 1.0, 0.0, 0.0, 1.0]}}, "labels are float64, not class ids"),
        ({"columns": {"label": ["yes"] * 6}}, "labels are object, not class ids"),
        ({"columns": {"label": [True] * 6}}, "labels are bool, not class ids"),
        ({"columns": {"sentence1": ["a", None, "b", "c", "d", "e"]}}, "column 'sentence1' is empty in 1 rows"),
        ({"columns": {"sentence1": [1, 2, 3, 4, 5, 6]}}, "column 'sentence1' contains int64, not text"),
    ],
    ids=str,
)
def test_data_that_is_not_what_the_table_says_is_refused(
    make_config: Any, tokenizer: Any, tmp_path: Path, changes: Any, message: str
) -> None:
    source = write_rte(tmp_path / "data", **changes)
    with pytest.raises(RunError, match=message):
        load_splits(make_config("rte", data={"source": source}), tokenizer)


def test_a_local_copy_that_changed_is_read_anew(make_config: Any, tokenizer: Any, tmp_path: Path) -> None:
    def first_row() -> Any:
        return load_splits(make_config("rte", data={"source": str(tmp_path)}), tokenizer).train["input_ids"][0]

    write_rte(tmp_path)
    before = first_row()
    write_rte(tmp_path, columns={"sentence1": ["a good house"] * 6})
    assert first_row() != before


@pytest.mark.parametrize("label", [float("nan"), -1.0, 5.5])
def test_a_regression_label_out_of_bounds_is_refused(
    make_config: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, label: float
) -> None:
    rows = rows_of("stsb", 4)
    rows["label"][2] = label
    table = datasets.Dataset.from_dict(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": table})
    with pytest.raises(RunError, match=f"row 2 has label {label}; labels are 0 to 5"):
        load_rows(make_config("stsb"), tokenizer, ["train"])


@pytest.mark.parametrize(("task", "fits"), [("rte", 5), ("sst2", 3)])
def test_rows_too_short_for_the_marks_are_refused(make_config: Any, tokenizer: Any, task: str, fits: int) -> None:
    rows = load_splits(make_config(task, data={"max_length": fits}), tokenizer).train
    assert max(lengths(rows)) == fits
    with pytest.raises(UsageError, match=rf"data.max_length is {fits - 1}, but \[CLS\] and \[SEP\] need .* tokens"):
        load_splits(make_config(task, data={"max_length": fits - 1}), tokenizer)


@pytest.mark.parametrize(
    ("split", "message"),
    [("test", "not public; evaluate on validation"), ("valid", "no split 'valid'; choose from train, validation")],
)
def test_splits_that_cannot_be_scored(make_config: Any, tokenizer: Any, split: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_rows(make_config("rte"), tokenizer, [split])


def test_a_data_set_without_the_task_is_refused(make_config: Any, tokenizer: Any, tmp_path: Path) -> None:
    source = write_rte(tmp_path / "data")
    with pytest.raises(RunError, match=r"\(qnli\): the data set has no such task .*data.source=DIR"):
        load_splits(make_config("qnli", data={"source": source}), tokenizer)


def test_without_network_the_error_names_the_way_out(make_config: Any, tokenizer: Any) -> None:
    with pytest.raises(RunError, match=r"nobody/nothing \(rte\): the Hub cannot be reached .*data.source=DIR"):
        load_splits(make_config("rte", data={"source": "nobody/nothing"}), tokenizer)


def test_rows_that_are_cut_are_counted(make_config: Any, tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    full_lengths = [
        len(tokenizer(*texts).input_ids) for texts in zip(*list(rows_of("rte", 64).values())[:2], strict=True)
    ]
    limit = sorted(full_lengths)[40]
    with caplog.at_level("INFO", logger="adapter_tune"):
        splits = load_splits(make_config("rte", data={"max_length": limit}), tokenizer)
        load_splits(make_config("rte", data={"max_length": max(full_lengths)}), tokenizer)
    cut = sum(length > limit for length in full_lengths)
    assert cut > 0
    assert f"train: {cut} of 64 rows are longer than data.max_length={limit} tokens and are truncated" in caplog.text
    assert caplog.text.count("train: ") == 1
    assert "cut" not in splits.train.column_names
    assert lengths(splits.train).max() == limit
