"""The errors that a user can see: one line with the cause and the fix, and an exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""
TERMINATED = 128 + signal.SIGTERM
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""Signals that end a command as SIGTERM does: a closed terminal sends SIGHUP, SLURM what its --signal says."""
"""Exit code after a termination signal."""


class AdapterTuneError(Exception):
    """Base class of every error that this package raises on purpose. The message is one line: cause, then fix."""

    exit_code = 1


class UsageError(AdapterTuneError):
    """Something the user wrote is wrong: a flag, a YAML key, a name, a path (exit code 2)."""

    exit_code = 2


class RunError(AdapterTuneError):
    """Something failed while running: the network, a file, a data set, the disk (exit code 1)."""


class FieldError(UsageError):
    """A wrong configuration value. ``loc`` is its path, as in ``("training", "learning_rate")``."""

    def __init__(self, loc: tuple[str, ...], problem: str) -> None:
        self.loc = loc
        self.problem = problem
        super().__init__(f"{'.'.join(loc)}: {problem}" if loc else problem)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


_OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED", "backend out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or a device ran out of memory; libraries raise this under many names."""
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def similar_name(name: object, known: Iterable[str]) -> str | None:
    """The most similar known name, in any case of letters; None if none is similar."""
    by_lower_case = {known_name.lower(): known_name for known_name in sorted(known, reverse=True)}
    similar = get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[similar[0]] if similar else None


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for an unknown name: the most similar known name, then all known names.

    >>> unknown_name("task", "mnly", ["cola", "mnli"])
    "unknown task 'mnly'; did you mean 'mnli'? Known: cola, mnli"
    """
    names = sorted(known)
    similar = similar_name(name, names)
    hint = f"did you mean '{similar}'? " if similar else ""
    return f"unknown {kind} '{name}'; {hint}Known: {', '.join(names) or 'none'}"
