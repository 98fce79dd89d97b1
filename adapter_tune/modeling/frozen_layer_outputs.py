"""The outputs of the top frozen layer for all rows; nothing above it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DataCollatorWithPadding

from adapter_tune.adapters.model_parts import frozen_layers, layers_of
from adapter_tune.data.samplers import evaluation_batches
from adapter_tune.data.splits import lengths
from adapter_tune.modeling.precision import ComputeSettings


def frozen_layer_outputs(
    model: nn.Module,
    splits: Sequence[Any],
    collate: DataCollatorWithPadding,
    batch_size: int,
    compute: ComputeSettings,
) -> Iterator[tuple[list[int], Any]]:
    """Yield row numbers, counted over all splits, and the output of the top frozen layer for these rows.

    The batches are those of evaluation, so the outputs equal evaluation's to the bit.
    """
    model = model.to(compute.device).eval()
    top_frozen = layers_of(model)[frozen_layers(model) - 1]
    start = 0
    for rows in splits:
        for row_numbers in evaluation_batches(lengths(rows), batch_size):
            batch = collate([rows[row] for row in row_numbers])
            inputs = {key: value.to(compute.device) for key, value in batch.items() if key != "labels"}
            with torch.inference_mode(), compute.autocast():
                output = _run_up_to(top_frozen, model, inputs)
            yield [start + row for row in row_numbers], output
        start += len(rows)


class _LayerReached(Exception):  # noqa: N818  (not an error: it ends a forward pass early)
    pass


def _run_up_to(layer: nn.Module, model: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """Return what a layer returns in a forward pass of the model; nothing above the layer is computed."""
    output: Any = None

    def stop_forward_pass(module: nn.Module, args: Any, layer_output: Any) -> None:
        nonlocal output
        output = layer_output
        raise _LayerReached

    hook = layer.register_forward_hook(stop_forward_pass)
    try:
        model(**inputs)
    except _LayerReached:
        pass
    finally:
        hook.remove()
    return output
