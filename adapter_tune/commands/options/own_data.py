"""Options of the user's own data, of ``train`` and ``inspect-data``."""

from __future__ import annotations

from typing import Annotated

import typer

TrainFile = Annotated[
    str | None,
    typer.Option("--train-file", metavar="FILE", help="Your own training rows: a CSV, TSV, JSONL or Parquet file."),
]
ValidationFile = Annotated[
    str | None,
    typer.Option(
        "--validation-file",
        metavar="FILE",
        help="Validation file. Without one, 10 % of the training rows are held out.",
    ),
]
TestFile = Annotated[
    str | None,
    typer.Option(
        "--test-file",
        metavar="FILE",
        help="Test file for 'predict --split test' and, with labels, 'eval --split test'.",
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="Column with the text. Default: guessed from the column names."),
]
TextPairColumn = Annotated[
    str | None,
    typer.Option(
        "--text-pair-column",
        metavar="NAME",
        help="Column with the second text. Default: guessed from the column names.",
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column", metavar="NAME", help="Column with the label. Default: guessed from the column names."
    ),
]
Problem = Annotated[
    str | None,
    typer.Option(
        "--problem",
        metavar="KIND",
        help="Kind of problem: classification, multi_label or regression. Default: guessed from the labels.",
    ),
]
