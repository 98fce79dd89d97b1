"""Names for things that came out of files: as short as tells them apart, and as file names that lead nowhere else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import NamedTuple

_LONGEST = 200
"""Bytes; file systems take 255, and there are endings to come."""


class NamedItem(NamedTuple):
    """Something that is shown under one of several names."""

    identity: str
    """Equal for equal things."""
    names: tuple[str, ...]
    """From the shortest to the one that says all."""


def shortest_unique_names(things: Iterable[NamedItem]) -> dict[str, str]:
    """By identity the first of a thing's names that no other thing has, or its last."""
    by: dict[str, tuple[str, ...]] = {}
    for thing in things:
        by.setdefault(*thing)
    times = Counter(name for names in by.values() for name in set(names))
    return {identity: next((name for name in names if times[name] == 1), names[-1]) for identity, names in by.items()}


def file_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """By key a file name without an ending: what is wanted for it where that is one, and no earlier one has it."""
    out: dict[str, str] = {}
    taken: set[str] = set()  # in small letters, which is all that some file systems see
    for key, name in wanted.items():
        safe = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]+', "-", name).lstrip(".")
        safe = safe.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore") or "unnamed"
        numbered = (f"{safe}-{number}" for number in count(2))
        out[key] = next(unique for unique in chain([safe], numbered) if unique.casefold() not in taken)
        taken.add(out[key].casefold())
    return out
