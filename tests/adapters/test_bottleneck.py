from typing import Any

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from adapter_tune.adapters.adapted import Adapted
from adapter_tune.adapters.bottleneck import ACTIVATIONS, Bottleneck, BottleneckConfig
from adapter_tune.adapters.token_batch_norm import AttentionMaskHolder, TokenBatchNorm
from adapter_tune.strategies import Houlsby

D, M = 24, 5


def config(**options: Any) -> BottleneckConfig:
    """The strategies' defaults, but for the options."""
    return Houlsby(**options).bottleneck_config()


def test_forward_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(D, M, config(init_std=0.5))
    nn.init.normal_(adapter.down.bias)
    nn.init.normal_(adapter.up.bias)
    x = torch.randn(3, 7, D)
    hidden = nn.functional.gelu(x @ adapter.down.weight.T + adapter.down.bias)
    assert torch.allclose(adapter(x), hidden @ adapter.up.weight.T + adapter.up.bias, atol=1e-6)


def test_parameters_are_2md_plus_d_plus_m_in_float32() -> None:
    parameters = list(Bottleneck(D, M, config()).parameters())
    assert sum(p.numel() for p in parameters) == 2 * M * D + D + M
    assert {p.dtype for p in parameters} == {torch.float32}


@pytest.mark.parametrize("std", [1e-2, 1e-3])
def test_weights_start_from_a_normal_cut_at_two_deviations(std: float) -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(256, 256, config(init_std=std))
    for linear in (adapter.down, adapter.up):
        assert linear.weight.abs().max() <= 2 * std
        # A standard normal cut at +-2 has a standard deviation of 0.8796.
        assert linear.weight.std().item() == pytest.approx(0.8796 * std, rel=0.02)
        assert not linear.bias.any()


def test_every_activation_of_the_schema_exists() -> None:
    schema = Houlsby.model_json_schema()["properties"]["activation"]["enum"]
    assert sorted(schema) == sorted(ACTIVATIONS)
    for name in schema:
        x = torch.linspace(-3, 3, 50)
        theirs = nn.Identity() if name == "identity" else ACT2FN[name]
        assert torch.allclose(Bottleneck(D, M, config(activation=name)).activation(x), theirs(x), atol=1e-6)


def test_the_dropout_comes_before_the_adapter() -> None:
    adapted = Adapted(nn.Dropout(0.5), Bottleneck(D, M, config(init_std=0.5)))
    x = torch.ones(4, D)
    torch.manual_seed(3)
    dropped = nn.functional.dropout(x, 0.5, training=True)
    torch.manual_seed(3)
    assert torch.equal(adapted(x), dropped + adapted.adapter(dropped))


@pytest.mark.parametrize(
    ("inside", "extra"),
    [
        (config(depth=3), 2 * (M * M + M)),
        (config(norm="layer"), 2 * M),
        (config(norm="batch", depth=2), 4 * M + M * M + M),
        (config(scale="learnt"), 1),
        (config(scale="channel"), D),
        (config(input_norm=True), 2 * D),
        (config(output_norm="adapter", scale="channel"), 3 * D),
        (config(input_norm=True, output_norm="sum"), 4 * D),
        (config(scale=4.0, dropout=0.5), 0),
    ],
)
def test_options_add_the_parameters_that_they_say(inside: BottleneckConfig, extra: int) -> None:
    size = sum(p.numel() for p in Bottleneck(D, M, inside).parameters())
    assert size == 2 * M * D + D + M + extra


@pytest.mark.parametrize("inside", [config(norm="layer"), config(norm="batch"), config(activation="sigmoid")])
def test_up_starts_at_zero_where_small_weights_would_not_mean_a_small_output(inside: BottleneckConfig) -> None:
    assert not Bottleneck(D, M, inside).up.weight.any()


def test_scale_and_dropout_act_on_what_is_added() -> None:
    torch.manual_seed(0)
    plain = Bottleneck(D, M, config(init_std=0.5))
    x = torch.randn(3, D)
    for scale in (4.0, "learnt"):
        scaled = Bottleneck(D, M, config(init_std=0.5, scale=scale, dropout=0.5)).eval()
        scaled.load_state_dict(plain.state_dict(), strict=False)
        if scale == "learnt":
            nn.init.constant_(scaled.get_parameter("scale"), 4.0)
        assert torch.allclose(scaled(x), 4 * plain(x))
        assert not torch.allclose(scaled.train()(x), 4 * plain(x))


def test_norms_and_factors_per_channel_are_where_the_docstring_says() -> None:
    torch.manual_seed(0)
    options = {"init_std": 0.5, "scale": "channel", "input_norm": True}
    x = torch.randn(2, 3, D)
    plain = Bottleneck(D, M, config(init_std=0.5))
    for output_norm in ("none", "adapter", "sum"):
        adapter = Bottleneck(D, M, config(output_norm=output_norm, **options))
        adapter.load_state_dict(plain.state_dict(), strict=False)
        for name in ("scale", "input_norm.weight", "input_norm.bias"):
            nn.init.normal_(adapter.get_parameter(name))
        inner = adapter.get_parameter("scale") * plain(adapter.input_norm(x))
        expected = {"none": x + inner, "adapter": x + adapter.output_norm(inner)}
        if adapter.sum_norm is not None:
            expected["sum"] = adapter.sum_norm(x + inner)
        elif output_norm == "adapter":
            nn.init.normal_(adapter.get_parameter("output_norm.weight"))
            expected["adapter"] = x + adapter.output_norm(inner)
        assert torch.allclose(Adapted(nn.Identity(), adapter)(x), expected[output_norm], atol=1e-6)


def test_a_narrow_output_stays_narrow() -> None:
    adapter = Bottleneck(D, M, config(scale="channel", input_norm=True, output_norm="sum"))
    x = torch.randn(2, 3, D).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert Adapted(nn.Identity(), adapter)(x).dtype == torch.bfloat16


def test_an_adapter_after_the_sub_layer_changes_what_the_norm_computes() -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(D, M, config(init_std=0.5))
    norm = nn.LayerNorm(D)
    h = torch.randn(2, 3, D)
    adapted = Adapted(nn.Identity(), adapter, "after_sub_layer")
    assert torch.equal(adapted(h), h)
    norm.register_forward_hook(adapted.follow_norm)
    plain = nn.functional.layer_norm(h, (D,))
    assert torch.equal(norm(h), plain + adapter(plain))
    adapted.bypassed = True
    assert torch.equal(norm(h), plain)


def test_insertions_are_the_formulas_of_the_docstring() -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(D, M, config(init_std=0.5))
    h = torch.randn(2, 3, D)
    x = torch.randn(2, 3, D)
    norm = nn.LayerNorm(D)
    nn.init.normal_(norm.weight)
    expected = {
        "serial": h + adapter(h),
        "parallel": h + adapter(x),
        "multiplicative": h * (1 + adapter(x)),
        "after_norm": h + adapter(norm(h + x)),
        "norm_skip": norm(h + x) + adapter(norm(h + x)),
    }
    for insertion, result in expected.items():
        adapted = Adapted(nn.Identity(), adapter, insertion, norm)  # type: ignore[arg-type]
        assert not any(name.startswith("norm") for name in adapted.state_dict())  # it is the backbone's
        adapted.capture_input(adapted, (x,), {})
        assert torch.equal(adapted(h), result)
        adapted.capture_input(adapted, (), {"hidden_states": x})
        adapted.bypassed = True
        assert torch.equal(adapted(h), h)


def test_batch_statistics_are_those_of_the_real_tokens() -> None:
    torch.manual_seed(0)
    holder = AttentionMaskHolder()
    x = torch.randn(2, 4, M)
    norm = TokenBatchNorm(M, holder)
    holder.mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    real = x[holder.mask]
    out = norm(x)
    deviation = (real.var(0, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(out[holder.mask], (real - real.mean(0)) / deviation, atol=1e-5)
    assert not out[~holder.mask].any()
    assert torch.allclose(norm.get_buffer("running_mean"), 0.1 * real.mean(0), atol=1e-6)
    assert torch.allclose(norm.get_buffer("running_var"), 0.9 + 0.1 * real.var(0), atol=1e-6)


@pytest.mark.parametrize("real_tokens", [(4, 4), (3, 1), (2, 3)])
def test_batch_normalisation_and_its_gradients_are_those_of_torch_on_the_real_tokens(
    real_tokens: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    holder = AttentionMaskHolder()
    holder.mask = torch.arange(4) < torch.tensor(real_tokens)[:, None]
    norm = TokenBatchNorm(M, holder)
    plain = nn.BatchNorm1d(M)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    plain.load_state_dict(norm.state_dict())
    x = torch.randn(2, 4, M, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    towards = torch.randn(2, 4, M)
    (norm(x) * towards).sum().backward()
    (plain(other[holder.mask]) * towards[holder.mask]).sum().backward()
    assert torch.allclose(x.grad, other.grad, rtol=1e-4, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(norm.weight.grad, plain.weight.grad, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(norm.bias.grad, plain.bias.grad, atol=1e-6)  # type: ignore[arg-type]
    for name in ("running_mean", "running_var"):
        assert torch.allclose(norm.get_buffer(name), plain.get_buffer(name), atol=1e-6)


def test_batch_normalisation_never_asks_the_device() -> None:
    """On the meta device an operation whose result has a size that depends on the values cannot be computed."""
    holder = AttentionMaskHolder()
    norm = TokenBatchNorm(M, holder, torch.device("meta"))
    holder.mask = torch.ones(2, 4, dtype=torch.bool, device="meta")
    assert norm(torch.empty(2, 4, M, device="meta")).shape == (2, 4, M)


def test_batch_normalisation_in_evaluation_looks_at_one_token_alone() -> None:
    holder = AttentionMaskHolder()
    x = torch.randn(2, 4, M)
    norm = TokenBatchNorm(M, holder).eval()
    nn.init.normal_(norm.get_buffer("running_mean"))
    without_mask = norm(x)
    holder.mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    assert torch.equal(norm(x), without_mask)
    assert torch.equal(norm(x[0, :1]), without_mask[0, :1])  # without padding: (tokens, m)
