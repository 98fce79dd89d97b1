"""A run as a pipeline of transformers: the run's labels and scores, one row at a time and in batches."""

from pathlib import Path
from typing import Any

import pytest

import adapter_tune
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.runs.predict import predict_text
from adapter_tune.runs.reload import predictor
from tests.helpers import saved_run

PAIRS = [
    {"text": "a dog sees it .", "text_pair": "a dog"},
    {"text": "the man " * 40, "text_pair": "a man sees a dog . " * 3},
    {"text": "it", "text_pair": "the dog"},
]


@pytest.mark.parametrize("task", ["rte", "stsb", "mnli"])
def test_pairs_get_the_scores_of_predict(task: str, make_config: Any) -> None:
    config = make_config(task, precision="float32", max_steps=1)
    adapter_tune.run(config)
    run = predictor(config.folder, needs_data=False)
    pipe = adapter_tune.pipeline(config.folder, batch_size=2)
    computed = pipe(PAIRS)
    assert pipe(PAIRS[0])["score"] == pytest.approx(computed[0]["score"], abs=1e-6)
    for pair, row in zip(PAIRS, computed, strict=True):
        expected = predict_text(run, *pair.values())
        if task == "stsb":
            assert row == {"label": "score", "score": pytest.approx(expected["prediction"], abs=1e-6)}
        else:
            score = expected[f"score_{expected['prediction']}"]
            assert row == {"label": expected["prediction"], "score": pytest.approx(score, abs=1e-6)}


def test_each_of_several_labels_has_a_probability(backbone: str, tmp_path: Path) -> None:
    columns = {"text_column": "text", "label_column": "topics"}
    custom = {**columns, "problem": "multi_label", "labels": ["a", "b", "c"], "metric": "f1_micro"}
    values = {"task": "custom", "model": backbone, "strategy": {"name": "pfeiffer", "m": 4}, "data": {"custom": custom}}
    saved_run(tmp_path / "run", resolved(parse_config(values)))
    model, tokenizer = adapter_tune.load(tmp_path / "run")
    logits = model(**tokenizer("a dog", return_tensors="pt")).logits[0]
    (row,) = adapter_tune.pipeline(tmp_path / "run", model=backbone)(["a dog"])
    assert {each["label"]: each["score"] for each in row} == pytest.approx(
        dict(zip("abc", logits.sigmoid().tolist(), strict=True)), abs=1e-6
    )
    ((best,),) = adapter_tune.pipeline(tmp_path / "run", top_k=1)(["a dog"])
    assert best["label"] == "abc"[int(logits.argmax())]
