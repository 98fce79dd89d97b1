"""The module that is attached to the backbone."""

import torch
from torch import Tensor, nn


class Scaling(nn.Module):
    """A(x) = s * x with a trained vector s, which is 0 at the start."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d), the output of a sub-layer; the result is added to it."""
        return self.scale * x
