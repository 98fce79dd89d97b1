"""The progress of a sweep on stderr: one table on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from adapter_tune.sweeps.study import Progress


class LiveProgress:
    """Shows a sweep's progress on stderr until the ``with`` block ends."""

    def __init__(self, sweep_name: str) -> None:
        self._sweep_name = sweep_name
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._start = time.monotonic()
        self._ended_before: int | None = None
        self._last_line = ""

    def __enter__(self) -> LiveProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Show how far the sweep is."""
        ended = progress.done + progress.pruned
        if self._ended_before is None:
            self._ended_before = ended
        cells = {
            "running": f"{progress.running}",
            "done": f"{ended} of {progress.total}",
            "pruned": f"{progress.pruned}",
            "failed": f"{progress.failed}",
            "best": "-" if progress.best is None else f"{progress.best:.4f}",
            "left": self._time_left(progress.total - ended, ended - self._ended_before),
        }
        if self._live is not None:
            table = Table(*cells, title=self._sweep_name, title_justify="left")
            table.add_row(*cells.values())
            self._live.update(table)
            return
        line = f"{cells['done']} done, {cells['failed']} failed, best {cells['best']}"
        if line != self._last_line and (ended or progress.failed):
            print(f"{self._sweep_name}: {line}, {cells['left']} left", file=self._console.file, flush=True)
            self._last_line = line

    def _time_left(self, runs_left: int, runs_ended: int) -> str:
        """Return the time left, from the mean time of the runs that have ended since the start."""
        if runs_left and runs_ended <= 0:
            return "?"
        seconds = (time.monotonic() - self._start) / max(runs_ended, 1) * runs_left
        return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"
