"""AdapterHub's Houlsby adapter (``double_seq_bn``) with its own trainer, as its GLUE example uses them.

MPNet is not among its models, so it gets the interface that AdapterHub documents for other models.
"""

from functools import partial
from typing import Any

import adapters
import common
from adapters import AdapterModelInterface, AdapterTrainer, AutoAdapterModel, DoubleSeqBnConfig
from transformers import AutoConfig, AutoModelForSequenceClassification, DataCollatorWithPadding

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


args = common.parsed()
train, validation, labels, tokenizer = common.prepared(args)
model = classifier(args.model, labels)
model.add_adapter("glue", config=DoubleSeqBnConfig(reduction_factor=model.config.hidden_size / args.m))
model.train_adapter("glue")
common.report(
    AdapterTrainer(
        model=model,
        args=common.arguments(args),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer) if args.fast else None,
        compute_metrics=partial(common.scored, task=args.task),
    )
)
