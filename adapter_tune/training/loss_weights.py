"""The weight of a row in the loss: by its class, and so that several processes give the mean over the rows of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.splits import Splits


def balanced_class_weights(config: ResolvedConfig, splits: Splits, device: torch.device) -> Tensor | None:
    """Rows / (classes * rows of the class), as scikit-learn's ``balanced``; None if the run has no class weights."""
    task = config.task_spec
    if config.training.class_weights == "none" or splits.train is None:
        return None
    counts = np.bincount(np.asarray(splits.train["labels"]), minlength=task.num_labels)
    weights = counts.sum() / (task.num_labels * np.maximum(counts, 1))
    return torch.tensor(weights, dtype=torch.float32, device=device)


def own_rows_of_last_batch(rows: int, batch_size: int, process: int, processes: int) -> int | None:
    """How many rows of an epoch's last batch are a process's own; None if the last batches are full.

    The others only fill the batch up: a sampler gives every process equally many rows.

    Args:
        rows: of the training split.
        batch_size: of one process.
        process: its number.
        processes: how many there are.
    """
    last_rows = rows % (batch_size * processes)
    if processes == 1 or last_rows == 0:
        return None
    return min(max(last_rows - process * batch_size, 0), batch_size)


def process_loss_scale(labels: Tensor, class_weights: Tensor | None, accelerator: Any) -> Tensor:
    """What makes the average over processes equal to the (weighted) mean over the rows of all of them.

    Args:
        labels: of this process's own rows in the batch (rows).
        class_weights: the weight of each class, or None.
        accelerator: averages over the processes.
    """
    weights = torch.ones_like(labels) if class_weights is None else class_weights[labels]
    weight_here = weights.float().sum()
    mean_weight: Tensor = accelerator.reduce(weight_here, "mean")
    return weight_here / mean_weight
