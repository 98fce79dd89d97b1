"""Hidden states of many rows in one file on the disk, memory-mapped: written once, read by any number of runs."""

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

_STATES, _META = "states.bin", "meta.json"


@dataclass(frozen=True)
class StateLayout:
    """What a file of states holds: for row i, ``tokens[i]`` vectors of ``d`` numbers."""

    tokens: np.ndarray[Any, Any]
    d: int
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.tokens.sum()) * self.d * self.dtype.itemsize


class StateStore:
    """A file of states, open for reading.

    Raises:
        RunError: it is of another size than the layout, or damaged.
    """

    def __init__(self, folder: Path, layout: StateLayout) -> None:
        self.layout, self.ends = layout, np.cumsum(layout.tokens)
        if (folder / _STATES).stat().st_size != layout.size:
            raise RunError(f"{folder}: of another size than its rows need; remove it and run the same again")
        try:
            self.notes: dict[str, Any] = dict(json.loads((folder / _META).read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise RunError(f"{folder / _META}: damaged; remove {folder} and run the same again") from None
        self._all = _mapped(folder / _STATES, layout, write=False)
        os.utime(folder / _META)  # it was used now

    def batch(self, rows: Sequence[int], width: int) -> Tensor:
        """The states of some rows (rows, width, d), zero behind a row's last token."""
        out = torch.zeros(len(rows), width, self.layout.d, dtype=self.layout.dtype)
        for place, row in enumerate(rows):
            here = _span(self.ends, row)
            out[place, : here.stop - here.start] = self._all[here]
        return out


def is_there(folder: Path) -> bool:
    """Whether a whole file of states lies in a folder."""
    return (folder / _META).is_file() and (folder / _STATES).is_file()


def write(
    folder: Path, layout: StateLayout, parts: Iterable[tuple[Sequence[int], Tensor]], notes: dict[str, Any]
) -> None:
    """Write states that come in any order; the folder appears when all are there.

    Args:
        folder: of the file.
        layout: of the file.
        parts: some rows with their states (rows, tokens or more, d).
        notes: read back as ``States.notes``; may still be filled while the parts come.

    Raises:
        RunError: the disk is full.
    """
    ends = np.cumsum(layout.tokens)
    try:
        with atomic_files.new_folder(folder) as aside:
            with (aside / _STATES).open("wb") as file:  # reserved whole: a full disk must not fail a write to memory
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, layout.size)
            stored = _mapped(aside / _STATES, layout, write=True)
            for rows, states in parts:
                for row, state in zip(rows, states.to("cpu", layout.dtype), strict=True):
                    here = _span(ends, row)
                    stored[here] = state[: here.stop - here.start]
            (aside / _META).write_text(json.dumps(notes), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{folder.parent}: {error.strerror} (states of {layout.size:,} bytes); free some space, or set "
            "training.cache_frozen_prefix=off"
        ) from error


def make_room(parent: Path, size: int, limit: int) -> None:
    """Remove what was used least lately in a folder of states, until ``size`` bytes more are within the limit."""
    found = []
    for file in parent.glob(f"[!.]*/{_STATES}"):  # without those that are being written
        meta = file.with_name(_META)
        with suppress(FileNotFoundError):  # another run makes room, too
            found.append((meta.stat().st_mtime if meta.exists() else 0.0, file.stat().st_size, file.parent))
    total = sum(held for _, held, _ in found)
    for _, held, folder in sorted(found):
        if total + size <= limit:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= held


def _mapped(path: Path, layout: StateLayout, *, write: bool) -> Tensor:
    count = layout.size // layout.dtype.itemsize
    return torch.from_file(str(path), shared=write, size=count, dtype=layout.dtype).view(-1, layout.d)


def _span(ends: np.ndarray[Any, Any], row: int) -> slice:
    return slice(int(ends[row - 1]) if row else 0, int(ends[row]))
