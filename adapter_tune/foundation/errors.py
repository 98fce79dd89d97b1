"""What a user may meet when something is wrong: one line with the cause and the fix, and an exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes of what a signal ended."""


class AdapterTuneError(Exception):
    """Base of every error this package raises on purpose. The message is one line: cause, then fix."""

    exit_code = 1


class UsageError(AdapterTuneError):
    """Something the user wrote is wrong: a flag, a YAML key, a name, a path (exit code 2)."""

    exit_code = 2


class RunError(AdapterTuneError):
    """Something failed on the way: the network, a file, a data set, the disk (exit code 1)."""


class FieldError(UsageError):
    """A wrong configuration value. ``loc`` is its path, as in ``("training", "learning_rate")``."""

    def __init__(self, loc: tuple[str, ...], problem: str) -> None:
        self.loc, self.problem = loc, problem
        super().__init__(f"{'.'.join(loc)}: {problem}" if loc else problem)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED", "backend out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of a device; libraries raise it under many names."""
    named = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
    return named or any(words in str(error) for words in _NO_MEMORY)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for an unknown ``name``: the nearest known one first, then all of them.

    >>> unknown("task", "mnly", ["cola", "mnli"])
    "unknown task 'mnly'; did you mean 'mnli'? Known: cola, mnli"
    """
    names = sorted(known)
    lower = {each.lower(): each for each in reversed(names)}
    near = get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    hint = f"did you mean '{lower[near[0]]}'? " if near else ""
    return f"unknown {kind} '{name}'; {hint}Known: {', '.join(names) or 'none'}"
