"""The order of rows: random in training, with little padding, and reproducible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


class LongestFirstSampler(Sampler[int]):
    """Every row once, the longest first. For evaluation, where the order does not change the scores."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = np.asarray(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        yield from np.argsort(-self.lengths, kind="stable").tolist()
