"""The sizes of each backbone family, by closed formulas from a transformers configuration; without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapter_tune.adapters.formula import ProjectionShape, Shape


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
        "projections": (
            *(ProjectionShape((name,), d, d) for name in ("query", "key", "value", "attention_output")),
            ProjectionShape(("feed_forward_input",), d, f),
            ProjectionShape(("feed_forward_output",), f, d),
        ),
    }
    return Shape(**{**values, **changes})


def bert_shape(config: Any) -> Shape:
    """BERT: word, position and token-type embeddings; a pooler."""
    d = config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return _encoder(config, embeddings=rows * d, pooler=d * d + d)


def roberta_shape(config: Any) -> Shape:
    """As BERT, without the pooler."""
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return _encoder(config, embeddings=rows * config.hidden_size)


def electra_shape(config: Any) -> Shape:
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


def distilbert_shape(config: Any) -> Shape:
    """No token types and no pooler."""
    rows = config.vocab_size + config.max_position_embeddings
    return _encoder(config, embeddings=rows * config.hidden_size)


def mpnet_shape(config: Any) -> Shape:
    """One table of relative positions for all layers."""
    rows = config.vocab_size + config.max_position_embeddings
    relative = config.relative_attention_num_buckets * config.num_attention_heads
    return _encoder(config, embeddings=rows * config.hidden_size + relative)


def deberta_v2_shape(config: Any) -> Shape:
    """Relative positions for all layers, perhaps with their own projections in each layer, perhaps a convolution."""
    d = config.hidden_size
    e = getattr(config, "embedding_size", None) or d
    rows = config.vocab_size + config.type_vocab_size
    if getattr(config, "position_biased_input", True):
        rows += config.max_position_embeddings
    embeddings = rows * e
    if e != d:
        embeddings += e * d
    if getattr(config, "relative_attention", False):
        embeddings += 2 * d * _deberta_v2_relative_positions(config)
    biases = 0
    norms = 2 * d
    if "layer_norm" in getattr(config, "norm_rel_ebd", "none"):
        norms += 2 * d
    if getattr(config, "conv_kernel_size", 0) > 0:
        embeddings += d * (d // getattr(config, "conv_groups", 1)) * config.conv_kernel_size + d
        biases += d
        norms += 2 * d
    plain = _encoder(config, embeddings=embeddings, embedding_biases=biases, embedding_norms=norms)
    projections = _deberta_v2_position_projections(config)
    layer = plain.layer + projections * (d * d + d)
    return replace(plain, layer=layer, layer_biases=plain.layer_biases + projections * d)


def _deberta_v2_position_projections(config: Any) -> int:
    """How many d x d projections of relative positions each layer has."""
    if not getattr(config, "relative_attention", False) or getattr(config, "share_att_key", False):
        return 0
    return sum(kind in (config.pos_att_type or []) for kind in ("c2p", "p2c"))


def _deberta_v2_relative_positions(config: Any) -> int:
    """Rows of half the table of relative positions; a size that is not positive stands for the next one."""
    for name in ("position_buckets", "max_relative_positions"):
        size = int(getattr(config, name, -1))
        if size > 0:
            return size
    return int(config.max_position_embeddings)


def modernbert_shape(config: Any) -> Shape:
    """Gated feed-forward, few biases, norms before the sub-layers (none before the first) and one above all layers."""
    d = config.hidden_size
    f = config.intermediate_size
    layers = config.num_hidden_layers
    biases = 0
    if config.attention_bias:
        biases += 4 * d
    if config.mlp_bias:
        biases += 2 * f + d
    norm = 2 * d if config.norm_bias else d
    pooler = d * d + norm
    if config.classifier_bias:
        pooler += d
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
        projections=(
            ProjectionShape(("query", "key", "value"), d, 3 * d),
            ProjectionShape(("attention_output",), d, d),
            ProjectionShape(("feed_forward_input",), d, 2 * f),
            ProjectionShape(("feed_forward_output",), f, d),
        ),
        pooler=pooler,
    )
