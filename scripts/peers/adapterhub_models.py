"""Classifiers with AdapterHub's adapters.

MPNet is not among AdapterHub's models, so it gets the interface that AdapterHub documents for other models.
"""

from __future__ import annotations

from typing import Any

import adapters
from adapters import AdapterModelInterface, AutoAdapterModel
from transformers import AutoConfig, AutoModelForSequenceClassification

MPNET = AdapterModelInterface(
    adapter_methods=["bottleneck"],
    model_embeddings="embeddings",
    model_layers="encoder.layer",
    layer_self_attn="attention",
    layer_cross_attn=None,
    attn_q_proj="attn.q",
    attn_k_proj="attn.k",
    attn_v_proj="attn.v",
    attn_o_proj="attn.o",
    layer_intermediate_proj="intermediate.dense",
    layer_output_proj="output.dense",
)


def classifier(name: str, labels: int) -> Any:
    """The model with a new head."""
    if AutoConfig.from_pretrained(name).model_type == "mpnet":
        model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=labels)
        adapters.init(model, interface=MPNET)
    else:
        model = AutoAdapterModel.from_pretrained(name)
        model.add_classification_head("glue", num_labels=labels)
    return model
