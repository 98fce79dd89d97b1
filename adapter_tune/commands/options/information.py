"""Options of ``list`` and ``config``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.commands import completion
from adapter_tune.commands.options.general import choices

# list


class Listing(str, Enum):
    """What can be listed."""

    tasks = "tasks"
    strategies = "strategies"
    configs = "configs"
    sweeps = "sweeps"


What = Annotated[Listing | None, typer.Argument(metavar=choices(Listing), help="What to list. Default: all four.")]
StrategyToShow = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        autocompletion=completion.strategies,
        help="Name of one strategy, as in 'list strategies houlsby'.",
    ),
]

# config

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
    Kind, typer.Argument(metavar=choices(Kind), help="Kind of YAML file: a run's configuration, or a sweep.")
]
