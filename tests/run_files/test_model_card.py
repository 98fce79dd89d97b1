import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from adapter_tune import run
from adapter_tune.data.row_files import write_rows
from adapter_tune.run_files.model_card import model_card
from adapter_tune.run_files.result import Result
from tests.helpers import rows_of

HUB_TYPE = re.compile(r"(?:[\w-]+/)?[\w.-]+")  # what the Hub accepts for a data set in model-index


def metadata(result: Result) -> dict[str, Any]:
    card: dict[str, Any] = ModelCard(model_card(result)).data.to_dict()
    for row in card["model-index"][0]["results"]:
        assert HUB_TYPE.fullmatch(row["dataset"]["type"])
        assert row["dataset"]["name"]
    return card


@pytest.fixture
def result(make_config: Any, tmp_path: Path) -> Result:
    """The result of a run on the user's own file."""
    columns = rows_of("sst2", 40)
    rows = [{"text": t, "label": "ab"[y]} for t, y in zip(columns["sentence"], columns["label"], strict=True)]
    file = tmp_path / "my reviews: 1.csv"
    write_rows(file, iter(rows))
    data = {"source": "nyu-mll/glue", "custom": {"train_file": str(file)}}
    return run(make_config("custom", data=data, max_steps=1))


def changed(result: Result, **data: Any) -> Result:
    config = {**result.config, "data": {**result.config["data"], **data}}
    return result.model_copy(update={"config": config})


def test_a_run_on_own_data_names_its_own_data(result: Result, tmp_path: Path) -> None:
    card = metadata(result)
    assert "datasets" not in card
    assert {row["dataset"]["name"] for row in card["model-index"][0]["results"]} == {"my reviews: 1.csv"}
    assert "glue" not in model_card(result).lower()
    assert str(tmp_path) not in model_card(result)
    card = metadata(changed(result, custom={"train_file": None}, source="someone/reviews"))
    assert card["datasets"] == ["someone/reviews"]
    card = metadata(changed(result, custom={"train_file": None}, source=str(tmp_path)))
    assert "datasets" not in card
    assert card["model-index"][0]["results"][0]["dataset"]["name"] == tmp_path.name


def test_a_run_on_glue_names_glue_where_it_was_read_from_the_hub(make_config: Any) -> None:
    result = run(make_config("rte", max_steps=1))  # a local copy
    assert "datasets" not in metadata(result)
    assert "base_model" not in metadata(result)
    card = metadata(changed(result, source="nyu-mll/glue"))
    assert card["datasets"] == ["nyu-mll/glue"]
    assert card["model-index"][0]["results"][0]["dataset"] == {
        "name": "GLUE rte",
        "type": "nyu-mll/glue",
        "split": "validation",
    }
    named = result.model_copy(update={"model": result.model.model_copy(update={"id": "demo"})})
    card = metadata(changed(named, source="demo"))
    assert not {"datasets", "base_model"} & card.keys()
