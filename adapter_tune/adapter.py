"""The adapter of Houlsby et al. 2019 (section 2.1) and the module that puts it behind a dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


class Bottleneck(nn.Module):
    """``x + up(activation(down(x)))``: d -> m -> d with a skip connection, 2md + d + m parameters.

    Weights start from a normal distribution of standard deviation ``init_std`` cut at two deviations,
    biases at zero, so that the module is nearly the identity. Parameters are float32 whatever the
    backbone is held in.

    Args:
        d: hidden size of the backbone.
        m: bottleneck size.
        activation: a key of ``ACTIVATIONS``.
        init_std: standard deviation before the cut; the paper uses 1e-2, its released code 1e-3.
        device: where the parameters live.
    """

    def __init__(
        self, d: int, m: int, activation: str = "gelu", init_std: float = 1e-2, device: torch.device | None = None
    ) -> None:
        super().__init__()
        self.down = nn.Linear(d, m, device=device, dtype=torch.float32)
        self.activation = ACTIVATIONS[activation]()
        self.up = nn.Linear(m, d, device=device, dtype=torch.float32)
        for linear in (self.down, self.up):
            cut_normal_(linear.weight, init_std)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d); the result has the same shape."""
        out: Tensor = x + self.up(self.activation(self.down(x)))
        return out


class Adapted(nn.Module):
    """A sub-layer's dropout with an adapter after it: dense -> dropout -> adapter -> add -> LayerNorm.

    It takes the dropout's place, which has no tensors, so every name in the backbone's state dict stays.
    """

    def __init__(self, dropout: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.dropout = dropout
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d), the output of the sub-layer's projection."""
        out: Tensor = self.adapter(self.dropout(x))
        return out


def cut_normal_(weight: Tensor, std: float) -> Tensor:
    """Fill ``weight`` from a normal(0, std) whose values beyond two standard deviations are drawn again."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
