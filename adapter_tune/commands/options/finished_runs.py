"""Options that name a finished run, or what has moved since it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion

RunFolder = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="Run folder, or ORG/NAME[@REVISION] on the Hugging Face Hub. Default: the newest run.",
    ),
]
OneOrMoreRuns = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="Run folder, or ORG/NAME[@REVISION] on the Hugging Face Hub. Several runs, or a folder of runs, share "
        "one backbone. Default: the newest run.",
    ),
]
RunFolders = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="Finished runs, one for each task: folders, or ORG/NAME[@REVISION] on the Hugging Face Hub.",
    ),
]
RunsFolder = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Folder to search for the newest run.")]
EvalRunsFolder = Annotated[
    Path, typer.Option("--output", "--runs", metavar="FOLDER", help="Folder to search for the newest run.")
]
MovedModel = Annotated[
    str | None,
    typer.Option("--model", metavar="ID|FOLDER", help="Path or id of the backbone, if it has moved since training."),
]
MovedLanguageAdapter = Annotated[
    str | None,
    typer.Option(
        "--language-adapter",
        metavar="ID|FOLDER",
        help="Path or ORG/NAME of the run's language adapter, if it has moved, or of one for another language.",
    ),
]
MovedTrainFile = Annotated[
    str | None, typer.Option("--train-file", metavar="FILE", help="Path of the run's training file, if it has moved.")
]
MovedValidationFile = Annotated[
    str | None,
    typer.Option("--validation-file", metavar="FILE", help="Path of the run's validation file, if it has moved."),
]
MovedTestFile = Annotated[
    str | None, typer.Option("--test-file", metavar="FILE", help="Path of the run's test file, if it has moved.")
]
MovedDataSource = Annotated[
    str | None,
    typer.Option("--data-source", metavar="ID|FOLDER", help="Path or id of the run's data set, if it has moved."),
]
EvalBatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        metavar="NUMBER",
        rich_help_panel="Computation",
        help="Evaluation batch size. Default: that of the run.",
    ),
]
