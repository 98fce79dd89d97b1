"""Files written whole or not at all: written aside, flushed to the disk, renamed into place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8; on failure what was there before stays.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with new_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of ``path`` when the block ends well, and vanishes when it does not."""
    aside = path.with_name(f".{path.name}.part")
    try:
        yield aside
        flush(aside)
        _place(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` when the block ends well, and vanishes when it does not."""
    aside, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():  # a process died between the two renames below
        old.replace(path)
    for left in (aside, old):
        shutil.rmtree(left, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for file in aside.iterdir():
            flush(file)
        if path.exists():
            path.replace(old)
        _place(aside, path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists() and not path.exists():
            old.replace(path)
        raise


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; where the system cannot say, do not."""
    with suppress(PermissionError):  # folders cannot be opened on Windows
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sha256(path: Path) -> str:
    """Of a file's content, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _place(aside: Path, path: Path) -> None:
    aside.replace(path)
    flush(path.parent)
