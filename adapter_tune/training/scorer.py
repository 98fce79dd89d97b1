"""From logits to scores, as the Trainer wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datasets.config import HF_DATASETS_CACHE
from transformers import EvalPrediction

from adapter_tune.tasks.glue import CUSTOM, Task
from adapter_tune.tasks.metrics import GlueMetric, glue_scores

DISTINCT = "distinct"
"""The name under which the number of distinct predictions stands beside the scores."""


class Scorer:
    """Scores of logits, and how many distinct predictions there were (at module level, so that it can be pickled)."""

    def __init__(self, task: Task) -> None:
        self.task = task
        cache = str(Path(HF_DATASETS_CACHE) / "metrics")  # evaluate makes it, although nothing is written there
        self.metric = None if task.name == CUSTOM else GlueMetric(task.name, keep_in_memory=True, cache_dir=cache)

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Scores of logits (rows, labels) against labels (rows), or (rows, labels) where a row may have several."""
        predictions = self._predictions(np.asarray(prediction.predictions))
        if self.metric is None:
            scores = glue_scores(self.task, np.asarray(prediction.label_ids), predictions)
        else:
            scores = self.metric.compute(predictions=predictions, references=prediction.label_ids)
        # Equal predictions of a regression differ in their last digits.
        is_constant = np.allclose(predictions, predictions[0], equal_nan=True)
        return {**scores, DISTINCT: 1.0 if is_constant else float(len(np.unique(predictions, axis=0)))}

    def _predictions(self, logits: Any) -> Any:
        if self.task.is_multi_label:
            return (logits > 0).astype(np.int64)
        if self.task.is_regression:
            return logits[:, 0].astype(np.float64)
        return logits.argmax(axis=1)
