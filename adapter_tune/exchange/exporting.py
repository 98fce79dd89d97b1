"""A trained run written in the format of another library."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.exchange.registry import get_format
from adapter_tune.exchange.stored_run import open_run
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError


def export_run(
    run: Path, output: Path, *, format_name: str, model: str | None = None, safetensors: bool = False
) -> list[str]:
    """Write a run's adapter in the format of another library.

    Args:
        run: a run folder, or the adapter folder in it.
        output: the folder to write, which must be new or empty.
        format_name: the name of the format.
        model: path or id of the backbone, if it has moved since training.
        safetensors: write safetensors files only.

    Returns:
        Notes on what does not carry over.

    Raises:
        UsageError: there is no such format, the output exists, or something in the run has no counterpart in it.
        RunError: a file is damaged or cannot be written.
    """
    target = get_format(format_name)
    check_new(output)
    stored = open_run(run, model)
    try:
        with atomic_files.new_folder(output) as folder:
            return target.write(stored, folder, safetensors)
    except OSError as error:
        raise RunError(f"cannot write to {output}: {error}; free some space or choose another --output") from error


def check_new(output: Path) -> None:
    """Refuse a path that is taken.

    Raises:
        UsageError: it is a file, or a folder with something in it.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UsageError(f"--output: {output} exists already; choose a new folder")
