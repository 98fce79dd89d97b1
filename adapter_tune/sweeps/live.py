"""A sweep while it runs: one table on a terminal, a line for every finished run elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table

if TYPE_CHECKING:
    from adapter_tune.sweeps.study import Progress


class Live:
    """Shows a sweep's progress on stderr until the block ends."""

    def __init__(self, name: str, workers: int) -> None:
        self.name, self.workers = name, workers
        self.console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._table = RichLive(console=self.console, refresh_per_second=4) if self.console.is_terminal else None
        self._start, self._begun, self._said = time.monotonic(), -1, ""

    def __enter__(self) -> Live:
        if self._table is not None:
            self._table.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._table is not None:
            self._table.stop()

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        ended = progress.done + progress.pruned
        if self._begun < 0:
            self._begun = ended
        cells = {
            "running": f"{progress.running}",
            "done": f"{ended} of {progress.total}",
            "pruned": f"{progress.pruned}",
            "failed": f"{progress.failed}",
            "best": "-" if progress.best is None else f"{progress.best:.4f}",
            "left": self._left(progress, ended - self._begun),
        }
        if self._table is not None:
            table = Table(*cells, title=self.name, title_justify="left")
            table.add_row(*cells.values())
            self._table.update(table)
            return
        line = f"{ended} of {progress.total} done, {progress.failed} failed, best {cells['best']}"
        if line != self._said and (ended or progress.failed):
            print(f"{self.name}: {line}, {cells['left']} left", file=self.console.file, flush=True)
            self._said = line

    def _left(self, progress: Progress, since: int) -> str:
        """Time left, by the mean of what ended since the start."""
        left = progress.total - progress.done - progress.pruned
        if left and since <= 0:
            return "?"
        seconds = (time.monotonic() - self._start) / max(since, 1) * left
        return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"
