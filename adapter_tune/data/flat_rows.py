"""A tokenised split as flat tensors on the device, from which batches are gathered.

A batch takes a few index operations on the training device, without Python code per row. It is bitwise equal to the
batch that ``splits.collator`` makes of the same rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.splits import lengths, padding_multiple

_MEMORY_SHARE = 0.1  # of a GPU's free memory that a split may use


class FlatRows(Dataset[Any]):
    """A split whose batches are gathered from flat tensors.

    Args:
        rows: a tokenised split from ``splits.load_splits``.
        data: the configuration of the padding.
        tokenizer: it gives the padding values; padding is on the right.
        device: the training device. The tensors are on it unless they need more than a tenth of a GPU's free memory;
            then they are on the CPU.
    """

    def __init__(self, rows: Any, data: DataConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self.lengths: Any = np.asarray(lengths(rows), dtype=np.int64)
        pad_values = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        columns = [name for name in rows.column_names if name != "labels"]
        self._pad_values = {name: pad_values.get(name, 0) for name in columns}
        self._fixed_width = data.max_length if data.padding == "max_length" else None
        self._multiple = padding_multiple(data, device.type)
        flat = {name: torch.from_numpy(_flat(rows, name)) for name in columns}
        self.device = device if _fits(flat, device) else torch.device("cpu")
        ends = torch.from_numpy(self.lengths).cumsum(0)
        self._flat = {name: values.to(self.device) for name, values in flat.items()}
        self._start = (ends - torch.from_numpy(self.lengths)).to(self.device)
        self._count = torch.from_numpy(self.lengths).to(self.device)
        self._labels = torch.tensor(rows["labels"][:]).to(self.device)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        """The padded batch of these rows. A ``DataLoader`` calls this and gives the result to its collator."""
        return self.gather(torch.tensor(rows).to(self.device, non_blocking=True), self.width(rows))

    def width(self, rows: list[int]) -> int:
        """The number of tokens to which a batch of these rows is padded."""
        if self._fixed_width is not None:
            return self._fixed_width
        longest = int(self.lengths[rows].max())
        return math.ceil(longest / self._multiple) * self._multiple

    def gather(self, rows: Tensor, width: int) -> dict[str, Tensor]:
        """The batch of some rows.

        Args:
            rows: row numbers, (B,), on the tensors' device.
            width: the number of tokens T to which rows are padded.

        Returns:
            Each column as (B, T), and the labels as (B, ...).
        """
        position = torch.arange(width, device=self.device)
        is_real = position < self._count[rows][:, None]
        index = self._start[rows][:, None] + position * is_real  # padding reads the row's first token, then is replaced
        padding = ~is_real
        batch = {}
        for name, values in self._flat.items():
            batch[name] = values[index].long().masked_fill_(padding, self._pad_values[name])
        batch["labels"] = self._labels[rows]
        return batch


class RowNumbers(Dataset[Any]):
    """A split whose batches hold only row numbers. The training step gathers the rows itself."""

    def __init__(self, rows: FlatRows) -> None:
        self.lengths = rows.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, rows: list[int]) -> dict[str, list[int]]:
        """The row numbers, unchanged."""
        return {"rows": rows}


def can_be_flat(rows: Any, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a split has only tokens and labels, and is padded on the right."""
    supported = {"input_ids", "token_type_ids", "attention_mask", "labels"}
    return supported.issuperset(rows.column_names) and tokenizer.padding_side == "right"


def unwrapped(batch: Any) -> Any:
    """The collator for ``FlatRows``, whose batches are ready. At module level, so that it can be pickled."""
    return batch


def _flat(rows: Any, column: str) -> Any:
    """All tokens of a column in one array, row after row."""
    chunks = [chunk.flatten().to_numpy() for chunk in rows.data.column(column).chunks]
    if not chunks:
        return np.zeros(0, dtype=np.int32)
    return np.concatenate(chunks).astype(np.int32)


def _fits(flat: dict[str, Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return sum(values.nbytes for values in flat.values()) <= _MEMORY_SHARE * free_bytes
