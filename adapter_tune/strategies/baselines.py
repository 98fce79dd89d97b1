"""Strategies without adapters, to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from adapter_tune.counts import Formula, Shape
from adapter_tune.strategies.base import Strategy, strategy

if TYPE_CHECKING:
    from torch import nn


@strategy("full")
class Full(Strategy):
    """Full fine-tuning: every parameter is trained."""

    paper: ClassVar[str] = "Devlin et al. 2019"
    learning_rate: ClassVar[float] = 3e-5  # the middle of the paper's 2e-5, 3e-5, 5e-5
    trains_pooler: ClassVar[bool] = True

    def apply(self, model: nn.Module) -> None:
        """Unfreeze the whole model."""
        model.requires_grad_(True)

    def formula(self, shape: Shape) -> Formula:
        """All of the encoder: embeddings, layers, and two LayerNorms a layer plus the embeddings'."""
        return Formula(
            layer_norm=(2 * shape.layers + 1) * 2 * shape.d,
            other=shape.embedding_weights + shape.layers * shape.layer_weights,
        )


@strategy("head")
class Head(Strategy):
    """Only the classification head (and the pooler, where it was not pretrained) is trained."""

    paper: ClassVar[str] = "Peters et al. 2019, feature extraction"
    learning_rate: ClassVar[float] = 1e-3

    def apply(self, model: nn.Module) -> None:
        """Nothing: the head is unfrozen already."""

    def formula(self, shape: Shape) -> Formula:
        """Nothing of the backbone is trained."""
        return Formula()
