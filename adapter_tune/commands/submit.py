"""``adapter-tune submit``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands.options import finished_runs, general, scoring
from adapter_tune.foundation.startup import prepare_libraries


def submit(
    runs: finished_runs.RunFolders,
    output: scoring.SubmissionFile = Path("submission.zip"),
    allow_partial: scoring.AllowPartial = False,
    model: finished_runs.MovedModel = None,
    demo: general.Demo = False,
) -> None:
    """Write the zip file for GLUE's leaderboard.

    Needs one finished run for each task.
    """
    prepare_libraries(demo)
    from adapter_tune.report.terminal import show
    from adapter_tune.runs.submit import submit as write_submission

    rows = write_submission(runs, output, allow_partial=allow_partial, model=model, demo=demo)
    show(f"{output}", ["file", "task", "rows", "from"], rows)
