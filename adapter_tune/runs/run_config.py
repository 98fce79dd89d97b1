"""The configuration of a run, read from the run's own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import TrainingConfig, parse_config
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.modeling.precision import TYPES, resolve_device
from adapter_tune.run_files.adapter_files import CONFIG, DATA, AdapterConfig
from adapter_tune.run_files.data_paths import with_data_paths
from adapter_tune.run_files.result import FILE, Speed, read_run


def adapter_run_config(
    folder: Path, adapter: AdapterConfig, model: str | None = None, language_adapter: str | None = None
) -> ResolvedConfig:
    """The configuration of the run that trained an adapter, as far as the adapter folder has it.

    Args:
        folder: the adapter folder.
        adapter: its configuration.
        model: path or id of the backbone, if it has moved since training.
        language_adapter: the folder of its language adapter, if that has moved, or of another one.

    Raises:
        UsageError: a language adapter is given, and the run was trained without one.
        RunError: the adapter's configuration is damaged.
    """
    path = folder / CONFIG
    section = {**adapter.model, "id": model, "revision": None} if model else dict(adapter.model)
    if language_adapter is not None:
        if section.get("language_adapter") is None:
            raise UsageError(
                f"--language-adapter {language_adapter}: the run was trained without one ({path}); remove the option"
            )
        section |= {"language_adapter": language_adapter, "language_digest": None}
    sections = {"task": adapter.task, "model": section, "strategy": adapter.strategy}
    config = parse_task(sections, adapter.labels, adapter.max_length, adapter.data, path)
    if ".." in Path(config.model.id).parts:
        raise RunError(f"{path}: model.id refers to a place outside its folder; give the backbone with --model")
    return config


def parse_task(
    sections: dict[str, Any], labels: list[str], max_length: int, data: dict[str, Any], path: Path
) -> ResolvedConfig:
    """The configuration of a run from a file that describes its task and not its data.

    Args:
        sections: the task, and other sections of the configuration.
        labels: class names by id; empty for regression.
        max_length: maximum number of tokens in a row.
        data: with task custom: columns, class names, metric.
        path: the file, for messages.

    Raises:
        RunError: a value is wrong, or the labels are not those of the task.
    """
    strange = sorted(data.keys() - set(DATA))
    if strange:
        raise RunError(f"{path}: data.{strange[0]} should not be in it; the file is damaged")
    config = parse_stored({**sections, "data": {"max_length": max_length, "custom": data}}, path)
    if list(config.task_spec.labels) != labels:
        raise RunError(f"{path}: labels {labels} are not those of {config.task}; the file is damaged")
    return config


def stored_training(folder: Path) -> TrainingConfig | None:
    """How a run computed, with device, precision and threads that this machine has; None if it has no result.

    Args:
        folder: the run folder.

    Raises:
        RunError: a file is damaged.
    """
    if not (folder / FILE).is_file():
        return None
    stored = read_run(folder)
    config = parse_stored(stored.config, folder / FILE)
    return config.with_values(adapted_to_this_machine(config.training, stored.speed)).training


def config_with_data(folder: Path, moved: Mapping[str, str] | None = None) -> ResolvedConfig:
    """The configuration of a finished run with the paths that its data have now.

    Args:
        folder: the run folder.
        moved: paths of data that have moved since training, by option, as in ``data.custom.train_file``.

    Raises:
        UsageError: this is no run folder, or a file or folder of its data is not there.
        RunError: a file is damaged.
    """
    stored = read_run(folder)
    return with_data_paths(parse_stored(stored.config, folder / FILE), folder, stored.data_paths, moved)


def adapted_to_this_machine(training: TrainingConfig, then: Speed) -> dict[str, Any]:
    """Device, precision and threads of a run as far as this machine has them, by their paths in the configuration.

    What was chosen for ``auto`` is kept on the kind of device that it was chosen for.
    """
    device = training.device
    precision = training.precision
    try:
        here = resolve_device(device)
    except RunError:
        device = "auto"
        here = resolve_device(device)
    there = then.device if then.device in ("cpu", "mps") else "cuda"
    if precision == "auto" and here == there and then.precision in TYPES:
        precision = then.precision
    if precision == "fp16" and here != "cuda":
        precision = "auto"
    threads = training.threads
    if threads == "auto" and here == "cpu" and then.threads is not None:
        threads = min(then.threads, torch.get_num_threads())
    return {"training.device": device, "training.precision": precision, "training.threads": threads}


def parse_stored(values: dict[str, Any], path: Path) -> ResolvedConfig:
    """A configuration from one of a run's own files.

    Args:
        values: its content.
        path: the file, for messages.

    Raises:
        RunError: a value is wrong.
    """
    try:
        return resolved(parse_config(values))
    except FieldError as error:
        raise RunError(f"{path}: {error}; the file is damaged, or of another version") from None
