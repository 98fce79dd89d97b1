"""What the scripts of the peers share: GLUE rows padded as their examples pad them, scores, one line of JSON."""

from __future__ import annotations

import argparse
import json
import resource
from typing import Any

import numpy as np
from datasets import load_dataset
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import AutoTokenizer, TrainingArguments

PAIR = ("sentence1", "sentence2")
COLUMNS = {"rte": PAIR, "stsb": PAIR, "mrpc": PAIR, "sst2": ("sentence", None), "cola": ("sentence", None)}
METRICS = {"mrpc": f1_score, "cola": matthews_corrcoef}
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
    parser.add_argument("--fast", action="store_true", help="bf16, and batches as long as their longest row")
    return parser.parse_args()


def prepared(args: argparse.Namespace) -> tuple[Any, Any, int, Any]:
    """Training and validation rows, the number of labels, and the tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    padding = {} if args.fast else {"padding": "max_length"}
    first, second = COLUMNS[args.task]

    def encode(batch: Any) -> Any:
        texts = (batch[first],) if second is None else (batch[first], batch[second])
        return tokenizer(*texts, max_length=128, truncation=True, **padding)

    data = load_dataset("nyu-mll/glue", args.task)
    train = data["train"].shuffle(seed=0).select(range(min(args.rows or len(data["train"]), len(data["train"]))))
    splits = [part.map(encode, batched=True).rename_column("label", "labels") for part in (train, data["validation"])]
    return splits[0], splits[1], 1 if args.task == "stsb" else 2, tokenizer


def arguments(args: argparse.Namespace) -> TrainingArguments:
    """The documented trainer's arguments, everything else at its default; with --fast bf16 and the paper's warm-up."""
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
        bf16=args.fast,
        warmup_ratio=0.1 if args.fast else 0.0,
    )


def scored(prediction: Any, task: str = "") -> dict[str, float]:
    """The task's score: Matthews correlation, F1 or accuracy, or Pearson's correlation where there is one output."""
    logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    if np.ndim(logits) == 1 or logits.shape[1] == 1:
        return {"score": float(pearsonr(np.ravel(logits), prediction.label_ids)[0])}
    return {"score": float(METRICS.get(task, accuracy_score)(prediction.label_ids, logits.argmax(axis=1)))}


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
