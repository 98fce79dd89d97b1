"""Which of the waiting rows make up the next batch."""

from __future__ import annotations

from collections.abc import Sequence

MAX_PADDING = 0.1
"""The largest share of a batch's tokens that may be padding."""


def choose_rows(lengths: Sequence[int], max_tokens: int) -> list[int]:
    """Return the rows of the next batch: the first one, and those that are most similar to it in length.

    No row waits for ever, because the first one is always in the batch. All rows are padded to the longest one.

    Args:
        lengths: tokens of every waiting row, the oldest first; at least one.
        max_tokens: tokens of a batch with its padding. A longer row is a batch of its own.

    Returns:
        Positions in ``lengths``, in ascending order.
    """
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)  # among equal lengths, the oldest first
    low = high = by_length.index(0)
    used = longest = lengths[0]
    while True:
        options = []
        if high + 1 < len(by_length):
            longer = lengths[by_length[high + 1]]
            options.append((longer, longer, True))
        if low > 0:
            options.append((longest, lengths[by_length[low - 1]], False))
        rows = high - low + 2  # with one more
        fitting = [
            (padded * rows - used - length, padded, length, is_longer)
            for padded, length, is_longer in options
            if padded * rows <= max_tokens and padded * rows - used - length <= MAX_PADDING * padded * rows
        ]
        if not fitting:
            return sorted(by_length[low : high + 1])
        _, longest, length, is_longer = min(fitting)
        used += length
        high += is_longer
        low -= not is_longer
