"""The paper's ablation: adapters of every contiguous span of layers taken out, and the trained model scored again.

Houlsby et al. 2019, section 3.6, Figure 6; nothing is trained anew. Row = first layer taken out, column = last.
States that two spans share are computed once: span (i, j) goes on from layer j of span (i, j - 1). For L layers that is
L + L(L+1)(L+2)/6 layer evaluations in place of L + L * L(L+1)/2.
"""

from __future__ import annotations

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
from adapter_tune.config.schema import RunConfig
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

Span = tuple[int, int]
"""First and last layer, both included; ``(0, -1)`` is the model as it was trained."""

WHOLE: Span = (0, -1)


def spans_of(layers: int) -> list[Span]:
    """Every contiguous span, row by row."""
    return [(first, last) for first in range(layers) for last in range(first, layers)]


def ablated(config: RunConfig, prepared: PreparedModel, rows: Any, tokenizer: PreTrainedTokenizerBase,
            sub_layer: SubLayer | None = None) -> dict[Span, dict[str, float]]:  # fmt: skip
    """Scores of the whole model and of every span, computed in the batches of evaluation.

    Args:
        config: the run's.
        prepared: its trained model.
        rows: a tokenised split with labels.
        tokenizer: pads the batches.
        sub_layer: take out only the adapters of this kind.

    Raises:
        UsageError: the model has no such adapters.
    """
    if not any(site.adapted and sub_layer in (None, site.sub_layer) for site in sites(prepared.model)):
        kind = f"{sub_layer.replace('_', '-')} " if sub_layer else ""
        raise UsageError(f"the run (strategy {config.strategy.name}) has no {kind}adapters to take out")
    prepare_to_compute(prepared, config.training)
    compute = resolve_compute(config.training)
    model = prepared.model.to(compute.device).eval()
    logits: dict[Span, list[Tensor]] = {}
    labels: list[Tensor] = []
    for batch in progress_bar(
        _batches(config, rows, tokenizer), "batches", -(-len(rows) // config.training.eval_batch_size)
    ):
        labels.append(batch.pop("labels"))
        given = {key: value.to(compute.device) for key, value in batch.items()}
        with torch.inference_mode(), compute.autocast():
            for span, out in spans_logits(model, given, sub_layer):
                logits.setdefault(span, []).append(out.float().cpu())
    score, truth = Scorer(config.task_spec), torch.cat(labels).numpy()
    found = {span: score(EvalPrediction(torch.cat(parts).numpy(), truth)) for span, parts in logits.items()}
    return {span: {name: float(scores[name]) for name in config.task_spec.metrics} for span, scores in found.items()}


def spans_logits(model: Any, batch: dict[str, Tensor], sub_layer: SubLayer | None) -> Iterator[tuple[Span, Tensor]]:
    """Logits (rows, labels) of the whole model, then of every span, each from where it parts from the one before."""
    layers = layers_of(model)
    seen: list[Any] = [None] * len(layers)

    def keep(index: int) -> Any:
        def hook(module: Any, args: Any, out: Any) -> None:
            seen[index] = out

        return hook

    hooks = [layer.register_forward_hook(keep(index)) for index, layer in enumerate(layers)]
    with_adapters = {site.layer for site in sites(model) if site.adapted and sub_layer in (None, site.sub_layer)}
    try:
        yield WHOLE, model(**batch).logits
        whole = list(seen)
        for first in range(len(layers)):
            below: Any = whole[first - 1] if first else None
            for last in range(first, len(layers)):
                out_of_layer = bypass(model, [last], sub_layer=sub_layer) if last in with_adapters else nullcontext()
                with replayed_layers(model, last, partial(_same, below)), out_of_layer:
                    yield (first, last), model(**batch).logits
                below = seen[last]
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
    scores = Scorer(task)(EvalPrediction(guess, truth))
    return {name: float(scores[name]) for name in task.metrics}


def _batches(config: RunConfig, rows: Any, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Tensor]]:
    collate = collator(config.data, tokenizer, resolve_device(config.training.device))
    for row_numbers in evaluation_batches(lengths(rows), config.training.eval_batch_size):
        yield dict(collate([rows[number] for number in row_numbers]))
