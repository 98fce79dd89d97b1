"""The frozen layers below the first trained tensor, computed once for every row and then replaced by their outputs.

The outputs are stored in a folder whose name is a digest of everything that decides them, so runs that differ only in
learning rate, seed or the adapters above share them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from adapter_tune.adapters.model_parts import frozen_layers, layers_of
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.splits import Splits, collator, lengths
from adapter_tune.foundation.console import progress_bar
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling import state_store
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.fast_paths import computes_one_token
from adapter_tune.modeling.frozen_layer_outputs import frozen_layer_outputs
from adapter_tune.modeling.layer_replay import replayed_layers
from adapter_tune.modeling.precision import ComputeSettings, resolve_compute
from adapter_tune.modeling.state_store import StateLayout, StateStore

_ROW = "row"
_STATES = "states"
_FOLDER = ".frozen-prefix"
_GIB = 1 << 30
log = logging.getLogger("adapter_tune")


class FrozenLayerCache:
    """The outputs of the lowest frozen layers for all rows of a run; they replace these layers until ``restore``.

    It is the data collator of the run: a batch has its rows' states beside its tokens.

    Args:
        folder: of the states; they are computed if it does not exist.
        config: of the run.
        prepared: the model, ready to compute.
        splits: the rows.
        tokenizer: pads the batches.
    """

    def __init__(
        self,
        folder: Path,
        config: ResolvedConfig,
        prepared: PreparedModel,
        splits: Splits,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        start_time = time.perf_counter()
        compute = resolve_compute(config.training)
        self.depth = frozen_layers(prepared.model)
        self.batch: Tensor | None = None
        """States of the batch that the model computes now (rows, tokens, d)."""
        self._collate = collator(config.data, tokenizer, compute.device)
        self._stores_one_token = _stores_one_token(prepared.model)
        layout = _layout(prepared, splits, compute)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(folder.parent)
        with FileLock(f"{folder}.lock"):  # one run computes the states, the others wait for it
            if not state_store.exists(folder):
                state_store.make_room(folder.parent, layout.size, int(config.training.cache_limit * _GIB))
                log.info("the lowest %d layers are frozen: computing their outputs once", self.depth)
                all_rows = _all_splits(splits)
                batch_size = config.training.eval_batch_size
                outputs = frozen_layer_outputs(prepared.model, all_rows, self._collate, batch_size, compute)
                _write_states(folder, layout, outputs)
        self._store = StateStore(folder, layout)
        self.splits = _number_rows(splits)
        self._replaced_layers = ExitStack()
        self._replaced_layers.enter_context(replayed_layers(prepared.model, self.depth, self._layer_output))
        self.seconds = time.perf_counter() - start_time

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a padded batch of the rows, with their states."""
        row_numbers = []
        features = []
        for row in rows:
            columns = dict(row)
            row_numbers.append(columns.pop(_ROW))
            features.append(columns)
        batch = dict(self._collate(features))
        width = 1 if self._stores_one_token else batch["input_ids"].shape[1]
        batch[_STATES] = self._store.batch(row_numbers, width)
        return batch

    def take(self, inputs: dict[str, Any]) -> None:
        """Move a batch's states from the model's inputs to ``batch``."""
        self.batch = inputs.pop(_STATES)

    def restore(self) -> None:
        """Put the layers back into the model."""
        self._replaced_layers.close()

    def _layer_output(self) -> Any:
        """Return the states of the current batch in the form of the layer: a tensor, or a tuple that begins with it."""
        tuple_length = self._store.notes["tuple"]
        if tuple_length == 0:
            return self.batch
        return (self.batch, *[None] * (tuple_length - 1))


def cache_folder(config: ResolvedConfig, prepared: PreparedModel, splits: Splits) -> Path | None:
    """Return the folder for the states of a run, or None if the run does not cache them.

    Raises:
        UsageError: ``training.cache_frozen_prefix`` is on, but there is nothing to cache, or it is more than
            ``training.cache_limit``.
    """
    training = config.training
    if training.cache_frozen_prefix == "off" or splits.train is None:
        return None
    is_worthwhile = training.backbone_dropout != "on" and _epochs(config, splits) > 1
    if training.cache_frozen_prefix == "auto" and not is_worthwhile:
        return None
    compute = resolve_compute(training)
    obstacle = _obstacle(config, prepared, splits, compute)
    if not obstacle:
        return Path(config.output) / _FOLDER / _key(config, prepared, splits, compute)
    if training.cache_frozen_prefix == "on":
        raise UsageError(f"training.cache_frozen_prefix is on, but {obstacle}; set it to auto")
    return None


def _obstacle(config: ResolvedConfig, prepared: PreparedModel, splits: Splits, compute: ComputeSettings) -> str:
    """Return why the frozen layers cannot be cached, or an empty string."""
    if config.training.shard_backbone:
        return "training.shard_backbone distributes the frozen layers over the processes"
    if not frozen_layers(prepared.model):
        return f"strategy {config.strategy.name} trains the lowest layer or something below it"
    size = _layout(prepared, splits, compute).size / _GIB
    limit = config.training.cache_limit
    if size > limit:
        return f"{size:.3g} GiB are needed and training.cache_limit is {limit:g}"
    return ""


def _key(config: ResolvedConfig, prepared: PreparedModel, splits: Splits, compute: ComputeSettings) -> str:
    """Return a digest of everything that decides the states."""
    inputs = {
        "backbone": [prepared.fingerprint, cast(Any, prepared.model.config).to_json_string()],
        "data": [rows._fingerprint for rows in _all_splits(splits)],
        "layers": frozen_layers(prepared.model),
        "fast": config.training.fast,
        "padding": config.data.padding,
        "batch": config.training.eval_batch_size,  # the last bits of a state depend on its batch
        "computed": [compute.precision, compute.device, torch.__version__],
        "threads": torch.get_num_threads() if compute.device == "cpu" else None,  # sums are rounded in their order
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _epochs(config: ResolvedConfig, splits: Splits) -> float:
    training = config.training
    if not training.max_steps:
        return training.epochs
    steps_per_epoch = math.ceil(len(splits.train) / (training.batch_size * training.gradient_accumulation))
    return training.max_steps / steps_per_epoch


def _all_splits(splits: Splits) -> list[Any]:
    return [splits.train, *splits.validation.values()]


def _number_rows(splits: Splits) -> Splits:
    """Return the splits with one more column: the number of the row, counted over all splits."""
    numbered = []
    start = 0
    for rows in _all_splits(splits):
        numbered.append(rows.add_column(_ROW, np.arange(start, start + len(rows))))
        start += len(rows)
    train, *validation = numbered
    return Splits(train, dict(zip(splits.validation, validation, strict=True)))


def _stores_one_token(model: nn.Module) -> bool:
    """Whether only the first token has states: all layers are frozen, and the top one computes no other token."""
    return computes_one_token(model) and frozen_layers(model) == len(layers_of(model))


def _layout(prepared: PreparedModel, splits: Splits, compute: ComputeSettings) -> StateLayout:
    tokens = np.concatenate([lengths(rows) for rows in _all_splits(splits)])
    if _stores_one_token(prepared.model):
        tokens = np.ones_like(tokens)
    d = cast(Any, prepared.model.config).hidden_size
    return StateLayout(tokens, d, compute.dtype)


def _remove_unfinished(parent: Path) -> None:
    """Remove states that a killed process left half-written."""
    for unfinished in parent.glob(".*.part"):
        with suppress(Timeout), FileLock(parent / f"{unfinished.stem[1:]}.lock", timeout=0):
            shutil.rmtree(unfinished, ignore_errors=True)


def _write_states(folder: Path, layout: StateLayout, outputs: Iterator[tuple[list[int], Any]]) -> None:
    """Write layer outputs, and whether the layer returns a tuple (``notes["tuple"]``: its length, 0 for a tensor)."""
    first_rows, first_output = next(outputs)
    notes = {"tuple": len(first_output) if isinstance(first_output, tuple) else 0}
    all_outputs = progress_bar(chain([(first_rows, first_output)], outputs), "frozen layers")
    state_store.write(folder, layout, _states(all_outputs), notes)


def _states(outputs: Iterator[tuple[list[int], Any]]) -> Iterator[tuple[list[int], Tensor]]:
    """Yield row numbers and hidden states: the output of a layer, or the first element if it returns a tuple."""
    for rows, output in outputs:
        yield rows, output[0] if isinstance(output, tuple) else output
