"""Names for runs, backbones and data: the shortest ones that are unique, and safe file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import NamedTuple

_MAX_BYTES = 200
"""Length of a file name without suffix; most file systems allow 255 bytes."""


class NamedItem(NamedTuple):
    """An item that can be shown under one of several names."""

    identity: str
    """Equal for equal items."""
    names: tuple[str, ...]
    """From the shortest to the most exact one."""


def shortest_unique_names(items: Iterable[NamedItem]) -> dict[str, str]:
    """Return by identity the first of an item's names that no other item has, or its last name if there is none."""
    names_by_identity: dict[str, tuple[str, ...]] = {}
    for item in items:
        names_by_identity.setdefault(item.identity, item.names)
    uses = Counter(name for names in names_by_identity.values() for name in set(names))
    shortest = {}
    for identity, names in names_by_identity.items():
        unique_names = (name for name in names if uses[name] == 1)
        shortest[identity] = next(unique_names, names[-1])
    return shortest


def file_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return by key a file name without suffix: the given name, made safe, with a number if it is taken."""
    safe_names: dict[str, str] = {}
    taken: set[str] = set()  # in lower case, as some file systems ignore case
    for key, name in names.items():
        safe = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]+', "-", name).lstrip(".")
        safe = safe.encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore") or "unnamed"
        numbered = (f"{safe}-{number}" for number in count(2))
        free_name = next(candidate for candidate in chain([safe], numbered) if candidate.casefold() not in taken)
        safe_names[key] = free_name
        taken.add(free_name.casefold())
    return safe_names
