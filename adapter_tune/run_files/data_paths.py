"""Where the local files and folders of a run's data are, so that the run can be evaluated from any directory.

The configuration keeps every path as it was written, because the run's hash is computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import DataConfig
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.tasks.glue import CUSTOM

_SOURCE = "data.source"

FLAGS = {
    "data.custom.train_file": "--train-file",
    "data.custom.validation_file": "--validation-file",
    "data.custom.test_file": "--test-file",
    _SOURCE: "--data-source",
}
"""The flag that says where the file or folder of an option is now."""

LANGUAGE = "model.language_adapter"
"""Another option whose folder may have moved; it is no part of the data."""


def data_paths(config: ResolvedConfig, folder: Path) -> dict[str, str]:
    """The files and folders of a run's data by option: relative to the run folder if they are in it, else absolute."""
    paths = {}
    for option, written in _used(config).items():
        if option == _SOURCE and not Path(written).is_dir():  # on the Hub
            continue
        path = Path(written).resolve()
        inside = path.is_relative_to(folder.resolve())
        paths[option] = str(path.relative_to(folder.resolve()) if inside else path)
    return paths


def with_data_paths(
    config: ResolvedConfig, folder: Path, paths: Mapping[str, str], moved: Mapping[str, str] | None
) -> ResolvedConfig:
    """The configuration of a finished run with the paths that its data have now.

    Args:
        config: the configuration with the paths as they were written.
        folder: the run folder.
        paths: the stored paths, as ``data_paths`` returns them; empty for a run of an older version.
        moved: the user's paths, by option; that of the language adapter is left out.

    Raises:
        UsageError: a file or folder is not there, a path was given for an option that the run does not have, or the run
            was imported without data.
        RunError: a stored path leads out of the run folder.
    """
    _check_has_data(config, folder, moved or {})
    used = _used(config)
    for option, path in (moved or {}).items():
        if option not in used and option != LANGUAGE:
            raise UsageError(f"{FLAGS[option]} {path}: the run was trained without {option}; remove the option")
    changes = {}
    for option, written in used.items():
        if moved and option in moved:
            changes[option] = moved[option]
        elif option in paths or option != _SOURCE:
            changes[option] = _existing(option, [*_stored(folder, paths, option), written])
    source = changes.pop(_SOURCE, config.data.source)
    data = config.data.with_custom(**{_name(option): path for option, path in changes.items()})
    return config.with_values({"data": data.model_copy(update={"source": source})})


def _check_has_data(config: ResolvedConfig, folder: Path, moved: Mapping[str, str]) -> None:
    """Refuse an imported run on the user's own data, of which nothing is known but the names of the columns."""
    has_source = config.data.source != DataConfig.model_fields["source"].default or _SOURCE in moved
    if config.task == CUSTOM and config.data.custom.train_file is None and not has_source:
        raise UsageError(
            f"{folder}: was imported without data, so it has no splits; give a file instead: eval --input or "
            "predict --input"
        )


def _name(option: str) -> str:
    return option.rpartition(".")[2]


def _used(config: ResolvedConfig) -> dict[str, str]:
    """The paths and ids that a run's data come from, by option."""
    custom = config.data.custom
    files = {option: getattr(custom, _name(option)) for option in FLAGS if option != _SOURCE}
    used = {option: file for option, file in files.items() if file is not None}
    is_data_set = config.task != CUSTOM or custom.train_file is None
    return {**used, _SOURCE: config.data.source} if is_data_set and config.data.source != DEMO else used


def _stored(folder: Path, paths: Mapping[str, str], option: str) -> list[str]:
    path = paths.get(option)
    if path is None:
        return []
    if ".." in Path(path).parts:
        raise RunError(f"{folder}: the stored path of {option} leads out of its folder; give {FLAGS[option]}")
    return [str(folder / path)]


def _existing(option: str, candidates: list[str]) -> str:
    for path in candidates:
        if Path(path).exists():
            return path
    raise UsageError(f"{candidates[0]}: no such file or folder ({option}); say where it is now with {FLAGS[option]}")
