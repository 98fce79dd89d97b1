"""Every family from a checkpoint on disk through training, evaluation and loading."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoModelForSequenceClassification, BertModel

import adapter_tune
from adapter_tune.adapters.families import FAMILIES, family_of
from adapter_tune.adapters.model_parts import pooler_parameters
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.build import build_model, check_backbone_fits
from adapter_tune.runs.reload import evaluate_run
from tests.helpers import BACKBONES, TOKENIZER, config_of

FIRST = dict(reversed(BACKBONES))


@pytest.fixture(params=FIRST)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A family, and a folder with a model of it as its authors publish them: with its pretraining head."""
    family = request.param
    config = config_of(family, FIRST[family])
    config.vocab_size, config.max_position_embeddings, config.pad_token_id = len(TOKENIZER), 48, 0
    torch.manual_seed(0)
    has_own = type(config) in AutoModelForPreTraining._model_mapping
    kind = AutoModelForPreTraining if has_own else AutoModelForMaskedLM
    kind.from_config(config).save_pretrained(tmp_path)
    tokenizer = TOKENIZER.__class__.from_pretrained(TOKENIZER.name_or_path)
    if family not in ("bert", "electra"):
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(tmp_path)
    return family, str(tmp_path)


def test_it_trains_and_is_loaded_again_to_the_bit(checkpoint: tuple[str, str], make_config: Any) -> None:
    family, folder = checkpoint
    config = make_config("rte", model=folder, epochs=1)
    result = adapter_tune.run(config)
    assert result.parameters.adapter_count == 6
    assert evaluate_run(config.folder).scores == result.scores
    model, _ = adapter_tune.load(config.folder)
    assert model.config.model_type == family
    assert len(adapter_tune.adapters_of(model)) == 6


def test_a_pooler_is_frozen_only_where_it_was_pretrained(checkpoint: tuple[str, str], make_config: Any) -> None:
    family, folder = checkpoint
    prepared = build_model(make_config("rte", model=folder))
    pooler = pooler_parameters(prepared.model)
    assert bool(pooler) == (FAMILIES[family].pooler is not None)
    assert not any(p.requires_grad for p in pooler)
    assert prepared.notes == []
    head = {
        name for name, p in prepared.model.named_parameters() if p.requires_grad and name in prepared.newly_initialized
    }
    assert head == prepared.newly_initialized  # nothing that no checkpoint holds stays as it was drawn


def test_without_the_objective_modernberts_head_is_trained(make_config: Any, tmp_path: Path) -> None:
    config = config_of("modernbert", FIRST["modernbert"])
    config.vocab_size, config.pad_token_id = len(TOKENIZER), 0
    AutoModelForSequenceClassification.from_config(config).model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    prepared = build_model(make_config("rte", model=str(tmp_path), data={"max_length": 24}))
    assert all(p.requires_grad for p in pooler_parameters(prepared.model))
    assert "the checkpoint has no pooler" in prepared.notes[0]


@pytest.mark.parametrize("pooler", ["frozen", "train"])
def test_a_choice_about_a_pooler_that_is_not_there_is_refused(
    checkpoint: tuple[str, str], make_config: Any, pooler: str
) -> None:
    family, folder = checkpoint
    config = make_config("rte", model={"id": folder, "pooler": pooler})
    if FAMILIES[family].pooler is not None:
        build_model(config)
        return
    with pytest.raises(UsageError, match=rf"model.pooler: a {family} backbone has none"):
        build_model(config)


def test_positions_that_no_token_takes_are_counted_out(checkpoint: tuple[str, str], make_config: Any) -> None:
    family, folder = checkpoint
    positions = 48 - FAMILIES[family].lost_positions
    AutoModelForSequenceClassification.from_pretrained(folder)(input_ids=torch.ones(1, positions, dtype=torch.long))
    check_backbone_fits(make_config("rte", model=folder, data={"max_length": positions}))
    with pytest.raises(UsageError, match=f"the backbone has {positions} positions"):
        check_backbone_fits(make_config("rte", model=folder, data={"max_length": positions + 1}))


def test_a_bare_encoder_has_its_pooler_too() -> None:
    bare = BertModel(config_of("bert", {}))
    assert len(pooler_parameters(bare)) == 2
    assert family_of(bare.config) is FAMILIES["bert"]


def test_recomputing_is_refused_where_the_family_has_none(checkpoint: tuple[str, str], make_config: Any) -> None:
    family, folder = checkpoint
    config = make_config("rte", model=folder, gradient_checkpointing=True, max_steps=1)
    if family == "mpnet":
        with pytest.raises(UsageError, match="mpnet does not support it"):
            check_backbone_fits(config)
    else:
        assert adapter_tune.run(config).history
