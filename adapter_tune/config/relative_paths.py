"""Relative paths in a configuration or a sweep: from the current directory, else from the folder of the file.

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
_SECTIONS = {path.rpartition(".")[0] for path in (*FILES, *FOLDERS_OR_NAMES)}


def locate_paths(values: dict[str, Any], lines: Lines, file: Path, within: tuple[str, ...] = ()) -> None:
    """Replace the relative paths that lead nowhere from the current directory, but do from the file's folder, in place.

    Args:
        values: the values of options; nested, by dotted path, or lists of alternatives.
        lines: the line of each value in the file, for messages.
        file: the configuration file, or the sweep's.
        within: the keys of the file that the values are in, as ``("set",)``.

    Raises:
        UsageError: both folders have such a file or folder, and they are not the same one.
    """
    for key, value in values.items():
        values[key] = _with_located(value, str(key), lines, file, (*within, key))


def _with_located(value: Any, path: str, lines: Lines, file: Path, loc: tuple[str, ...]) -> Any:
    """The value of an option or a section; only sections that have such paths are entered, so aliases cost no time."""
    if isinstance(value, dict) and path in _SECTIONS:
        return {key: _with_located(inner, f"{path}.{key}", lines, file, (*loc, key)) for key, inner in value.items()}
    if path not in FILES and path not in FOLDERS_OR_NAMES:
        return value
    if isinstance(value, list):
        return [item if isinstance(item, list) else _with_located(item, path, lines, file, loc) for item in value]
    if not isinstance(value, str) or not (path in FILES or value.startswith(("./", "../"))):
        return value
    return located(value, file, lines.get(loc, 1), path)


def located(written: str, file: Path, line: int, option: str) -> str:
    """Return a path in a file as it is written, or with the file's folder before it if it leads only from there.

    Args:
        written: the path.
        file: the file that it is written in.
        line: where in the file, for messages.
        option: whose value it is, for messages.

    Raises:
        UsageError: both folders have such a file or folder, and they are not the same one.
    """
    here = Path(written)
    beside = file.parent / written
    if not written or here.is_absolute() or not beside.exists():
        return written
    if not here.exists():
        log.info("%s: %s is in the folder of this file: %s", file, option, beside)
        return str(beside)
    if not here.samefile(beside):
        raise UsageError(
            f"{file}:{line}: {option}: {written} is in the current directory and also in {file.parent}; write the "
            f"absolute path, or start in {file.parent}"
        )
    return written
