"""How long GLUE's rows are: tokens a row, special ones included, so that speed is measured on lengths as they occur."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_tune.foundation.errors import UsageError, unknown_name

QUANTILES: dict[str, tuple[int, ...]] = {
    "cola": (4, 6, 7, 8, 8, 9, 9, 9, 10, 10, 10, 11, 11, 12, 12, 13, 14, 15, 17, 20, 47),
    "sst2": (3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 11, 13, 14, 16, 18, 20, 23, 27, 33, 63),
    "mrpc": (19, 32, 36, 39, 41, 44, 45, 47, 50, 51, 53, 55, 57, 59, 61, 62, 64, 67, 70, 74, 103),
    "stsb": (10, 15, 16, 17, 18, 19, 19, 20, 21, 22, 23, 24, 25, 26, 28, 31, 35, 42, 51, 60, 125),
    "rte": (13, 29, 33, 37, 40, 43, 45, 47, 50, 53, 56, 59, 62, 67, 72, 85, 103, 120, 135, 157, 289),
    "mnli": (5, 15, 19, 21, 23, 26, 28, 30, 32, 34, 36, 38, 41, 43, 46, 49, 52, 57, 62, 72, 292),
}
"""Percentiles 0, 5, ... 100 of the training rows with BERT's uncased vocabulary (20,000 rows of SST-2 and MNLI)."""


def sample_lengths(what: str, rows: int, longest: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Lengths of so many rows, cut at ``longest``.

    Args:
        what: a task with known quantiles, or a number of tokens that every row has.
        rows: how many.
        longest: tokens a row may have.
        seed: of the draw.

    Raises:
        UsageError: neither of the two.
    """
    if what.isdecimal():
        if not 2 <= int(what) <= longest:
            raise UsageError(f"--lengths: {what} tokens a row, but data.max_length is {longest}")
        return np.full(rows, int(what))
    if what not in QUANTILES:
        raise UsageError(f"--lengths: {unknown_name('task', what, QUANTILES)}; or give a number of tokens")
    points = np.interp(np.random.default_rng(seed).random(rows), np.linspace(0, 1, 21), QUANTILES[what])
    found: np.ndarray[Any, Any] = np.minimum(points.round().astype(int), longest)
    return found
