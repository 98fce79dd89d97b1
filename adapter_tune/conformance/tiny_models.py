"""A tiny random classifier of every backbone family, in every variant that has sizes or tensors of its own."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from adapter_tune.adapters.families import FAMILIES

LAYERS = 3
HIDDEN_SIZE = 16
CLASSES = 3
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN_SIZE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 40,
    "max_position_embeddings": 24,
}
_MODERNBERT_TOKENS = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "electra": [{"embedding_size": 8}, {"embedding_size": HIDDEN_SIZE}],
    "distilbert": [{"dim": HIDDEN_SIZE, "n_layers": LAYERS, "n_heads": 2, "hidden_dim": 24}],
    "deberta-v2": [
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 4,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        {"relative_attention": True, "pos_att_type": ["p2c"], "type_vocab_size": 2, "embedding_size": 8},
        {"conv_kernel_size": 3, "conv_groups": 2},
    ],
    "modernbert": [
        _MODERNBERT_TOKENS,
        {**_MODERNBERT_TOKENS, "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
    ],
}
"""The options of each variant of a family; a family that is not here has one variant without options."""


def backbones(families: list[str] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Every variant of some families, of all by default: the family, and the options of the variant."""
    return [(family, own) for family in families or FAMILIES for own in VARIANTS.get(family, [{}])]


def config_of(family: str, own: dict[str, Any]) -> Any:
    """The transformers configuration of a variant, for a classifier of three classes."""
    sizes = {k: v for k, v in SIZES.items() if family != "distilbert" or k in ("vocab_size", "max_position_embeddings")}
    return AutoConfig.for_model(family, **{**sizes, **own}, num_labels=CLASSES)


def model_of(family: str, own: dict[str, Any]) -> Any:
    """A random classifier in evaluation mode, always with the same weights."""
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config_of(family, own)).eval()


def batch_of() -> dict[str, torch.Tensor]:
    """Four rows of up to 9 random tokens, two of them padded, with labels; (rows, tokens) and (rows,)."""
    torch.manual_seed(1)
    lengths = torch.tensor([[9], [6], [9], [3]])
    return {
        "input_ids": torch.randint(5, 30, (len(lengths), 9)),
        "attention_mask": (torch.arange(9) < lengths).long(),
        "labels": torch.tensor([0, 1, 2, 1]),
    }
