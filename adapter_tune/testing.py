"""Checks for strategies of one's own, to be run in one's own tests.

    >>> from adapter_tune.testing import check_strategy
    >>> check_strategy("houlsby", families=["bert"])

It needs no network, and takes a few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapter_tune.adapters.families import FAMILIES
from adapter_tune.conformance.checks import ConformanceError, check_import, check_on_backbones, check_options
from adapter_tune.foundation.errors import UsageError, unknown_name
from adapter_tune.strategies import Strategy, parse_strategy

__all__ = ["ConformanceError", "check_strategy"]


def check_strategy(
    strategy: type[Strategy] | Strategy | Mapping[str, Any] | str,
    *,
    families: Iterable[str] | None = None,
    start_tolerance: float | None = 0.02,
) -> None:
    """Check everything that the commands rely on, on tiny random models of several backbone families.

    - The class is registered and described, and its options are read from YAML as they were written.
    - The formula and the model give the same numbers, and both refuse the same backbones.
    - At the start, the backbone is unchanged and the logits nearly so.
    - Gradients reach exactly what is trained, and the head is trained.
    - A saved and loaded adapter gives the same logits to the bit.
    - Where adapters are attached to sites, ``adapter_tune.detach`` gives the backbone back.
    - Importing the class and computing the formula need no torch.

    Args:
        strategy: a class (with its default options), a strategy, its YAML section, or its name.
        families: model types of backbones, such as ``bert``; all supported families by default.
        start_tolerance: how much the logits may change at the start, relative to the largest one; None for a strategy
            that does not claim to start as the frozen model.

    Raises:
        ConformanceError: a check failed; the message says what to change in the strategy.
        UsageError: there is no such strategy, option or family, or an empty list of families.
    """
    chosen = None if families is None else list(families)
    if chosen == []:
        raise UsageError("families: the list is empty; name a family, or leave families out for all")
    for family in chosen or ():
        if family not in FAMILIES:
            raise UsageError(f"families: {unknown_name('family', family, FAMILIES)}")
    if isinstance(strategy, type):
        strategy = strategy()
    parsed = parse_strategy(dict(strategy) if isinstance(strategy, Mapping) else strategy)
    check_options(parsed)
    check_on_backbones(parsed, chosen, start_tolerance)
    check_import(parsed)
