"""Hidden states of many rows in one memory-mapped file: written once, read by any number of runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError

_STATES = "states.bin"
_META = "meta.json"


@dataclass(frozen=True)
class StateLayout:
    """What a states file holds: for row i, ``tokens[i]`` vectors of ``d`` numbers."""

    tokens: np.ndarray[Any, Any]
    d: int
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return int(self.tokens.sum()) * self.d * self.dtype.itemsize


class StateStore:
    """A states file, open for reading.

    Raises:
        RunError: its size is not that of the layout, or its notes are damaged.
    """

    def __init__(self, folder: Path, layout: StateLayout) -> None:
        self.layout = layout
        self._ends = np.cumsum(layout.tokens)
        if (folder / _STATES).stat().st_size != layout.size:
            raise RunError(f"{folder}: the cached outputs have the wrong size; remove the folder and run again")
        try:
            self.notes: dict[str, Any] = dict(json.loads((folder / _META).read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise RunError(f"{folder / _META}: damaged; remove {folder} and run again") from None
        self._states = _map_file(folder / _STATES, layout, write=False)
        os.utime(folder / _META)  # the time of last use, which make_room reads

    def batch(self, rows: Sequence[int], width: int) -> Tensor:
        """Return the states of some rows (rows, width, d); positions after a row's last token are zero."""
        states = torch.zeros(len(rows), width, self.layout.d, dtype=self.layout.dtype)
        for index, row in enumerate(rows):
            stored = self._states[_row_slice(self._ends, row)]
            states[index, : len(stored)] = stored
        return states


def exists(folder: Path) -> bool:
    """Whether a folder holds a complete states file."""
    return (folder / _META).is_file() and (folder / _STATES).is_file()


def write(
    folder: Path, layout: StateLayout, parts: Iterable[tuple[Sequence[int], Tensor]], notes: dict[str, Any]
) -> None:
    """Write the states of all rows, in any order; the folder appears when it is complete.

    Args:
        folder: where the file is written.
        layout: of the file.
        parts: numbers of some rows, and their states (rows, at least their tokens, d).
        notes: read back as ``StateStore.notes``.

    Raises:
        RunError: the disk is full.
    """
    try:
        with atomic_files.new_folder(folder) as new:
            _reserve(new / _STATES, layout.size)
            _fill(_map_file(new / _STATES, layout, write=True), layout, parts)
            (new / _META).write_text(json.dumps(notes), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{folder.parent}: {error.strerror} (cached outputs of {layout.size:,} bytes); free some space, or set "
            "training.cache_frozen_prefix=off"
        ) from error


def _reserve(path: Path, size: int) -> None:
    """Allocate the whole file: a full disk must not be noticed only when mapped memory is written."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def _fill(target: Tensor, layout: StateLayout, parts: Iterable[tuple[Sequence[int], Tensor]]) -> None:
    ends = np.cumsum(layout.tokens)
    for rows, states in parts:
        for row, state in zip(rows, states.to("cpu", layout.dtype), strict=True):
            target[_row_slice(ends, row)] = state[: layout.tokens[row]]


def make_room(parent: Path, size: int, limit: int) -> None:
    """Remove the least recently used states in a folder until ``size`` more bytes are within the limit."""
    stored = []
    for file in parent.glob(f"[!.]*/{_STATES}"):  # names with a leading dot are still being written
        meta = file.with_name(_META)
        with suppress(FileNotFoundError):  # another run may delete old entries at the same time
            last_use = meta.stat().st_mtime if meta.exists() else 0.0
            stored.append((last_use, file.stat().st_size, file.parent))
    total = sum(stored_size for _, stored_size, _ in stored)
    for _, stored_size, folder in sorted(stored):
        if total + size <= limit:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= stored_size


def _map_file(path: Path, layout: StateLayout, *, write: bool) -> Tensor:
    """Return the file as a tensor (tokens, d)."""
    count = layout.size // layout.dtype.itemsize
    return torch.from_file(str(path), shared=write, size=count, dtype=layout.dtype).view(-1, layout.d)


def _row_slice(ends: np.ndarray[Any, Any], row: int) -> slice:
    """Where a row's tokens are in the file, given the end of every row."""
    start = int(ends[row - 1]) if row else 0
    return slice(start, int(ends[row]))
