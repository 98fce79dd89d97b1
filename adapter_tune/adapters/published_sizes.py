"""The sizes of published BERT models, so that counting their parameters needs neither weights nor network.

Devlin et al. 2019 (base, large) and Turc et al. 2019 (the miniatures). Each was pretrained with the next-sentence
objective and has it in its checkpoint, so its pooler may stay frozen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedSize:
    """The sizes of a published BERT, under transformers' names."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    vocab_size: int = 30_522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    model_type: str = "bert"


_CASED = 28_996  # WordPiece vocabulary of the cased models

PUBLISHED_SIZES: dict[str, PublishedSize] = {
    "google-bert/bert-base-uncased": PublishedSize(12, 768, 3072, 12),
    "google-bert/bert-base-cased": PublishedSize(12, 768, 3072, 12, _CASED),
    "google-bert/bert-large-uncased": PublishedSize(24, 1024, 4096, 16),
    "google-bert/bert-large-cased": PublishedSize(24, 1024, 4096, 16, _CASED),
    **{
        f"google/bert_uncased_L-{layers}_H-{d}_A-{d // 64}": PublishedSize(layers, d, 4 * d, d // 64)
        for layers in (2, 4, 6, 8, 10, 12)
        for d in (128, 256, 512, 768)
    },
}


def published_size(model_id: str) -> PublishedSize | None:
    """Return the sizes of a published model, or None. ``bert-base-uncased`` works as well as its full id."""
    return PUBLISHED_SIZES.get(model_id) or PUBLISHED_SIZES.get(f"google-bert/{model_id}")
