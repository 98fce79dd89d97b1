"""The order of rows: random in training, with little padding, and reproducible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

_WINDOW = 50  # batches whose rows are sorted by length together


class LengthGroupedSampler(Sampler[int]):
    """Random batches of rows of similar length. The order depends only on the seed and the epoch.

    Args:
        lengths: the number of tokens of each row.
        batch_size: the number of rows of a batch.
        seed: the seed of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rows = rng.permutation(len(self.lengths))
        window = self.batch_size * _WINDOW
        batches = []
        for start in range(0, len(rows), window):
            window_rows = rows[start : start + window]
            by_length = window_rows[np.argsort(-self.lengths[window_rows], kind="stable")]
            batches += [by_length[i : i + self.batch_size] for i in range(0, len(by_length), self.batch_size)]
        full_batches = len(rows) // self.batch_size  # a shorter last batch stays last
        for index in [*rng.permutation(full_batches), *range(full_batches, len(batches))]:
            yield from batches[index].tolist()


def evaluation_batches(lengths: Any, batch_size: int) -> Iterator[list[int]]:
    """The row numbers of every batch of an evaluation, the longest rows first.

    All that computes logits or hidden states for later comparison takes its batches from here: the last bits of a
    row's result depend on the rows beside it.
    """
    order = longest_first(lengths)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def longest_first(lengths: Any) -> list[int]:
    """Row numbers, the longest row first; rows of the same length stay in their order."""
    order: list[int] = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    return order


class LongestFirstSampler(Sampler[int]):
    """Every row once, the longest first. For evaluation, where the order does not change the scores."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = np.asarray(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        yield from longest_first(self.lengths)
