"""``adapter-tune report``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands.options import many_runs


def report(folders: many_runs.ReportFolders, output: many_runs.ReportFolder = Path("report")) -> None:
    """Write a report on finished runs.

    The report has tables, figures, and one page with all of them.
    """
    from adapter_tune.report.collect import collect
    from adapter_tune.report.page import write_report

    collected = collect(folders)
    page, *files = write_report(collected, output)
    counts = f"runs: {len(collected.runs)}, ablations: {len(collected.ablations)}"
    print(f"{page} ({counts}); {len(files)} files with tables and figures")
