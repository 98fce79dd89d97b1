"""Strategies without adapters, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies.base import Strategy, strategy

if TYPE_CHECKING:
    from torch import nn

_NO_BIASES = "strategy.name: this backbone has no biases to train; choose another strategy"


@strategy("full")
class Full(Strategy):
    """Full fine-tuning: every parameter is trained."""

    paper: ClassVar[str] = "Devlin et al. 2019"
    learning_rate: ClassVar[float] = 3e-5  # the middle of the paper's 2e-5, 3e-5, 5e-5
    trains_pooler: ClassVar[bool] = True
    drawing: ClassVar[str] = """
        embeddings*  ->  layer* ... layer*  ->  pooler* -> head*          * trained"""

    def apply(self, model: nn.Module) -> None:
        """Unfreeze the whole model."""
        model.requires_grad_(True)

    def formula(self, shape: Shape) -> Formula:
        """The whole encoder: embeddings, layers, and every LayerNorm."""
        return Formula(
            layer_norm=shape.norms,
            other=shape.embeddings + shape.layers * shape.layer,
            text="embeddings + layers * layer + LayerNorms",
            filled=f"{shape.embeddings} + {shape.layers}*{shape.layer} + {shape.norms}",
        )


@strategy("top_n")
class TopN(Strategy):
    """Variable fine-tuning: the top n layers are trained with the pooler, the rest is frozen."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.3"
    learning_rate: ClassVar[float] = 3e-5
    trains_pooler: ClassVar[bool] = True
    drawing: ClassVar[str] = """
        embeddings  ->  layer ... layer -> layer* (the top n)  ->  pooler* -> head*          * trained"""

    n: int = Field(default=1, ge=1, le=10_000)
    """Number of layers trained, counted from the top."""
    embeddings: bool = False
    """Train the embeddings too; with n equal to the number of layers, this is full fine-tuning."""

    def apply(self, model: nn.Module) -> None:
        """Unfreeze the top layers, the LayerNorm above them and, with ``embeddings``, the embeddings."""
        from adapter_tune.adapters.model_parts import layers_of, parameters_below_layers, top_norms, unfreeze

        layers = layers_of(model)
        self._check(len(layers))
        unfreeze(*layers[len(layers) - self.n :], *top_norms(model))
        if self.embeddings:
            for parameter in parameters_below_layers(model):
                parameter.requires_grad_(True)

    def formula(self, shape: Shape) -> Formula:
        """``n`` layers with their LayerNorms."""
        self._check(shape.layers)
        norms = shape.norms_in(self.n) + shape.top_norms
        if not self.embeddings:
            return Formula(
                layer_norm=norms,
                other=self.n * shape.layer,
                text="n * layer + LayerNorms",
                filled=f"{self.n}*{shape.layer} + {norms}",
            )
        norms += shape.embedding_norms
        return Formula(
            layer_norm=norms,
            other=self.n * shape.layer + shape.embeddings,
            text="n * layer + embeddings + LayerNorms",
            filled=f"{self.n}*{shape.layer} + {shape.embeddings} + {norms}",
        )

    def tag(self) -> str:
        """``n1``."""
        return f"n{self.n}"

    def _check(self, layers: int) -> None:
        if self.n > layers:
            raise UsageError(f"strategy.n: {self.n} is more than the backbone's {layers} layers")


@strategy("layer_norm")
class LayerNorm(Strategy):
    """Only the LayerNorms of the encoder are trained."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.4"
    learning_rate: ClassVar[float] = 1e-3
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> + x -> LayerNorm* -> x'
        x' -> feed-forward -> dropout -> + x' -> LayerNorm*          * trained, also in the embeddings"""

    def apply(self, model: nn.Module) -> None:
        """Unfreeze every LayerNorm, also that of the embeddings."""
        from adapter_tune.adapters.model_parts import base_of, layer_norms, unfreeze

        unfreeze(*layer_norms(base_of(model)))

    def formula(self, shape: Shape) -> Formula:
        """Weight and bias of each LayerNorm."""
        in_layers = sum(shape.layer_norms)
        return Formula(
            layer_norm=shape.norms,
            text=f"{shape.norm // shape.d}d per LayerNorm in the layers + those outside",
            filled=f"{in_layers}*{shape.norm} + {shape.norms - in_layers * shape.norm}",
        )


@strategy("bias")
class Bias(Strategy):
    """BitFit: only the biases of the encoder are trained, including those of its LayerNorms."""

    paper: ClassVar[str] = "Ben Zaken et al. 2022"
    learning_rate: ClassVar[float] = 1e-3
    drawing: ClassVar[str] = """
        every W x + b*, every LayerNorm's bias*          * trained"""

    def apply(self, model: nn.Module) -> None:
        """Unfreeze every bias of the encoder, but not the pooler's.

        Raises:
            UsageError: the backbone has no biases.
        """
        from adapter_tune.adapters.model_parts import base_of, pooler_parameters

        pooler = {id(p) for p in pooler_parameters(model)}
        biases = [module._parameters.get("bias") for module in base_of(model).modules()]
        trained = [bias for bias in biases if bias is not None and id(bias) not in pooler]
        if not trained:
            raise UsageError(_NO_BIASES)
        for bias in trained:
            bias.requires_grad_(True)

    def formula(self, shape: Shape) -> Formula:
        """The biases of the projections, and half of each LayerNorm.

        Raises:
            UsageError: the backbone has no biases.
        """
        norms = shape.norms // 2 if shape.norm_bias else 0
        other = shape.layers * shape.layer_biases + shape.embedding_biases
        if norms + other == 0:
            raise UsageError(_NO_BIASES)
        return Formula(
            layer_norm=norms,
            other=other,
            text="biases of a layer * layers + those outside + those of LayerNorms",
            filled=f"{shape.layer_biases}*{shape.layers} + {shape.embedding_biases} + {norms}",
        )


@strategy("head")
class Head(Strategy):
    """Only the classification head (and the pooler, if it was not pretrained) is trained."""

    paper: ClassVar[str] = "Peters et al. 2019, feature extraction"
    learning_rate: ClassVar[float] = 1e-3
    drawing: ClassVar[str] = """
        embeddings  ->  layer ... layer  ->  pooler -> head*          * trained"""

    def apply(self, model: nn.Module) -> None:
        """Nothing: the head is unfrozen already."""

    def formula(self, shape: Shape) -> Formula:
        """Nothing of the backbone is trained."""
        return Formula(text="no encoder parameters", filled="0")
