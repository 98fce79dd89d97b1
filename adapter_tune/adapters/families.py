"""The backbone families: where each takes an adapter, and how many parameters it has.

To add a family, add a row to ``FAMILIES`` and its sizes to ``family_shapes.py``. This file does not import torch.
Paths are attribute paths. Those of a sub-layer begin at the layer, the others at the base model or, where it says so,
at the whole classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from adapter_tune.adapters.family_shapes import (
    bert_shape,
    deberta_v2_shape,
    distilbert_shape,
    electra_shape,
    modernbert_shape,
    mpnet_shape,
    roberta_shape,
)
from adapter_tune.adapters.formula import Shape
from adapter_tune.foundation.errors import RunError

SubLayer = Literal["attention", "feed_forward"]
Projection = Literal["query", "key", "value", "attention_output", "feed_forward_input", "feed_forward_output"]


@dataclass(frozen=True)
class SubLayerPaths:
    """The modules of one sub-layer; an adapter goes between its dropout and its residual addition."""

    entry: str
    """The module that receives the sub-layer's input first."""
    projection: str
    """The last linear module."""
    dropout: str | None
    """The dropout after the projection; None where there is none, and the adapter follows the projection itself."""
    norm: str | None
    """The LayerNorm after the addition; None where norms come before the sub-layers."""


@dataclass(frozen=True)
class Family:
    """How the encoders of one family are laid out."""

    layers: str
    """Path from the base model to its list of layers."""
    sub_layers: Mapping[SubLayer, SubLayerPaths]
    shape: Callable[[Any], Shape]
    """Computes the sizes from a transformers configuration."""
    projections: tuple[str, ...]
    """Paths from a layer to the projections that compute queries, keys and values; one path where they are one."""
    feed_forward_input: str = "intermediate.dense"
    """Path from a layer to the first linear module of the feed-forward network."""
    pooler: str | None = None
    """Path from the classifier to the module between encoder and head that may have been pretrained."""
    pooler_objective: str = ""
    """A checkpoint with tensors whose names begin so was pretrained through its pooler (BERT: next sentence)."""
    top_norm: str | None = None
    """Path from the base model to a LayerNorm above the last layer."""
    reads_first_token: bool = False
    """Whether the head reads the first token alone, and the layers view keys and values in the shape of the queries
    (``modeling/fast_paths.py`` uses that)."""
    position_modules: tuple[str, ...] = ()
    """Ends of the paths of modules that, with relative positions, also compute what is the same for all rows."""
    lost_positions: int = 0
    """Positions that no token can have (RoBERTa counts positions from the padding id on)."""

    @property
    def linear(self) -> dict[Projection, str]:
        """Path from a layer to each of its linear modules; the same for what one matrix computes."""
        query, key, value = self.projections if len(self.projections) == 3 else self.projections * 3
        return {
            "query": query,
            "key": key,
            "value": value,
            "attention_output": self.sub_layers["attention"].projection,
            "feed_forward_input": self.feed_forward_input,
            "feed_forward_output": self.sub_layers["feed_forward"].projection,
        }


_BERT_SUB_LAYERS: dict[SubLayer, SubLayerPaths] = {
    "attention": SubLayerPaths(
        "attention", "attention.output.dense", "attention.output.dropout", "attention.output.LayerNorm"
    ),
    "feed_forward": SubLayerPaths("intermediate", "output.dense", "output.dropout", "output.LayerNorm"),
}
_BERT_PROJECTIONS = ("attention.self.query", "attention.self.key", "attention.self.value")

FAMILIES: dict[str, Family] = {
    "bert": Family(
        layers="encoder.layer",
        sub_layers=_BERT_SUB_LAYERS,
        shape=bert_shape,
        projections=_BERT_PROJECTIONS,
        pooler="bert.pooler",
        pooler_objective="cls.seq_relationship",
        reads_first_token=True,
    ),
    "roberta": Family(
        "encoder.layer", _BERT_SUB_LAYERS, roberta_shape, _BERT_PROJECTIONS, reads_first_token=True, lost_positions=2
    ),
    "xlm-roberta": Family(
        "encoder.layer", _BERT_SUB_LAYERS, roberta_shape, _BERT_PROJECTIONS, reads_first_token=True, lost_positions=2
    ),
    "electra": Family("encoder.layer", _BERT_SUB_LAYERS, electra_shape, _BERT_PROJECTIONS, reads_first_token=True),
    "distilbert": Family(
        layers="transformer.layer",
        sub_layers={
            "attention": SubLayerPaths("attention", "attention.out_lin", None, "sa_layer_norm"),
            "feed_forward": SubLayerPaths("ffn", "ffn.lin2", "ffn.dropout", "output_layer_norm"),
        },
        shape=distilbert_shape,
        projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        feed_forward_input="ffn.lin1",
    ),
    "deberta-v2": Family(
        layers="encoder.layer",
        sub_layers=_BERT_SUB_LAYERS,
        shape=deberta_v2_shape,
        projections=("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
        position_modules=(
            "attention.self.query_proj",
            "attention.self.key_proj",
            "attention.self.pos_key_proj",
            "attention.self.pos_query_proj",
            "encoder.LayerNorm",
        ),
    ),
    "mpnet": Family(
        layers="encoder.layer",
        sub_layers={
            "attention": SubLayerPaths("attention", "attention.attn.o", "attention.dropout", "attention.LayerNorm"),
            "feed_forward": _BERT_SUB_LAYERS["feed_forward"],
        },
        shape=mpnet_shape,
        projections=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        lost_positions=2,
    ),
    "modernbert": Family(
        layers="layers",
        sub_layers={
            "attention": SubLayerPaths("attn", "attn.Wo", "attn.out_drop", None),
            "feed_forward": SubLayerPaths("mlp", "mlp.Wo", None, None),
        },
        shape=modernbert_shape,
        projections=("attn.Wqkv",),
        feed_forward_input="mlp.Wi",
        pooler="head",
        pooler_objective="decoder",  # masked language modelling goes through the same head
        top_norm="final_norm",
    ),
}

_UNSUPPORTED = {
    "albert": "its layers share one set of weights, so they would share one adapter, and adapters of single layers "
    "could not be chosen or removed"
}


def family_of(config: Any) -> Family:
    """Return the row of ``FAMILIES`` for a transformers configuration.

    Raises:
        RunError: there is no row; the message says why, or lists the rows and says where to add one.
    """
    kind = str(getattr(config, "model_type", type(config).__name__))
    if kind in FAMILIES:
        return FAMILIES[kind]
    known = ", ".join(FAMILIES)
    if kind in _UNSUPPORTED:
        raise RunError(f"backbones of type '{kind}' are not supported: {_UNSUPPORTED[kind]}. Choose one of: {known}")
    raise RunError(
        f"backbones of type '{kind}' are not supported; known: {known}. "
        "Choose such a model, or add a row to FAMILIES in adapter_tune/adapters/families.py"
    )


def shape_of(config: Any) -> Shape:
    """Return the sizes that a transformers configuration describes.

    Raises:
        RunError: the family is not supported.
    """
    return family_of(config).shape(config)
