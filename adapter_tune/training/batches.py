"""How the Trainer gets its batches: with cached outputs of the frozen layers, from flat tensors, or from a collator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, TrainingArguments

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.data.flat_rows import FlatRows, RowNumbers, can_be_flat, unwrapped
from adapter_tune.data.splits import Splits, collator, lengths
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.frozen_layer_cache import FrozenLayerCache, cache_folder


@dataclass(frozen=True)
class BatchSource:
    """The rows of a run in the form that its batches are made from, and what makes a batch of some rows."""

    splits: Splits
    collate: Callable[[Any], Any]
    is_flat: bool = False
    """Whether all splits are flat tensors."""
    frozen_layer_cache: FrozenLayerCache | None = None


def batch_source(
    config: ResolvedConfig,
    prepared: PreparedModel,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    args: TrainingArguments,
) -> BatchSource:
    """The fastest source that the run can have; the outputs of frozen layers are computed by the first process."""
    folder = cache_folder(config, prepared, splits)
    if folder is not None:
        with args.main_process_first(desc="outputs of the frozen layers"):
            cache = FrozenLayerCache(folder, config, prepared, splits, tokenizer)
        return BatchSource(cache.splits, cache, frozen_layer_cache=cache)
    all_rows = [rows for rows in (splits.train, *splits.validation.values()) if rows is not None]
    if all(can_be_flat(rows, tokenizer) for rows in all_rows):
        return BatchSource(_flat_splits(config, splits, tokenizer, args.device), unwrapped, is_flat=True)
    return BatchSource(splits, collator(config.data, tokenizer, args.device.type))


def _flat_splits(
    config: ResolvedConfig, splits: Splits, tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> Splits:
    def flat(rows: Any) -> FlatRows:
        return FlatRows(rows, config.data, tokenizer, device)

    train = None if splits.train is None else flat(splits.train)
    return Splits(train, {name: flat(rows) for name, rows in splits.validation.items()})


def row_lengths(rows: Any) -> Any:
    """The number of tokens of every row of a split, whatever its form."""
    return rows.lengths if isinstance(rows, FlatRows | RowNumbers) else lengths(rows)
