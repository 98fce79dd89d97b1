"""``adapter-tune report``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands import options as o


def report(folders: o.ReportFolders, output: o.ReportFolder = Path("report")) -> None:
    """Write tables, figures and one page about every finished run under some folders."""
    from adapter_tune.report.collect import collect
    from adapter_tune.report.page import write_report

    found = collect(folders)
    page, *rest = write_report(found, output)
    print(f"{page}: {len(found.runs)} runs, {len(found.ablations)} ablations; {len(rest)} tables and figures beside it")
