"""Data of the user's own: files, or a data set on the Hub or on disk, made into the splits of a task.

``settled`` guesses what was left open (columns, kind of problem, names of classes) and writes it into the
configuration, so that a run says what it was trained on; ``tables`` reads the rows by a settled configuration.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from adapter_tune.config.schema import DataConfig, RunConfig
from adapter_tune.data.columns import with_columns
from adapter_tune.data.labels import (
    LocatedRow,
    check_names,
    class_of,
    classes,
    has_label,
    kind_of,
    label_columns,
    multi_label_of,
    number_of,
)
from adapter_tune.data.row_files import Row, existing, located_rows
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError, unknown_name
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.tasks.glue import CUSTOM, Task
from adapter_tune.tasks.metrics import check_metric

log = logging.getLogger("adapter_tune")

_SPLITS = ("train", "validation", "test")
_NO_SOURCE = DataConfig.model_fields["source"].default
_NOTHING = hashlib.sha256().hexdigest()[:16]  # of runs on a data set, before these had a digest
_SEED = 0  # of the rows held out; not the run's seed, so that seeds compare training alone


def resolve_custom_data(config: RunConfig, known: dict[str, Any] | None = None) -> RunConfig:
    """The configuration with everything about the data decided; a GLUE task's is returned as it is.

    Args:
        config: of a run.
        known: what was found before for other runs, which is not read again; this run's is added.

    Raises:
        UsageError: no file was named, or a column that is not there or cannot be guessed.
        RunError: a row that cannot be used; the message has file, line and column.
    """
    if config.task != CUSTOM:
        return config
    known, key = {} if known is None else known, f"settled {config.data!r}"
    if key not in known:
        found = _resolve(config.data)
        known |= {key: found, f"settled {found!r}": found}
    return config.model_copy(update={"data": known[key]})


def _resolve(data: DataConfig) -> DataConfig:
    _check_sources(data)
    _check_digest(data)
    rows = list(_rows(data, "train"))
    if not rows:
        raise RunError(f"{describe_source(data, 'train')}: no rows; it needs some to train on")
    data = with_columns(data, list(rows[0][1]), describe_source(data, "train"))
    if data.labels is not None:
        check_names(data.labels)
    kind = data.problem if data.problem != "auto" else kind_of(rows, data, describe_source(data, "train"))
    data = data.model_copy(update={"problem": kind})
    labels = None if kind == "regression" else data.labels or classes(rows, data, describe_source(data, "train"))
    metric = data.metric or {"regression": "r2", "multi_label": "f1_micro"}.get(kind, "accuracy")
    check_metric(metric, kind, len(labels or ()))
    changes = {"labels": labels, "metric": metric, "digest": _digest(data)}
    said = f"regression of column '{data.label_column}'" if labels is None else f"{len(labels)} classes"
    log.info("%s: %s", describe_source(data, "train"), said)
    return data.model_copy(update=changes)


def load_tables(config: RunConfig) -> dict[str, datasets.Dataset]:
    """Train, validation and, where there is one, test split of settled data: text columns, and the label.

    Without validation rows a share of the training rows is held out, by class.

    Raises:
        RunError: a row cannot be used, or the files are not those that the configuration was settled on.
    """
    data = config.data
    _check_digest(data)
    found = {"train": _table(config, "train")}
    if _has(data, "validation"):
        found["validation"] = _table(config, "validation")
    else:
        found["train"], found["validation"] = _held_out(found["train"], config)
    if _has(data, "test"):
        found["test"] = _table(config, "test")
    return found


def label_name(task: Task) -> str:
    """What the column with the ids or numbers is called: ``label``, unless a text of the user's is called so."""
    return next(name for name in ("label", "target", "truth") if name not in task.text)


def _held_out(rows: datasets.Dataset, config: RunConfig) -> tuple[datasets.Dataset, datasets.Dataset]:
    from sklearn.model_selection import train_test_split

    labels = (
        None
        if config.task_spec.is_regression or config.task_spec.is_multi_label
        else list(rows[label_name(config.task_spec)])
    )
    smallest = min(Counter(labels).values()) if labels else 2
    least = 2 if config.task_spec.is_regression else config.task_spec.num_labels  # one number has no r2
    wanted = max(round(config.data.holdout * len(rows)), least if smallest > 1 else 1)
    if len(rows) - wanted < config.task_spec.num_labels:
        raise RunError(f"{len(rows)} rows are too few to hold some out; name validation rows with --validation-file")
    if smallest < 2:
        log.info("a class has one row only, so the rows held out are drawn without regard to classes")
    stratify = labels if smallest > 1 else None
    train, held = train_test_split(range(len(rows)), test_size=wanted, random_state=_SEED, stratify=stratify)
    log.info("no validation rows were named: %d of %d training rows are held out (seed %d)", wanted, len(rows), _SEED)
    return rows.select(sorted(train)), rows.select(sorted(held))


def _table(config: RunConfig, split: str) -> datasets.Dataset:
    """One split, every label turned into its id or number; None where a test row has none."""
    data, task = config.data, config.task_spec
    ids = {name: number for number, name in enumerate(task.labels)}
    columns: dict[str, list[Any]] = {column: [] for column in (*task.text, label_name(task))}
    for place, row in _rows(data, split, task.text):
        where = f"{describe_source(data, split)}, {place}"
        if split == "test" and not has_label(row, data):
            label = None
        else:
            label = _label(row, config, ids, where, needed=split != "test")
        columns[label_name(task)].append(label)
        for column in task.text:
            columns[column].append(row[column])
    kind: Any = datasets.Value("float32" if task.is_regression else "int64")
    kind = datasets.List(datasets.Value("float32")) if task.is_multi_label else kind
    features = datasets.Features({**{column: datasets.Value("string") for column in task.text}, label_name(task): kind})
    if not columns[label_name(task)]:
        raise RunError(f"{describe_source(data, split)}: no rows; it needs some, or leave it out")
    return datasets.Dataset.from_dict(columns, features)


def _label(row: Row, config: RunConfig, ids: dict[str, int], where: str, *, needed: bool) -> Any:
    """The id, ids or number of a row's label; None where it is not needed and is nothing that training had."""
    data, task = config.data, config.task_spec
    if task.is_regression:
        try:
            return number_of(row, data, where, task.bounds)
        except RunError:
            if needed:
                raise
            return None
    names = multi_label_of(row, data, where) if task.is_multi_label else [class_of(row, data, where)]
    strange = next((name for name in names if name not in ids), None)
    if strange is not None and needed:
        raise RunError(f"{where}: {unknown_name('label', strange, ids)} (the classes of the training rows)")
    if strange is not None:
        return None
    return [float(name in names) for name in ids] if task.is_multi_label else ids[names[0]]


def _rows(data: DataConfig, split: str, text: tuple[str, ...] = ()) -> Iterator[LocatedRow]:
    """Rows with where they stand; the text columns are checked."""
    file = getattr(data, f"{split}_file")
    if file is not None:
        yield from located_rows(file, text)
        return
    found = _data_set(data)[split]
    for number, values in enumerate(found):
        row = {name: _named(value, found.features[name]) for name, value in values.items()}
        for column in text:
            if not isinstance(row.get(column), str):
                raise RunError(f"{describe_source(data, split)}, row {number}: column '{column}' holds no text")
        yield f"row {number}", row


def _named(value: Any, feature: Any) -> Any:
    """A value of a data set, with the names of classes where their ids stand."""
    if isinstance(value, list) and isinstance(feature, datasets.List | datasets.LargeList):
        return [_named(each, feature.feature) for each in value]
    if not isinstance(feature, datasets.ClassLabel):
        return value
    return feature.names[value] if value is not None and value >= 0 else None


def _has(data: DataConfig, split: str) -> bool:
    if getattr(data, f"{split}_file") is not None:
        return True
    return data.train_file is None and split in _data_set(data)


def _data_set(data: DataConfig) -> Any:
    """The data set that ``source`` names: a folder of save_to_disk, or what load_dataset finds."""
    if data.source in (_NO_SOURCE, DEMO):
        raise UsageError("task custom needs data: --train-file FILE, or --set data.source=ID_OR_FOLDER")
    with loading("data set", data.source, "name files with --train-file"):
        folder = Path(data.source)
        is_saved = (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()
        found = datasets.load_from_disk(data.source) if is_saved else datasets.load_dataset(data.source, data.subset)
        found = {"train": found} if isinstance(found, datasets.Dataset) else found
    if "train" not in found:
        raise RunError(f"data set {data.source}: no split train; it has {', '.join(found)}")
    return found


def _check_sources(data: DataConfig) -> None:
    """Every file that was named is there, and beside one to train on no data set is named."""
    for file in _files(data):
        existing(file)
    if data.holdout != DataConfig.model_fields["holdout"].default and _has(data, "validation"):
        raise UsageError(f"data.holdout={data.holdout:g}: nothing is held out where there are validation rows, as in "
                         f"{describe_source(data, 'validation')}; leave one of them out")  # fmt: skip
    if data.train_file is None:
        return
    if data.source not in (_NO_SOURCE, DEMO):
        raise UsageError(f"data.source={data.source} and --train-file {data.train_file}: give one of them to train on")
    if data.subset is not None:
        raise UsageError(f"data.subset={data.subset} belongs to a data set that data.source names; leave it out with "
                         f"--train-file {data.train_file}")  # fmt: skip


def _digest(data: DataConfig) -> str:
    """SHA-256 over the contents of the files, and of a data set's texts and labels."""
    digest = hashlib.sha256()
    for split in _SPLITS:
        if (file := getattr(data, f"{split}_file")) is not None:
            digest.update(f"{split} {atomic_files.sha256(Path(file))}\n".encode())
        elif _has(data, split):
            digest.update(f"{split}\n".encode())
            columns = [data.text_column, data.text_pair_column, *label_columns(data)]
            for _, row in _rows(data, split):
                digest.update(f"{json.dumps([row.get(name) for name in columns if name], default=str)}\n".encode())
    return digest.hexdigest()[:16]


def _files(data: DataConfig) -> list[str]:
    return [file for split in _SPLITS if (file := getattr(data, f"{split}_file")) is not None]


def _check_digest(data: DataConfig) -> None:
    """Other rows would be held out of a changed file, rows among them that were trained on."""
    if data.digest in (None, _NOTHING):
        return
    for file in _files(data):
        existing(file)
    if (found := _digest(data)) != data.digest:
        named = ", ".join(_files(data)) or describe_source(data, "")
        raise RunError(f"{named}: not the data of the run (the digest is {found}, the run's {data.digest}); bring back "
                       "what it was trained on, or train on this")  # fmt: skip


def describe_source(data: DataConfig, split: str) -> str:
    """What a split's rows are from, for messages."""
    file = getattr(data, f"{split}_file", None) or data.train_file
    return file or f"data set {data.source}{split and f' ({split})'}"
