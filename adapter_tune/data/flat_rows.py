"""A tokenised split as flat tensors on the device, from which batches are gathered.

No row goes through Python: a batch is a few index operations on the device that trains. It equals, to the bit, what
``splits.collator`` makes of the same rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.splits import lengths, multiple_of

_SHARE = 0.1  # of a GPU's free memory that a split may take


class FlatRows(Dataset[Any]):
    """A split whose batches are gathered from flat tensors.

    Args:
        rows: tokenised, as of ``splits.load_splits``.
        data: how rows are padded.
        tokenizer: what they are padded with, on the right.
        device: where the batches are wanted; the tensors lie there unless they would take more than a tenth of a
            GPU's free memory.
    """

    def __init__(self, rows: Any, data: DataConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self.lengths: Any = np.asarray(lengths(rows), dtype=np.int64)
        pads = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        columns = [name for name in rows.column_names if name != "labels"]
        self._pads = {name: pads.get(name, 0) for name in columns}
        self._width = data.max_length if data.padding == "max_length" else None
        self._multiple = multiple_of(data, device.type)
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
        """The batch of these rows, padded: what a ``DataLoader`` asks for, and hands to its collator."""
        return self.gather(torch.tensor(rows).to(self.device, non_blocking=True), self.width(rows))

    def width(self, rows: list[int]) -> int:
        """Tokens to which a batch of these rows is padded."""
        if self._width is not None:
            return self._width
        return -(-int(self.lengths[rows].max()) // self._multiple) * self._multiple

    def gather(self, rows: Tensor, width: int) -> dict[str, Tensor]:
        """The batch of rows (their numbers, on the tensors' device), each column (rows, width); labels (rows, ...)."""
        position = torch.arange(width, device=self.device)
        is_real = position < self._count[rows][:, None]
        at = self._start[rows][:, None] + position * is_real  # padding reads the row's first token, and is replaced
        padding = ~is_real
        batch = {name: values[at].long().masked_fill_(padding, self._pads[name]) for name, values in self._flat.items()}
        return {**batch, "labels": self._labels[rows]}


class RowNumbers(Dataset[Any]):
    """A split whose batches are the numbers of their rows alone: they are gathered in the step that reads them."""

    def __init__(self, rows: FlatRows) -> None:
        self.lengths = rows.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, rows: list[int]) -> dict[str, list[int]]:
        """The numbers as they are."""
        return {"rows": rows}


def can_be_flat(rows: Any, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a split has nothing but tokens and labels, and is padded on the right."""
    known = {"input_ids", "token_type_ids", "attention_mask", "labels"}
    return known.issuperset(rows.column_names) and tokenizer.padding_side == "right"


def unwrapped(batch: Any) -> Any:
    """The collator of loaders over ``FlatRows``: a batch is ready as it comes (at module level, so that it pickles)."""
    return batch


def _flat(rows: Any, column: str) -> Any:
    """All tokens of a column, one row after the other."""
    chunks = [chunk.flatten().to_numpy() for chunk in rows.data.column(column).chunks]
    return np.concatenate(chunks).astype(np.int32) if chunks else np.zeros(0, dtype=np.int32)


def _fits(flat: dict[str, Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    return sum(values.nbytes for values in flat.values()) <= _SHARE * torch.cuda.mem_get_info(device)[0]
