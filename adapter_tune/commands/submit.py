"""``adapter-tune submit``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands import options as o
from adapter_tune.foundation.startup import prepare_libraries


def submit(
    runs: o.RunFolders,
    output: o.SubmissionFile = Path("submission.zip"),
    allow_partial: o.AllowPartial = False,
    model: o.MovedModel = None,
    demo: o.Demo = False,
) -> None:
    """Write the zip file for GLUE's leaderboard.

    Needs one finished run for each task.
    """
    prepare_libraries(demo)
    from adapter_tune.report.terminal import show
    from adapter_tune.runs.submit import submit as write_submission

    rows = write_submission(runs, output, allow_partial=allow_partial, model=model, demo=demo)
    show(f"{output}", ["file", "task", "rows", "from"], rows)
