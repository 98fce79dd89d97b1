"""The options of the command line, each once: its flag, its type, its one line of help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from adapter_tune import __version__

ConfigFile = Annotated[str | None, typer.Option("--config", help="A YAML file, or the name of a shipped one.")]
Task = Annotated[str | None, typer.Option("--task", help="The GLUE task; see 'list tasks'.")]
Size = Annotated[str | None, typer.Option("--m", help="Bottleneck size of the adapters; a list has one a layer.")]
Sizes = Annotated[str | None, typer.Option("--m", help="Bottleneck size; several with commas: 8,64,256.")]
StrategyName = Annotated[str | None, typer.Option("--strategy", help="What is trained; see 'list strategies'.")]
Model = Annotated[str | None, typer.Option("--model", help="The backbone: a model on the Hub, or a local folder.")]
Demo = Annotated[bool, typer.Option("--demo", help="The embedded backbone and data: no network, no download.")]
Pooler = Annotated[bool, typer.Option("--train-pooler", help="Train the pooler, whatever the checkpoint holds.")]
Rate = Annotated[str | None, typer.Option("--lr", help="Peak learning rate; the strategy's own by default.")]
Epochs = Annotated[str | None, typer.Option("--epochs", help="Passes over the training rows.")]
BatchSize = Annotated[str | None, typer.Option("--batch-size", help="Rows a forward pass in training.")]
Seed = Annotated[str | None, typer.Option("--seed", help="Of new weights, order of rows, and dropout.")]
Output = Annotated[str | None, typer.Option("--output", help="The folder that holds the run folders.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any option by its path: training.warmup=0.2. Repeatable."),
]
TrainFile = Annotated[str | None, typer.Option("--train-file", help="Your own rows: CSV, TSV, JSONL or Parquet.")]
ValidationFile = Annotated[str | None, typer.Option("--validation-file", help="Likewise; or some are held out.")]
TestFile = Annotated[str | None, typer.Option("--test-file", help="Likewise, for predict --split test.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="The label's column; guessed by default.")]
Problem = Annotated[
    str | None, typer.Option("--problem", help="classification, multi_label or regression; else guessed.")
]
Resume = Annotated[bool, typer.Option(help="Go on from the last checkpoint of an unfinished run, or start it anew.")]
Force = Annotated[bool, typer.Option("--force", help="Run anew what is finished already.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the configuration and the counts; train nothing.")]
RunFolder = Annotated[Path | None, typer.Argument(help="The run folder; the newest one by default.")]
Split = Annotated[str | None, typer.Option("--split", help="One labelled split; all validation splits by default.")]
EvalBatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="Rows a forward pass.")]
Moved = Annotated[str | None, typer.Option("--model", help="Where the backbone lies now, if it moved.")]
Newest = Annotated[Path, typer.Option("--output", "--runs", help="Where the newest run is looked for.")]
NewestIn = Annotated[Path, typer.Option("--runs", help="Where the newest run is looked for.")]
OutputJson = Annotated[Path | None, typer.Option("--output-json", help="Write the result to this file too.")]
AnySplit = Annotated[str | None, typer.Option("--split", help="A split of the run's task; ax goes with mnli.")]
Input = Annotated[str | None, typer.Option("--input", help="A CSV, TSV, JSONL or Parquet file; - is standard input.")]
Predictions = Annotated[Path | None, typer.Option("--output", help="The file to write; the ending says the format.")]
Text = Annotated[str | None, typer.Option("--text", help="One text to look at.")]
TextPair = Annotated[str | None, typer.Option("--text-pair", help="The second text, where the task reads two.")]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="The text's column, if not the task's own.")]
TextPairColumn = Annotated[str | None, typer.Option("--text-pair-column", help="Likewise, of the second text.")]
RunFolders = Annotated[list[Path], typer.Argument(help="Finished run folders, one a task.")]
Zip = Annotated[Path, typer.Option("--output", help="The zip to write.")]
AllowPartial = Annotated[
    bool, typer.Option("--allow-partial", help="Fill missing tasks with the majority class; take sets of any size.")
]
NumLabels = Annotated[int, typer.Option("--num-labels", min=1, max=100_000, help="Width of the classification head.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BenchStrategies = Annotated[
    list[str] | None,
    typer.Option("--strategy", help="A name with options: 'houlsby layers=top-6'. Repeatable; full and houlsby."),
]
Lengths = Annotated[str, typer.Option("--lengths", help="A GLUE task whose rows' lengths to draw, or N tokens a row.")]
Steps = Annotated[int, typer.Option("--steps", min=1, max=100_000, help="Measured training steps a strategy.")]
Kept = Annotated[bool, typer.Option("--kept", help="Measure frozen lower layers with their states kept, too.")]
AttentionOnly = Annotated[bool, typer.Option("--attention-only", help="Take out the attention's adapters alone.")]
FeedForwardOnly = Annotated[bool, typer.Option("--feed-forward-only", help="Likewise, the feed-forward's.")]
AblationFolder = Annotated[Path | None, typer.Option("--output", help="Where to write; in the run folder by default.")]
SweepFile = Annotated[str, typer.Argument(help="A sweep's YAML file, or the name of a shipped one.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=1024, help="Processes on this machine.")]
StorageUrl = Annotated[str | None, typer.Option("--storage", help="Optuna's storage URL, or journal:FILE, to share.")]
SweepsFolder = Annotated[Path, typer.Option("--output", help="The folder that holds the sweeps' folders.")]
SweepDryRun = Annotated[bool, typer.Option("--dry-run", help="Check every cell; print runs, parameters, time.")]
ReportFolders = Annotated[list[Path], typer.Argument(help="Folders that hold finished runs, sweeps or ablations.")]
ReportFolder = Annotated[Path, typer.Option("--output", help="The folder to write to.")]
ConfigName = Annotated[str, typer.Argument(help="Name of a shipped configuration; see 'list configs'.")]
AnyConfig = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped one.")]


class Listing(str, Enum):
    """What can be listed."""

    tasks = "tasks"
    strategies = "strategies"
    configs = "configs"
    sweeps = "sweeps"


What = Annotated[Listing | None, typer.Argument(help="One of the four; all by default.")]
StrategyToShow = Annotated[str | None, typer.Argument(help="A strategy: options, formula, where it sits.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"adapter-tune {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
