"""Options of ``sweep`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion

# sweep

SweepFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME",
        autocompletion=completion.sweeps,
        help="YAML file of a sweep, or the name of a shipped one (see 'list sweeps').",
    ),
]
Workers = Annotated[
    int,
    typer.Option("--workers", min=1, max=1024, metavar="NUMBER", help="Number of worker processes on this machine."),
]
StorageUrl = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Optuna storage URL, or journal:FILE, to share the sweep with other machines. "
        "Default: SQLite in the sweep's folder.",
    ),
]
SweepsFolder = Annotated[
    Path, typer.Option("--output", metavar="FOLDER", help="Folder in which the sweep folders are created.")
]
SweepDryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check every configuration; print the runs, the trained parameters and the estimated time."
    ),
]

# report

ReportFolders = Annotated[
    list[Path], typer.Argument(metavar="FOLDER", help="Folders with finished runs, sweeps or ablations.")
]
ReportFolder = Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Folder to write to.")]
