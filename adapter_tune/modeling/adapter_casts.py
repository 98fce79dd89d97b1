"""The matrices of all adapters cast to the narrow type at once, instead of each on its own at every step.

Trained parameters are float32, and autocast casts the four tensors of each adapter before its two products, and their
gradients back: 192 casts a step on 12 layers. Here they are joined, cast once and split again; the bits are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adapter_tune.adapters.model_parts import adapters_of


class CastLinear(nn.Linear):
    """A linear module of an adapter; under autocast it multiplies with its tensors as they were cast for all.

    Args:
        linear: the module that it replaces; it has the same parameters.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight = linear.weight
        self.bias = linear.bias
        self.cast: tuple[Tensor, Tensor] | None = None
        """Weight (d_out, d_in) and bias (d_out) in the narrow type, during a pass through the whole model."""

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (rows, tokens, d_in) -> (rows, tokens, d_out)."""
        if self.cast is None:
            return super().forward(x)
        return nn.functional.linear(x, *self.cast)


class AdapterCasts:
    """Casts the matrices of all trained adapters at the beginning of a pass through a classifier.

    A pass through the encoder alone casts as before. Not for gradient checkpointing, which computes layers again when
    the pass is over.

    Args:
        model: a classifier; the linear modules of its adapters are replaced in place.
        dtype: the type that matrix products run in.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.linears: list[CastLinear] = []
        for adapted in adapters_of(model):
            for parent in list(adapted.adapter.modules()):
                for name, child in list(parent.named_children()):
                    if type(child) is nn.Linear and child.bias is not None and child.weight.requires_grad:
                        self.linears.append(CastLinear(child))
                        setattr(parent, name, self.linears[-1])
        if self.linears:
            model.register_forward_pre_hook(self.start)
            model.register_forward_hook(self.stop, always_call=True)

    def start(self, module: nn.Module, args: Any) -> None:
        """Cast all tensors: a forward pre-hook of the classifier."""
        device = self.linears[0].weight.device.type
        if not torch.is_autocast_enabled(device) or torch.get_autocast_dtype(device) != self.dtype:
            return
        tensors = [tensor for linear in self.linears for tensor in (linear.weight, linear.bias)]
        joined = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(self.dtype)
        parts = iter(torch.split(joined, [tensor.numel() for tensor in tensors]))
        for linear in self.linears:
            linear.cast = next(parts).view_as(linear.weight), next(parts)

    def stop(self, module: nn.Module, args: Any, output: Any) -> None:
        """Forget the cast tensors: a forward hook of the classifier."""
        for linear in self.linears:
            linear.cast = None
