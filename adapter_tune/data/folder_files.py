"""The CSV, TSV and JSONL files of a folder by split, as the datasets library assigns them to splits.

The files are then read by ``row_files``, as those of ``--train-file`` are: the library's own readers take NA for an
empty text, 007 for the number 7, and a date for a timestamp.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import datasets

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".jsonl": None}
"""What separates the fields of files that ``row_files`` reads, by extension; None where there is nothing to set."""
_ALWAYS_SET = ("name", "version", "data_dir", "data_files", "description", "sep")


def plain_text_files(folder: Path, subset: str | None) -> dict[str, list[str]] | None:
    """The paths of a folder's files by split, or None if the datasets library has to read them.

    It has to if there are files of other formats, or the folder's README.md describes how to read them.

    Args:
        folder: a folder for ``load_dataset``.
        subset: the configuration of the data set, or None.
    """
    builder = datasets.load_dataset_builder(str(folder), subset)
    if not builder.config.data_files or not _is_plain(builder.config) or _has_class_ids(builder.info.features):
        return None
    files = {str(split): list(map(str, names)) for split, names in builder.config.data_files.items()}
    extensions = {Path(name).suffix.lower() for names in files.values() for name in names}
    separator = getattr(builder.config, "sep", None)
    is_readable = all(_DELIMITERS.get(extension, "") == separator for extension in extensions)
    return files if is_readable else None


def _is_plain(config: Any) -> bool:
    """Whether nothing about the format of the files was set."""
    default = type(config)()
    names = [field.name for field in fields(config) if field.name not in _ALWAYS_SET]
    return all(getattr(config, name) == getattr(default, name) for name in names)


def _has_class_ids(features: Any) -> bool:
    """Whether a column holds ids of classes whose names only the description of the data set knows."""
    columns = [getattr(feature, "feature", feature) for feature in (features or {}).values()]
    return any(isinstance(column, datasets.ClassLabel) for column in columns)
