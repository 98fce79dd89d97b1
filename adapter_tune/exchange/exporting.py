"""A trained run written in another format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapter_tune.exchange.formats import Export, Exported, Format
from adapter_tune.exchange.registry import FORMATS, get_format
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.run_files.hub_runs import local_run


def export_run(export: Export, output: Path, format_name: str) -> Exported:
    """Write a run in another format.

    Args:
        export: the run, which may be ``ORG/NAME[@revision]`` on the Hub, and the options of the format.
        output: the folder to write, which must be new or empty.
        format_name: the name of the format.

    Returns:
        What does not carry over, and what was checked.

    Raises:
        UsageError: there is no such format, it does not take an option, the output exists, or something in the run has
            no counterpart in it.
        RunError: a file is damaged or cannot be written, or what was written does not compute what the run computes.
    """
    target = get_format(format_name)
    _check_options(export, target)
    check_new(output)
    export = replace(export, run=local_run(export.run))  # once, so that everything is of the same commit
    try:
        with atomic_files.new_folder(output) as folder:
            return target.write(export, folder)
    except OSError as error:
        raise RunError(f"cannot write to {output}: {error}; free some space or choose another --output") from error


def _check_options(export: Export, target: Format) -> None:
    """Refuse an option that the format does not take."""
    given = {"safetensors": export.safetensors, "int8": export.int8}
    for option, is_given in given.items():
        if is_given and option not in target.options:
            names = " and ".join(each.name for each in FORMATS.values() if option in each.options)
            raise UsageError(f"--{option} is only for --format {names}; remove it")


def check_new(output: Path) -> None:
    """Refuse a path that is taken, or that no folder can be renamed to.

    Raises:
        UsageError: it is a file, a folder with something in it, or has no name of its own.
    """
    if output.name in ("", ".."):
        raise UsageError(f"--output: {output} is no new folder; give one with a name of its own")
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UsageError(f"--output: {output} exists already; choose a new folder")
