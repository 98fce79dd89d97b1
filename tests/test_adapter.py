import pytest
import torch
from torch import nn

from adapter_tune.adapter import ACTIVATIONS, Adapted, Bottleneck
from adapter_tune.strategies import Houlsby

D, M = 24, 5


def test_forward_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(D, M, init_std=0.5)
    nn.init.normal_(adapter.down.bias)
    nn.init.normal_(adapter.up.bias)
    x = torch.randn(3, 7, D)
    hidden = nn.functional.gelu(x @ adapter.down.weight.T + adapter.down.bias)
    assert torch.allclose(adapter(x), x + hidden @ adapter.up.weight.T + adapter.up.bias, atol=1e-6)


def test_parameters_are_2md_plus_d_plus_m_in_float32() -> None:
    parameters = list(Bottleneck(D, M).parameters())
    assert sum(p.numel() for p in parameters) == 2 * M * D + D + M
    assert {p.dtype for p in parameters} == {torch.float32}


@pytest.mark.parametrize("std", [1e-2, 1e-3])
def test_weights_start_from_a_normal_cut_at_two_deviations(std: float) -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(256, 256, init_std=std)
    for linear in (adapter.down, adapter.up):
        assert linear.weight.abs().max() <= 2 * std
        # A standard normal cut at +-2 has a standard deviation of 0.8796.
        assert linear.weight.std().item() == pytest.approx(0.8796 * std, rel=0.02)
        assert not linear.bias.any()


def test_every_activation_of_the_schema_exists() -> None:
    schema = Houlsby.model_json_schema()["properties"]["activation"]["enum"]
    assert sorted(schema) == sorted(ACTIVATIONS)
    for name in schema:
        assert isinstance(Bottleneck(D, M, name).activation, ACTIVATIONS[name])


def test_the_dropout_comes_before_the_adapter() -> None:
    adapted = Adapted(nn.Dropout(0.5), Bottleneck(D, M, init_std=0.5))
    x = torch.ones(4, D)
    torch.manual_seed(3)
    dropped = nn.functional.dropout(x, 0.5, training=True)
    torch.manual_seed(3)
    assert torch.equal(adapted(x), adapted.adapter(dropped))
