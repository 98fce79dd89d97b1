"""Tasks that come and go while the server runs, from folders below one that the server was given."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapter_tune.foundation.errors import AdapterTuneError
from adapter_tune.multitask.model import MultiTask, StoredTask
from adapter_tune.multitask.texts import TaskTexts
from adapter_tune.run_files.adapter_files import CONFIG, WEIGHTS, adapter_folder
from adapter_tune.serving.batcher import Batcher
from adapter_tune.serving.logs import log
from adapter_tune.serving.refusals import RefusedRequest
from adapter_tune.serving.residency import ServedTask, ServedTasks
from adapter_tune.serving.schemas import MAX_NAME, AddTaskRequest


class TaskChanges:
    """Loads and unloads tasks.

    Args:
        folder: the only folder from whose subfolders tasks are loaded; None if nothing may change.
        model: the backbone.
        texts: whose tokenizers are loaded with a task.
        tasks: to which they are added.
        batcher: in whose thread adapters are loaded.
    """

    def __init__(
        self, folder: Path | None, model: MultiTask, texts: TaskTexts, tasks: ServedTasks, batcher: Batcher
    ) -> None:
        self.folder = None if folder is None else folder.resolve()
        self.model = model
        self.texts = texts
        self.tasks = tasks
        self.batcher = batcher

    async def add(self, request: AddTaskRequest) -> ServedTask:
        """Load a run as a task.

        Raises:
            RefusedRequest: nothing may change, the folder is outside, no run, damaged, or for another backbone; or
                the name is taken.
        """
        root = self.check_allowed()
        folder = await asyncio.to_thread(_folder_inside, root, request.folder)
        name = _name(request)
        stored = await asyncio.to_thread(self._stored, root, folder)
        task = self.tasks.add(name, stored)
        try:
            await asyncio.wrap_future(self.batcher.load(task))
        except BaseException as error:
            self.tasks.discard(task)
            if isinstance(error, AdapterTuneError):
                raise _refusal(error, root) from None
            raise
        return task

    def remove(self, name: str) -> None:
        """Serve a task no longer; rows that were accepted are still answered.

        Raises:
            RefusedRequest: nothing may change, or there is no such task.
        """
        self.check_allowed()
        self.tasks.remove(name)
        self.batcher.forget_removed()

    def check_allowed(self) -> Path:
        """The folder from which tasks may be loaded.

        Raises:
            RefusedRequest: nothing may change.
        """
        if self.folder is None:
            raise RefusedRequest(403, "tasks cannot be changed; start the server with --allow-changes")
        return self.folder

    def _stored(self, root: Path, folder: Path) -> StoredTask:
        try:
            stored = self.model.stored_task(folder)
            self.texts.encode(stored.task, [["text"]])  # loads its tokenizer
        except AdapterTuneError as error:
            raise _refusal(error, root) from None
        return stored


def _folder_inside(root: Path, path: str) -> Path:
    """The adapter folder of a run below ``root``, with all symbolic links resolved.

    Raises:
        RefusedRequest: it is not below, or one of its files is not, or there is no run.
    """
    outside = RefusedRequest(403, "folder: it is not inside the server's --adapters folder; give a path below that")
    try:
        run = (root / path).resolve()
        if not run.is_relative_to(root):
            raise outside
        folder = adapter_folder(run).resolve()
        if not folder.is_relative_to(root):
            raise outside
        if not ((folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()):
            raise RefusedRequest(404, "folder: no finished run in it; give a run folder below --adapters")
        if not all(file.resolve().is_relative_to(root) for file in folder.rglob("*")):
            raise outside
    except (ValueError, OSError, RuntimeError):  # a null character, a name that is too long, links in a circle
        raise RefusedRequest(422, "folder: not the name of a folder") from None
    return folder


def _name(request: AddTaskRequest) -> str:
    name = request.name if request.name is not None else Path(request.folder).name
    if not name or not name.isprintable() or len(name) > MAX_NAME:
        raise RefusedRequest(422, f"name: give one of at most {MAX_NAME} printable characters")
    return name


def _refusal(error: AdapterTuneError, root: Path) -> RefusedRequest:
    """What is wrong with a run; absolute paths are for the log alone."""
    log.warning("a task was refused: %s", " ".join(str(error).split()))
    return RefusedRequest(422, str(error).replace(f"{root}/", ""))
