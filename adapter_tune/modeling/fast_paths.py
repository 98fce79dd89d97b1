"""The same mathematics in less time: dropout masks from cheap random bits, and no token computed that nothing reads.

``enable_fast_paths`` puts them into a model. Without them the model is transformers' own; a test compares the two.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.model_parts import disable_dropout, layers_of
from adapter_tune.adapters.token_batch_norm import TokenBatchNorm
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.modeling.adapter_casts import AdapterCasts
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.precision import Precision, cast_frozen_weights, resolve_compute

_NAME = "adapter_tune"
_BITS = 16  # random bits per element: the dropout probability is exact to within 2^-17
_SHORT = 128  # tokens up to which explicit attention in bf16 is faster than the kernel even without gradients


def prepare_to_compute(prepared: PreparedModel, training: TrainingConfig) -> Precision:
    """Cast the frozen backbone to the run's precision, turn its dropout off as configured, and enable fast paths.

    Returns:
        The precision of the run.
    """
    compute = resolve_compute(training)
    cast_frozen_weights(prepared.model, compute.precision, prepared.newly_initialized)
    disable_dropout(prepared.model, training.backbone_dropout)
    if training.fast:
        enable_fast_paths(prepared.model)
        if compute.precision != "float32" and not training.gradient_checkpointing:
            AdapterCasts(prepared.model, compute.dtype)
    return compute.precision


def enable_fast_paths(model: Any) -> None:
    """Put every fast path that a classifier can use into it, in place; a second call changes nothing.

    The fast paths are: dropout on the CPU, also in attention; attention through the transformers interface; and a top
    layer that computes the first token alone if the head reads no other (``Family.reads_first_token``). The model can
    then be used for classification only.
    """
    _replace_dropout(model)
    if model.config._attn_implementation != "sdpa":
        return
    model.set_attn_implementation(_NAME)
    top_layer = layers_of(model)[-1]
    family = family_of(model.config)
    needs_all_tokens = any(isinstance(module, TokenBatchNorm) for module in top_layer.modules())
    if family.reads_first_token and not needs_all_tokens:
        first_token = FirstToken()
        top_layer.register_forward_pre_hook(first_token.narrow, with_kwargs=True)
        for path in family.projections[1:]:
            top_layer.get_submodule(path).register_forward_pre_hook(first_token.widen)


def _replace_dropout(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


def computes_one_token(model: Any) -> bool:
    """Whether the top layer computes the first token alone."""
    hooks = layers_of(model)[-1]._forward_pre_hooks.values()
    return any(isinstance(getattr(hook, "__self__", None), FirstToken) for hook in hooks)


def dropout_mask(like: Tensor, p: float) -> Tensor:
    """Return a tensor of the shape and type of ``like`` that is zero with probability ``p``, else 1 / (1 - p).

    The random bits come from torch's generator. One 64-bit draw decides four elements, which is several times as fast
    as ``bernoulli_`` on a CPU. A compiled model draws in the compiler's own way.
    """
    if torch.compiler.is_compiling():  # random_ would split the graph
        return nn.functional.dropout(torch.ones_like(like), p)
    values = 1 << _BITS
    dropped_values = round(p * values)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)  # uniform from -2^15 to 2^15 - 1
    is_kept = bits.lt_(values // 2 - dropped_values)
    return is_kept.to(like.dtype).mul_(values / (values - dropped_values))


def dropout(x: Tensor, p: float) -> Tensor:
    """Dropout in training; PyTorch's own on devices where it is fast, and for ``p`` of (nearly) 0 or 1."""
    if x.device.type != "cpu" or not 2**-_BITS < p < 1 - 2**-_BITS:
        return nn.functional.dropout(x, p)
    return x * dropout_mask(x, p)


class Dropout(nn.Dropout):
    """``nn.Dropout`` with cheap masks."""

    def forward(self, x: Tensor) -> Tensor:
        """``x``: any shape; the result has the same."""
        return dropout(x, self.p) if self.training else x


class FirstToken:
    """Makes a layer compute its first token alone; keys and values still come from all tokens."""

    def __init__(self) -> None:
        self.all_tokens: Tensor | None = None

    def narrow(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Give the layer the first of its tokens (rows, tokens, d): a forward pre-hook of the layer."""
        x = args[0] if args else kwargs["hidden_states"]
        self.all_tokens = x
        first = x[:, :1].contiguous()  # rows with a stride would turn the product into a batched one
        if args:
            return (first, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": first}

    def widen(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor | None]:
        """Give a projection of keys or values all tokens: a forward pre-hook of each."""
        return (self.all_tokens,)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention of queries (rows, heads, queries, d / heads), as transformers' ``sdpa``.

    On a CPU, PyTorch has no fused kernel with dropout, and its kernel for narrow types is slow. Where that is faster,
    attention is therefore computed step by step here. A layer that computes its first token alone views keys and values
    as if they were one token with tokens * heads heads.
    """
    rows, heads, queries, size = query.shape
    if key.shape[1] != heads:
        key = key.reshape(rows, -1, heads, size).transpose(1, 2)
        value = value.reshape(rows, -1, heads, size).transpose(1, 2)
    if attention_mask is not None and attention_mask.shape[-2] != queries:
        attention_mask = attention_mask[..., :queries, :]
    is_narrow = query.dtype != torch.float32
    kernel_is_slow = is_narrow and (query.requires_grad or key.shape[2] <= _SHORT)
    if query.device.type == "cpu" and (dropout or kernel_is_slow):
        return _explicit_attention(query, key, value, attention_mask, dropout, scaling or size**-0.5), None
    options = {"dropout": dropout, "scaling": scaling, **kwargs}
    return cast("tuple[Tensor, None]", sdpa_attention_forward(module, query, key, value, attention_mask, **options))


def _explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float, scaling: float
) -> Tensor:
    """Attention step by step; the result is (rows, queries, heads, d / heads)."""
    with torch.autocast("cpu", enabled=False):  # in the type of the queries, as the kernel
        scores = torch.matmul(query * scaling, key.transpose(2, 3))
        if attention_mask is not None:
            bias = torch.zeros(attention_mask.shape, dtype=scores.dtype)
            scores = scores + bias.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=-1)
        if dropout:
            weights = weights * dropout_mask(weights, dropout)
        return torch.matmul(weights, value).transpose(1, 2).contiguous()


def attention_mask(*args: Any, device: torch.device | str = "cpu", **kwargs: Any) -> Tensor | None:
    """Return the mask of padding, as transformers' ``sdpa``; None for a batch without padding, on a CPU only.

    On other devices, finding out whether there is padding would make the host wait for the device at every step, and no
    CUDA graph could be recorded.
    """
    if torch.device(device).type != "cpu":
        kwargs["allow_is_bidirectional_skip"] = False
    return cast("Tensor | None", sdpa_mask(*args, device=device, **kwargs))


AttentionInterface.register(_NAME, attention)
AttentionMaskInterface.register(_NAME, attention_mask)
