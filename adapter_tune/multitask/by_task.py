"""Modules of a backbone that compute the rows of each task with the task's own tensors, and all rows with the shared.

The rows of a batch are sorted by task, so each task has a group of consecutive rows. What is frozen is computed once
for all rows; what a task has trained is computed for its group alone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Group:
    """Consecutive rows of one task."""

    task: str | None
    """None for the backbone as it is."""
    rows: slice


class CurrentGroups:
    """The groups of the batch that is being computed; all modules of a model share one."""

    def __init__(self) -> None:
        self.groups: tuple[Group, ...] = ()


HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
"""The attributes of a module that have its hooks of the forward pass."""


class ByTask(nn.Module):
    """A module of the backbone, and what tasks have in its place.

    Args:
        shared: the backbone's module; its hooks move to this one.
        current: the groups of the current batch.
    """

    def __init__(self, shared: nn.Module, current: CurrentGroups) -> None:
        super().__init__()
        self.shared = shared
        self.current = current
        self.own: dict[str, Any] = {}
        """By task. Not submodules: a task can have any name, and comes and goes."""
        for name in HOOKS:
            setattr(self, name, getattr(shared, name))
            setattr(shared, name, OrderedDict())

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # transformers reads attributes of some modules, such as the type of their weights
            return getattr(super().__getattr__("shared"), name)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (rows, ..., d_in) -> (rows, ..., d_out), as the backbone's module."""
        parts = self.parts()
        if all(own is None for _, own in parts):
            out: Tensor = self.shared(x)
            return out
        return self.by_task(x, parts)

    def parts(self) -> list[tuple[slice, Any]]:
        """The rows of every group of the current batch, and what its task has here; None for what the backbone has."""
        return [(group.rows, None if group.task is None else self.own.get(group.task)) for group in self.current.groups]

    def by_task(self, x: Tensor, parts: list[tuple[slice, Any]]) -> Tensor:
        """The rows of every group, given what its task has here: None for what the backbone has."""
        raise NotImplementedError


class OwnModule(ByTask):
    """A small module (LayerNorm) of which each task has a whole one of its own."""

    def by_task(self, x: Tensor, parts: list[tuple[slice, Any]]) -> Tensor:
        """``x``: (rows, ..., d); the result has the same shape."""
        return _joined([(self.shared if own is None else own)(x[rows]) for rows, own in parts])


@dataclass(frozen=True)
class LowRankUpdate:
    """LoRA's update of a projection: scale * B A x."""

    a: Tensor
    """(r, d_in)"""
    b: Tensor
    """(d_out, r)"""
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        """``x``: (rows, tokens, d_in) -> (rows, tokens, d_out)."""
        return functional.linear(functional.linear(x, self.a), self.b) * self.scale


class OwnLinear(ByTask):
    """A linear module, of which a task has a whole one (``nn.Linear``), a bias (d_out), or a ``LowRankUpdate``."""

    def by_task(self, x: Tensor, parts: list[tuple[slice, Any]]) -> Tensor:
        """``x``: (rows, ..., d_in) -> (rows, ..., d_out); results of different widths are padded with NaN."""
        if any(isinstance(own, nn.Module) for _, own in parts):
            return _joined([self._apply_part(own, x[rows]) for rows, own in parts])
        return self._one_product(x, parts)

    def _apply_part(self, own: Any, x: Tensor) -> Tensor:
        shared: Any = self.shared
        if isinstance(own, Tensor):
            return functional.linear(x, shared.weight, own.to(shared.weight.dtype))
        if isinstance(own, LowRankUpdate):
            out: Tensor = shared(x)
            return out + own(x).to(out.dtype)
        return (shared if own is None else own)(x)  # type: ignore[no-any-return]

    def _one_product(self, x: Tensor, parts: list[tuple[slice, Any]]) -> Tensor:
        """The product with the shared matrix for all rows, then biases and updates by task."""
        shared: Any = self.shared
        out = functional.linear(x, shared.weight)
        width = out.shape[-1]
        zero = out.new_zeros(width)
        biases = []
        for rows, own in parts:
            bias = own if isinstance(own, Tensor) else shared.bias
            biases.append((zero if bias is None else bias.to(out.dtype)).expand(rows.stop - rows.start, width))
        out = out + torch.cat(biases).view(len(out), *(1,) * (out.dim() - 2), width)
        for rows, own in parts:
            if isinstance(own, LowRankUpdate):
                out[rows] += own(x[rows]).to(out.dtype)
        return out


class OwnAdapter(ByTask):
    """The dropout, or the projection, that an adapter follows; each task has its adapter."""

    def __init__(self, shared: nn.Module, current: CurrentGroups) -> None:
        super().__init__(shared, current)
        self.input: Tensor | None = None

    def capture_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store the sub-layer's input: a forward pre-hook of the module that receives it first."""
        self.input = args[0] if args else kwargs["hidden_states"]

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (rows, tokens, d), the output of the sub-layer's projection, or the projection's input."""
        out = super().forward(x)
        self.input = None
        return out

    def by_task(self, x: Tensor, parts: list[tuple[slice, Any]]) -> Tensor:
        """The output of the shared module for all rows, then each task's adapter for its own."""
        hidden: Tensor = self.shared(x)
        outputs = []
        for rows, own in parts:
            if own is None or own.follows_norm:
                outputs.append(hidden[rows])
            else:
                outputs.append(own.adapt(hidden[rows], None if self.input is None else self.input[rows]))
        return _joined(outputs)

    def follow_norm(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Adapt what the LayerNorm after the sub-layer computes (rows, tokens, d); a forward hook of it."""
        parts = self.parts()
        if not any(own is not None and own.follows_norm for _, own in parts):
            return output
        return _joined(
            [
                own.adapt(output[rows], None) if own is not None and own.follows_norm else output[rows]
                for rows, own in parts
            ]
        )


def _joined(outputs: list[Tensor]) -> Tensor:
    """The rows of all groups; widths that differ are padded with NaN."""
    width = max(output.shape[-1] for output in outputs)
    padded = [
        functional.pad(output, (0, width - output.shape[-1]), value=torch.nan) if output.shape[-1] < width else output
        for output in outputs
    ]
    return padded[0] if len(padded) == 1 else torch.cat(padded)
