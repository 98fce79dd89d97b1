"""What the user's data are (a file, a folder, a data set on the Hub or a task of GLUE), as options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.row_files import existing_file
from adapter_tune.data.row_formats import READERS
from adapter_tune.foundation.errors import UsageError, similar_name, unknown_name
from adapter_tune.foundation.hub_calls import parse_hub_name
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.run_files.adapter_files import CONFIG as ADAPTER
from adapter_tune.run_files.result import FILE as RESULT
from adapter_tune.tasks.glue import CUSTOM, TASKS

Options = dict[str, Any]
"""Values of a configuration by dotted path."""

_GLUE = DataConfig.model_fields["source"].default
_MODEL = "config.json"


def source_options(data: str, files: Mapping[str, str | None]) -> Options:
    """The options that name the data; of a data set on the Hub, its subset is not among them.

    Args:
        data: as the user gave it.
        files: path of the validation and the test file by option, or None.

    Raises:
        UsageError: there is no such file, folder or task.
    """
    given = {f"data.custom.{name}": str(Path(file).expanduser()) for name, file in files.items() if file is not None}
    if not data.strip():
        raise UsageError("the data are empty; give a file, a folder, ORG/NAME on the Hub or a GLUE task")
    path = Path(data).expanduser()
    if path.is_file():
        existing_file(str(path))
        return {"task": CUSTOM, "data.custom.train_file": str(path), **given}
    if path.is_dir():
        _check_data_folder(path)
        return {"task": CUSTOM, "data.source": str(path), **given}
    if path.exists():
        raise UsageError(f"{data}: neither a file nor a folder; give a CSV, TSV, JSONL or Parquet file")
    if data in TASKS:
        if given:
            raise UsageError(f"{data} is a task of GLUE with its own validation rows; remove the other files")
        return {"task": data}
    if path.suffix.lower() in READERS or data.startswith((".", "/", "~")) or parse_hub_name(data) is None:
        raise UsageError(f"{data}: no such file or folder{_similar(data, path)}")
    return {"task": CUSTOM, "data.source": data, **given}


def _check_data_folder(path: Path) -> None:
    """Refuse a folder that is a run or a model.

    Raises:
        UsageError: it is one.
    """
    if (path / RESULT).is_file() or (path / ADAPTER).is_file():
        raise UsageError(f"{path} is the folder of a run; give the data, as a file, a folder or a data set on the Hub")
    if (path / _MODEL).is_file():
        raise UsageError(f"{path} is the folder of a model; give the data, and the model with --model {path}")


def _similar(data: str, path: Path) -> str:
    """What the user may have meant; it goes on after "no such file or folder"."""
    parent = path.parent
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    similar = similar_name(path.name, names)
    if similar is not None:
        return f"; did you mean '{parent / similar}'?"
    if path.suffix or "/" in data:
        return "; give a CSV, TSV, JSONL or Parquet file, or a folder with such files"
    return f", and {unknown_name('task', data, TASKS)}. A data set on the Hub is ORG/NAME"


def subsets(options: Options) -> list[str]:
    """The subsets (configurations) of a data set on the Hub that have to be chosen from; none where nothing is open.

    Raises:
        RunError: the data set cannot be loaded.
    """
    name = options.get("data.source")
    if name is None or Path(name).exists():
        return []
    with loading("data set", name, "give a file or a folder"):
        names = datasets.get_dataset_config_names(name)
        return [] if datasets.get_dataset_default_config_name(name) is not None else list(names)


def with_subset(options: Options, subset: str) -> Options:
    """The options with a subset; one of GLUE's is the task of this name."""
    if options.get("data.source") == _GLUE and subset in TASKS:
        return {"task": subset}
    return {**options, "data.custom.subset": subset}
