"""What ``init`` prints: what the data are, each value with its reason, and what is wrong with the data."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any


def show_plan(about: str, choices: Sequence[tuple[str, Any, str]], notes: Sequence[str]) -> None:
    """Print a plan.

    Args:
        about: what the data are, in one line.
        choices: path, value and reason of each option.
        notes: what is wrong with the data.
    """
    width = shutil.get_terminal_size((110, 24)).columns
    _print_wrapped(about, width, "", "  ")
    for path, value, reason in choices:
        _print_wrapped(f"{path}={value}{f': {reason}' if reason else ''}", width, "  ", "      ")
    for note in notes:
        _print_wrapped(f"note: {note}", width, "", "  ")


def _print_wrapped(text: str, width: int, first: str, following: str) -> None:
    print(
        textwrap.fill(
            text,
            width,
            initial_indent=first,
            subsequent_indent=following,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
