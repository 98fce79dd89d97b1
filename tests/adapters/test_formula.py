import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

import adapter_tune
from adapter_tune.adapters.family_shapes import bert_shape
from adapter_tune.adapters.formula import Formula
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.adapters.published_sizes import PUBLISHED_SIZES, published_size
from adapter_tune.config.schema import ModelConfig
from adapter_tune.foundation.errors import RunError
from adapter_tune.modeling.build import count_on_meta, prepare
from adapter_tune.strategies import REGISTRY, Houlsby, parse_strategy
from tests.helpers import bert_config

BASE, LARGE = "google-bert/bert-base-uncased", "google-bert/bert-large-uncased"
OPTIONS: list[Any] = [
    *REGISTRY,
    *[{"name": "houlsby", "m": m, "layer_norm": norm} for m in (1, 8, 256) for norm in ("adapter", "all", "none")],
]


def counted(model: str, strategy: Any, labels: int = 2, pooler: Any = "auto") -> Any:
    return count_on_meta(ModelConfig(id=model, pooler=pooler), parse_strategy(strategy), {"num_labels": labels})[0]


def test_the_papers_numbers_for_bert_base() -> None:
    count = counted(BASE, "houlsby", labels=3)
    assert (count.per_adapter, count.adapter_count, count.formula) == (100_672, 24, 2_416_128)
    assert (count.groups.head, count.trained, count.backbone) == (2_307, 2_418_435, 109_482_240)
    assert count.total == count.backbone + 2_307 + count.groups.adapters


def test_the_papers_shares_for_bert_large() -> None:
    count = counted(LARGE, "houlsby")
    assert count.backbone == 335_141_888
    assert round(count.trained_percent, 2) == 1.92
    assert round(count.trained_percent_encoder, 2) == 2.13


def test_all_layer_norms_are_those_of_the_released_code() -> None:
    count = counted(BASE, {"name": "houlsby", "layer_norm": "all"})
    assert count.groups.layer_norm == 38_400  # 25 of them
    assert count.formula == 2_416_128  # the formula counts the 24 after an adapter


@pytest.mark.parametrize("strategy", OPTIONS, ids=str)
@pytest.mark.parametrize("model", ["google/bert_uncased_L-2_H-128_A-2", BASE])
def test_formula_and_model_agree(model: str, strategy: Any) -> None:
    count = counted(model, strategy)  # raises where they do not
    formula = parse_strategy(strategy).formula(bert_shape(published_size(model)))
    assert count.trained - count.groups.head - count.groups.pooler == formula.trained
    assert count.formula == formula.total


def test_full_trains_everything_and_head_the_head() -> None:
    full = counted(BASE, "full")
    head = counted(BASE, "head")
    assert full.trained == full.total == full.backbone + full.groups.head
    assert full.trained_percent == 100
    assert head.trained == head.groups.head == 2 * 768 + 2
    assert full.formula is None
    assert full.per_adapter is None


def test_a_trained_pooler_is_a_group_of_its_own() -> None:
    frozen = counted(BASE, "houlsby")
    trained = counted(BASE, "houlsby", pooler="train")
    assert (frozen.groups.pooler, trained.groups.pooler) == (0, 768 * 768 + 768)
    assert trained.trained - frozen.trained == trained.groups.pooler


def test_published_models_need_no_network_and_note_what_is_assumed(backbone: str) -> None:
    assert len(PUBLISHED_SIZES) == 4 + 24
    assert published_size("bert-base-uncased") == published_size(BASE)
    *_, notes = count_on_meta(ModelConfig(id=BASE), Houlsby(), {"num_labels": 2})
    assert "stays frozen" in notes[0]
    *_, notes = count_on_meta(ModelConfig(id=backbone), Houlsby(), {"num_labels": 2})
    assert "is trained" in notes[0]
    *_, notes = count_on_meta(ModelConfig(id=BASE, pooler="frozen"), Houlsby(), {"num_labels": 2})
    assert notes == []


def test_an_assumption_is_noted_only_where_it_matters() -> None:
    assert count_on_meta(ModelConfig(id=BASE), parse_strategy("full"), {"num_labels": 2})[2] == []


def test_a_local_folder_is_counted_even_if_it_is_named_like_a_published_model(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(backbone, tmp_path / "bert-base-uncased")
    monkeypatch.chdir(tmp_path)
    assert counted("bert-base-uncased", "head").backbone < 100_000


@pytest.mark.parametrize(("model", "total"), [(BASE, 109_482_240), ("google-bert/bert-base-cased", 108_310_272)])
def test_published_sizes(model: str, total: int) -> None:
    assert counted(model, "head").backbone == total


@pytest.mark.parametrize("strategy", REGISTRY)
def test_meta_and_real_weights_give_the_same_count(strategy: str, bare_backbone: str) -> None:
    real = AutoModelForSequenceClassification.from_pretrained(bare_backbone, num_labels=3)
    prepare(real, REGISTRY[strategy](), train_pooler=True)
    assert adapter_tune.count_parameters(real) == counted(bare_backbone, strategy, labels=3).model_copy(
        update={"formula": None}
    )


@pytest.mark.parametrize("wrong", ["adapters", "layer_norm", "other", "per_adapter", "adapter_count", "adapter_norms"])
def test_a_formula_that_is_off_by_one_is_an_error(wrong: str) -> None:
    config = bert_config()
    with torch.device("meta"):
        model = BertForSequenceClassification(config)
    strategy = Houlsby(m=4)
    prepare(model, strategy, train_pooler=False)
    right = strategy.formula(bert_shape(config))
    count_parameters(model, right)
    values = {name: getattr(right, name) for name in right.__dataclass_fields__}
    with pytest.raises(RunError, match="but the formula says"):
        count_parameters(model, Formula(**{**values, wrong: values[wrong] + 1}))
