"""The published BERT models whose shape is known here, so that counting needs neither weights nor network.

Devlin et al. 2019 (base, large) and Turc et al. 2019 (the miniatures). Every one was pretrained with the
next-sentence objective and carries it in its checkpoint, so its pooler may stay frozen.
"""

from __future__ import annotations

from adapter_tune.counts import Shape

_CASED = 28_996  # WordPiece vocabulary of the cased models; the uncased ones have 30,522

PUBLISHED: dict[str, Shape] = {
    "google-bert/bert-base-uncased": Shape(12, 768, 3072, 12),
    "google-bert/bert-base-cased": Shape(12, 768, 3072, 12, vocabulary=_CASED),
    "google-bert/bert-large-uncased": Shape(24, 1024, 4096, 16),
    "google-bert/bert-large-cased": Shape(24, 1024, 4096, 16, vocabulary=_CASED),
    **{
        f"google/bert_uncased_L-{layers}_H-{d}_A-{d // 64}": Shape(layers, d, 4 * d, d // 64)
        for layers in (2, 4, 6, 8, 10, 12)
        for d in (128, 256, 512, 768)
    },
}


def published_shape(model_id: str) -> Shape | None:
    """The shape of a published model (``bert-base-uncased`` works as well as its full id), or None."""
    return PUBLISHED.get(model_id) or PUBLISHED.get(f"google-bert/{model_id}")
