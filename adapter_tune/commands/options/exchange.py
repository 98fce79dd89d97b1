"""Options of ``export``, ``import`` and ``push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion

# export

ExportFormat = Annotated[
    str, typer.Option("--format", metavar="NAME", help="Format to write: adapterhub, peft, merged or onnx.")
]
ExportFolder = Annotated[Path, typer.Option("--output", metavar="FOLDER", help="New folder to write to.")]
Safetensors = Annotated[
    bool,
    typer.Option(
        "--safetensors",
        help="Write safetensors files; AdapterHub reads them with use_safetensors=True only. Default: pickles.",
    ),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8", help="With --format onnx: also write the model with 8-bit weights, and compare scores and speed."
    ),
]

# import

ForeignFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder that another library saved an adapter in.")
]
ImportModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="ID|FOLDER", help="Path or id of the adapter's backbone. Default: the id in the folder."
    ),
]
ImportLanguageAdapter = Annotated[
    str | None,
    typer.Option(
        "--language-adapter",
        metavar="ID|FOLDER",
        help="Path or ORG/NAME of the language adapter of AdapterHub that it was trained on. Default: none.",
    ),
]
ImportTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        autocompletion=completion.tasks,
        help="GLUE task that the adapter is for, or custom. Default: that of an exported run, or your own data.",
    ),
]
ImportTextColumn = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="Column with the text, for your own data. Default: text."),
]
ImportTextPairColumn = Annotated[
    str | None,
    typer.Option(
        "--text-pair-column",
        metavar="NAME",
        help="Column with the second text, if the adapter reads pairs of your own data.",
    ),
]
ImportLabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", metavar="NAME", help="Column with the label, for your own data. Default: label."),
]
ImportMaxLength = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        min=2,
        metavar="NUMBER",
        help="Maximum number of tokens in a row. Default: that of an exported run, or 128.",
    ),
]
ImportFolder = Annotated[Path, typer.Option("--output", metavar="FOLDER", help="New run folder to write.")]

# push

PushedRun = Annotated[
    Path, typer.Argument(metavar="RUN", autocompletion=completion.runs, help="Folder of the finished run.")
]
Repository = Annotated[
    str, typer.Argument(metavar="ORG/NAME", help="Repository on the Hugging Face Hub; it is created if needed.")
]
Private = Annotated[bool, typer.Option("--private", help="Create a private repository. Default: a public one.")]
Branch = Annotated[
    str | None,
    typer.Option("--revision", metavar="NAME", help="Branch to push to, created if needed. Default: the main branch."),
]
PushModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="ID",
        help="Id of the backbone on the Hub, if the run was trained on a local folder. The weights are compared.",
    ),
]
