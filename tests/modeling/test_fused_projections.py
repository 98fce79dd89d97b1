"""Queries, keys and values as one product, and adapters cast at once, compared with each on its own."""

import copy
from contextlib import nullcontext
from typing import Any, cast

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

import adapter_tune
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.modeling.adapter_casts import AdapterCasts, CastLinear
from adapter_tune.modeling.fast_paths import enable_fast_paths
from adapter_tune.modeling.fused_projections import FusedProjections, fuse_projections
from adapter_tune.modeling.precision import cast_frozen_weights
from tests.helpers import FAST_FAMILIES, ONE_TOKEN, OWN, batch, config_of, gradients, perturbed_model, weights

BF16 = torch.bfloat16


def products(model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """How many matrix products a forward pass has."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        model(**inputs)
    return sum(event.count for event in profile.key_averages() if event.key == "aten::linear")


@pytest.mark.parametrize("family", FAST_FAMILIES)
@pytest.mark.parametrize("fast", [True, False])
def test_a_fused_product_gives_outputs_and_gradients_of_the_plain_model(family: str, fast: bool) -> None:
    model = perturbed_model(family)
    if fast:
        enable_fast_paths(model)
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    expected = gradients(model, batch())
    plain_products = products(model, batch())
    layers = fuse_projections(model)
    actual = gradients(model, batch())
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert torch.allclose(actual[name], tensor, rtol=0, atol=1e-6), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert list(model.state_dict()) == list(before)
    if family == "modernbert":  # it has one projection
        assert layers == 0
    else:
        assert layers == len(layers_of(model)) - (fast and family in ONE_TOKEN)
        assert plain_products - products(model, batch()) == 2 * layers
    assert fuse_projections(model) == 0  # a second call changes nothing


@pytest.mark.parametrize("strategy", ["full", "lora", "bias", {"name": "top_n", "n": 1}])
def test_what_is_trained_is_not_fused(strategy: Any) -> None:
    model = perturbed_model("bert", strategy)
    expected = gradients(model, batch())
    assert fuse_projections(model) == (1 if isinstance(strategy, dict) else 0)
    actual = gradients(model, batch())
    assert all(torch.allclose(actual[name], tensor, rtol=0, atol=1e-6) for name, tensor in expected.items())


def test_a_projection_with_another_input_has_the_product_of_that_input() -> None:
    torch.manual_seed(0)
    projections = [nn.Linear(4, size).requires_grad_(False) for size in (4, 6, 2)]
    plain = copy.deepcopy(projections)
    FusedProjections(projections)
    one, other = torch.randn(2, 3, 5, 4)
    inputs = [one, other, other, one, one, one]
    for x, fused, alone in zip(inputs, projections * 2, plain * 2, strict=True):
        assert torch.allclose(fused(x), alone(x), rtol=0, atol=1e-6)


def test_projections_that_also_compute_relative_positions_are_left_as_they_are() -> None:
    model = AutoModelForSequenceClassification.from_config(config_of("deberta-v2", OWN["deberta-v2"][0]))
    model.requires_grad_(False)
    assert fuse_projections(model) == 0


def test_a_fused_model_frees_what_it_computed_and_takes_weights_that_are_loaded_later() -> None:
    model = perturbed_model("bert")
    fuse_projections(model)
    state = {name: tensor * 1.1 for name, tensor in model.state_dict().items()}
    other = perturbed_model("bert")
    for one in (model, other):
        one.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(model.eval()(**batch()).logits, other.eval()(**batch()).logits, atol=1e-6)
    for layer in layers_of(model)[:-1]:
        fused = cast(Any, layer.get_submodule("attention.self.query").forward).fused
        assert fused.input is None
        assert not fused.outputs


CAST: list[Any] = [
    "houlsby",
    "parallel",
    "multiplicative",
    {"name": "houlsby", "depth": 2, "norm": "layer"},
    {"name": "houlsby", "norm": "batch"},
]


@pytest.mark.parametrize("strategy", CAST, ids=str)
@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_adapters_cast_at_once_give_the_same_bits(family: str, strategy: Any) -> None:
    model = perturbed_model(family, strategy)
    cast_frozen_weights(model, "bf16")
    at_once = copy.deepcopy(model)
    casts = AdapterCasts(at_once, BF16)
    assert len(casts.linears) >= 8
    assert list(at_once.state_dict()) == list(model.state_dict())
    with torch.autocast("cpu", BF16):
        expected = gradients(model, batch())
        actual = gradients(at_once, batch())
    assert list(actual) == list(expected)
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    assert all(tensor.dtype == torch.float32 for name, tensor in actual.items() if name != "logits")


def test_tensors_are_cast_for_one_pass_and_only_in_the_type_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = perturbed_model("bert").eval()
    casts = AdapterCasts(model, BF16)
    used: list[bool] = []
    forward = CastLinear.forward

    def spy(self: CastLinear, x: torch.Tensor) -> torch.Tensor:
        used.append(self.cast is not None)
        return forward(self, x)

    monkeypatch.setattr(CastLinear, "forward", spy)
    with torch.no_grad(), torch.autocast("cpu", BF16):
        first = model(**batch()).logits
        casts.linears[0].bias.add_(3.0)  # as an optimiser would
        assert not torch.equal(model(**batch()).logits, first)
        assert all(used)
        model.base_model(batch()["input_ids"])  # the encoder alone
        assert not any(used[-8:])
    for other_type in (nullcontext(), torch.autocast("cpu", torch.float16)):
        with torch.no_grad(), other_type:
            model(**batch())
        assert not any(used[-8:])
    with pytest.raises(IndexError), torch.autocast("cpu", BF16):
        model(input_ids=batch()["input_ids"] + 10_000)
    assert all(linear.cast is None for linear in casts.linears)


def test_a_second_time_adds_no_second_hook() -> None:
    model = perturbed_model("bert")
    AdapterCasts(model, BF16)
    hooks = len(model._forward_pre_hooks)
    assert not AdapterCasts(model, BF16).linears
    assert len(model._forward_pre_hooks) == hooks
    assert sum(isinstance(module, CastLinear) for module in model.modules()) == 8
    assert not any(type(module) is nn.Linear for name, module in model.named_modules() if name.endswith(".down"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_in_bf16_learns_the_same_bits(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    config = make_config("rte", precision="bf16", epochs=1, gradient_checkpointing=checkpointing)
    passes: list[int] = []
    start = AdapterCasts.start

    def spy(self: AdapterCasts, *args: Any) -> None:
        passes.append(len(self.linears))
        start(self, *args)

    monkeypatch.setattr(AdapterCasts, "start", spy)
    adapter_tune.run(config)
    assert bool(passes) != checkpointing  # layers that are computed again would not have what was cast
    with_casts = weights(config)
    monkeypatch.setattr("adapter_tune.modeling.fast_paths.AdapterCasts", lambda *_: None)
    adapter_tune.run(config, force=True)
    assert all(torch.equal(with_casts[name], tensor) for name, tensor in weights(config).items())
