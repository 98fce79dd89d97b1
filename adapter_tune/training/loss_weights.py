"""The weight of a row in the loss: by its class, and so that a step's loss is one mean over all its rows.

The rows of a step come in several batches (gradient accumulation) and from several processes. The
sum of their weighted losses is divided by the number of rows of the whole step. It is not divided by the sum of their
weights, as torch does within a batch: with one row in a batch, the weights would then have no effect. Balanced weights
are 1 on average over the training rows.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.splits import Splits
from adapter_tune.tasks.glue import Task

log = logging.getLogger("adapter_tune")


def balanced_class_weights(config: ResolvedConfig, splits: Splits, device: torch.device) -> Tensor | None:
    """The weight of each class, or of the positive rows of each label; None if the run has no class weights.

    Returns:
        Classes: rows / (classes * rows of the class), as scikit-learn's ``balanced``. Several labels: negative rows /
        positive rows of the label, as in torch's ``pos_weight``. Float32, (labels).
    """
    task = config.task_spec
    if config.training.class_weights == "none" or splits.train is None:
        return None
    labels = np.asarray(splits.train["labels"])
    if task.is_multi_label:
        positive = labels.sum(axis=0)
        weights = np.maximum(len(labels) - positive, 1) / np.maximum(positive, 1)
    else:
        counts = np.bincount(labels, minlength=task.num_labels)
        weights = counts.sum() / (task.num_labels * np.maximum(counts, 1))
    least, most = int(weights.argmin()), int(weights.argmax())
    log.info(
        "weights in the loss: from %.3g (%s) to %.3g (%s)",
        weights[least],
        task.labels[least],
        weights[most],
        task.labels[most],
    )
    return torch.tensor(weights, dtype=torch.float32, device=device)


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor, task: Task) -> Tensor:
    """The sum of the rows' weighted losses divided by the number of rows.

    Args:
        logits: (rows, labels), float32.
        labels: class ids (rows), or 0 and 1 for several labels (rows, labels).
        weights: from ``balanced_class_weights``.
        task: the task.
    """
    if task.is_multi_label:
        return functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights)
    return functional.cross_entropy(logits, labels, weight=weights, reduction="none").mean()


def own_rows_of_last_batch(last_rows: int, batch_size: int, process: int) -> int:
    """How many rows of an epoch's last batch are a process's own; the others only fill the batch up.

    Args:
        last_rows: rows of the last batch over all processes.
        batch_size: of one process.
        process: its number.
    """
    return min(max(last_rows - process * batch_size, 0), batch_size)


def batch_loss_scale(own_rows: int, step_rows: int, batches: int, processes: int) -> float:
    """The factor of a batch's mean loss that makes the average over batches and processes the mean over all rows.

    Args:
        own_rows: rows of the batch in this process.
        step_rows: rows of the step over all its batches and processes.
        batches: batches of the step in this process.
        processes: their number.
    """
    return own_rows * batches * processes / step_rows
