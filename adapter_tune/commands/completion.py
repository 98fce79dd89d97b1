"""What the shell completes: names of tasks, strategies and shipped files, and run folders. No heavy imports."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from glob import escape
from pathlib import Path

_RESULT = "result.json"
ROW_FILES = (".csv", ".tsv", ".jsonl", ".parquet")
"""The extensions of files with rows."""


def tasks(incomplete: str) -> list[str]:
    """The tasks whose name starts like this."""
    from adapter_tune.tasks.glue import CUSTOM, TASKS

    return _starting(incomplete, [*TASKS, CUSTOM])


def data(incomplete: str) -> list[str]:
    """The GLUE tasks, and the files with rows and the folders in the file system, that start like this."""
    from adapter_tune.tasks.glue import TASKS

    return [*_starting(incomplete, TASKS), *_files(incomplete, ROW_FILES)]


def strategies(incomplete: str) -> list[str]:
    """The strategies whose name starts like this."""
    from adapter_tune.strategies import REGISTRY

    return _starting(incomplete, sorted(REGISTRY))


def configs(incomplete: str) -> list[str]:
    """The shipped configurations, and the YAML files and folders in the file system, that start like this."""
    from adapter_tune.config.shipped import shipped_configs

    return [*_starting(incomplete, sorted(shipped_configs())), *_files(incomplete)]


def sweeps(incomplete: str) -> list[str]:
    """The shipped sweeps, and the YAML files and folders in the file system, that start like this."""
    from adapter_tune.config.shipped import shipped_configs

    return [*_starting(incomplete, sorted(shipped_configs(sweeps=True))), *_files(incomplete)]


def shipped_files(incomplete: str) -> list[str]:
    """The shipped configurations and sweeps that start like this."""
    from adapter_tune.config.shipped import shipped_configs

    return _starting(incomplete, sorted({**shipped_configs(), **shipped_configs(sweeps=True)}))


def runs(incomplete: str) -> list[str]:
    """The finished runs in ``runs``, and the folders, that start like this."""
    finished = [path.parent.as_posix() for path in sorted(Path("runs").glob(f"*/{_RESULT}"))]
    folders = [f"{path.as_posix()}/" for path in _paths(incomplete) if path.is_dir()]
    names = _starting(incomplete, finished)
    return [*names, *(folder for folder in folders if folder.rstrip("/") not in names)]


def configs_and_runs(incomplete: str) -> list[str]:
    """Everything that can be compared."""
    return [*configs(incomplete), *(run for run in runs(incomplete) if not run.endswith("/"))]


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str, extensions: Collection[str] = (".yaml", ".yml")) -> list[str]:
    """The files with these extensions, and the folders, that start like this."""
    files = [path.as_posix() for path in _paths(incomplete) if path.suffix.lower() in extensions]
    return [*files, *(f"{path.as_posix()}/" for path in _paths(incomplete) if path.is_dir())]


def _paths(incomplete: str) -> list[Path]:
    """The paths that start like this."""
    folder, slash, start = incomplete.rpartition("/")
    return sorted(Path(folder + slash or ".").glob(f"{escape(start)}*"))
