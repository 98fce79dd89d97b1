"""Each choice and its reason."""

import numpy as np
import pytest

from adapter_tune.adapters.formula import Shape
from adapter_tune.setup import choices

SMALL = Shape(
    layers=6,
    d=384,
    layer=1,
    layer_biases=0,
    embeddings=1,
    embedding_biases=0,
    norm=768,
    layer_norms=(2,) * 6,
    embedding_norms=768,
)
MANY = 2**40


@pytest.mark.parametrize(
    ("lengths", "positions", "value", "reason"),
    [
        (range(1, 101), 512, 96, "have at most 96 tokens (the longest has 100); 4.0 % of the rows are truncated"),
        ([9] * 99 + [500], 512, 16, "have at most 9 tokens (the longest has 500); 1.0 % of the rows are truncated"),
        ([16] * 20, None, 16, "(the longest has 16); no row is truncated"),
        ([600] * 20, 512, 512, ", but the backbone takes at most 512; 100.0 % of the rows are truncated"),
        ([509] * 20, 510, 510, ", but the backbone takes at most 510; no row is truncated"),
    ],
)
def test_the_maximum_length(lengths: list[int], positions: int | None, value: int, reason: str) -> None:
    choice = choices.max_length(np.array(lengths), positions)
    assert choice.path == "data.max_length"
    assert choice.value == value
    assert choice.reason.endswith(reason)


@pytest.mark.parametrize(("rows", "share", "count"), [(30, 0.2, "6 of the 30"), (999, 0.2, "200"), (1000, 0.1, "100")])
def test_the_held_out_rows(rows: int, share: float, count: str) -> None:
    choice = choices.holdout(rows, has_classes=True)
    assert choice.value == share
    assert f"so {count} " in choice.reason
    assert "standard error" not in choices.holdout(rows, has_classes=False).reason
    assert "standard error of 0.04" in choices.holdout(500, has_classes=True).reason


@pytest.mark.parametrize(
    ("counts", "weights"), [((99, 10), "none"), ((100, 10), "balanced"), ((5, 0), "none"), ((10, 0, 1), "balanced")]
)
def test_class_weights_from_a_ratio_of_ten(counts: tuple[int, ...], weights: str) -> None:
    by_class = {f"c{number}": count for number, count in enumerate(counts)}
    chosen = {each.path: each for each in choices.class_weights(by_class, is_multi_label=False)}
    assert chosen["training.class_weights"].value == weights
    assert f"'c0' has {counts[0]}" in chosen["training.class_weights"].reason
    assert ("data.custom.metric" in chosen) == (weights == "balanced")
    assert len(choices.class_weights(by_class, is_multi_label=True)) == 1


@pytest.mark.parametrize(
    ("rows", "epochs", "stops"),
    [
        (24, 50, 0),
        (160, 25, 0),
        (400, 10, 0),
        (999, 10, 0),
        (1000, 20, 1),
        (10_000, 20, 1),
        (10_001, 5, 0),
        (60_000, 3, 0),
    ],
)
def test_the_schedule(rows: int, epochs: int, stops: int) -> None:
    first, *others = choices.schedule(rows)
    assert (first.path, first.value) == ("training.epochs", epochs)
    assert [each.path for each in others] == ["training.early_stopping"] * stops
    assert f"{rows:,} training rows" in first.reason


def test_the_learning_rate_by_the_size_of_the_backbone() -> None:
    base, small = (choices.learning_rate(size, 3e-4) for size in (512, 384))
    assert base.path == small.path == "training.learning_rate_factor"
    assert (base.value, small.value) == (1.0, 3.3)
    assert "0.00099 in place of 0.0003" in small.reason


def test_the_batch_size_fits_into_half_of_the_memory() -> None:
    (plenty,) = choices.batch_size(5000, 128, SMALL, 12, MANY)
    assert (plenty.value, plenty.reason.split(";")[0]) == (32, "as in the paper")
    (few,) = choices.batch_size(320, 128, SMALL, 12, MANY)
    assert few.value == 16
    assert "20 steps an epoch" in few.reason
    row = choices.activation_bytes(128, SMALL, 12)
    size, accumulated = choices.batch_size(5000, 128, SMALL, 12, int(2 * 10 * row))
    assert (size.value, accumulated.value) == (8, 4)
    assert "32 rows of 128 tokens would take about" in size.reason
    size, accumulated = choices.batch_size(5000, 128, SMALL, 12, 1)
    assert (size.value, accumulated.value) == (1, 32)


def test_activations_by_the_formula_for_one_layer_of_bert_base() -> None:
    shape = Shape(**{**SMALL.__dict__, "layers": 1, "d": 768})
    assert choices.activation_bytes(512, shape, 12) == 2 * (34 * 512 * 768 + 5 * 12 * 512**2)


@pytest.mark.parametrize(
    ("chosen", "native", "reason"),
    [
        ("bf16", True, "bf16 on this machine (cpu: bf16 is faster here)"),
        ("float32", True, "float32 on this machine (cpu: bf16 is slower here)"),
        ("float32", False, "float32 on this machine (cpu: it does not multiply bf16 itself)"),
    ],
)
def test_the_precision_is_left_to_each_machine(chosen: str, native: bool, reason: str) -> None:
    choice = choices.precision("cpu", chosen, native)
    assert (choice.value, choice.reason) == ("auto", reason)


def test_what_is_wrong_with_the_rows() -> None:
    clean = {"split": "train", "rows": 100, "empty": 0, "repeated": 0, "contradicted": 0, "in_train": 0}
    validation = {**clean, "split": "validation"}
    assert choices.data_notes([clean, validation], can_be_edited=True, is_held_out=True) == []
    train = {**clean, "empty": 1, "repeated": 3, "contradicted": 2}
    validation = {**validation, "rows": 6, "in_train": 1}
    notes = choices.data_notes([train, validation], can_be_edited=True, is_held_out=False)
    assert notes == [
        "train: 1 row has an empty text; fix or remove such rows",
        "train: 3 rows repeat an earlier row, 2 of them with another label; keep one of each",
        "validation: 1 row is also in train, so the score is too high; remove them from one of the files",
        "validation: 6 rows are few, so the score says little; add rows",
    ]
    (leak, _) = choices.data_notes([clean, validation], can_be_edited=True, is_held_out=True)
    assert leak.endswith("; remove repeated rows from the file")
    (leak, few) = choices.data_notes([clean, validation], can_be_edited=False, is_held_out=False)
    assert leak.endswith("too high")
    assert few.endswith("says little")


def test_classes_with_hardly_any_rows() -> None:
    assert choices.rare_classes({"a": 8, "b": 7}) == ["train: hardly any rows of 'b' (7); add some"]
    assert choices.rare_classes({"a": 8}) == []
