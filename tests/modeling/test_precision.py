import json
from typing import Any

import pytest
import torch
from torch import nn

import adapter_tune
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling import precision
from adapter_tune.modeling.build import build_model
from adapter_tune.modeling.precision import cast_frozen_weights, resolve_compute, resolve_precision
from adapter_tune.runs.reload import evaluate_run, predictor
from tests.helpers import BACKBONES, LORA_EVERYWHERE, applied, model_of


@pytest.mark.parametrize(
    ("native", "bf16_rate", "chosen"), [(True, 2.3, "bf16"), (True, 0.5, "float32"), (False, 2.3, "float32")]
)
def test_auto_takes_bf16_where_it_is_native_and_faster(
    native: bool, bf16_rate: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    rates = {torch.bfloat16: bf16_rate, torch.float32: 1.0}
    monkeypatch.setattr(precision, "matmul_rate", lambda device, dtype, size: rates[dtype])
    monkeypatch.setattr(precision, "_bf16_is_faster", precision._bf16_is_faster.__wrapped__)
    assert resolve_precision("auto", "cpu") == chosen


def test_a_requested_precision_is_taken_where_the_device_has_it() -> None:
    assert resolve_precision("auto", "mps") == "float32"
    assert resolve_precision("bf16", "cpu") == "bf16"  # slow where it is not native
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        resolve_precision("fp16", "cpu")


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_compute_settings_have_the_type_of_products(name: Any, dtype: torch.dtype) -> None:
    compute = resolve_compute(TrainingConfig(device="cpu", precision=name))
    assert (compute.device, compute.precision, compute.dtype) == ("cpu", name, dtype)
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_rate_of_products_is_measured_without_a_draw() -> None:
    before = torch.get_rng_state()
    assert precision.matmul_rate("cpu", torch.float32, 64) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("family", "options"), BACKBONES)
def test_every_frozen_matrix_of_a_layer_is_held_in_the_narrow_type(family: str, options: Any) -> None:
    model = applied(model_of(family, options), {"name": "houlsby", "m": 4})
    cast_frozen_weights(model, "bf16")
    for layer in layers_of(model):
        for name, parameter in layer.named_parameters():
            if parameter.dim() > 1:
                assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name


def test_only_frozen_matrices_are_held_in_the_narrow_type(make_config: Any) -> None:
    prepared = build_model(make_config())
    excluded = "bert.pooler.dense.weight"
    cast_frozen_weights(prepared.model, "bf16", exclude=frozenset([excluded]))
    names = {id(p): name for name, p in prepared.model.named_parameters()}
    for module in prepared.model.modules():
        for p in module.parameters(recurse=False):
            is_matrix = isinstance(module, nn.Linear | nn.Embedding)
            is_narrow = is_matrix and not p.requires_grad and names[id(p)] != excluded
            assert p.dtype == (torch.bfloat16 if is_narrow else torch.float32), names[id(p)]


@pytest.mark.parametrize(
    "strategy", ["houlsby", "full", {"name": "parallel", "m": 4, "norm": "batch"}, "lora", LORA_EVERYWHERE], ids=str
)
def test_a_bf16_run_is_near_the_float32_one_and_is_scored_again_to_the_bit(make_config: Any, strategy: Any) -> None:
    wide, narrow = (
        adapter_tune.run(make_config("stsb", strategy=strategy, precision=precision, epochs=1))
        for precision in ("float32", "bf16")
    )
    assert (wide.speed.precision, narrow.speed.precision) == ("float32", "bf16")
    losses = [[entry["loss"] for entry in result.history if "loss" in entry] for result in (wide, narrow)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    folder = make_config("stsb", strategy=strategy, precision="bf16", epochs=1).folder
    assert evaluate_run(folder).scores == narrow.scores


def test_a_run_is_scored_again_in_its_own_precision(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    config = make_config("stsb", precision="auto", epochs=1)
    there = adapter_tune.run(config)
    assert there.speed.precision == "bf16"
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)  # another machine, or a busy one
    assert evaluate_run(config.folder).scores == there.scores
    assert predictor(config.folder).config.training.precision == "bf16"
    stored = json.loads((config.folder / "result.json").read_text())
    stored["speed"]["device"] = "cpu" if torch.cuda.is_available() else "a GPU"
    (config.folder / "result.json").write_text(json.dumps(stored))
    assert predictor(config.folder).config.training.precision == "auto"


def test_a_run_of_a_gpu_is_scored_again_without_one(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = make_config("stsb", precision="float32", epochs=1)
    here = adapter_tune.run(config)
    stored = json.loads((config.folder / "result.json").read_text())
    stored["speed"] |= {"device": "a GPU", "precision": "fp16"}
    stored["config"]["training"] |= {"device": "cuda", "precision": "fp16"}
    (config.folder / "result.json").write_text(json.dumps(stored))
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    assert evaluate_run(config.folder).scores == here.scores
    assert predictor(config.folder).compute.device == "cpu"
