from pathlib import Path
from typing import Any

import pytest

from adapter_tune.data import examples
from adapter_tune.data.examples import has_public_data, label_examples
from tests.helpers import rows_of


def test_every_class_has_an_example(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "has_public_data", lambda _: True)
    chosen = label_examples(make_config("rte"))
    rows = rows_of("rte", 64)
    assert list(chosen) == ["entailment", "not_entailment"]
    for number, texts in enumerate(chosen.values()):
        columns = (rows["sentence1"], rows["sentence2"], rows["label"])
        pairs = [[first, second] for first, second, label in zip(*columns, strict=True) if label == number]
        assert texts in pairs
        assert sum(map(len, texts)) == min(len(first) + len(second) for first, second in pairs)


def test_a_regression_has_the_extremes(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "has_public_data", lambda _: True)
    scores = rows_of("stsb", 64)["label"]
    assert [float(score) for score in label_examples(make_config("stsb"))] == pytest.approx([min(scores), max(scores)])


def test_long_texts_are_shortened(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "has_public_data", lambda _: True)
    monkeypatch.setattr(examples, "_CHARACTERS", 10)
    for texts in label_examples(make_config("sst2")).values():
        assert len(texts[0]) <= 10
        assert texts[0].endswith("...")


def test_only_glue_of_the_hub_and_the_demo_is_public(make_config: Any, glue: str, tmp_path: Path) -> None:
    assert has_public_data(make_config("rte", data={"source": "nyu-mll/glue"}))
    assert has_public_data(make_config("rte", data={"source": "demo"}))
    assert not has_public_data(make_config("rte", data={"source": glue}))
    assert not has_public_data(make_config("rte", data={"source": "someone/private-glue"}))
    assert label_examples(make_config("rte", data={"source": glue})) == {}
