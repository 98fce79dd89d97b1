"""Options of ``init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|FOLDER|NAME",
        autocompletion=completion.data,
        help="Your rows: a CSV, TSV, JSONL or Parquet file, a folder with files for train, validation and test, or a "
        "data set on the Hugging Face Hub (ORG/NAME). Or the name of a GLUE task.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take every guess.")]
TaskFile = Annotated[Path, typer.Option("--output", metavar="FILE", help="Configuration to write; it ends with .yaml.")]
ReplaceTaskFile = Annotated[
    bool, typer.Option("--force", help="Replace the configuration if it exists.", rich_help_panel="Output")
]
FurtherValidationFile = Annotated[
    str | None,
    typer.Option(
        "--validation-file",
        metavar="FILE",
        help="Validation file. Without one, 10 % of the training rows are held out, or 20 % of less than 1,000.",
    ),
]
Subset = Annotated[
    str | None, typer.Option("--subset", metavar="NAME", help="Subset (configuration) of a data set on the Hub.")
]
SuggestedModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="ID|FOLDER",
        help="Backbone: a model on the Hugging Face Hub, or a local folder. Its tokenizer measures the rows. Default: "
        "one that suits this machine.",
    ),
]
