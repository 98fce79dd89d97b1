"""One process at a time in a run folder."""

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

_LOCK, _HOLDER = ".lock", ".holder"


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is not there, while the block lasts; a process that dies lets go of it.

    Raises:
        RunError: another process holds it; the message names it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"{folder}: {_holder(folder)} is at work in it; wait for it, or choose another --output"
        ) from None
    try:
        atomic_files.write_text(folder / _HOLDER, json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        for name in (_HOLDER, _LOCK):
            (folder / name).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # what was made goes if nothing came of it
            for path in made:
                path.rmdir()


def _holder(folder: Path) -> str:
    try:
        found = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
