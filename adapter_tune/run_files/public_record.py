"""A run's record without the places of the user's machine, as it is pushed to the Hub."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.hub_calls import parse_hub_name
from adapter_tune.run_files.hub_checks import leads_out, stored_paths
from adapter_tune.run_files.result import RunRecord

_SOURCE = "data.source"
_PATH = re.compile(r"(?<![\w./:\\-])(?:~|[A-Za-z]:)?[/\\][^\s'\"(),;:]+")
"""A word that is an absolute path."""


def public_record(record: RunRecord, model: dict[str, Any]) -> RunRecord:
    """A copy of a run's record in which every path of this machine is replaced by its last part.

    Args:
        record: the record as the run has written it.
        model: ``id`` and ``revision`` of the backbone on the Hub.
    """
    config = copy.deepcopy(record.config)
    config["model"] = {**config["model"], **model}
    config["output"] = "runs"
    data = config["data"]
    is_local = _SOURCE in record.data_paths or Path(data["source"]).is_dir()
    if data["source"] != DEMO and (is_local or leads_out(data["source"])):
        data["source"] = f"./{last_part(data['source'])}"  # clearly a folder: neither "demo" nor a name on the Hub
    for option in ("train_file", "validation_file", "test_file"):
        if data["custom"].get(option) is not None:
            data["custom"][option] = last_part(data["custom"][option])
    start = config.get("init_from") or {}
    if start.get("run") is not None and not is_pinned(start["run"]):
        start["run"] = last_part(start["run"])
    local = [path for _, path in stored_paths(record)] + [record.model.id]
    return record.model_copy(
        update={
            "model": record.model.model_copy(update=model),
            "config": config,
            "data_paths": {_SOURCE: data["source"]} if _SOURCE in record.data_paths else {},
            "storage": record.storage.model_copy(update={"folder": last_part(record.storage.folder)}),
            "warnings": [without_paths(text, local) for text in record.warnings],
        }
    )


def is_pinned(run: str) -> bool:
    """Whether a run is one on the Hub, at a commit, and not a folder."""
    name = parse_hub_name(run)
    return name is not None and name.revision is not None and not Path(run).exists()


def last_part(path: str) -> str:
    """The last part of a path of any system."""
    part = PurePosixPath(PureWindowsPath(path).as_posix()).name
    return part if part.strip(".~") else "local"


def without_paths(text: str, paths: Iterable[str]) -> str:
    """A text with every absolute path, and every given path, replaced by its last part."""
    local = {path for path in paths if is_path(path)}
    for path in sorted(local, key=len, reverse=True):
        text = text.replace(path, last_part(path))
    return _PATH.sub(lambda match: last_part(match[0]), text)


def is_path(text: str) -> bool:
    """Whether a text can only be a path of this machine: with several parts, and no name of the Hub."""
    return leads_out(text) or (any(mark in text for mark in "/\\") and Path(text).exists())
