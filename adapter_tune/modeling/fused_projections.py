"""Frozen queries, keys and values of a layer as one matrix product: fewer kernels, with the same names of tensors.

On a GPU a step of short rows is bound by the number of kernels. On a CPU one product of three matrices takes as long as
three products, and its gradient longer, so that ``training/trainer.py`` uses this on a GPU alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.modeling.fast_paths import computes_one_token


def fuse_projections(model: Any) -> int:
    """Compute frozen projections with the same input as one product, in place; call it when the model is on its device.

    The weights of the projections become views of one matrix, and keep their names. A layer is left as it is if a
    projection is trained, has LoRA, or also computes relative positions, or if the layer computes its first token
    alone, which needs keys and values that are contiguous.

    Args:
        model: a classifier.

    Returns:
        The number of layers that it was done in.
    """
    paths = family_of(model.config).projections
    if len(paths) == 1 or getattr(model.config, "relative_attention", False):
        return 0
    layers = layers_of(model)
    count = 0
    for layer in layers[:-1] if computes_one_token(model) else layers:
        projections = [layer.get_submodule(path) for path in paths]
        if all(_can_be_fused(projection) for projection in projections):
            FusedProjections(projections)
            count += 1
    return count


def _can_be_fused(projection: nn.Module) -> bool:
    is_plain = type(projection) is nn.Linear and "forward" not in vars(projection)
    return is_plain and not any(p.requires_grad for p in projection.parameters())


class FusedProjections:
    """Linear modules that get the same input one after another; the first computes the product for all.

    Args:
        projections: with weights (d_out, d_in), all with or all without a bias (d_out).
    """

    def __init__(self, projections: list[Any]) -> None:
        self.sizes = [projection.out_features for projection in projections]
        self.weight = _joined([projection.weight for projection in projections])
        biases = [projection.bias for projection in projections]
        self.bias = None if None in biases else _joined(biases)
        self.input: Tensor | None = None
        self.outputs: list[Tensor] = []
        """Those that are still to be fetched."""
        for number, projection in enumerate(projections):
            projection.forward = _Member(self, number)

    def compute(self, x: Tensor, number: int) -> Tensor:
        """The output (rows, tokens, d_out) of one projection for ``x`` (rows, tokens, d_in)."""
        if number == 0 or x is not self.input:
            product = nn.functional.linear(x, self.weight, self.bias)
            self.input = x
            self.outputs = list(torch.split(product, self.sizes, dim=-1))
        output = self.outputs[number]
        if number == len(self.sizes) - 1:
            self.input = None
            self.outputs = []
        return output


class _Member:
    """The forward of one of the projections."""

    def __init__(self, fused: FusedProjections, number: int) -> None:
        self.fused = fused
        self.number = number

    def __call__(self, x: Tensor) -> Tensor:
        return self.fused.compute(x, self.number)


def _joined(parameters: list[nn.Parameter]) -> Tensor:
    """The parameters one below the other; each becomes a view of its part."""
    joined = torch.cat([parameter.detach() for parameter in parameters])
    start = 0
    for parameter in parameters:
        parameter.data = joined[start : start + len(parameter)]
        start += len(parameter)
    return joined
