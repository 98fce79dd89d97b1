"""The order in which rows are read: little padding, random in training, and the same whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

_WINDOW = 50  # batches among which rows of like length are brought together


class LengthGroupedSampler(Sampler[int]):
    """Random batches of rows of like length; the order is a function of seed and epoch alone.

    Args:
        lengths: tokens of every row.
        batch_size: rows of a batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = np.asarray(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rows = rng.permutation(len(self.lengths))
        window = self.batch_size * _WINDOW
        batches = []
        for start in range(0, len(rows), window):
            near = rows[start : start + window]
            near = near[np.argsort(-self.lengths[near], kind="stable")]
            batches += [near[i : i + self.batch_size] for i in range(0, len(near), self.batch_size)]
        whole = len(rows) // self.batch_size  # a shorter last batch stays last
        for index in [*rng.permutation(whole), *range(whole, len(batches))]:
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
    """Every row once, the longest first: for evaluation, where the order does not matter to the scores."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = np.asarray(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        yield from longest_first(self.lengths)
