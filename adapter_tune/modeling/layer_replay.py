"""A model whose lowest layers are not computed: what they gave is recalled instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from adapter_tune.adapters.surgery import layer_list


class ReplayedLayer(nn.Module):
    """In the place of a layer: gives what was given before, in the form in which the layer gave it.

    Args:
        layer: the one whose place it takes; asked for whatever else an encoder wants to know of it.
        given: called at every forward pass.
    """

    def __init__(self, layer: nn.Module, given: Callable[[], Any]) -> None:
        super().__init__()
        self._layer, self._given = (layer,), given  # in a tuple: not a child, or its tensors would have two names

    def __getattr__(self, name: str) -> Any:
        """The layer's own (ModernBERT asks for the kind of attention)."""
        return getattr(self._layer[0], name)

    def forward(self, *_: Any, **__: Any) -> Any:
        """What was given before."""
        return self._given()


@contextmanager
def replayed_layers(model: nn.Module, depth: int, given: Callable[[], Any]) -> Iterator[None]:
    """A model whose ``depth`` lowest layers all give what ``given`` returns; only the topmost one's is read."""
    layers = layer_list(model)
    replaced = list(layers)[:depth]
    try:
        for index, layer in enumerate(replaced):
            layers[index] = ReplayedLayer(layer, given)
        yield
    finally:
        for index, layer in enumerate(replaced):
            layers[index] = layer
