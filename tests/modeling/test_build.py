import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertForSequenceClassification, BertModel
from transformers.utils import logging as transformers_logging

from adapter_tune.config.schema import ModelConfig
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.backbone import fingerprint, load_tokenizer
from adapter_tune.modeling.build import build_model, check_backbone_fits
from tests.helpers import bert_config, save_backbone, save_tokenizer


def test_everything_is_frozen_but_the_head_and_what_the_strategy_trains(make_config: Any) -> None:
    prepared = build_model(make_config("mnli", strategy={"name": "houlsby", "m": 4}))
    trained = {name for name, p in prepared.model.named_parameters() if p.requires_grad}
    assert all("adapter" in n or "LayerNorm" in n or n.startswith("classifier") for n in trained)
    assert "bert.embeddings.LayerNorm.weight" not in trained
    assert len(trained) == 2 + 4 * (4 + 2)
    assert prepared.model.config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}


def test_the_pooler_stays_frozen_only_where_the_checkpoint_pretrained_it(
    make_config: Any, backbone: str, bare_backbone: str, tmp_path: Path
) -> None:
    without = save_backbone(tmp_path / "without", BertModel, seed=2, add_pooling_layer=False)
    decided = {}
    for name, folder in {"bert": backbone, "bare": bare_backbone, "without": without}.items():
        prepared = build_model(make_config(model=folder))
        pooler = [p.requires_grad for n, p in prepared.model.named_parameters() if ".pooler." in n]
        decided[name] = (prepared.config.pooler, pooler, bool(prepared.notes))
    assert decided == {
        "bert": ("frozen", [False, False], False),
        "bare": ("train", [True, True], True),
        "without": ("train", [True, True], True),
    }
    assert "has no pooler" in build_model(make_config(model=without)).notes[0]


@pytest.mark.parametrize(("pooler", "trained"), [("train", True), ("frozen", False)])
def test_the_pooler_obeys_the_user(make_config: Any, bare_backbone: str, pooler: str, trained: bool) -> None:
    prepared = build_model(make_config(model={"id": bare_backbone, "pooler": pooler}))
    assert prepared.model.bert.pooler.dense.weight.requires_grad is trained
    assert prepared.notes == []


def test_transformers_report_of_missing_tensors_is_not_shown(make_config: Any) -> None:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    verbosity = transformers_logging.get_verbosity()
    library = logging.getLogger("transformers")  # remove_handler of some versions refuses every handler
    library.addHandler(handler)
    transformers_logging.set_verbosity_warning()
    try:
        build_model(make_config())
        assert transformers_logging.get_verbosity() == logging.WARNING
    finally:
        library.removeHandler(handler)
        transformers_logging.set_verbosity(verbosity)
    assert not [message for message in messages if "MISSING" in message]


def test_a_checkpoint_in_half_precision_is_held_in_float32(make_config: Any, backbone: str, tmp_path: Path) -> None:
    AutoModel.from_pretrained(backbone, dtype=torch.float16).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    prepared = build_model(make_config(model=str(tmp_path)))
    assert {p.dtype for p in prepared.model.parameters()} == {torch.float32}


def test_the_head_starts_from_a_cut_normal_and_the_seed_decides_it(make_config: Any) -> None:
    heads = []
    for seed in (1, 1, 2):
        heads.append(build_model(make_config(seed=seed)).model.classifier)
    assert heads[0].weight.abs().max() <= 0.04
    assert not heads[0].bias.any()
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


def test_a_head_of_another_width_in_the_checkpoint_does_not_matter(make_config: Any, tmp_path: Path) -> None:
    BertForSequenceClassification(bert_config(num_labels=7)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    prepared = build_model(make_config("mnli", model=str(tmp_path)))
    assert prepared.model.classifier.weight.shape == (3, 32)
    assert {"classifier.weight", "classifier.bias"} == prepared.newly_initialized


def test_fingerprints_are_of_the_backbone_alone(make_config: Any, backbone: str, bare_backbone: str) -> None:
    fingerprints = {
        name: build_model(config).fingerprint
        for name, config in {
            "one": make_config(),
            "other task and strategy": make_config("mnli", strategy="full"),
            "other backbone": make_config(model=bare_backbone),
        }.items()
    }
    assert fingerprints["one"] == fingerprints["other task and strategy"] != fingerprints["other backbone"]
    model = AutoModel.from_pretrained(backbone)
    before = fingerprint(model)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[0, 0] += 1e-3
    assert fingerprint(model) != before


def test_an_encoder_that_the_checkpoint_does_not_fill_is_refused(
    make_config: Any, backbone: str, tmp_path: Path
) -> None:
    BertModel.from_pretrained(backbone).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"1 tensors of the encoder are missing .*layer.1.output.dense.weight"):
        build_model(make_config(model=str(tmp_path)))


def test_a_tokenizer_without_a_vocabulary_is_refused(backbone: str, tmp_path: Path) -> None:
    shutil.copytree(backbone, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*", "vocab*"))
    with pytest.raises(RunError, match=r"(no vocabulary|cannot be loaded).*"):
        load_tokenizer(ModelConfig(id=str(tmp_path / "bare")))


def test_rows_longer_than_the_positions_are_refused(make_config: Any) -> None:
    with pytest.raises(UsageError, match=r"data.max_length is 65, but the backbone has 64 positions"):
        check_backbone_fits(make_config(data={"max_length": 65}))


def test_a_revision_of_a_folder_is_refused(make_config: Any, backbone: str) -> None:
    message = rf"^model\.revision: {backbone} is a local folder, which has no revisions; remove model.revision$"
    with pytest.raises(UsageError, match=message):
        check_backbone_fits(make_config(model={"id": backbone, "revision": "main"}))
    with pytest.raises(UsageError, match=r"^model\.revision: demo is a local folder"):
        check_backbone_fits(make_config(model={"id": "demo", "revision": "main"}))
