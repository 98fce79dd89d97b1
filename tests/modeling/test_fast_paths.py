"""Every fast path compared with the plain model."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

import adapter_tune
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.modeling import fast_paths
from adapter_tune.runs.reload import evaluate_run
from tests.helpers import FAST_FAMILIES, LORA_EVERYWHERE, ONE_TOKEN, batch, perturbed_model

AFTER_NORM = {"name": "pfeiffer", "sub_layer": "both", "layer_norm": "adapter"}
AFTER_SUB_LAYER = {"name": "adapter_plus", "sub_layer": "both", "input_norm": True, "output_norm": "sum"}
BATCH_NORM = {"name": "houlsby", "norm": "batch"}
NEED_NORMS = [AFTER_NORM, AFTER_SUB_LAYER]
STRATEGIES = ["houlsby", "parallel", "multiplicative", "full", "lora", LORA_EVERYWHERE, BATCH_NORM, *NEED_NORMS]


def pair(family: str, strategy: Any = "houlsby") -> tuple[Any, Any]:
    """A model as transformers has it, and a copy with every fast path in it."""
    model = perturbed_model(family, strategy)
    fast = copy.deepcopy(model)
    fast_paths.enable_fast_paths(fast)
    return model, fast


@pytest.mark.parametrize("family", FAST_FAMILIES)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_outputs_and_gradients_are_those_of_the_plain_model(family: str, strategy: Any) -> None:
    if strategy in NEED_NORMS and family == "modernbert":
        return  # it has no LayerNorm after a sub-layer
    models = pair(family, strategy)
    for mode in (False, True):
        outputs = [model.train(mode)(**batch()) for model in models]
        assert torch.allclose(outputs[0].logits, outputs[1].logits, atol=1e-5)
    for output in outputs:
        output.loss.backward()
    plain, fast = ({n: p.grad for n, p in model.named_parameters() if p.grad is not None} for model in models)
    # where one token is computed, what acts on the others alone has no gradient, which is zero in the plain model
    assert set(fast) == set(plain)
    for name, gradient in plain.items():
        assert torch.allclose(gradient, fast[name], atol=1e-6), name


@pytest.mark.parametrize("family", FAST_FAMILIES)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_top_layer_computes_the_first_token_alone_where_nothing_else_is_read(family: str, norm: str) -> None:
    _, fast = pair(family, {"name": "houlsby", "norm": norm})
    tokens: list[int] = []
    projections = [m for m in layers_of(fast)[-1].modules() if isinstance(m, nn.Linear)]
    for projection in projections:
        projection.register_forward_hook(lambda module, args, output: tokens.append(output.shape[1]))
    fast.eval()(**batch())
    computes_all = family not in ONE_TOKEN or norm == "batch"  # batch normalisation counts every token
    assert tokens.count(9) == (len(tokens) if computes_all else 2)  # keys and values


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_drop_with_the_probability_and_keep_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    n = 200_001  # no multiple of four
    mask = fast_paths.dropout_mask(torch.empty(n, dtype=dtype), p)
    assert mask.dtype == dtype
    nonzero = mask[mask != 0]
    assert abs(1 - len(nonzero) / n - p) < 4 * (p * (1 - p) / n) ** 0.5
    assert sorted(set(nonzero.float().tolist())) == pytest.approx(
        [1 / (1 - p)], rel=1e-4 if dtype == torch.float32 else 1e-2
    )
    ones = (mask != 0).float() - (1 - p)
    for lag in (1, 2, 3, 4, 5):  # four elements come from one draw, and are independent
        assert abs((ones[lag:] * ones[:-lag]).mean()) < 5 * p * (1 - p) / n**0.5


def test_masks_come_from_torchs_generator() -> None:
    x = torch.ones(1000)
    draws = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        draws.append(fast_paths.dropout(x, 0.3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certain_dropout_draws_nothing(p: float) -> None:
    x = torch.ones(7)
    state = torch.random.get_rng_state()
    assert torch.equal(fast_paths.dropout(x, p), x * (1 - p))
    if p == 0:
        assert torch.equal(state, torch.random.get_rng_state())


def test_dropout_acts_in_training_only_and_its_gradient_is_its_mask() -> None:
    module = fast_paths.Dropout(0.5)
    x = torch.ones(64, requires_grad=True)
    out = module(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(out.detach(), x.grad)
    assert set(out.tolist()) == {0.0, 2.0}
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_explicit_attention_is_the_kernels(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(4, 2, 9, 16, dtype=dtype) for _ in range(3))
    mask = batch()["attention_mask"].bool()[:, None, None, :].expand(4, 1, 9, 9)
    expected, _ = sdpa_attention_forward(nn.Module(), query, key, value, mask, scaling=0.3)
    monkeypatch.setattr(fast_paths, "dropout_mask", lambda like, p: torch.ones_like(like))
    actual, _ = fast_paths.attention(nn.Module(), query, key, value, mask, dropout=0.1, scaling=0.3)
    assert torch.allclose(expected, actual, atol=1e-6 if dtype == torch.float32 else 2e-2)
    assert actual.dtype == dtype


def test_enabling_fast_paths_twice_changes_nothing() -> None:
    _, fast = pair("bert")
    before = fast.eval()(**batch()).logits
    hooks = len(layers_of(fast)[-1]._forward_pre_hooks)
    fast_paths.enable_fast_paths(fast)
    assert len(layers_of(fast)[-1]._forward_pre_hooks) == hooks
    assert torch.equal(before, fast(**batch()).logits)


def test_a_run_is_scored_again_with_and_without_fast_paths(make_config: Any) -> None:
    for fast in (True, False):
        config = make_config("stsb", precision="float32", epochs=1, fast=fast)
        result = adapter_tune.run(config)
        assert evaluate_run(config.folder).scores == result.scores
