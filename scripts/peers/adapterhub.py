"""AdapterHub's Houlsby adapter (``double_seq_bn``) with its own trainer, as its GLUE example uses them."""

from functools import partial

import common
from adapterhub_models import classifier
from adapters import AdapterTrainer, DoubleSeqBnConfig
from transformers import DataCollatorWithPadding

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
