"""The same mathematics in less time: masks of dropout from cheap bits, and no token computed that nobody reads.

``quicken`` puts them into a model; without it the model is transformers' own, and a test holds one against the other.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from adapter_tune.adapters.bottleneck import TokenBatchNorm
from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.surgery import disable_dropout, layers_of
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.precision import Precision, cast_frozen_weights, resolve_device, resolve_precision

_NAME = "adapter_tune"
_BITS = 16  # random bits an element: a probability is met within 2^-17
_SHORT = 128  # tokens up to which attention written out in bf16 is the faster one without gradients, too


def prepare_to_compute(prepared: PreparedModel, training: TrainingConfig) -> Precision:
    """Hold the frozen backbone in the run's precision, silence its dropout, put fast paths in; the precision."""
    precision = resolve_precision(training.precision, resolve_device(training.device))
    cast_frozen_weights(prepared.model, precision, prepared.newly_initialized)
    disable_dropout(prepared.model, training.backbone_dropout)
    if training.fast:
        enable_fast_paths(prepared.model)
    return precision


def enable_fast_paths(model: Any) -> None:
    """Put every fast path into a classifier that has one, in place and once; it must run for classification only.

    Dropout, also that of attention, on the CPU; attention through the transformers interface; and a top layer that
    computes the first token alone where the head reads no other (``Family.first_token``).
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
    if model.config._attn_implementation != "sdpa":
        return
    model.set_attn_implementation(_NAME)
    top, paths = layers_of(model)[-1], family_of(model.config).first_token
    if paths and not any(isinstance(module, TokenBatchNorm) for module in top.modules()):
        first = FirstToken()
        top.register_forward_pre_hook(first.narrow, with_kwargs=True)
        for path in paths:
            top.get_submodule(path).register_forward_pre_hook(first.widen)


def computes_one_token(model: Any) -> bool:
    """Whether the top layer computes the first token alone."""
    hooks = layers_of(model)[-1]._forward_pre_hooks.values()
    return any(isinstance(getattr(hook, "__self__", None), FirstToken) for hook in hooks)


def dropout_mask(like: Tensor, p: float) -> Tensor:
    """Zero with probability ``p``, else 1 / (1 - p), in the shape and type of ``like``; drawn from torch's generator.

    A 64-bit draw decides over four elements, which is several times as fast as ``bernoulli_`` is on a CPU.
    """
    of = 1 << _BITS
    dropped = round(p * of)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)  # from -2^15 on
    return bits.lt_(of // 2 - dropped).to(like.dtype).mul_(of / (of - dropped))


def dropout(x: Tensor, p: float) -> Tensor:
    """Dropout in training; PyTorch's own where it is fast, or where there is nothing to draw."""
    if x.device.type != "cpu" or not 2**-_BITS < p < 1 - 2**-_BITS:
        return nn.functional.dropout(x, p)
    return x * dropout_mask(x, p)


class Dropout(nn.Dropout):
    """``nn.Dropout`` with cheap masks."""

    def forward(self, x: Tensor) -> Tensor:
        """``x``: any shape; the result has the same."""
        return dropout(x, self.p) if self.training else x


class FirstToken:
    """Makes a layer compute its first token alone: its keys and values still come from all of them."""

    def __init__(self) -> None:
        self.all: Tensor | None = None

    def narrow(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Give the layer the first of the tokens (rows, tokens, d): a forward pre-hook of the layer."""
        x = args[0] if args else kwargs["hidden_states"]
        self.all, first = x, x[:, :1].contiguous()  # a strided row would make a batched product of it
        return ((first, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": first})

    def widen(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor | None]:
        """Give the projections to keys and values all of them: a forward pre-hook of each."""
        return (self.all,)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    dropout: float = 0.0, scaling: float | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Scaled dot-product attention of queries (rows, heads, queries, d / heads), as transformers' ``sdpa``.

    On a CPU, PyTorch has no fused kernel with dropout, and in narrow types a slow one, so it is written out here where
    that is faster. A layer that was narrowed to its first token views keys and values as if they were one token with
    tokens * heads heads.
    """
    rows, heads, queries, size = query.shape
    if key.shape[1] != heads:
        key, value = (x.reshape(rows, -1, heads, size).transpose(1, 2) for x in (key, value))
    if attention_mask is not None and attention_mask.shape[-2] != queries:
        attention_mask = attention_mask[..., :queries, :]
    narrow = query.dtype != torch.float32 and (query.requires_grad or key.shape[2] <= _SHORT)
    if query.device.type != "cpu" or not (dropout or narrow):
        given = {"dropout": dropout, "scaling": scaling, **kwargs}
        return cast("tuple[Tensor, None]", sdpa_attention_forward(module, query, key, value, attention_mask, **given))
    with torch.autocast("cpu", enabled=False):  # in the type of the queries, as the kernel
        scores = torch.matmul(query * (scaling or size**-0.5), key.transpose(2, 3))
        if attention_mask is not None:
            bias = torch.zeros(attention_mask.shape, dtype=scores.dtype)
            scores = scores + bias.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=-1)
        if dropout:
            weights = weights * dropout_mask(weights, dropout)
        return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def attention_mask(*args: Any, device: torch.device | str = "cpu", **kwargs: Any) -> Tensor | None:
    """The mask of padding, as transformers' ``sdpa``; it is left out of a batch without padding on a CPU alone.

    Elsewhere that question would make the host wait for the device at every step, and no CUDA graph could be recorded.
    """
    if torch.device(device).type != "cpu":
        kwargs["allow_is_bidirectional_skip"] = False
    return cast("Tensor | None", sdpa_mask(*args, device=device, **kwargs))


AttentionInterface.register(_NAME, attention)
AttentionMaskInterface.register(_NAME, attention_mask)
