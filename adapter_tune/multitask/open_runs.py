"""Runs on disk as the tasks of one backbone: which folders, under which names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_calls import name_of_snapshot, run_title
from adapter_tune.foundation.unique_names import NamedItem, shortest_unique_names
from adapter_tune.modeling.backbone import load_config
from adapter_tune.multitask.model import MultiTask
from adapter_tune.multitask.task_parts import check_can_share, check_no_language
from adapter_tune.run_files.adapter_files import ADAPTER, CONFIG, AdapterConfig, adapter_folder, read_adapter_config
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.runs.run_config import adapter_run_config
from adapter_tune.tasks.glue import CUSTOM


def adapter_folders(paths: Iterable[Path]) -> list[Path]:
    """The adapter folders of runs.

    Args:
        paths: run folders, adapter folders, folders that contain runs, or ``ORG/NAME[@revision]`` on the Hub.

    Raises:
        UsageError: a path contains no run, or two paths lead to the same one.
    """
    folders: list[Path] = []
    for path in paths:
        folders += _adapter_folders(local_run(path))
    uses = Counter(folder.resolve() for folder in folders)
    for folder in folders:
        if uses[folder.resolve()] > 1:
            raise UsageError(f"{run_title(folder)}: this run was given twice; remove one")
    return folders


def contains_runs(path: Path) -> bool:
    """Whether a folder contains the folders of runs, and is none itself."""
    return not (adapter_folder(path) / CONFIG).is_file() and bool(_folders_inside(path))


def _adapter_folders(path: Path) -> list[Path]:
    folder = adapter_folder(path)
    if (folder / CONFIG).is_file():
        return [folder]
    inside = _folders_inside(path)
    if not inside:
        raise UsageError(f"{path}: contains no finished run; give run folders that 'adapter-tune train' wrote")
    return inside


def _folders_inside(path: Path) -> list[Path]:
    return sorted(file.parent for pattern in (f"*/{ADAPTER}/{CONFIG}", f"*/{CONFIG}") for file in path.glob(pattern))


def run_folder(folder: Path) -> Path:
    """The run folder that an adapter folder is in; an adapter folder of another name stands alone."""
    return folder.parent if folder.name == ADAPTER else folder


def task_names(folders: Sequence[Path]) -> dict[str, Path]:
    """A name for each run, and its adapter folder: the task's if no other run has it, or else that of the run folder.

    Args:
        folders: the adapter folders.

    Raises:
        UsageError: a folder contains no adapter.
        RunError: an adapter's configuration is damaged.
    """
    items = [NamedItem(str(folder), _names(folder, read_adapter_config(folder).task)) for folder in folders]
    names = shortest_unique_names(items)
    return {names[str(folder)]: folder for folder in folders}


def _names(folder: Path, task: str) -> tuple[str, ...]:
    """From the shortest to the most exact; ``custom`` is no name."""
    full = run_folder(folder).resolve()
    pushed = name_of_snapshot(full)
    if pushed is not None:
        own = pushed.repository.partition("/")[2]
        return (*([] if task == CUSTOM else [task]), own, pushed.repository, str(pushed))
    return (*([] if task == CUSTOM else [task]), full.name, f"{full.parent.name}/{full.name}", str(full))


def open_runs(
    folders: Sequence[Path], *, model: str | None = None, device: Any = "auto", precision: Any = "auto"
) -> MultiTask:
    """A backbone with the tasks of several runs, named by ``task_names``.

    Args:
        folders: the adapter folders, at least one.
        model: path or id of the backbone, if it has moved since training.
        device: as in ``MultiTask``.
        precision: as in ``MultiTask``.

    Raises:
        UsageError: a folder contains no adapter, or a strategy trains whole matrices.
        RunError: the backbone cannot be loaded or is not that of every run, or a file is damaged.
    """
    names = task_names(folders)
    check_can_share_all(folders, model)
    tasks = open_backbone(folders[0], model=model, device=device, precision=precision)
    for name, folder in names.items():
        tasks.add(name, folder)
    return tasks


def open_backbone(
    folder: Path, *, model: str | None = None, device: Any = "auto", precision: Any = "auto"
) -> MultiTask:
    """The backbone of a run, without tasks.

    Args:
        folder: the adapter folder of the run.
        model: path or id of the backbone, if it has moved since training.
        device: as in ``MultiTask``.
        precision: as in ``MultiTask``.

    Raises:
        UsageError: the folder contains no adapter, or the run was trained on a language adapter.
        RunError: the backbone cannot be loaded.
    """
    adapter = read_adapter_config(folder)
    check_no_language(run_folder(folder), adapter)
    backbone = adapter.model
    revision = None if model else backbone["revision"]
    return MultiTask(model or backbone["id"], revision=revision, device=device, precision=precision)


def check_can_share_all(folders: Sequence[Path], model: str | None) -> None:
    """Refuse runs that cannot share a backbone, as far as that is known before its weights are loaded."""
    adapters = {folder: read_adapter_config(folder) for folder in folders}
    for folder, adapter in adapters.items():
        check_no_language(run_folder(folder), adapter)
    _check_one_backbone(adapters)
    backbone = None
    checked = set()
    for folder, adapter in adapters.items():
        key = json.dumps([adapter.strategy, adapter.model["pooler"]])
        if key in checked:
            continue
        checked.add(key)
        config = adapter_run_config(folder, adapter, model)
        backbone = backbone or load_config(config.model, {})
        try:
            check_can_share(config, backbone, train_pooler=adapter.model["pooler"] == "train")
        except UsageError as error:
            raise UsageError(f"{run_title(run_folder(folder))}: {error}") from None


def _check_one_backbone(adapters: Mapping[Path, AdapterConfig]) -> None:
    """Refuse adapters with different fingerprints of the backbone."""
    first, expected = next(iter(adapters.items()))
    for folder, adapter in adapters.items():
        if adapter.fingerprint != expected.fingerprint:
            raise RunError(
                f"{run_title(run_folder(folder))}: trained on another backbone ({_backbone_text(adapter)}) than "
                f"{run_title(run_folder(first))} ({_backbone_text(expected)}); remove one of the two"
            )


def _backbone_text(adapter: AdapterConfig) -> str:
    return f"{adapter.model['id']}, fingerprint {adapter.fingerprint[:8]}"
