"""What the scripts of the peers share: GLUE rows padded as their examples pad them, scores, one line of JSON."""

from __future__ import annotations

import argparse
import json
import resource
from typing import Any

import numpy as np
from datasets import load_dataset
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score
from transformers import AutoTokenizer, TrainingArguments

COLUMNS = {"rte": ("sentence1", "sentence2"), "stsb": ("sentence1", "sentence2"), "sst2": ("sentence", None)}
OPTIONS: dict[str, type] = {
    "task": str,
    "model": str,
    "m": int,
    "rows": int,
    "epochs": float,
    "batch-size": int,
    "lr": float,
    "seed": int,
    "output": str,
}


def parsed() -> argparse.Namespace:
    """The command line that every peer is called with."""
    parser = argparse.ArgumentParser()
    for name, kind in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    return parser.parse_args()


def prepared(args: argparse.Namespace) -> tuple[Any, Any, int]:
    """Training and validation rows, and the number of labels."""
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    first, second = COLUMNS[args.task]

    def encode(batch: Any) -> Any:
        texts = (batch[first],) if second is None else (batch[first], batch[second])
        return tokenizer(*texts, padding="max_length", max_length=128, truncation=True)

    data = load_dataset("nyu-mll/glue", args.task)
    train = data["train"].shuffle(seed=0).select(range(min(args.rows, len(data["train"]))))
    splits = [part.map(encode, batched=True).rename_column("label", "labels") for part in (train, data["validation"])]
    return splits[0], splits[1], 1 if args.task == "stsb" else 2


def arguments(args: argparse.Namespace) -> TrainingArguments:
    """The documented trainer's arguments, everything that is not asked for at its default."""
    return TrainingArguments(
        output_dir=args.output,
        num_train_epochs=args.epochs,
        learning_rate=args.lr,
        seed=args.seed,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )


def scored(prediction: Any) -> dict[str, float]:
    """Accuracy, or Pearson's correlation where there is one output."""
    logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    if np.ndim(logits) == 1 or logits.shape[1] == 1:
        return {"score": float(pearsonr(np.ravel(logits), prediction.label_ids)[0])}
    return {"score": float(accuracy_score(prediction.label_ids, logits.argmax(axis=1)))}


def report(trainer: Any) -> None:
    """Train, evaluate, and print what the caller reads."""
    trained = trainer.train().metrics
    evaluated = trainer.evaluate()
    values = {
        "train_examples_per_second": trained["train_samples_per_second"],
        "eval_examples_per_second": evaluated["eval_samples_per_second"],
        "score": evaluated["eval_score"],
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "trained": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }
    print(json.dumps(values))
