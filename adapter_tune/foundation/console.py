"""The console (stderr): which libraries may print to it, and a progress bar over rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from adapter_tune.foundation import distributed

T = TypeVar("T")

console = Console(
    stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=not distributed.is_main_process()
)


def limit_library_output(quiet: bool) -> None:
    """Show only errors of the Hugging Face libraries; ``quiet`` also hides their download and tokenising bars."""
    import datasets
    import transformers

    transformers.utils.logging.set_verbosity_error()
    datasets.utils.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    if quiet:
        from huggingface_hub.utils import disable_progress_bars

        datasets.disable_progress_bars()
        disable_progress_bars()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside the block, print nothing but warnings and errors."""
    log = logging.getLogger("adapter_tune")
    level = log.level
    was_quiet = console.quiet
    log.setLevel(logging.WARNING)
    console.quiet = True
    try:
        yield
    finally:
        log.setLevel(level)
        console.quiet = was_quiet


class Rate(ProgressColumn):
    """Rows per second."""

    def render(self, task: Any) -> Text:
        """The rate, or nothing until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} rows/s")


def progress_bar(rows: Iterator[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the same rows. On a terminal, show their count and rate, and the time left if the total is known."""
    if not console.is_terminal:
        yield from rows
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        yield from bar.track(rows, total=total, description=what)
