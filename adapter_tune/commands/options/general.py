"""Options of many commands, and of adapter-tune itself."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from adapter_tune import __version__


def choices(values: type[Enum]) -> str:
    """The values of an option in its help: ``auto|cpu|cuda``."""
    return "|".join(str(each.value) for each in values)


Demo = Annotated[bool, typer.Option("--demo", help="Use the embedded demo backbone and data. No network is needed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"adapter-tune {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback if something fails.")]
