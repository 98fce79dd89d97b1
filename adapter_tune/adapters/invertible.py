"""The invertible adapter of MAD-X (Pfeiffer et al. 2020, section 3.2): a coupling on the output of the embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class AdditiveCoupling(nn.Module):
    """NICE (Dinh et al. 2015): ``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)``, with x1 and x2 the two halves of x.

    F and G are bottlenecks without a skip connection. Only this direction is computed: the inverse is for the output
    embeddings of masked language modelling, which a classifier does not have.

    Args:
        width: number of values of x; the first half has ``width // 2`` of them.
        reduction_factor: of F and G: the width of a half, divided by that of the bottleneck.
        activation: the module between their projections; it has no state.
        device: of the parameters, which are float32.
    """

    def __init__(
        self, width: int, reduction_factor: float, activation: nn.Module, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.first = width // 2
        second = width - self.first

        def bottleneck(d_in: int, d_out: int) -> nn.Sequential:
            m = int(d_in // reduction_factor)
            down = nn.Linear(d_in, m, device=device, dtype=torch.float32)
            return nn.Sequential(down, activation, nn.Linear(m, d_out, device=device, dtype=torch.float32))

        self.F = bottleneck(second, self.first)
        self.G = bottleneck(self.first, second)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., width); the result has the same shape."""
        first, second = x[..., : self.first], x[..., self.first :]
        first = first + self.F(second)
        return torch.cat((first, second + self.G(first)), -1)

    def after(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Replace the output of a module: a forward hook of the embeddings."""
        transformed: Tensor = self(output)
        return transformed
