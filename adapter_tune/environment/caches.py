"""The folders in which libraries store files: their sizes, the free space, and whether they can be written."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_MAX_SECONDS = 5.0
"""How long the files of one cache are counted."""


@dataclass(frozen=True)
class Cache:
    """A folder that is written during a run."""

    variable: str
    """The environment variable that moves it."""
    folder: str
    bytes: int | None
    """The size of its files; None if there is no such folder yet."""
    is_complete: bool
    """Whether all files were counted."""
    free_bytes: int | None
    """Free space on its disk; None if unknown."""
    problem: str
    """Why it cannot be written; empty if it can."""


def caches() -> list[Cache]:
    """Return the caches of the Hugging Face libraries and the folder for temporary files."""
    from adapter_tune.foundation.hub_errors import caches as library_caches

    folders = {**dict(library_caches()), "TMPDIR": Path(tempfile.gettempdir())}
    return [cache(variable, folder) for variable, folder in sorted(folders.items())]


def cache(variable: str, folder: Path) -> Cache:
    """Return what is known of one folder; nothing is left behind in it."""
    size, is_complete = (None, True) if variable == "TMPDIR" or not folder.is_dir() else _size(folder)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        free = None
    return Cache(variable, str(folder), size, is_complete, free, _write_problem(existing))


def problems(checked: list[Cache]) -> list[str]:
    """Return one line for each folder that cannot be written."""
    lines = []
    for each in checked:
        if each.problem:
            where = f"{each.variable} ({each.folder})"
            lines.append(
                f"{where} cannot be written ({each.problem}); set {each.variable} to a folder that can be written"
            )
    return lines


def _write_problem(existing: Path) -> str:
    """Why no file can be created in a folder, tried with a temporary one; empty if it can."""
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _size(folder: Path) -> tuple[int, bool]:
    """The bytes of the files in a folder, and whether the time was enough to count all. Links are not followed."""
    end = time.monotonic() + _MAX_SECONDS
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(root) / name).st_size
            except OSError:  # removed by another program in the meantime
                continue
        if time.monotonic() > end:
            return total, False
    return total, True
