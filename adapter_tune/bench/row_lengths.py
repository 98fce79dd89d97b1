"""The lengths of GLUE's rows in tokens, special tokens included, so that speed is measured on realistic lengths."""

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


def sample_lengths(lengths: str, rows: int, max_length: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return the lengths of random rows, cut at ``max_length``.

    Args:
        lengths: a task in ``QUANTILES``, or the number of tokens of every row.
        rows: the number of rows.
        max_length: the largest length of a row.
        seed: the random seed.

    Raises:
        UsageError: ``lengths`` is no such task, or a number below 2 or above ``max_length``.
    """
    if lengths.isdecimal():
        if not 2 <= int(lengths) <= max_length:
            raise UsageError(
                f"--lengths: {lengths} tokens per row are not possible with data.max_length={max_length}; "
                f"give a number from 2 to {max_length}"
            )
        return np.full(rows, int(lengths))
    if lengths not in QUANTILES:
        raise UsageError(f"--lengths: {unknown_name('task', lengths, QUANTILES)}; or give a number of tokens")
    shares = np.random.default_rng(seed).random(rows)
    samples = np.interp(shares, np.linspace(0, 1, 21), QUANTILES[lengths])
    sampled: np.ndarray[Any, Any] = np.minimum(samples.round().astype(int), max_length)
    return sampled
