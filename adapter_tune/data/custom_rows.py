"""The rows of the user's own data by split, from files or from a data set, and a digest of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from adapter_tune.config.schema import CustomDataConfig, DataConfig
from adapter_tune.data.delimited_files import may_be_quoted
from adapter_tune.data.folder_files import plain_text_files
from adapter_tune.data.labels import label_columns
from adapter_tune.data.row_files import existing_file, located_rows
from adapter_tune.data.rows import LocatedRow
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_errors import loading

_SPLITS = ("train", "validation", "test")
_DEFAULT_SOURCE = DataConfig.model_fields["source"].default
_DEFAULT_HOLDOUT = CustomDataConfig.model_fields["holdout"].default
_EMPTY_TEXT = (
    "is empty; if this is a CSV file, where the datasets library takes NA, None and null for empty, give it with "
    "--train-file"
)
_DIGEST_LENGTH = 16
_EMPTY_DIGEST = hashlib.sha256().hexdigest()[
    :_DIGEST_LENGTH
]  # stored by old runs on a data set, which had no digest yet


def describe_source(data: DataConfig, split: str) -> str:
    """The file or the data set of a split's rows, for messages."""
    file = _file(data, split) or data.custom.train_file
    if file is not None:
        return file
    return f"data set {data.source} ({split})" if split else f"data set {data.source}"


def has_split(data: DataConfig, split: str) -> bool:
    """Whether the user gave rows for a split, in a file or in the data set."""
    if _file(data, split) is not None:
        return True
    return data.custom.train_file is None and split in _data_set(data)


def split_rows(data: DataConfig, split: str, text_columns: tuple[str, ...] = ()) -> Iterator[LocatedRow]:
    """Yield the rows of a split, each with its location.

    Raises:
        UsageError: the file does not exist.
        RunError: a row cannot be read, or one of the text columns contains no text.
    """
    file = _file(data, split)
    if file is not None:
        yield from located_rows(file, text_columns)
        return
    table = _data_set(data)[split]
    if isinstance(table, list):
        for name in table:
            for location, row in located_rows(name, text_columns):
                yield f"{Path(name).name}, {location}", row
        return
    for number, values in enumerate(table):
        row = {name: _with_class_names(value, table.features[name]) for name, value in values.items()}
        for column in text_columns:
            if not isinstance(row.get(column), str):
                problem = _EMPTY_TEXT if row.get(column) is None else "contains no text"
                raise RunError(f"{describe_source(data, split)}, row {number}: column '{column}' {problem}")
        yield f"row {number}", row


def check_sources(data: DataConfig) -> None:
    """Check that all named files exist and that the options do not contradict each other.

    Raises:
        UsageError: a file is missing, or two options exclude each other.
    """
    _check_files(data)
    if data.custom.holdout != _DEFAULT_HOLDOUT and has_split(data, "validation"):
        raise UsageError(
            f"data.custom.holdout={data.custom.holdout:g}: no rows are held out if there are validation rows, as in "
            f"{describe_source(data, 'validation')}; remove one of them"
        )
    if data.custom.train_file is None:
        return
    if data.source not in (_DEFAULT_SOURCE, DEMO):
        raise UsageError(
            f"data.source={data.source} and --train-file {data.custom.train_file} are both training data; give only one"
        )
    if data.custom.subset is not None:
        raise UsageError(
            f"data.custom.subset={data.custom.subset} selects a part of the data set in data.source; remove it with "
            f"--train-file {data.custom.train_file}"
        )


def content_digest(data: DataConfig) -> str:
    """The first 16 hex digits of a SHA-256 over the files, or over the texts and labels of a data set.

    Where validation rows are held out by label, the digest says so, because earlier versions held out other rows.
    """
    digest = _digest_of_rows(data)
    if data.custom.problem == "multi_label" and not has_split(data, "validation"):
        digest.update(b"held out by label\n")
    return digest.hexdigest()[:_DIGEST_LENGTH]


def _digest_of_rows(data: DataConfig) -> hashlib._Hash:
    digest = hashlib.sha256()
    for split in _SPLITS:
        file = _file(data, split)
        if file is not None:
            digest.update(f"{split} {atomic_files.sha256(Path(file))}\n".encode())
            if may_be_quoted(Path(file)):
                digest.update(b"without quoting\n")  # earlier versions read such a file with other rows
        elif has_split(data, split):
            digest.update(f"{split}\n".encode())
            columns = [data.custom.text_column, data.custom.text_pair_column, *label_columns(data)]
            for _, row in split_rows(data, split):
                values = [row.get(name) for name in columns if name]
                digest.update(f"{json.dumps(values, default=str)}\n".encode())
    return digest


def check_digest(data: DataConfig) -> None:
    """Refuse data that changed since training: the held-out rows would be others, and some were trained on.

    Raises:
        UsageError: a file is missing.
        RunError: the content changed, or an earlier version held out other rows.
    """
    stored = data.custom.digest
    if stored in (None, _EMPTY_DIGEST):
        return
    _check_files(data)
    digest = content_digest(data)
    if digest == stored:
        return
    source = ", ".join(_files(data)) or describe_source(data, "")
    if _digest_of_rows(data).hexdigest()[:_DIGEST_LENGTH] == stored:
        raise RunError(f"{source}: an earlier version held out other validation rows for this run; train again")
    raise RunError(
        f"{source}: the data changed since training (digest {digest}, at training {stored}); "
        "restore the data or train again"
    )


def _file(data: DataConfig, split: str) -> str | None:
    file: str | None = getattr(data.custom, f"{split}_file", None)
    return file


def _files(data: DataConfig) -> list[str]:
    files = [_file(data, split) for split in _SPLITS]
    return [file for file in files if file is not None]


def _check_files(data: DataConfig) -> None:
    for file in _files(data):
        existing_file(file)


def _data_set(data: DataConfig) -> Any:
    """The splits of the data set in ``data.source``, each a table, or the list of the text files that our readers read.

    The source is a folder of ``save_to_disk``, or anything for ``load_dataset``.
    """
    if data.source in (_DEFAULT_SOURCE, DEMO):
        raise UsageError("task custom needs data: --train-file FILE, or --set data.source=ID_OR_FOLDER")
    if Path(data.source).is_file():
        raise UsageError(f"data.source={data.source}: is a file; give it with --train-file")
    with loading("data set", data.source, "name files with --train-file"):
        folder = _with_a_name(Path(data.source))
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            splits = datasets.load_from_disk(str(folder))
        else:
            files = plain_text_files(folder, data.custom.subset) if folder.is_dir() else None
            splits = files or datasets.load_dataset(str(folder) if folder.is_dir() else data.source, data.custom.subset)
    if isinstance(splits, datasets.Dataset):
        return {"train": splits}
    if "train" not in splits:
        raise RunError(f"data set {data.source}: no split train; it has {', '.join(splits)}")
    return splits


def _with_a_name(path: Path) -> Path:
    """The path, absolute if it ends with ``.`` or ``..``: the datasets library names a data set after its folder."""
    return path.resolve() if path.name in ("", "..") else path


def _with_class_names(value: Any, feature: Any) -> Any:
    """A value of a data set, with class names in place of class ids."""
    if isinstance(value, list) and isinstance(feature, datasets.List | datasets.LargeList):
        return [_with_class_names(item, feature.feature) for item in value]
    if not isinstance(feature, datasets.ClassLabel):
        return value
    return feature.names[value] if value is not None and value >= 0 else None
