"""The adapter of Houlsby et al. 2019 (section 2.1), with the paper's extensions and those of later papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from adapter_tune.adapters.token_batch_norm import AttentionMaskHolder, TokenBatchNorm

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"),
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "linear": nn.Identity,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}

OutputNorm = Literal["none", "adapter", "sum"]


@dataclass(frozen=True)
class BottleneckConfig:
    """What is inside a bottleneck; ``strategies.Injection`` has these options with their defaults."""

    activation: str
    depth: int
    norm: Literal["none", "layer", "batch"]
    init_std: float
    dropout: float
    scale: float | Literal["learnt", "channel"]
    input_norm: bool = False
    output_norm: OutputNorm = "none"


class Bottleneck(nn.Module):
    """``up(activation(down(x)))``: d -> m -> d, without the skip connection; 2md + d + m parameters.

    Each layer of depth beyond the first adds m^2 + m, a norm adds 2m per layer of depth, a learnt scale adds 1 (d for
    one per channel), and the LayerNorms of input and output add 2d each.
    Weights start from a normal distribution of standard deviation ``init_std``, cut at two standard deviations; biases
    start at zero. The weights of ``up`` start at zero where small weights do not make the output small: after a norm,
    and after an activation that is not zero at zero; so does the weight of the output's LayerNorm. Parameters are
    float32, whatever type the backbone has.

    Args:
        d: hidden size of the backbone.
        m: bottleneck size.
        config: what is inside.
        device: of the parameters.
        mask_holder: has the attention mask for batch normalisation.
    """

    def __init__(
        self,
        d: int,
        m: int,
        config: BottleneckConfig,
        device: torch.device | None = None,
        mask_holder: AttentionMaskHolder | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": torch.float32}
        self.input_norm = nn.LayerNorm(d, **factory) if config.input_norm else nn.Identity()
        self.down = nn.Linear(d, m, **factory)
        self.between = nn.ModuleList(nn.Linear(m, m, **factory) for _ in range(config.depth - 1))
        norms: dict[str, Callable[[], nn.Module]] = {
            "none": nn.Identity,
            "layer": partial(nn.LayerNorm, m, **factory),
            "batch": partial(TokenBatchNorm, m, mask_holder or AttentionMaskHolder(), device),
        }
        self.norm = nn.ModuleList(norms[config.norm]() for _ in range(config.depth))
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.dropout)
        self.up = nn.Linear(m, d, **factory)
        self.scale = _scale(config.scale, d, factory)
        self.output_norm = nn.LayerNorm(d, **factory) if config.output_norm == "adapter" else nn.Identity()
        self.sum_norm = nn.LayerNorm(d, **factory) if config.output_norm == "sum" else None
        """Normalises the sum of the output and what it is added to (``Adapted`` does this)."""
        self._init_weights(config)

    def _init_weights(self, config: BottleneckConfig) -> None:
        for linear in (self.down, *self.between, self.up):
            truncated_normal_(linear.weight, config.init_std)
            nn.init.zeros_(linear.bias)
        if config.norm != "none" or self.activation(torch.zeros(())) != 0:
            nn.init.zeros_(self.up.weight)
        if isinstance(self.output_norm, nn.LayerNorm):
            nn.init.zeros_(self.output_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d); the result has the same shape."""
        x = self.input_norm(x)
        for linear, norm in zip((self.down, *self.between), self.norm, strict=True):
            x = self.activation(norm(linear(x)))
        out: Tensor = self.up(self.dropout(x))
        dtype = out.dtype
        if not (isinstance(self.scale, float) and self.scale == 1):
            out = out * self.scale
        normed: Tensor = self.output_norm(out)
        return normed.to(dtype)  # factors per channel and the LayerNorm are float32


def _scale(scale: float | Literal["learnt", "channel"], d: int, factory: dict[str, Any]) -> nn.Parameter | float:
    if isinstance(scale, float | int):
        return float(scale)
    return nn.Parameter(torch.ones(() if scale == "learnt" else d, **factory))


def truncated_normal_(weight: Tensor, std: float) -> Tensor:
    """Fill ``weight`` from a normal(0, std) distribution; values beyond two standard deviations are drawn again."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
