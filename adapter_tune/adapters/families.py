"""The backbone families: where each takes an adapter, and how many parameters it has.

To add a family, add a row to ``FAMILIES``. This file does not import torch. Paths are attribute paths. Those of a
sub-layer begin at the layer, the others at the base model or, where it says so, at the whole classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from adapter_tune.adapters.formula import Shape
from adapter_tune.foundation.errors import RunError

SubLayer = Literal["attention", "feed_forward"]


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
    query_value: tuple[str, ...]
    """Paths from a layer to the projections that compute queries and values."""
    pooler: str | None = None
    """Path from the classifier to the module between encoder and head that may have been pretrained."""
    pooler_objective: str = ""
    """A checkpoint with tensors whose names begin so was pretrained through its pooler (BERT: next sentence)."""
    top_norm: str | None = None
    """Path from the base model to a LayerNorm above the last layer."""
    first_token: tuple[str, ...] = ()
    """Paths from a layer to its projections of keys and values, if the head reads the first token alone and the layers
    view keys and values in the shape of the queries (``modeling/fast_paths.py`` uses that); empty otherwise."""
    lost_positions: int = 0
    """Positions that no token can have (RoBERTa counts positions from the padding id on)."""


def _encoder(config: Any, *, embeddings: int, **changes: Any) -> Shape:
    """BERT's layer: four d x d projections, two d x f ones, all with biases, and a LayerNorm after each sub-layer."""
    d = config.hidden_size
    f = getattr(config, "hidden_dim", None) or config.intermediate_size
    values: dict[str, Any] = {
        "layers": config.num_hidden_layers,
        "d": d,
        "layer": 4 * (d * d + d) + (d * f + f) + (f * d + d),
        "layer_biases": 5 * d + f,
        "embeddings": embeddings,
        "embedding_biases": 0,
        "norm": 2 * d,
        "layer_norms": (2,) * config.num_hidden_layers,
        "embedding_norms": 2 * d,
        "query_value": (d, d),
    }
    return Shape(**{**values, **changes})


def bert_shape(config: Any) -> Shape:
    """BERT: word, position and token-type embeddings; a pooler."""
    d = config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return _encoder(config, embeddings=rows * d, pooler=d * d + d)


def _roberta(config: Any) -> Shape:
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return _encoder(config, embeddings=rows * config.hidden_size)


def _electra(config: Any) -> Shape:
    """Embeddings may be narrower than the layers, and are then projected."""
    e = config.embedding_size
    d = config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    embeddings = rows * e
    biases = 0
    if e != d:
        embeddings += e * d + d
        biases += d
    return _encoder(config, embeddings=embeddings, embedding_biases=biases, embedding_norms=2 * e)


def _distilbert(config: Any) -> Shape:
    rows = config.vocab_size + config.max_position_embeddings
    return _encoder(config, embeddings=rows * config.hidden_size)


def _mpnet(config: Any) -> Shape:
    """One table of relative positions for all layers."""
    rows = config.vocab_size + config.max_position_embeddings
    relative = config.relative_attention_num_buckets * config.num_attention_heads
    return _encoder(config, embeddings=rows * config.hidden_size + relative)


def _deberta_v2(config: Any) -> Shape:
    """Relative positions for all layers, perhaps with their own projections in each layer, perhaps a convolution."""
    d = config.hidden_size
    e = getattr(config, "embedding_size", None) or d
    rows = config.vocab_size + config.type_vocab_size
    if getattr(config, "position_biased_input", True):
        rows += config.max_position_embeddings
    embeddings = rows * e
    if e != d:
        embeddings += e * d
    biases = 0
    norms = 2 * d
    projections = 0  # of relative positions, in each layer
    if getattr(config, "relative_attention", False):
        embeddings += 2 * d * _deberta_v2_relative_positions(config)
        if not getattr(config, "share_att_key", False):
            projections = sum(kind in (config.pos_att_type or []) for kind in ("c2p", "p2c"))
    if "layer_norm" in getattr(config, "norm_rel_ebd", "none"):
        norms += 2 * d
    if getattr(config, "conv_kernel_size", 0) > 0:
        embeddings += d * (d // getattr(config, "conv_groups", 1)) * config.conv_kernel_size + d
        biases += d
        norms += 2 * d
    plain = _encoder(config, embeddings=embeddings, embedding_biases=biases, embedding_norms=norms)
    layer = plain.layer + projections * (d * d + d)
    return replace(plain, layer=layer, layer_biases=plain.layer_biases + projections * d)


def _deberta_v2_relative_positions(config: Any) -> int:
    """Rows of half the table of relative positions; a size that is not positive stands for the next one."""
    for name in ("position_buckets", "max_relative_positions"):
        size = int(getattr(config, name, -1))
        if size > 0:
            return size
    return int(config.max_position_embeddings)


def _modernbert(config: Any) -> Shape:
    """Gated feed-forward, few biases, norms before the sub-layers (none before the first) and one above all layers."""
    d = config.hidden_size
    f = config.intermediate_size
    layers = config.num_hidden_layers
    biases = (4 * d if config.attention_bias else 0) + (2 * f + d if config.mlp_bias else 0)
    norm = 2 * d if config.norm_bias else d
    return Shape(
        layers=layers,
        d=d,
        layer=4 * d * d + 3 * d * f + biases,
        layer_biases=biases,
        embeddings=config.vocab_size * d,
        embedding_biases=0,
        norm=norm,
        layer_norms=(1,) + (2,) * (layers - 1),
        embedding_norms=norm,
        top_norms=norm,
        post_norm=False,
        norm_bias=config.norm_bias,
        query_value=(3 * d,),
        pooler=d * d + (d if config.classifier_bias else 0) + norm,
    )


_BERT_SUB_LAYERS: dict[SubLayer, SubLayerPaths] = {
    "attention": SubLayerPaths(
        "attention", "attention.output.dense", "attention.output.dropout", "attention.output.LayerNorm"
    ),
    "feed_forward": SubLayerPaths("intermediate", "output.dense", "output.dropout", "output.LayerNorm"),
}
_QUERY_VALUE = ("attention.self.query", "attention.self.value")
_KEY_VALUE = ("attention.self.key", "attention.self.value")

FAMILIES: dict[str, Family] = {
    "bert": Family(
        layers="encoder.layer",
        sub_layers=_BERT_SUB_LAYERS,
        shape=bert_shape,
        query_value=_QUERY_VALUE,
        pooler="bert.pooler",
        pooler_objective="cls.seq_relationship",
        first_token=_KEY_VALUE,
    ),
    "roberta": Family(
        "encoder.layer", _BERT_SUB_LAYERS, _roberta, _QUERY_VALUE, first_token=_KEY_VALUE, lost_positions=2
    ),
    "xlm-roberta": Family(
        "encoder.layer", _BERT_SUB_LAYERS, _roberta, _QUERY_VALUE, first_token=_KEY_VALUE, lost_positions=2
    ),
    "electra": Family("encoder.layer", _BERT_SUB_LAYERS, _electra, _QUERY_VALUE, first_token=_KEY_VALUE),
    "distilbert": Family(
        layers="transformer.layer",
        sub_layers={
            "attention": SubLayerPaths("attention", "attention.out_lin", None, "sa_layer_norm"),
            "feed_forward": SubLayerPaths("ffn", "ffn.lin2", "ffn.dropout", "output_layer_norm"),
        },
        shape=_distilbert,
        query_value=("attention.q_lin", "attention.v_lin"),
    ),
    "deberta-v2": Family(
        layers="encoder.layer",
        sub_layers=_BERT_SUB_LAYERS,
        shape=_deberta_v2,
        query_value=("attention.self.query_proj", "attention.self.value_proj"),
    ),
    "mpnet": Family(
        layers="encoder.layer",
        sub_layers={
            "attention": SubLayerPaths("attention", "attention.attn.o", "attention.dropout", "attention.LayerNorm"),
            "feed_forward": _BERT_SUB_LAYERS["feed_forward"],
        },
        shape=_mpnet,
        query_value=("attention.attn.q", "attention.attn.v"),
        lost_positions=2,
    ),
    "modernbert": Family(
        layers="layers",
        sub_layers={
            "attention": SubLayerPaths("attn", "attn.Wo", "attn.out_drop", None),
            "feed_forward": SubLayerPaths("mlp", "mlp.Wo", None, None),
        },
        shape=_modernbert,
        query_value=("attn.Wqkv",),
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
