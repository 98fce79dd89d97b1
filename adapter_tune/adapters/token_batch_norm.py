"""Batch normalisation over the real tokens of a batch, and the attention mask that says which they are."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.1
"""Share of a batch in the running statistics of batch normalisation, as in torch."""


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
