"""Relative paths in a configuration file: from the current directory, else from the folder of the file.

The path stays as it is written wherever that leads to the file, because the hash of a run is computed from it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from adapter_tune.config.yaml_files import Lines
from adapter_tune.foundation.errors import UsageError

log = logging.getLogger("adapter_tune")

FILES = ("data.custom.train_file", "data.custom.validation_file", "data.custom.test_file")
"""Options that are always paths."""
FOLDERS_OR_NAMES = ("data.source", "model", "model.id", "model.language_adapter", "init_from", "init_from.run")
"""Options that may also be names on the Hub, so only a text that begins with ``./`` or ``../`` is a path."""


def locate_paths(values: dict[str, Any], lines: Lines, file: Path) -> None:
    """Replace the relative paths that lead nowhere from the current directory, but do from the file's folder, in place.

    Args:
        values: the nested values of the file.
        lines: the line of each value, for messages.
        file: the configuration file.

    Raises:
        UsageError: both folders have such a file or folder, and they are not the same one.
    """
    for path in (*FILES, *FOLDERS_OR_NAMES):
        loc = tuple(path.split("."))
        section = _section(values, loc)
        written = section.get(loc[-1])
        if not isinstance(written, str) or not written or Path(written).is_absolute():
            continue
        if path not in FILES and not written.startswith(("./", "../")):
            continue
        located = _located(written, file.parent, f"{file}:{lines.get(loc, 1)}: {path}")
        if located != written:
            log.info("%s: %s is in the folder of this file: %s", file, path, located)
            section[loc[-1]] = located


def _section(values: dict[str, Any], loc: tuple[str, ...]) -> dict[str, Any]:
    """The section that an option is in; an empty one if the file does not have it."""
    for name in loc[:-1]:
        inner = values.get(name)
        if not isinstance(inner, dict):
            return {}
        values = inner
    return values


def _located(written: str, folder: Path, where: str) -> str:
    here, beside = Path(written), folder / written
    if not beside.exists():
        return written
    if not here.exists():
        return str(beside)
    if not here.samefile(beside):
        raise UsageError(
            f"{where}: {written} is in the current directory and also in {folder}; write the absolute path, or start "
            f"in {folder}"
        )
    return written
