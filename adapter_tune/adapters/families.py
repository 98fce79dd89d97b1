"""The backbone families: where each takes an adapter, and what it counts. To add a family, add a row to ``FAMILIES``.

No torch here. Paths are attribute paths; a layer's paths begin at the layer, the others at the base model or, where
it says so, at the whole classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from adapter_tune.adapters.formula import Shape
from adapter_tune.foundation.errors import RunError

SubLayer = Literal["attention", "feed_forward"]


@dataclass(frozen=True)
class SubLayerPaths:
    """Where one sub-layer of a layer takes an adapter: between its dropout and its residual addition."""

    entry: str
    """The module that gets the sub-layer's input first."""
    projection: str
    """The last linear module."""
    dropout: str | None
    """What follows the projection; None where nothing does, and the adapter follows the projection itself."""
    norm: str | None
    """The LayerNorm behind the addition; None where norms come before the sub-layers."""


@dataclass(frozen=True)
class Family:
    """How the encoders of one family are laid out."""

    layers: str
    """From the base model to its list of layers."""
    places: Mapping[SubLayer, SubLayerPaths]
    shape: Callable[[Any], Shape]
    """Sizes, from a transformers configuration."""
    query_value: tuple[str, ...]
    """The projections of a layer that make queries and values."""
    pooler: str | None = None
    """From the classifier to what stands between encoder and head and may have been pretrained."""
    pooler_objective: str = ""
    """A checkpoint with tensors under this name was pretrained through its pooler (BERT: next sentence)."""
    top_norm: str | None = None
    """From the base model to a LayerNorm above the last layer."""
    first_token: tuple[str, ...] = ()
    """From a layer to its projections of keys and values, where the head reads the first token alone and every layer
    views them in the shape of its queries (see ``modeling/fast_paths.py``); empty where that is not so."""
    lost_positions: int = 0
    """Positions that no token takes (RoBERTa counts from the padding id on)."""


def _encoder(config: Any, *, embeddings: int, **changes: Any) -> Shape:
    """BERT's layer: four d x d projections, two d x f ones, all with biases, a LayerNorm behind each sub-layer."""
    d, f = config.hidden_size, getattr(config, "hidden_dim", None) or config.intermediate_size
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
    e, d = config.embedding_size, config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    projection, bias = (e * d + d, d) if e != d else (0, 0)
    return _encoder(config, embeddings=rows * e + projection, embedding_biases=bias, embedding_norms=2 * e)


def _distilbert(config: Any) -> Shape:
    rows = config.vocab_size + config.max_position_embeddings
    return _encoder(config, embeddings=rows * config.hidden_size)


def _mpnet(config: Any) -> Shape:
    """One table of relative positions for all layers."""
    rows = config.vocab_size + config.max_position_embeddings
    relative = config.relative_attention_num_buckets * config.num_attention_heads
    return _encoder(config, embeddings=rows * config.hidden_size + relative)


def _deberta_v2(config: Any) -> Shape:
    """Relative positions for all layers, perhaps with projections of their own in each, perhaps a convolution."""
    d = config.hidden_size
    e = getattr(config, "embedding_size", None) or d
    rows = config.vocab_size + config.type_vocab_size
    rows += config.max_position_embeddings if getattr(config, "position_biased_input", True) else 0
    embeddings, norms, biases = rows * e + (e * d if e != d else 0), 2 * d, 0
    plain = _encoder(config, embeddings=embeddings)
    layer, layer_biases = plain.layer, plain.layer_biases
    if getattr(config, "relative_attention", False):
        buckets, longest = getattr(config, "position_buckets", -1), getattr(config, "max_relative_positions", -1)
        embeddings += 2 * d * (buckets if buckets > 0 else longest if longest > 0 else config.max_position_embeddings)
        if not getattr(config, "share_att_key", False):
            own = sum(kind in (config.pos_att_type or []) for kind in ("c2p", "p2c"))
            layer, layer_biases = layer + own * (d * d + d), layer_biases + own * d
    if "layer_norm" in getattr(config, "norm_rel_ebd", "none"):
        norms += 2 * d
    if getattr(config, "conv_kernel_size", 0) > 0:
        embeddings += d * (d // getattr(config, "conv_groups", 1)) * config.conv_kernel_size + d
        norms, biases = norms + 2 * d, d
    return _encoder(config, embeddings=embeddings, embedding_biases=biases, embedding_norms=norms,
                    layer=layer, layer_biases=layer_biases)  # fmt: skip


def _modernbert(config: Any) -> Shape:
    """Gated feed-forward, hardly a bias, norms before the sub-layers (none before the first) and one at the top."""
    d, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    biases = (4 * d if config.attention_bias else 0) + (2 * f + d if config.mlp_bias else 0)
    norm = 2 * d if config.norm_bias else d
    return Shape(
        layers=layers, d=d, layer=4 * d * d + 3 * d * f + biases, layer_biases=biases,
        embeddings=config.vocab_size * d, embedding_biases=0,
        norm=norm, layer_norms=(1,) + (2,) * (layers - 1), embedding_norms=norm, top_norms=norm,
        post_norm=False, norm_bias=config.norm_bias, query_value=(3 * d,),
        pooler=d * d + (d if config.classifier_bias else 0) + norm,
    )  # fmt: skip


_BERT_PLACES: dict[SubLayer, SubLayerPaths] = {
    "attention": SubLayerPaths(
        "attention", "attention.output.dense", "attention.output.dropout", "attention.output.LayerNorm"
    ),
    "feed_forward": SubLayerPaths("intermediate", "output.dense", "output.dropout", "output.LayerNorm"),
}
_SELF = ("attention.self.query", "attention.self.value")
_KEY_VALUE = ("attention.self.key", "attention.self.value")

FAMILIES: dict[str, Family] = {
    "bert": Family(
        layers="encoder.layer",
        places=_BERT_PLACES,
        shape=bert_shape,
        query_value=_SELF,
        pooler="bert.pooler",
        pooler_objective="cls.seq_relationship",
        first_token=_KEY_VALUE,
    ),
    "roberta": Family("encoder.layer", _BERT_PLACES, _roberta, _SELF, first_token=_KEY_VALUE, lost_positions=2),
    "xlm-roberta": Family("encoder.layer", _BERT_PLACES, _roberta, _SELF, first_token=_KEY_VALUE, lost_positions=2),
    "electra": Family("encoder.layer", _BERT_PLACES, _electra, _SELF, first_token=_KEY_VALUE),
    "distilbert": Family(
        layers="transformer.layer",
        places={
            "attention": SubLayerPaths("attention", "attention.out_lin", None, "sa_layer_norm"),
            "feed_forward": SubLayerPaths("ffn", "ffn.lin2", "ffn.dropout", "output_layer_norm"),
        },
        shape=_distilbert,
        query_value=("attention.q_lin", "attention.v_lin"),
    ),
    "deberta-v2": Family(
        layers="encoder.layer",
        places=_BERT_PLACES,
        shape=_deberta_v2,
        query_value=("attention.self.query_proj", "attention.self.value_proj"),
    ),
    "mpnet": Family(
        layers="encoder.layer",
        places={
            "attention": SubLayerPaths("attention", "attention.attn.o", "attention.dropout", "attention.LayerNorm"),
            "feed_forward": _BERT_PLACES["feed_forward"],
        },
        shape=_mpnet,
        query_value=("attention.attn.q", "attention.attn.v"),
        lost_positions=2,
    ),
    "modernbert": Family(
        layers="layers",
        places={
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

_UNFIT = {
    "albert": "its layers share one set of weights, so an adapter would sit in all of them at once, and choosing "
    "layers or taking them out would mean nothing"
}


def family_of(config: Any) -> Family:
    """The row of a configuration's family.

    Raises:
        RunError: no row; the message gives the reason, or lists those there are and says where to add one.
    """
    kind = str(getattr(config, "model_type", type(config).__name__))
    if kind in FAMILIES:
        return FAMILIES[kind]
    known = ", ".join(FAMILIES)
    if kind in _UNFIT:
        raise RunError(f"backbones of type '{kind}' are not supported: {_UNFIT[kind]}. Choose one of: {known}")
    raise RunError(
        f"backbones of type '{kind}' are not supported; known: {known}. "
        "Choose such a model, or add a row to FAMILIES in adapter_tune/adapters/families.py"
    )


def shape_of(config: Any) -> Shape:
    """The sizes that a transformers configuration describes.

    Raises:
        RunError: the family is not supported.
    """
    return family_of(config).shape(config)
