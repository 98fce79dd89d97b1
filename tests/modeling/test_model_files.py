"""Model folders that are not what they seem: every tensor and file has its place, or one line says which has none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForPreTraining, BertForSequenceClassification, BertModel, RobertaConfig, RobertaModel

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.schema import ModelConfig
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.backbone import load_config
from adapter_tune.modeling.build import build_model, check_backbone_fits
from adapter_tune.runs.run import run
from tests.helpers import SHAPE, bert_config, save_tokenizer

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def with_tensors(folder: Path, *names: str) -> None:
    """Add tensors to a checkpoint."""
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, **{name: torch.zeros(2) for name in names}}, folder / WEIGHTS, {"format": "pt"})


def with_values(folder: Path, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **values}))


def with_peft(folder: Path) -> None:
    """The tensors of a model that peft has wrapped, saved whole."""
    from peft import LoraConfig, get_peft_model

    whole = BertForSequenceClassification(bert_config())
    model = get_peft_model(whole, LoraConfig(r=2, target_modules=["query", "value"])).get_base_model()
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / WEIGHTS, {"format": "pt"})


UNUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "fewer layers in the configuration": (
        lambda folder: with_values(folder, num_hidden_layers=1),
        r"its weights have 2 layers, but its config\.json has 1; correct config\.json",
    ),
    "an adapter of AdapterHub": (
        lambda folder: with_tensors(folder, "bert.encoder.layer.0.output.adapters.x.adapter_down.0.weight"),
        r"its weights have 1 tensors of an adapter \(bert\.encoder\.layer\.0\.output\.adapters",
    ),
    "an invertible adapter": (
        lambda folder: with_tensors(folder, "bert.invertible_adapters.x.F.0.weight"),
        r"tensors of an adapter \(bert\.invertible_adapters",
    ),
    "LoRA of peft": (with_peft, r"tensors of an adapter \(.*; merge it with peft's merge_and_unload"),
    "relative positions": (
        lambda folder: with_tensors(folder, "bert.encoder.layer.1.attention.self.distance_embedding.weight"),
        r"its weights have 1 tensors in the layers that the model does not have \(bert.*distance_embedding",
    ),
}


@pytest.mark.parametrize("bare", [False, True], ids=["with a head", "bare"])
@pytest.mark.parametrize(("change", "message"), UNUSED.values(), ids=UNUSED)
def test_tensors_of_the_encoder_without_a_place_are_refused(
    make_config: Any, tmp_path: Path, change: Any, message: str, bare: bool
) -> None:
    torch.manual_seed(0)
    kind = BertModel if bare else BertForPreTraining
    kind(bert_config()).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    change(tmp_path)
    with pytest.raises(RunError, match=f"^model {tmp_path}: .*{message}"):
        build_model(make_config(model=str(tmp_path)))


def test_a_trained_model_that_was_saved_whole_is_no_backbone(make_config: Any, tmp_path: Path) -> None:
    config = make_config(max_steps=1)
    run(config)
    model, tokenizer = adapter_tune.load(config.folder)
    model.save_pretrained(tmp_path / "whole")
    tokenizer.save_pretrained(tmp_path / "whole")
    with pytest.raises(RunError, match=r"16 tensors of an adapter .*adapter_tune\.detach"):
        build_model(make_config(model=str(tmp_path / "whole")))
    adapter_tune.detach(model)
    model.save_pretrained(tmp_path / "detached")
    tokenizer.save_pretrained(tmp_path / "detached")
    build_model(make_config(model=str(tmp_path / "detached")))


def test_heads_objectives_and_poolers_without_a_place_are_usual(make_config: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=bert_config().vocab_size, **SHAPE, pad_token_id=1, type_vocab_size=1)
    RobertaModel(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with_tensors(tmp_path, "lm_head.dense.weight", "embeddings.position_ids", "generator.encoder.layer.0.x.weight")
    prepared = build_model(make_config(model=str(tmp_path)))
    assert prepared.notes == []


def test_other_tensors_of_the_encoder_are_named(make_config: Any, backbone: str, tmp_path: Path) -> None:
    folder = shutil.copytree(backbone, tmp_path / "leftovers")
    with_tensors(folder, "bert.embeddings.word_embeddings._weight")
    notes = build_model(make_config(model=str(folder))).notes
    assert notes == [
        "tensors of the checkpoint that the model does not have are not used: bert.embeddings.word_embeddings._weight"
    ]


PEFT = {"peft_type": "LORA", "base_model_name_or_path": "google-bert/bert-base-uncased", "r": 8}
ADAPTER_FOLDERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "beside a whole model": (PEFT, []),
    "with a base model that is here": ({**PEFT, "base_model_name_or_path": "BACKBONE"}, []),
    "alone": (PEFT, [CONFIG, WEIGHTS]),
    "of another library": ({"config": "houlsby", "model_type": "bert"}, []),
}


@pytest.mark.parametrize("has_peft", [True, False], ids=["peft", "no peft"])
@pytest.mark.parametrize(("values", "without"), ADAPTER_FOLDERS.values(), ids=ADAPTER_FOLDERS)
def test_a_folder_with_an_adapters_configuration_is_always_refused_alike(
    backbone: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    without: list[str],
    has_peft: bool,
) -> None:
    monkeypatch.setattr("transformers.models.auto.auto_factory.is_peft_available", lambda: has_peft)
    folder = shutil.copytree(backbone, tmp_path / "peft", ignore=shutil.ignore_patterns(*without))
    (folder / "adapter_config.json").write_text(json.dumps(values).replace("BACKBONE", backbone))
    for command in ("train --task rte", "inspect-data --task rte", "count-params"):
        with pytest.raises(SystemExit) as stopped:
            main([*command.split(), "--model", str(folder)])
        assert stopped.value.code == 1
        assert "it has an adapter_config.json, so it is or contains an adapter" in capsys.readouterr().err


def test_a_file_or_any_folder_is_no_model(backbone: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.safetensors: it is a file; give the folder that it is in$"):
        load_config(ModelConfig(id=f"{backbone}/{WEIGHTS}"), {})
    with pytest.raises(RunError, match=r"it has no config\.json, so it is not the folder of a transformers model$"):
        load_config(ModelConfig(id=str(tmp_path)), {})


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"is_decoder": True}, r"has is_decoder: true, so a token would see only the tokens before it; set it to false$"),
    ({"add_cross_attention": True}, r"has add_cross_attention: true, which only decoders have; set it to false$"),
    ({"chunk_size_feed_forward": 3}, r"has chunk_size_feed_forward: 3, which needs .*; set it to 0$"),
    ({"num_hidden_layers": 0}, r"its config\.json has no layers"),
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, r"its weights are quantised"),
]


@pytest.mark.parametrize(("values", "message"), CONFIGS, ids=[next(iter(values)) for values, _ in CONFIGS])
def test_a_configuration_of_something_else_than_an_encoder_is_refused(
    make_config: Any, backbone: str, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(backbone, tmp_path / "model")
    with_values(folder, **values)
    with pytest.raises(RunError, match=f"^model {folder}: .*{message}"):
        check_backbone_fits(make_config(model=str(folder)))


def test_outputs_that_a_configuration_asks_for_do_not_change_the_run(
    make_config: Any, backbone: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(backbone, tmp_path / "model")
    with_values(folder, output_attentions=True, output_hidden_states=True, return_dict=False)
    assert run(make_config(model=str(folder), max_steps=1)).scores == run(make_config(max_steps=1)).scores


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(make_config: Any, backbone: str, tmp_path: Path, value: float) -> None:
    folder = shutil.copytree(backbone, tmp_path / "model")
    weights = load_file(folder / WEIGHTS)
    weights["bert.encoder.layer.1.output.dense.bias"][3] = value
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(RunError, match=r"its tensor encoder\.layer\.1\.output\.dense\.bias has values that are not"):
        build_model(make_config(model=str(folder)))
