"""The splits of a task, checked and tokenised."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.fingerprint import Hasher
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from adapter_tune.config.schema import DataConfig, RunConfig
from adapter_tune.data.custom import describe_source, label_name, load_tables
from adapter_tune.demo.dataset import located_data
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.tasks.glue import CUSTOM, Task
from adapter_tune.tasks.metrics import undefined_reason

_LOCAL = "name a local copy with --set data.source=DIR"
log = logging.getLogger("adapter_tune")

_CUT = "cut"
_BESIDE = ("model_input_names", "truncation_side", "split_special_tokens")  # of a tokenizer, not in its tokenizer.json
_SUBSET_SEED = 0  # which rows max_*_samples keeps; not the run's seed, so that seeds compare training alone


@dataclass(frozen=True)
class Splits:
    """Tokenised rows: ``input_ids``, ``attention_mask``, ``token_type_ids`` where there are any, and ``labels``."""

    train: Any
    validation: dict[str, Any]
    """By split name, in the task's order."""


def load_splits(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Splits:
    """The training split and every validation split of the run's task; errors as of ``load_rows``."""
    names = config.task_spec.validation
    rows = load_rows(config, tokenizer, ("train", *names))
    return Splits(rows["train"], {name: rows[name] for name in names})


def load_rows(config: RunConfig, tokenizer: PreTrainedTokenizerBase, names: Iterable[str]) -> dict[str, Any]:
    """Labelled splits by name, tokenised; the work is cached beside the data set.

    Raises:
        UsageError: the task has no such split, its labels are not public, or ``data.max_length`` leaves no room.
        RunError: the data set cannot be loaded, or is not what the task table says.
    """
    task, data = config.task_spec, config.data
    for name in names:
        check_split(task, name)
    found = _load(config, task.name)
    out = {}
    for name in names:
        if name not in found:
            raise RunError(f"{_where(config, task.name)}: no split {name}; it has {', '.join(found)}")
        rows, most = found[name], data.max_train_samples if name == "train" else data.max_eval_samples
        where = _where(config, task.name, name)
        _check(rows, task, where)
        if most is not None and most < len(rows):
            rows = rows.shuffle(seed=_SUBSET_SEED).select(range(most))
        if task.name == CUSTOM and name != "train":
            _check_score(rows, task, where)
        out[name], cut = _tokenise(rows, task, tokenizer, data.max_length)
        if cut:
            log.info("%s: %d of %d rows are longer than data.max_length=%d tokens and are cut", name, cut, len(rows),
                     data.max_length)  # fmt: skip
    return out


def raw_split(config: RunConfig, split: str) -> Any:
    """Any split of the run's task as it is, labels public or not; for MNLI ``ax`` is GLUE's diagnostic set.

    Raises:
        UsageError: the task has no such split.
        RunError: the data set cannot be loaded, or lacks the task's columns.
    """
    task = config.task_spec
    names = ("train", *task.validation, *task.test, *task.diagnostic)
    if split not in names:
        raise UsageError(f"task {task.name} has no split '{split}'; choose from {', '.join(names)}")
    part, name = (split, "test") if split in task.diagnostic else (task.name, split)
    found = _load(config, part)
    if name not in found:
        raise UsageError(f"{_where(config, part)}: no split {name}; choose from {', '.join(found)}")
    _check_texts(found[name], task, _where(config, part, name))
    return found[name]


def raw_splits(config: RunConfig) -> dict[str, Any]:
    """Every split of the run's task as it is, the training split first; errors as of ``raw_split``."""
    task = config.task_spec
    found = _load(config, task.name)
    names = [name for name in ("train", *task.validation, *task.test) if name in found]
    for name in names:
        _check_texts(found[name], task, _where(config, task.name, name))
    return {name: found[name] for name in names}


def _where(config: RunConfig, part: str, split: str = "") -> str:
    """What rows are from, for messages: a file of the user's own, or a part of a data set."""
    if config.task == CUSTOM:
        return describe_source(config.data, split)
    return f"data set {config.data.source} ({part}{split and f', {split}'})"


def _load(config: RunConfig, part: str) -> Any:
    """Splits by name: of a part of the GLUE data set, or of the user's own data."""
    if config.task == CUSTOM:
        return load_tables(config)
    with loading("data set", f"{config.data.source} ({part})", _LOCAL):
        source = located_data(config.data.source)
        return datasets.load_dataset(source, part, cache_dir=_local_cache(source))


def encode_texts(
    texts: list[list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, list[int]]]:
    """Rows of one text column or two as the model reads them, without padding."""
    encoded = tokenizer(*texts, truncation=True, max_length=max_length)
    return [{key: values[row] for key, values in encoded.items()} for row in range(len(texts[0]))]


def collator(data: DataConfig, tokenizer: PreTrainedTokenizerBase, device: str) -> DataCollatorWithPadding:
    """What makes a batch of rows: padding to the longest of them, on a GPU to a multiple of 8 for its tensor cores."""
    if data.padding == "max_length":
        return DataCollatorWithPadding(tokenizer, padding="max_length", max_length=data.max_length)
    multiple = multiple_of(data, device)
    return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=multiple if multiple > 1 else None)


def multiple_of(data: DataConfig, device: str) -> int:
    """The number of tokens of a batch's longest row is rounded up to a multiple of this."""
    return 8 if device == "cuda" and data.max_length % 8 == 0 else 1


def lengths(rows: Any) -> Any:
    """Tokens of every row of a tokenised split."""
    return pc.list_value_length(rows.data.column("input_ids")).to_numpy()


def check_split(task: Task, split: str) -> None:
    """Refuse a split that cannot be scored.

    Raises:
        UsageError: no such split, or one whose labels are not public or not needed.
    """
    if split in task.test and task.name == CUSTOM:
        raise UsageError(f"test rows of your own are predicted, not scored; evaluate on {task.validation[0]}")
    if split in task.test:
        raise UsageError(f"the labels of {task.name}'s {split} split are not public; evaluate on {task.validation[0]}")
    if split not in ("train", *task.validation):
        raise UsageError(f"task {task.name} has no split '{split}'; choose from train, {', '.join(task.validation)}")


def _check(rows: Any, task: Task, where: str) -> None:
    """Columns, label order and label values are those of the task table."""
    for column in (*task.text, label_name(task)):
        if column not in rows.column_names:
            raise RunError(f"{where}: no column '{column}'; it has {', '.join(rows.column_names)}")
    if not len(rows):
        raise RunError(f"{where}: no rows; fetch the data set again")
    names = getattr(rows.features[label_name(task)], "names", None)
    if names is not None and tuple(names) != task.labels:
        raise RunError(f"{where}: labels are in the order {names}, not {list(task.labels)}; scores would be wrong")
    _check_texts(rows, task, where)
    if empty := rows.data.column(label_name(task)).null_count:
        raise RunError(f"{where}: column 'label' is empty in {empty} rows; fill or drop them")
    _check_labels(rows, task, where)


def _check_texts(rows: Any, task: Task, where: str) -> None:
    for column in task.text:
        if column not in rows.column_names:
            raise RunError(f"{where}: no column '{column}'; it has {', '.join(rows.column_names)}")
        if not pa.types.is_string(kind := rows.data.schema.field(column).type) and not pa.types.is_large_string(kind):
            raise RunError(f"{where}: column '{column}' holds {kind}, not text")
        if empty := rows.data.column(column).null_count:
            raise RunError(f"{where}: column '{column}' is empty in {empty} rows; fill or drop them")


def _check_labels(rows: Any, task: Task, where: str) -> None:
    if task.is_multi_label:  # made from names, and checked, when they were read
        return
    labels = rows.data.column(label_name(task)).to_numpy()
    if not np.issubdtype(labels.dtype, np.number if task.is_regression else np.integer):
        raise RunError(f"{where}: labels are {labels.dtype}, not {'numbers' if task.is_regression else 'class ids'}")
    low, high = task.bounds if task.is_regression else (0, task.num_labels - 1)
    wrong = ~((labels >= low) & (labels <= high))
    if wrong.any():
        row = int(wrong.argmax())
        raise RunError(f"{where}: row {row} has label {labels[row]}; labels are {low:g} to {high:g}")


def _check_score(rows: Any, task: Task, where: str) -> None:
    """There is a score of these rows (one number alone has no r2), or no epoch could be the best."""
    labels = rows[label_name(task)][:]
    if reason := undefined_reason(task.headline, labels, labels, quiet=True):
        raise RunError(f"{where}: {len(rows)} rows have no {task.headline} ({reason}); name more validation rows")


def _local_cache(source: str) -> str | None:
    """A cache of its own for every state of a local copy, since ``datasets`` knows one by its folder's name alone."""
    folder = Path(source)
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.resolve().rglob("*") if path.is_file())
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return str(Path(datasets.config.HF_DATASETS_CACHE) / f"local-{Hasher.hash(state)}")


def _tokenise(rows: Any, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[Any, int]:
    """The rows as the model reads them, and how many of them were cut."""
    marks = tokenizer.num_special_tokens_to_add(pair=len(task.text) == 2)
    if max_length < marks + len(task.text):
        raise UsageError(f"data.max_length is {max_length}, but {marks} tokens go to [CLS] and [SEP]; set it higher")
    encode = partial(_encode, tokenizer=tokenizer, columns=task.text, label=label_name(task), max_length=max_length)
    key = ["with cuts", rows._fingerprint, _identity(tokenizer), task.text, task.is_regression, max_length]
    found = rows.map(
        encode,
        batched=True,
        remove_columns=rows.column_names,
        new_fingerprint=Hasher.hash(key),
        desc="tokenising",
    )
    return found.remove_columns(_CUT), pc.sum(found.data.column(_CUT)).as_py() or 0


def _encode(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, columns: Iterable[str], label: str, max_length: int
) -> dict[str, Any]:
    encoded = tokenizer(*(batch[column] for column in columns), truncation=True, max_length=max_length)
    cut = [bool(row.overflowing) for row in encoded.encodings] if encoded.is_fast else [False] * len(batch[label])
    return {**encoded, "labels": batch[label], _CUT: cut}


def _identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """Digest of what decides a tokenizer's output; how the last call padded or cut is left out."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    state = {key: value for key, value in state.items() if key not in ("truncation", "padding")}
    state |= {name: getattr(tokenizer, name, None) for name in _BESIDE}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
