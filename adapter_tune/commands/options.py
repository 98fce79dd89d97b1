"""The options and arguments of the command line, each defined once: its flag, its type, its line of help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from adapter_tune import __version__
from adapter_tune.commands import completion


def _choices(values: type[Enum]) -> str:
    """The values of an option in its help: ``auto|cpu|cuda``."""
    return "|".join(str(each.value) for each in values)


# The configuration of a run.

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE|NAME",
        autocompletion=completion.configs,
        help="YAML file with options, or the name of a shipped one (see 'list configs').",
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
Sizes = Annotated[
    str | None,
    typer.Option(
        "--m",
        metavar="NUMBERS",
        help="Bottleneck size of the adapters. Several sizes are separated by commas: 8,64,256.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="ID|FOLDER", help="Backbone: a model on the Hugging Face Hub, or a local folder."),
]
Demo = Annotated[bool, typer.Option("--demo", help="Use the embedded demo backbone and data. No network is needed.")]
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
NumLabels = Annotated[
    int,
    typer.Option(
        "--num-labels", min=1, max=100_000, metavar="NUMBER", help="Number of labels of the classification head."
    ),
]
AnyConfig = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME",
        autocompletion=completion.configs,
        help="YAML file, or the name of a shipped configuration.",
    ),
]
ConfigName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=completion.shipped_files,
        help="Name of a shipped configuration or sweep (see 'list configs' and 'list sweeps').",
    ),
]


class Kind(str, Enum):
    """The two kinds of YAML file."""

    run = "run"
    sweep = "sweep"


NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")]
Overwrite = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
FirstConfig = Annotated[
    str,
    typer.Argument(
        metavar="FIRST",
        autocompletion=completion.configs_and_runs,
        help="YAML file, name of a shipped configuration, or run folder.",
    ),
]
SecondConfig = Annotated[
    str, typer.Argument(metavar="SECOND", autocompletion=completion.configs_and_runs, help="The one to compare with.")
]
SchemaKind = Annotated[
    Kind, typer.Argument(metavar=_choices(Kind), help="Kind of YAML file: a run's configuration, or a sweep.")
]

# The user's own data.

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

# Finished runs.

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
    typer.Option("--batch-size", min=1, metavar="NUMBER", help="Evaluation batch size. Default: that of the run."),
]
EvalSplit = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Split to evaluate; it needs labels. Default: all validation splits."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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
        "--steps", min=1, max=100_000, metavar="NUMBER", help="Number of measured training steps for each strategy."
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

# serve


class DeviceName(str, Enum):
    """What a model can compute on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class PrecisionName(str, Enum):
    """The number types of a model."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"
    fp16 = "fp16"


ServedRuns = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN|FOLDER",
        autocompletion=completion.runs,
        help="Run folders, or folders that contain runs. All must have the same backbone.",
    ),
]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 is every one of this machine.")
]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65_535, metavar="NUMBER", help="Port to listen on; 0 takes a free one.")
]
ServingDevice = Annotated[
    DeviceName, typer.Option("--device", metavar=_choices(DeviceName), help="Device to compute on; auto takes a GPU.")
]
ServingPrecision = Annotated[
    PrecisionName,
    typer.Option(
        "--precision", metavar=_choices(PrecisionName), help="Number type; auto takes bf16 where it is faster."
    ),
]
Resident = Annotated[
    int | None,
    typer.Option(
        "--resident",
        min=1,
        metavar="NUMBER",
        help="Number of adapters in memory. Others are loaded when they are needed, and the least recently used goes. "
        "Default: all.",
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        min=1,
        metavar="NUMBER",
        help="Largest batch in tokens, with padding. Default: 1024 on a CPU, 8192 on a GPU.",
    ),
]
WaitMs = Annotated[
    float,
    typer.Option(
        "--wait-ms",
        min=0,
        max=10_000,
        metavar="NUMBER",
        help="Milliseconds that a text waits for others before its batch starts.",
    ),
]
AdaptersFolder = Annotated[
    Path | None, typer.Option("--adapters", metavar="FOLDER", help="Only folder from which --allow-changes loads runs.")
]
AllowChanges = Annotated[
    bool, typer.Option("--allow-changes", help="Let clients load and unload tasks (POST and DELETE /v1/tasks).")
]
MaxBody = Annotated[
    int, typer.Option("--max-body", min=1, max=1 << 30, metavar="NUMBER", help="Largest body of a request in bytes.")
]
MaxRows = Annotated[
    int,
    typer.Option(
        "--max-rows", min=1, max=100_000, metavar="NUMBER", help="Most rows of a request: its texts times its tasks."
    ),
]
MaxCharacters = Annotated[
    int, typer.Option("--max-characters", min=1, max=1 << 30, metavar="NUMBER", help="Most characters of a text.")
]
MaxQueue = Annotated[
    int,
    typer.Option(
        "--max-queue",
        min=1,
        max=1_000_000,
        metavar="NUMBER",
        help="Most rows that wait for an answer; more requests get status 429.",
    ),
]
RequestTimeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0.1,
        max=86_400,
        metavar="NUMBER",
        help="Seconds until a request without an answer gets status 503.",
    ),
]

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

# export, import

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
ForeignFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder that another library saved an adapter in.")
]
ImportModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="ID|FOLDER", help="Path or id of the adapter's backbone. Default: the id in the folder."
    ),
]
ImportTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        autocompletion=completion.tasks,
        help="GLUE task that the adapter is for. Default: your own data.",
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
    typer.Option("--max-length", min=2, metavar="NUMBER", help="Maximum number of tokens in a row. Default: 128."),
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

# list


class Listing(str, Enum):
    """What can be listed."""

    tasks = "tasks"
    strategies = "strategies"
    configs = "configs"
    sweeps = "sweeps"


What = Annotated[Listing | None, typer.Argument(metavar=_choices(Listing), help="What to list. Default: all four.")]
StrategyToShow = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        autocompletion=completion.strategies,
        help="Name of one strategy, as in 'list strategies houlsby'.",
    ),
]

# All commands.


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"adapter-tune {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback if something fails.")]
