"""The frozen layers below the first trained tensor: computed once for every row, and never again.

Their states lie in a folder whose name is a digest of all that decides them, so that runs of other learning rates,
seeds or adapters above share them.
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
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from adapter_tune.adapters.surgery import frozen_layers, layers_of
from adapter_tune.config.schema import RunConfig
from adapter_tune.data.samplers import LongestFirstSampler
from adapter_tune.data.splits import Splits, collator, lengths
from adapter_tune.foundation.console import progress_bar
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling import state_store
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.fast_paths import computes_one_token
from adapter_tune.modeling.layer_replay import replayed_layers
from adapter_tune.modeling.precision import TYPES, resolve_device, resolve_precision
from adapter_tune.modeling.state_store import StateLayout, StateStore

_ROW, _STATES = "row", "states"
_FOLDER = ".frozen-prefix"
_GIB = 1 << 30
log = logging.getLogger("adapter_tune")


class FrozenLayerCache:
    """Stored states of all rows of a run, in the place of the layers that gave them until ``restore``.

    Args:
        folder: of the states; they are computed if they are not there.
        config: of the run.
        prepared: the model, ready.
        splits: the data.
        tokenizer: pads the batches.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        prepared: PreparedModel,
        splits: Splits,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        start = time.perf_counter()
        self.collate = collator(config.data, tokenizer, resolve_device(config.training.device))
        self.batch: Tensor | None = None
        """States of the batch that is in the model (rows, tokens, d)."""
        layout = _layout(config, prepared, splits)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead(folder.parent)
        with FileLock(f"{folder}.lock"):  # other runs wait for the one that computes them
            if not state_store.is_there(folder):
                state_store.make_room(folder.parent, layout.size, int(config.training.cache_limit * _GIB))
                notes: dict[str, Any] = {}
                log.info("the lowest %d layers are frozen: computing them once", frozen_layers(prepared.model))
                parts = _computed(config, prepared, splits, self.collate, notes)
                state_store.write(folder, layout, progress_bar(parts, "frozen layers"), notes)
        self.stored = StateStore(folder, layout)
        self.one_token = computes_one_token(prepared.model) and frozen_layers(prepared.model) == len(
            layers_of(prepared.model)
        )
        self.splits = _numbered(splits)
        self.depth, self._undo = frozen_layers(prepared.model), ExitStack()
        self._undo.enter_context(replayed_layers(prepared.model, self.depth, self._given))
        self.seconds = time.perf_counter() - start

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows, their states beside them."""
        batch = dict(self.collate([{key: value for key, value in row.items() if key != _ROW} for row in rows]))
        width = 1 if self.one_token else batch["input_ids"].shape[1]
        return {**batch, _STATES: self.stored.batch([row[_ROW] for row in rows], width)}

    def take(self, inputs: dict[str, Any]) -> None:
        """Keep a batch's states for the model, which gets the rest."""
        self.batch = inputs.pop(_STATES)

    def restore(self) -> None:
        """Put the layers back."""
        self._undo.close()

    def _given(self) -> Any:
        """The states of the batch in the form of the layer's result."""
        length = self.stored.notes["tuple"]
        return (self.batch, *[None] * (length - 1)) if length else self.batch


class _Stop(Exception):  # noqa: N818  (no error: it ends a forward pass where the rest is not wanted)
    pass


def _remove_dead(parent: Path) -> None:
    """Remove states that nobody is writing any more: a process was killed over them."""
    for left in parent.glob(".*.part"):
        with suppress(Timeout), FileLock(parent / f"{left.stem[1:]}.lock", timeout=0):
            shutil.rmtree(left, ignore_errors=True)


def cache_folder(config: RunConfig, prepared: PreparedModel, splits: Splits) -> Path | None:
    """The folder of the states that a run should keep or has kept; None for none.

    Raises:
        UsageError: they are asked for, and there are none, or more than ``training.cache_limit``.
    """
    t = config.training
    if t.cache_frozen_prefix == "off" or splits.train is None:
        return None
    if t.cache_frozen_prefix == "auto" and (t.backbone_dropout == "on" or _epochs(config, splits) <= 1):
        return None
    size, problem = _layout(config, prepared, splits).size / _GIB, ""
    if t.shard_backbone:
        problem = "training.shard_backbone takes the frozen layers apart"
    elif not frozen_layers(prepared.model):
        problem = f"strategy {config.strategy.name} trains in the lowest layer or below it"
    elif size > t.cache_limit:
        problem = f"{size:.3g} GiB are needed and training.cache_limit is {t.cache_limit:g}"
    if problem and t.cache_frozen_prefix == "on":
        raise UsageError(f"training.cache_frozen_prefix is on, but {problem}; set it to auto")
    return None if problem else Path(config.output) / _FOLDER / _key(config, prepared, splits)


def _key(config: RunConfig, prepared: PreparedModel, splits: Splits) -> str:
    t = config.training
    decides = {
        "backbone": [prepared.fingerprint, cast(Any, prepared.model.config).to_json_string()],
        "data": [rows._fingerprint for rows in _parts(splits)],
        "layers": frozen_layers(prepared.model),
        "fast": t.fast,
        "padding": config.data.padding,
        "batch": t.eval_batch_size,  # the last bits of a state depend on its batch
        "computed": [
            resolve_precision(t.precision, resolve_device(t.device)),
            resolve_device(t.device),
            torch.__version__,
        ],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _epochs(config: RunConfig, splits: Splits) -> float:
    t = config.training
    steps = math.ceil(len(splits.train) / (t.batch_size * t.gradient_accumulation))
    return t.max_steps / steps if t.max_steps else t.epochs


def _parts(splits: Splits) -> list[Any]:
    return [splits.train, *splits.validation.values()]


def _numbered(splits: Splits) -> Splits:
    """The splits with a column that numbers the rows through all of them."""
    out, start = [], 0
    for rows in _parts(splits):
        out.append(rows.add_column(_ROW, np.arange(start, start + len(rows))))
        start += len(rows)
    return Splits(out[0], dict(zip(splits.validation, out[1:], strict=True)))


def _layout(config: RunConfig, prepared: PreparedModel, splits: Splits) -> StateLayout:
    tokens = np.concatenate([lengths(rows) for rows in _parts(splits)])
    if computes_one_token(prepared.model) and frozen_layers(prepared.model) == len(layers_of(prepared.model)):
        tokens = np.ones_like(tokens)
    precision = resolve_precision(config.training.precision, resolve_device(config.training.device))
    return StateLayout(tokens, cast(Any, prepared.model.config).hidden_size, TYPES[precision])


def _computed(
    config: RunConfig, prepared: PreparedModel, splits: Splits, collate: DataCollatorWithPadding, notes: dict[str, Any]
) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers and states of rows, in the batches of evaluation, so that they are evaluation's to the bit."""
    t, start = config.training, 0
    device = resolve_device(t.device)
    dtype = TYPES[resolve_precision(t.precision, device)]
    model = prepared.model.to(device).eval()
    found: list[Any] = []

    def stop(module: nn.Module, args: Any, out: Any) -> None:
        found[:] = [out]
        raise _Stop

    hook = layers_of(model)[frozen_layers(model) - 1].register_forward_hook(stop)
    try:
        for rows in _parts(splits):
            order = list(LongestFirstSampler(lengths(rows)))
            for first in range(0, len(order), t.eval_batch_size):
                chosen = order[first : first + t.eval_batch_size]
                batch = collate([rows[row] for row in chosen])
                narrow = torch.autocast(device, dtype, enabled=dtype != torch.float32)
                with torch.inference_mode(), narrow, suppress(_Stop):
                    model(**{key: value.to(device) for key, value in batch.items() if key != "labels"})
                is_tuple = isinstance(found[0], tuple)
                notes["tuple"] = len(found[0]) if is_tuple else 0
                yield [start + row for row in chosen], found[0][0] if is_tuple else found[0]
            start += len(rows)
    finally:
        hook.remove()
