"""Options of ``serve``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion
from adapter_tune.commands.options.general import choices


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
    DeviceName, typer.Option("--device", metavar=choices(DeviceName), help="Device to compute on; auto takes a GPU.")
]
ServingPrecision = Annotated[
    PrecisionName,
    typer.Option(
        "--precision", metavar=choices(PrecisionName), help="Number type; auto takes bf16 where it is faster."
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
