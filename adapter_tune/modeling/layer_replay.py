"""A model whose lowest layers are replaced: their stored outputs are returned, and nothing is computed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from adapter_tune.adapters.model_parts import layer_list


class ReplayedLayer(nn.Module):
    """Replaces a layer and returns a stored output in the layer's own form (a tensor or a tuple).

    Args:
        layer: the layer that is replaced; its other attributes stay readable.
        stored_output: returns the output; called at every forward pass.
    """

    def __init__(self, layer: nn.Module, stored_output: Callable[[], Any]) -> None:
        super().__init__()
        self._layer = (layer,)  # in a tuple: not a child module, or its tensors would have two names
        self._stored_output = stored_output

    def __getattr__(self, name: str) -> Any:
        """An attribute of the replaced layer (ModernBERT reads the kind of attention from it)."""
        return getattr(self._layer[0], name)

    def forward(self, *_: Any, **__: Any) -> Any:
        """Return the stored output; the inputs are ignored."""
        return self._stored_output()


@contextmanager
def replayed_layers(model: nn.Module, depth: int, stored_output: Callable[[], Any]) -> Iterator[None]:
    """Replace the ``depth`` lowest layers inside the ``with`` block.

    Each of them returns what ``stored_output`` returns. Only the topmost one's output reaches a computed layer.
    """
    layers = layer_list(model)
    replaced = list(layers)[:depth]
    try:
        for index, layer in enumerate(replaced):
            layers[index] = ReplayedLayer(layer, stored_output)
        yield
    finally:
        for index, layer in enumerate(replaced):
            layers[index] = layer
