"""Options of ``eval``, ``predict``, ``ablate`` and ``submit``: on which rows, and where to write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# eval

EvalSplit = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Split to evaluate; it needs labels. Default: all validation splits."),
]
EvalInput = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="CSV, TSV, JSONL or Parquet file with labels, to evaluate on instead of a split.",
    ),
]
InputLabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column", metavar="NAME", help="Column of the input file with the label. Default: the run's column."
    ),
]
OutputJson = Annotated[
    Path | None, typer.Option("--output-json", metavar="FILE", help="Also write the result to this file.")
]

# predict

PredictSplit = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="NAME", help="Split of the run's task, such as validation or test; for mnli also ax."
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="CSV, TSV, JSONL or Parquet file. With -, standard input is read, one text per line.",
    ),
]
InputTextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column", metavar="NAME", help="Column of the input file with the text. Default: the run's column."
    ),
]
InputTextPairColumn = Annotated[
    str | None,
    typer.Option(
        "--text-pair-column",
        metavar="NAME",
        help="Column of the input file with the second text. Default: the run's column.",
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE", help="File to write. Its extension sets the format: .csv, .tsv, .jsonl or .parquet."
    ),
]
Text = Annotated[str | None, typer.Option("--text", metavar="TEXT", help="Text to predict on.")]
TextPair = Annotated[
    str | None, typer.Option("--text-pair", metavar="TEXT", help="Second text, for a task with text pairs.")
]
OnnxModel = Annotated[
    Path | None,
    typer.Option(
        "--onnx",
        metavar="FOLDER|FILE",
        help="Folder that 'export --format onnx' wrote, or a model in it, instead of a run.",
    ),
]

# ablate

AblationSplit = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Split to evaluate; it needs labels. Default: the split that selected the best checkpoint.",
    ),
]
AttentionOnly = Annotated[
    bool, typer.Option("--attention-only", help="Remove only the adapters of the attention sub-layers.")
]
FeedForwardOnly = Annotated[
    bool, typer.Option("--feed-forward-only", help="Remove only the adapters of the feed-forward sub-layers.")
]
AblationFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FOLDER", help="Folder to write to. Default: a folder in the run folder, such as ablation."
    ),
]

# submit

SubmissionFile = Annotated[Path, typer.Option("--output", metavar="FILE", help="Zip file to write.")]
AllowPartial = Annotated[
    bool,
    typer.Option(
        "--allow-partial", help="Fill missing tasks with the majority class, and accept test sets of any size."
    ),
]
