"""The paper's ablation: the trained model is scored without the adapters of every contiguous range of layers.

Houlsby et al. 2019, section 3.6, Figure 6; nothing is retrained. Row = first layer without adapters, column = last.
Hidden states that two ranges share are computed once: range (i, j) continues from layer j of range (i, j - 1). For L
layers that is L + L(L+1)(L+2)/6 layer evaluations instead of L + L * L(L+1)/2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction, PreTrainedTokenizerBase

from adapter_tune.adapters.families import SubLayer
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.adapters.surgery import bypass, sites
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.samplers import evaluation_batches
from adapter_tune.data.splits import collator, lengths
from adapter_tune.foundation.console import progress_bar
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.fast_paths import prepare_to_compute
from adapter_tune.modeling.layer_replay import replayed_layers
from adapter_tune.modeling.precision import resolve_compute, resolve_device
from adapter_tune.tasks.glue import Task
from adapter_tune.training.scorer import Scorer

LayerBounds = tuple[int, int]
"""First and last layer without adapters, both included."""

NO_LAYERS: LayerBounds = (0, -1)
"""The model as it was trained."""


def bounds_of_ranges(layers: int) -> list[LayerBounds]:
    """Every contiguous range of layers, row by row of the ablation's grid."""
    return [(first, last) for first in range(layers) for last in range(first, layers)]


def scores_by_range(
    config: ResolvedConfig,
    prepared: PreparedModel,
    rows: Any,
    tokenizer: PreTrainedTokenizerBase,
    sub_layer: SubLayer | None = None,
) -> dict[LayerBounds, dict[str, float]]:
    """Scores of the whole model and without the adapters of every range, computed in the batches of evaluation.

    Args:
        config: the run's configuration.
        prepared: the trained model.
        rows: a tokenised split with labels.
        tokenizer: pads the batches.
        sub_layer: take out only the adapters of this kind.

    Raises:
        UsageError: the model has no such adapters.
    """
    if not _adapted_layers(prepared.model, sub_layer):
        kind = f"{sub_layer.replace('_', '-')} " if sub_layer else ""
        raise UsageError(f"the run (strategy {config.strategy.name}) has no {kind}adapters to remove")
    prepare_to_compute(prepared, config.training)
    compute = resolve_compute(config.training)
    model = prepared.model.to(compute.device).eval()
    logits: dict[LayerBounds, list[Tensor]] = {}
    labels: list[Tensor] = []
    batch_count = math.ceil(len(rows) / config.training.eval_batch_size)
    for batch in progress_bar(_batches(config, rows, tokenizer), "batches", batch_count):
        labels.append(batch.pop("labels"))
        inputs = {key: value.to(compute.device) for key, value in batch.items()}
        with torch.inference_mode(), compute.autocast():
            for bounds, batch_logits in logits_by_range(model, inputs, sub_layer):
                logits.setdefault(bounds, []).append(batch_logits.float())
    truth = torch.cat(labels).numpy()
    scorer = Scorer(config.task_spec)
    return {bounds: _scores(scorer, torch.cat(parts).cpu().numpy(), truth) for bounds, parts in logits.items()}


def _adapted_layers(model: Any, sub_layer: SubLayer | None) -> set[int]:
    """The layers that have an adapter in this sub-layer; None is either of the two."""
    return {site.layer for site in sites(model) if site.adapted and sub_layer in (None, site.sub_layer)}


def logits_by_range(
    model: Any, batch: dict[str, Tensor], sub_layer: SubLayer | None
) -> Iterator[tuple[LayerBounds, Tensor]]:
    """Logits (rows, labels) of the whole model, then of every range, each from the layer where it first differs."""
    layers = layers_of(model)
    outputs: list[Any] = [None] * len(layers)
    """Of every layer, in the last forward pass that computed it."""

    def store(index: int) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            outputs[index] = output

        return hook

    hooks = [layer.register_forward_hook(store(index)) for index, layer in enumerate(layers)]
    adapted_layers = _adapted_layers(model, sub_layer)
    try:
        yield NO_LAYERS, model(**batch).logits
        outputs_with_adapters = list(outputs)
        for first in range(len(layers)):
            below: Any = outputs_with_adapters[first - 1] if first else None
            for last in range(first, len(layers)):
                is_adapted = last in adapted_layers
                without_adapter = bypass(model, [last], sub_layer=sub_layer) if is_adapted else nullcontext()
                with replayed_layers(model, last, partial(_same, below)), without_adapter:
                    yield (first, last), model(**batch).logits
                below = outputs[last]
    finally:
        for hook in hooks:
            hook.remove()


def _same(value: Any) -> Any:
    return value


def majority(task: Task, labels: Iterable[int]) -> dict[str, float] | None:
    """Scores of the most frequent class for every row; None where labels are no classes."""
    if task.is_regression or task.is_multi_label:
        return None
    truth = np.asarray(list(labels))
    guess = np.zeros((len(truth), task.num_labels))
    guess[:, np.bincount(truth).argmax()] = 1
    return _scores(Scorer(task), guess, truth)


def _scores(scorer: Scorer, logits: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> dict[str, float]:
    """The values of the task's metrics."""
    scores = scorer(EvalPrediction(logits, truth))
    return {name: float(scores[name]) for name in scorer.task.metrics}


def _batches(config: ResolvedConfig, rows: Any, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Tensor]]:
    collate = collator(config.data, tokenizer, resolve_device(config.training.device))
    for row_numbers in evaluation_batches(lengths(rows), config.training.eval_batch_size):
        yield dict(collate([rows[number] for number in row_numbers]))
