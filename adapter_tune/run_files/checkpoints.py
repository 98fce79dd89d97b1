"""Checkpoints of a run that is not finished: whole or not there, and none goes before a newer one is whole."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from adapter_tune.foundation import atomic_files

FILE = "checkpoint.json"
"""Names and SHA-256 of a checkpoint's files; it is written last."""

log = logging.getLogger("adapter_tune")


def seal(folder: Path) -> None:
    """Flush a checkpoint's files to the disk, then write down what they are: from now on it is one.

    Raises:
        OSError: the disk is full.
    """
    files = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != FILE):
        atomic_files.flush(path)
        files[path.name] = atomic_files.sha256(path)
    atomic_files.write_text(folder / FILE, json.dumps(files, indent=2) + "\n")


def newest(run: Path) -> Path | None:
    """The last whole checkpoint in a run folder; one that is half written or damaged is passed over."""
    for folder in sorted(_all(run), key=_step, reverse=True):
        if not (folder / FILE).is_file():
            continue
        if (wrong := _damage(folder)) is None:
            return folder
        log.warning("%s: %s is damaged; passed over", folder, wrong)
    return None


def keep_only(run: Path, steps: set[int]) -> None:
    """Remove the checkpoints of other steps."""
    for folder in _all(run):
        if _step(folder) not in steps:
            shutil.rmtree(folder, ignore_errors=True)


def remove_unsealed(run: Path) -> None:
    """Remove what a run left behind that stopped while it wrote a checkpoint."""
    for folder in _all(run):
        if not (folder / FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _all(run: Path) -> list[Path]:
    return [path for path in run.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _damage(folder: Path) -> str | None:
    """The first file that is not as it was written."""
    try:
        files = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return next((name for name, digest in files.items() if atomic_files.sha256(folder / name) != digest), None)
    except (OSError, ValueError, AttributeError, TypeError):
        return FILE
