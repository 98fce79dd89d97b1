"""Checkpoints of an unfinished run. A checkpoint is complete or ignored, and the last complete one is never removed."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from adapter_tune.foundation import atomic_files

FILE = "checkpoint.json"
"""Names and SHA-256 of a checkpoint's files. It is written last, so a checkpoint with this file is complete."""

log = logging.getLogger("adapter_tune")


def seal(folder: Path) -> None:
    """Flush a checkpoint's files to the disk and write ``checkpoint.json``, which marks the checkpoint as complete.

    Raises:
        OSError: the disk is full.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != FILE)
    digests = {}
    for path in files:
        atomic_files.flush(path)
        digests[path.name] = atomic_files.sha256(path)
    atomic_files.write_text(folder / FILE, json.dumps(digests, indent=2) + "\n")


def newest(run: Path) -> Path | None:
    """The last complete and undamaged checkpoint in a run folder, or None."""
    for folder in sorted(_checkpoints(run), key=_step, reverse=True):
        if not (folder / FILE).is_file():
            continue
        damaged_file = _damaged_file(folder)
        if damaged_file is None:
            return folder
        log.warning("%s: %s is damaged; this checkpoint is skipped", folder, damaged_file)
    return None


def keep_only(run: Path, steps: set[int]) -> None:
    """Remove the checkpoints of all other steps."""
    for folder in _checkpoints(run):
        if _step(folder) not in steps:
            shutil.rmtree(folder, ignore_errors=True)


def remove_unsealed(run: Path) -> None:
    """Remove incomplete checkpoints, left by a run that stopped while it wrote one."""
    for folder in _checkpoints(run):
        if not (folder / FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(run: Path) -> list[Path]:
    return [path for path in run.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _damaged_file(folder: Path) -> str | None:
    """The name of the first file whose content has changed since ``seal``, or None."""
    try:
        digests = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            if atomic_files.sha256(folder / name) != digest:
                return str(name)
    except (OSError, ValueError, AttributeError, TypeError):
        return FILE
    return None
