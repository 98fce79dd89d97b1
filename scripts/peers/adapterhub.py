"""AdapterHub's Houlsby adapter (``double_seq_bn``) with its own trainer, as its GLUE example uses them."""

import common
from adapters import AdapterTrainer, AutoAdapterModel, DoubleSeqBnConfig

args = common.parsed()
train, validation, labels = common.prepared(args)
model = AutoAdapterModel.from_pretrained(args.model)
model.add_classification_head("glue", num_labels=labels)
model.add_adapter("glue", config=DoubleSeqBnConfig(reduction_factor=model.config.hidden_size / args.m))
model.train_adapter("glue")
common.report(
    AdapterTrainer(
        model=model,
        args=common.arguments(args),
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=common.scored,
    )
)
