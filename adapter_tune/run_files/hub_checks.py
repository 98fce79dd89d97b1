"""Checks of a run on the Hub: what is fetched of it, and that nothing in it points to another place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_calls import parse_hub_name
from adapter_tune.run_files.adapter_files import (
    ADAPTER,
    CONFIG,
    WEIGHTS,
    AdapterConfig,
    adapter_folder,
    read_adapter_config,
)
from adapter_tune.run_files.result import FILE, RunRecord, read_run

TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
ADAPTER_FILES = (CONFIG, WEIGHTS, *TOKENIZER_FILES)
FETCHED = [FILE, *ADAPTER_FILES, *(f"{ADAPTER}/{name}" for name in ADAPTER_FILES)]
"""All files that are ever fetched, by their paths in a repository."""

_MIB = 1 << 20
_LIMITS = {WEIGHTS: 16 << 30, CONFIG: _MIB, FILE: 16 * _MIB}
_TOKENIZER_LIMIT = 64 * _MIB
"""Limits of the size of a file, in bytes: several times what the largest backbones need."""

_CODE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".py", ".pyc", ".so", ".dll")
"""Endings of pickles and programs."""


def files_to_fetch(name: str, sizes: Mapping[str, int | None]) -> list[str]:
    """The files of a run in a repository.

    Args:
        name: the repository, for messages.
        sizes: the size of each file in bytes, by its path; None where the Hub does not say it.

    Raises:
        UsageError: it has no adapter of this package.
        RunError: it contains a pickle or a program, a path that leads out of it, or a file that is too large.
    """
    check_names(name, sizes)
    folder = f"{ADAPTER}/" if f"{ADAPTER}/{CONFIG}" in sizes else ""
    for needed in (CONFIG, WEIGHTS):
        if f"{folder}{needed}" not in sizes:
            raise UsageError(
                f"{name}: the repository has no {needed}, so it is no run; give one that 'adapter-tune push' wrote"
            )
    wanted = [path for path in (FILE, *(f"{folder}{file}" for file in ADAPTER_FILES)) if path in sizes]
    for path in wanted:
        _check_size(name, path, sizes[path])
    return wanted


def check_names(name: str, paths: Iterable[str]) -> None:
    """Refuse a repository for the name of a file in it.

    Raises:
        RunError: a file is a pickle or a program, or its path leads out of the repository.
    """
    for path in sorted(paths):
        if leads_out(path) or "\\" in path:
            raise RunError(f"{name}: refused, as its file {path!r} leads out of its folder; use another repository")
        if PurePosixPath(path).suffix.lower() in _CODE:
            raise RunError(
                f"{name}: refused, as its file {path!r} can execute code, and a run needs only safetensors, JSON and "
                "text; remove that file from the repository, or use another one"
            )


def leads_out(path: str) -> bool:
    """Whether a path does not stay in the folder that it is relative to, on any system."""
    windows = PureWindowsPath(path)
    return bool(path.startswith(("/", "~")) or windows.drive or windows.root or ".." in windows.parts)


def _check_size(name: str, path: str, size: int | None) -> None:
    limit = _LIMITS.get(PurePosixPath(path).name, _TOKENIZER_LIMIT)
    if size is None:
        raise RunError(f"{name}: refused, as the Hub does not say how large {path} is; try again, or download it")
    if size > limit:
        raise RunError(
            f"{name}: refused, as {path} has {size / _MIB:,.0f} MiB, and at most {limit / _MIB:,.0f} MiB are "
            "accepted; use another repository"
        )


def check_contents(name: str, folder: Path) -> None:
    """Refuse a run from elsewhere that names places on this machine, or whose files contradict each other.

    Args:
        name: the repository, for messages.
        folder: the run folder, or the adapter's.

    Raises:
        UsageError: the adapter is one of another library.
        RunError: it does, or a file is damaged.
    """
    adapter_path = adapter_folder(folder)
    adapter = read_adapter_config(adapter_path)
    values = json.loads((adapter_path / CONFIG).read_text(encoding="utf-8"))
    unknown = sorted(values.keys() - AdapterConfig.model_fields.keys())
    if unknown:
        raise RunError(f"{name}: refused, as its {CONFIG} contains an unknown key '{unknown[0]}'; update adapter-tune")
    _check_model_id(name, adapter.model.get("id"))
    _check_language(name, adapter.model.get("language_adapter"))
    _check_tokenizer(name, adapter_path)
    if (folder / FILE).is_file():
        record = read_run(folder)
        _check_same_run(name, adapter, record)
        for option, path in stored_paths(record):
            if leads_out(path):
                raise RunError(f"{name}: refused, as {option} in its {FILE} is {path!r}, a path outside its folder")


def _check_model_id(name: str, model_id: Any) -> None:
    """Refuse a backbone that is not the name of a model on the Hub."""
    is_name = isinstance(model_id, str) and (model_id == DEMO or "/" not in model_id or parse_hub_name(model_id))
    if not is_name or leads_out(model_id) or "@" in model_id:
        raise RunError(f"{name}: refused, as its backbone is {model_id!r}, which is not the id of a model on the Hub")


def _check_language(name: str, language: Any) -> None:
    """Refuse a language adapter that is not a commit on the Hub."""
    parsed = parse_hub_name(language) if isinstance(language, str) else None
    if language is not None and (parsed is None or parsed.revision is None or leads_out(language)):
        raise RunError(
            f"{name}: refused, as its language adapter is {language!r}, which is no commit on the Hub, as in "
            "ORG/NAME@COMMIT"
        )


def _check_tokenizer(name: str, folder: Path) -> None:
    """Refuse a tokenizer that has its own code, or reads files of its own choice."""
    path = folder / TOKENIZER_CONFIG
    if not path.is_file():
        return
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        keys = sorted(key for key in values if key == "auto_map" or (key.endswith("_file") and values[key] is not None))
    except (ValueError, RecursionError, AttributeError):
        raise RunError(f"{path}: not valid JSON; the file is damaged, use another repository") from None
    if "auto_map" in keys:
        raise RunError(f"{name}: refused, as its tokenizer has its own code (auto_map), which is never executed")
    if keys:
        raise RunError(
            f"{name}: refused, as {keys[0]} in its {TOKENIZER_CONFIG} names a file; its files have fixed names"
        )


def _check_same_run(name: str, adapter: AdapterConfig, record: RunRecord) -> None:
    """Refuse a result that is not that of the adapter."""
    model = record.config.get("model")
    pairs = {
        "the task": (adapter.task, record.task),
        "the task of the configuration": (adapter.task, record.config.get("task")),
        "the strategy": (adapter.strategy, record.config.get("strategy")),
        "the backbone": (adapter.model["id"], record.model.id),
        "the backbone of the configuration": (
            adapter.model["id"],
            model.get("id") if isinstance(model, dict) else None,
        ),
        "the language adapter": (adapter.model.get("language_adapter"), record.model.language_adapter),
        "the fingerprint of the backbone": (adapter.fingerprint, record.model.fingerprint),
    }
    for what, (expected, given) in pairs.items():
        if expected != given:
            raise RunError(f"{name}: refused, as {what} is {given!r} in {FILE}, and {expected!r} in {CONFIG}")


def stored_paths(record: RunRecord) -> Iterator[tuple[str, str]]:
    """The places that a run's record names: option, and path or id."""
    for section, key in (
        ("", "output"),
        ("init_from.", "run"),
        ("data.", "source"),
        ("data.custom.", "train_file"),
        ("data.custom.", "validation_file"),
        ("data.custom.", "test_file"),
    ):
        values: Any = record.config
        for part in section.split(".")[:-1]:
            values = values.get(part) if isinstance(values, dict) else None
        if isinstance(values, dict) and isinstance(values.get(key), str):
            yield f"config.{section}{key}", values[key]
    for option, path in record.data_paths.items():
        yield f"data_paths.{option}", path
    yield "storage.folder", record.storage.folder
