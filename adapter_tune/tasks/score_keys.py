"""Keys of the Trainer's log: ``eval_<split>_<metric>`` for scores, and what stands beside them.

The Trainer writes the log with such keys, results store it as their history, and reports draw learning curves from it.
"""

from __future__ import annotations

_NO_SCORES = ("_loss", "_runtime", "_per_second", "_distinct", "_time")


def score_key(split: str, name: str) -> str:
    """The key of a split's metric, or of its ``runtime`` in seconds or number of ``distinct`` predictions."""
    return f"eval_{split}_{name}"


def scores_of(entry: dict[str, float]) -> dict[str, float]:
    """The scores in an entry of the log, by ``<split>_<metric>``."""
    keys = [key for key in entry if key.startswith("eval_") and not key.endswith(_NO_SCORES)]
    return {key.removeprefix("eval_"): entry[key] for key in keys}


def without_timings(entry: dict[str, float]) -> dict[str, float]:
    """An entry of the log without what only says how long something took or how varied predictions were."""
    dropped = tuple(ending for ending in _NO_SCORES if ending != "_loss")
    return {key: value for key, value in entry.items() if not key.endswith(dropped)}
