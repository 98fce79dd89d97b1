"""LoRA as the peft package documents it, with the plain Trainer; it has no bottleneck adapter, so m is the rank / 8."""

import common
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, Trainer

args = common.parsed()
train, validation, labels, _ = common.prepared(args)
model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=labels)
model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=max(1, args.m // 8)))
common.report(
    Trainer(
        model=model,
        args=common.arguments(args),
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=common.scored,
    )
)
