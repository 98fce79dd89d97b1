"""The adapter of Houlsby et al. 2019 (section 2.1) with the paper's extensions, and what puts it behind a sub-layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

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

Insertion = Literal["serial", "parallel", "multiplicative"]


@dataclass(frozen=True)
class BottleneckConfig:
    """What is inside a bottleneck, its size aside; the strategies' options of the same names."""

    activation: str = "gelu"
    depth: int = 1
    norm: Literal["none", "layer", "batch"] = "none"
    init_std: float = 1e-2
    dropout: float = 0.0
    scale: float | Literal["learnt"] = 1.0


class AttentionMaskHolder:
    """The attention mask of the batch that is in the model, handed down to the norms that count real tokens only."""

    def __init__(self) -> None:
        self.mask: Tensor | None = None

    def capture(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take the mask (rows, tokens) from the encoder's arguments: a forward pre-hook of the base model.

        Raises:
            ValueError: the mask has another number of dimensions.
        """
        given = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
        mask = given.get("attention_mask")
        if mask is not None and mask.dim() != 2:
            raise ValueError("batch normalisation needs an attention mask of shape (rows, tokens)")
        self.mask = None if mask is None else mask.bool()


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the real tokens; padding has no part in the statistics.

    In evaluation the running statistics are used, so that a row's score depends on nothing but the row.
    """

    def __init__(self, m: int, tokens: AttentionMaskHolder, device: torch.device | None = None) -> None:
        super().__init__(m, device=device, dtype=torch.float32)
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (rows, tokens, m), or (tokens, m) without padding; the result has the same shape."""
        mask = self.tokens.mask
        if not self.training or mask is None or x.dim() == 2:
            return self._normalised(x.reshape(-1, x.shape[-1])).view_as(x)
        real = self._normalised(x[mask])
        out = torch.zeros(x.shape, dtype=real.dtype, device=x.device)
        out[mask] = real
        return out

    def _normalised(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        assert mean is not None and variance is not None
        if self.training and torch._C._current_graph_task_id() != -1:  # once more in the backward pass
            mean, variance = mean.clone(), variance.clone()
        return nn.functional.batch_norm(
            x, mean, variance, self.weight, self.bias, training=self.training, momentum=0.1, eps=self.eps
        )


class Bottleneck(nn.Module):
    """``up(activation(down(x)))``: d -> m -> d, without the skip connection; 2md + d + m parameters.

    A further layer of depth adds m^2 + m, a norm 2m a layer of depth, a learnt scale 1. Weights start from a normal
    distribution of standard deviation ``init_std`` cut at two deviations, biases at zero. ``up`` starts at zero where
    that alone would not make the module say nearly nothing: behind a norm, and behind an activation that is not zero
    at zero. Parameters are float32 whatever the backbone is held in.

    Args:
        d: hidden size of the backbone.
        m: bottleneck size.
        recipe: what is inside.
        device: where the parameters live.
        tokens: the mask that batch normalisation looks at.
    """

    def __init__(
        self,
        d: int,
        m: int,
        recipe: BottleneckConfig | None = None,
        device: torch.device | None = None,
        tokens: AttentionMaskHolder | None = None,
    ) -> None:
        super().__init__()
        recipe = recipe or BottleneckConfig()
        at: dict[str, Any] = {"device": device, "dtype": torch.float32}
        self.down = nn.Linear(d, m, **at)
        self.between = nn.ModuleList(nn.Linear(m, m, **at) for _ in range(recipe.depth - 1))
        norms: dict[str, Callable[[], nn.Module]] = {
            "none": nn.Identity,
            "layer": partial(nn.LayerNorm, m, **at),
            "batch": partial(TokenBatchNorm, m, tokens or AttentionMaskHolder(), device),
        }
        self.norm = nn.ModuleList(norms[recipe.norm]() for _ in range(recipe.depth))
        self.activation = ACTIVATIONS[recipe.activation]()
        self.dropout = nn.Dropout(recipe.dropout)
        self.up = nn.Linear(m, d, **at)
        self.scale = nn.Parameter(torch.ones((), **at)) if recipe.scale == "learnt" else float(recipe.scale)
        for linear in (self.down, *self.between, self.up):
            truncated_normal_(linear.weight, recipe.init_std)
            nn.init.zeros_(linear.bias)
        if recipe.norm != "none" or self.activation(torch.zeros(())) != 0:
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d); the result has the same shape."""
        for linear, norm in zip((self.down, *self.between), self.norm, strict=True):
            x = self.activation(norm(linear(x)))
        out: Tensor = self.up(self.dropout(x))
        return out if isinstance(self.scale, float) and self.scale == 1 else out * self.scale


class Adapted(nn.Module):
    """A sub-layer's dropout with an adapter behind it: dense -> dropout -> adapter -> add -> LayerNorm.

    It takes the dropout's place, which has no tensors, so every name in the backbone's state dict stays. With h what
    the dropout gives, x the input of the sub-layer and A the bottleneck, the result is

        serial          h + A(h)         the adapter of the paper, its skip connection included
        parallel        h + A(x)
        multiplicative  h * (1 + A(x))

    and h itself while ``bypassed``.
    """

    def __init__(self, dropout: nn.Module | None, adapter: Bottleneck, join: Insertion = "serial") -> None:
        super().__init__()
        self.dropout = dropout
        self.adapter = adapter
        self.join = join
        self.bypassed = False
        self.input: Tensor | None = None

    def capture_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take the sub-layer's input: a forward pre-hook of the module that gets it first."""
        self.input = args[0] if args else kwargs["hidden_states"]

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d), the output of the sub-layer's projection."""
        hidden = self.without_adapter(x)
        read, self.input = hidden if self.join == "serial" else self.input, None
        if self.bypassed:
            return hidden
        added: Tensor = self.adapter(read)
        return hidden * (1 + added) if self.join == "multiplicative" else hidden + added

    def without_adapter(self, x: Tensor) -> Tensor:
        """What stood here before the adapter."""
        out: Tensor = x if self.dropout is None else self.dropout(x)
        return out

    def original(self) -> nn.Module:
        """The module whose place this one took."""
        assert self.dropout is not None
        return self.dropout


class AdaptedProjection(Adapted):
    """The same where no dropout follows the projection: it takes the projection's place, and its tensors' names."""

    def __init__(self, projection: nn.Linear, adapter: Bottleneck, join: Insertion = "serial") -> None:
        super().__init__(None, adapter, join)
        self.weight, self.bias = projection.weight, projection.bias
        self._projection = (projection,)  # in a tuple: not a child, or each tensor would have two names

    def without_adapter(self, x: Tensor) -> Tensor:
        """The projection."""
        return nn.functional.linear(x, self.weight, self.bias)

    def original(self) -> nn.Module:
        """The projection with the tensors as they are now."""
        projection = self._projection[0]
        projection.weight, projection.bias = self.weight, self.bias
        return projection.train(self.training)


def truncated_normal_(weight: Tensor, std: float) -> Tensor:
    """Fill ``weight`` from a normal(0, std) whose values beyond two standard deviations are drawn again."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
