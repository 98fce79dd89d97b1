"""Options of ``train``, and of the commands that also compose a run: ``inspect-data``, ``count-params``, ``bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion

Config = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|NAME",
        autocompletion=completion.configs,
        help="YAML file with options, as 'init' writes it, or the name of a shipped one (see 'list configs').",
    ),
]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE|NAME", autocompletion=completion.configs, help="The same as the argument FILE|NAME."
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        autocompletion=completion.tasks,
        help="GLUE task (see 'list tasks'), or custom for your own data.",
    ),
]
StrategyName = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        autocompletion=completion.strategies,
        help="Strategy, which decides what is trained (see 'list strategies').",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--m",
        metavar="NUMBER|LIST",
        help="Bottleneck size of the adapters: a number, or a list with a number for each layer.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="ID|FOLDER", help="Backbone: a model on the Hugging Face Hub, or a local folder."),
]
InitFrom = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        metavar="RUN",
        autocompletion=completion.runs,
        help="Trained run to start from, a folder or ORG/NAME[@REVISION] on the Hugging Face Hub: adapters, "
        "LayerNorms and pooler are its own, the head is new.",
    ),
]
TrainPooler = Annotated[
    bool, typer.Option("--train-pooler", help="Train the pooler even if the checkpoint has a pretrained one.")
]
LearningRate = Annotated[
    str | None, typer.Option("--lr", metavar="NUMBER", help="Peak learning rate. Default: that of the strategy.")
]
Epochs = Annotated[str | None, typer.Option("--epochs", metavar="NUMBER", help="Number of training epochs.")]
BatchSize = Annotated[
    str | None, typer.Option("--batch-size", metavar="NUMBER", help="Training batch size (over all processes).")
]
Seed = Annotated[
    str | None, typer.Option("--seed", metavar="NUMBER", help="Random seed (new weights, row order, dropout).")
]
Output = Annotated[
    str | None,
    typer.Option("--output", metavar="FOLDER", help="Folder in which the run folders are created. Default: runs."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set any option by its path: training.warmup=0.2. Can be repeated."
    ),
]
Resume = Annotated[
    bool, typer.Option(help="Resume an unfinished run from its last checkpoint, or start from the beginning.")
]
Force = Annotated[bool, typer.Option("--force", help="Train again even if the run is finished.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the configuration and the parameter counts; train nothing.")
]

# count-params

Sizes = Annotated[
    str | None,
    typer.Option(
        "--m",
        metavar="NUMBERS",
        help="Bottleneck size of the adapters. Several sizes are separated by commas: 8,64,256.",
    ),
]
NumLabels = Annotated[
    int,
    typer.Option(
        "--num-labels", min=1, max=100_000, metavar="NUMBER", help="Number of labels of the classification head."
    ),
]

# bench

BenchStrategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        metavar="STRATEGY",
        autocompletion=completion.strategies,
        help="Strategy, with options if needed: 'houlsby layers=top-6'. Can be repeated. Default: full and houlsby.",
    ),
]
Lengths = Annotated[
    str,
    typer.Option(
        "--lengths",
        metavar="TASK|NUMBER",
        help="GLUE task whose row lengths are used, or a number of tokens for all rows.",
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        "--steps",
        min=1,
        max=100_000,
        metavar="NUMBER",
        help="Number of measured training steps for each strategy; with --onnx, of turns of each model.",
    ),
]
BenchOnnx = Annotated[
    Path | None,
    typer.Option(
        "--onnx",
        metavar="FOLDER|FILE",
        help="Time the ONNX models in a folder that 'export --format onnx' wrote, or one of them, beside torch.",
    ),
]
FrozenLayerCache = Annotated[
    bool,
    typer.Option(
        "--kept",
        help="If the lowest layers are frozen, also measure the strategy without dropout, "
        "and with the cached outputs of these layers.",
    ),
]
