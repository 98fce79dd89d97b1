"""The lowest layers computed once for several tasks: below the first module that any of them has of its own.

From that layer on, the rows are repeated for each task, and all tasks run as one batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from adapter_tune.adapters.model_parts import layers_of, parameters_below_layers
from adapter_tune.multitask.by_task import CurrentGroups, Group

_ONE_FOR_ALL = ("rel_embeddings", "relative_pos")
"""Arguments of DeBERTa's layers that do not belong to rows."""


class SharedLayers:
    """Repeats the rows of a batch for several tasks at a layer.

    Args:
        model: the backbone, a classifier without any task's modules.
        current: the groups of the current batch.
    """

    def __init__(self, model: Any, current: CurrentGroups) -> None:
        self.current = current
        self._layer_paths = _paths_of(model, layers_of(model))
        below = {id(p) for p in parameters_below_layers(model)}
        self._below = [path for path, module in model.named_modules() if _owns(module, below)]
        self.can_repeat = not getattr(model.config, "conv_kernel_size", 0)  # DeBERTa's convolution adds layers' rows
        self._first = 0
        self._rows = 0
        self._tasks: tuple[str, ...] = ()
        for index, layer in enumerate(layers_of(model)):
            layer.register_forward_pre_hook(_Repeat(self, index), with_kwargs=True, prepend=True)

    def first_layer(self, paths: Iterable[str]) -> int | None:
        """The layer from which on rows differ between tasks, given the paths of modules that a task has of its own.

        Returns:
            None if the embeddings differ already; the last layer if only the head does.
        """
        first = len(self._layer_paths) - 1
        for path in paths:
            if path in self._below:
                return None
            for index, layer in enumerate(self._layer_paths):
                if path.startswith(f"{layer}."):
                    first = min(first, index)
        return first

    def start(self, first: int, rows: int, tasks: Iterable[str]) -> None:
        """Repeat the rows of the next batch for each task, from a layer on."""
        self._first = first
        self._rows = rows
        self._tasks = tuple(tasks)
        self.current.groups = (Group(None, slice(0, rows)),)

    def stop(self) -> None:
        """Repeat nothing from now on."""
        self._tasks = ()

    def enter(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        """The arguments of a layer, repeated if they have the rows of the batch alone; None for no change."""
        if not self._tasks or index < self._first:
            return None
        if index == self._first:
            rows = self._rows
            self.current.groups = tuple(
                Group(task, slice(number * rows, (number + 1) * rows)) for number, task in enumerate(self._tasks)
            )
        repeated = {key: value if key in _ONE_FOR_ALL else self._repeated(value) for key, value in kwargs.items()}
        return tuple(map(self._repeated, args)), repeated

    def _repeated(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._repeated, value))
        if isinstance(value, Tensor) and value.dim() > 1 and value.shape[0] == self._rows:
            return value.repeat(len(self._tasks), *(1,) * (value.dim() - 1))
        return value


class _Repeat:
    """A forward pre-hook of one layer."""

    def __init__(self, layers: SharedLayers, index: int) -> None:
        self.layers = layers
        self.index = index

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        return self.layers.enter(self.index, args, kwargs)


def _paths_of(model: nn.Module, modules: list[nn.Module]) -> list[str]:
    paths = {id(module): path for path, module in model.named_modules()}
    return [paths[id(module)] for module in modules]


def _owns(module: nn.Module, parameters: set[int]) -> bool:
    return any(id(p) in parameters for p in module.parameters(recurse=False))
