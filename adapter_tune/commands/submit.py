"""``adapter-tune submit``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune import options as o
from adapter_tune.libraries import ready_libraries


def submit(
    runs: o.RunFolders,
    output: o.Zip = Path("submission.zip"),
    allow_partial: o.AllowPartial = False,
    model: o.Moved = None,
    demo: o.Demo = False,
) -> None:
    """Write the zip for GLUE's leaderboard from one finished run a task."""
    ready_libraries(demo)
    from adapter_tune.report.tables import show
    from adapter_tune.submit import submit as write

    table = write(runs, output, allow_partial=allow_partial, model=model, demo=demo)
    show(f"{output}", ["file", "task", "rows", "from"], table)
