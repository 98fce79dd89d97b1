"""The adapter of Houlsby et al. 2019 (section 2.1) with the paper's extensions, and the modules that hold it."""

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

_MOMENTUM = 0.1
"""Share of a batch in the running statistics of batch normalisation, as in torch."""

Insertion = Literal["serial", "parallel", "multiplicative", "after_norm", "norm_skip", "after_sub_layer"]
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


class AttentionMaskHolder:
    """Passes the attention mask of the current batch to the norms that count real tokens only."""

    def __init__(self) -> None:
        self.mask: Tensor | None = None

    def capture(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store the mask (rows, tokens) from the encoder's arguments: a forward pre-hook of the base model.

        Raises:
            ValueError: the mask does not have two dimensions.
        """
        arguments = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
        mask = arguments.get("attention_mask")
        if mask is not None and mask.dim() != 2:
            raise ValueError("batch normalisation needs an attention mask of shape (rows, tokens)")
        self.mask = None if mask is None else mask.bool()


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the real tokens; padding is not part of the statistics.

    In evaluation the running statistics are used, so that a row's score depends on the row alone.
    """

    def __init__(self, m: int, mask_holder: AttentionMaskHolder, device: torch.device | None = None) -> None:
        super().__init__(m, device=device, dtype=torch.float32)
        self.mask_holder = mask_holder

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (rows, tokens, m), or (tokens, m) without padding; the result has the same shape."""
        if not self.training:
            flat = x.reshape(-1, x.shape[-1])
            out = nn.functional.batch_norm(
                flat, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
            return out.view_as(x)
        mask = self.mask_holder.mask
        if mask is None or x.dim() == 2:
            mask = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        return self._normalise_real_tokens(x, mask)

    def _normalise_real_tokens(self, x: Tensor, mask: Tensor) -> Tensor:
        """By weights of 1 and 0: indexing by the mask would wait for the device."""
        real = mask.unsqueeze(-1).float()
        count = real.sum()
        dims = tuple(range(x.dim() - 1))
        mean = (x.float() * real).sum(dims) / count
        centred = (x.float() - mean) * real
        variance = centred.square().sum(dims) / count
        # Gradient checkpointing computes the layer again in the backward pass; a compiled model has none.
        recomputes = not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        if not recomputes:  # else the forward pass has updated the running statistics already
            self._update_running_statistics(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        out = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias * real
        return out.to(x.dtype)

    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        self.running_mean.lerp_(mean, _MOMENTUM)
        self.running_var.lerp_(variance, _MOMENTUM)


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


class Adapted(nn.Module):
    """A sub-layer's dropout followed by an adapter: dense -> dropout -> adapter -> add -> LayerNorm.

    It replaces the dropout, which has no tensors, so every name in the backbone's state dict stays. With h the output
    of the dropout, x the input of the sub-layer and A the adapter (a ``Bottleneck``, or any module from d to d values),
    the result is

        serial           h + A(h)         the adapter of the paper, its skip connection included
        parallel         h + A(x)
        multiplicative   h * (1 + A(x))
        after_norm       h + A(n)         n = N(h + x); N is the LayerNorm that follows the residual addition
        norm_skip        n + A(n)
        after_sub_layer  h                and A is added to what N computes afterwards: n + A(n) (``follow_norm``)

    and h itself while ``bypassed``. If A has a ``sum_norm``, the sum is normalised by it.

    Args:
        dropout: the module that is replaced.
        adapter: A.
        insertion: one of those above.
        norm: N, for ``after_norm`` and ``norm_skip``; it stays where it is in the model.
    """

    def __init__(
        self,
        dropout: nn.Module | None,
        adapter: nn.Module,
        insertion: Insertion = "serial",
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.adapter: Any = adapter  # which module it is depends on the strategy
        self.insertion = insertion
        self._norm = (norm,)  # in a tuple: not a child, or each of its tensors would have two names
        self.bypassed = False
        self.in_backbone = False
        """Whether it is a part of the frozen backbone, beneath the adapter of a task (a language adapter's)."""
        self.input: Tensor | None = None

    def capture_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store the sub-layer's input: a forward pre-hook of the module that receives it first."""
        self.input = args[0] if args else kwargs["hidden_states"]

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d), the output of the sub-layer's projection."""
        hidden = self.without_adapter(x)
        sub_layer_input, self.input = self.input, None
        return hidden if self.bypassed or self.follows_norm else self.adapt(hidden, sub_layer_input)

    def follow_norm(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Adapt what N computes, n: (..., d); a forward hook of N, for ``after_sub_layer``."""
        return output if self.bypassed else self.adapt(output, None)

    def adapt(self, hidden: Tensor, sub_layer_input: Tensor | None) -> Tensor:
        """What the adapter makes of h, or of n for ``after_sub_layer``.

        Args:
            hidden: (..., d)
            sub_layer_input: x, for the insertions that read it.
        """
        adapter_input = self._adapter_input(hidden, sub_layer_input)
        adapter_output: Tensor = self.adapter(adapter_input)
        if self.insertion == "multiplicative":
            out = hidden * (1 + adapter_output)
        else:
            out = (adapter_input if self.insertion == "norm_skip" else hidden) + adapter_output
        sum_norm = getattr(self.adapter, "sum_norm", None)
        return out if sum_norm is None else sum_norm(out).to(out.dtype)

    def _adapter_input(self, hidden: Tensor, sub_layer_input: Tensor | None) -> Tensor:
        if self.insertion in ("serial", "after_sub_layer"):
            return hidden
        assert sub_layer_input is not None
        if self.insertion in ("parallel", "multiplicative"):
            return sub_layer_input
        assert self.norm is not None
        normed: Tensor = self.norm.forward(hidden + sub_layer_input)  # without hooks, which are for its own output
        return normed

    @property
    def follows_norm(self) -> bool:
        """Whether the adapter changes what the LayerNorm computes, and not what it reads."""
        return self.insertion == "after_sub_layer"

    @property
    def norm(self) -> nn.Module | None:
        """The LayerNorm that the adapter computes itself; None where it reads no LayerNorm's output, or follows it."""
        return self._norm[0]

    def read_norm(self, norm: nn.Module) -> None:
        """Read another LayerNorm from now on."""
        self._norm = (norm,)

    def without_adapter(self, x: Tensor) -> Tensor:
        """The output of the replaced module."""
        assert self.dropout is not None
        out: Tensor = self.dropout(x)
        return out

    def original(self) -> nn.Module:
        """The module that this one replaced."""
        assert self.dropout is not None
        return self.dropout


class AdaptedProjection(Adapted):
    """The same where no dropout follows the projection: it replaces the projection and keeps its tensors' names.

    The projection may be one that has been replaced already, by an adapter that is in the backbone.
    """

    def __init__(
        self,
        projection: nn.Linear,
        adapter: nn.Module,
        insertion: Insertion = "serial",
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__(None, adapter, insertion, norm)
        self.weight = projection.weight
        self.bias = projection.bias
        self._projection = (projection,)  # in a tuple: not a child, or each tensor would have two names
        self.beneath = projection if isinstance(projection, AdaptedProjection) else None

    def without_adapter(self, x: Tensor) -> Tensor:
        """The output of the projection, or of the adapter beneath this one."""
        if self.beneath is not None:
            beneath: Tensor = self.beneath(x)
            return beneath
        return nn.functional.linear(x, self.weight, self.bias)

    def original(self) -> nn.Module:
        """The projection, with the current tensors."""
        projection = self._projection[0]
        projection.weight = self.weight
        projection.bias = self.bias
        return projection.train(self.training)


def truncated_normal_(weight: Tensor, std: float) -> Tensor:
    """Fill ``weight`` from a normal(0, std) distribution; values beyond two standard deviations are drawn again."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
