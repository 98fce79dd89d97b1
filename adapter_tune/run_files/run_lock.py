"""A lock that lets only one process at a time work in a run folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError

_LOCK = ".lock"
_HOLDER = ".holder"


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Lock a run folder during the block, and create it if needed; the lock is released if the process dies.

    Raises:
        RunError: another process holds the lock; the message names the process.
    """
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"{folder}: {_holder(folder)} uses this folder; wait until it has finished, or choose another --output"
        ) from None
    try:
        atomic_files.write_text(folder / _HOLDER, json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        for name in (_HOLDER, _LOCK):
            (folder / name).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # remove the new folders again if they are still empty
            for path in new_folders:
                path.rmdir()


def _holder(folder: Path) -> str:
    """The process that holds the lock, for messages."""
    try:
        holder = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
