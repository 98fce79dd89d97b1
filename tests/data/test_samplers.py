import random
from collections import Counter

import pytest

from adapter_tune.data.samplers import LengthGroupedSampler, LongestFirstSampler

RNG = random.Random(0)
LENGTHS = [RNG.randrange(4, 60) for _ in range(1003)]


def batches(sampler: LengthGroupedSampler, size: int) -> list[list[int]]:
    rows = list(sampler)
    return [rows[i : i + size] for i in range(0, len(rows), size)]


@pytest.mark.parametrize("size", [1, 7, 8, 2000])
def test_every_row_once(size: int) -> None:
    assert Counter(LengthGroupedSampler(LENGTHS, size, seed=1)) == Counter(range(1003))
    assert len(LengthGroupedSampler(LENGTHS, size, seed=1)) == 1003


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = LengthGroupedSampler(LENGTHS, 8, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(s, e)) for s in (1, 2) for e in (0, 1)}) == 4


def test_batches_are_of_like_length_and_in_random_order() -> None:
    grouped = batches(LengthGroupedSampler(LENGTHS, 8, seed=1), 8)[:-1]
    padded = sum(8 * max(LENGTHS[i] for i in batch) for batch in grouped)
    assert sum(LENGTHS[i] for batch in grouped for i in batch) / padded > 0.9
    longest = [max(LENGTHS[i] for i in batch) for batch in grouped]
    assert longest != sorted(longest, reverse=True)


def test_rows_meet_other_rows_in_another_epoch() -> None:
    sampler = LengthGroupedSampler(LENGTHS, 8, seed=1)
    first = {frozenset(batch) for batch in batches(sampler, 8)}
    sampler.set_epoch(1)
    assert not first & {frozenset(batch) for batch in batches(sampler, 8)}


def test_longest_first() -> None:
    order = list(LongestFirstSampler(LENGTHS))
    assert [LENGTHS[i] for i in order] == sorted(LENGTHS, reverse=True)
    assert sorted(order) == list(range(1003))
