"""The splits of a task: loaded, checked and tokenised."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc
from datasets.fingerprint import Hasher
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import DataConfig
from adapter_tune.data.custom import label_name, load_tables
from adapter_tune.data.custom_rows import describe_source
from adapter_tune.data.input_file import InputColumns, labelled_rows
from adapter_tune.data.row_checks import (
    absent_classes,
    check_has_score,
    check_rows,
    check_split,
    check_texts,
    score_warnings,
)
from adapter_tune.demo.dataset import located_data
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.tasks.glue import CUSTOM, Task

log = logging.getLogger("adapter_tune")

_LOCAL = "give a local copy with --set data.source=DIR"
_IS_CUT = "cut"  # the column that says which rows were cut
_TOKENIZER_ATTRIBUTES = ("model_input_names", "truncation_side", "split_special_tokens")
"""What decides a tokenizer's output beside its tokenizer.json."""
_SUBSET_SEED = 0  # of max_*_samples; not the run's seed, so that runs with several seeds differ in training only


@dataclass(frozen=True)
class Splits:
    """Tokenised rows: ``input_ids``, ``attention_mask``, ``labels``, and ``token_type_ids`` if the model has them."""

    train: Any
    validation: dict[str, Any]
    """By split name, in the task's order."""


def load_splits(config: ResolvedConfig, tokenizer: PreTrainedTokenizerBase) -> Splits:
    """The training split and every validation split of the run's task; it raises the errors of ``load_rows``."""
    names = config.task_spec.validation
    rows = load_rows(config, tokenizer, ("train", *names))
    return Splits(rows["train"], {name: rows[name] for name in names})


def load_rows(config: ResolvedConfig, tokenizer: PreTrainedTokenizerBase, names: Iterable[str]) -> dict[str, Any]:
    """Labelled splits by name, tokenised; the tokens are cached in the data set's cache.

    Raises:
        UsageError: the task has no such split, its labels are not public, or ``data.max_length`` is too small.
        RunError: the data set cannot be loaded, or does not match the table of tasks.
    """
    task = config.task_spec
    for name in names:
        check_split(task, name)
    names = tuple(names)
    splits = _load(config, task.name, scores_test="test" in names)
    tokenised = {}
    for name in names:
        if name not in splits:
            hint = "; score a file of your own: eval --input FILE" if task.name == CUSTOM else ""
            raise RunError(f"{_where(config, task.name)}: no split {name}; it has {', '.join(splits)}{hint}")
        where = _where(config, task.name, name)
        check_rows(splits[name], task, where)
        rows = _subset(splits[name], config.data, name)
        if task.name == CUSTOM:
            _check_labels(rows, task, name, where)
        tokenised[name] = _tokenise(rows, config, tokenizer, name)
    return tokenised


def _check_labels(rows: Any, task: Task, split: str, where: str) -> None:
    """Refuse labels of the user's own rows that cannot be scored, and log what they do not train or measure."""
    labels = rows[label_name(task)][:]
    if split != "train":
        check_has_score(rows, task, where)
        for text in score_warnings(labels, task, where):
            log.warning("%s", text)
    elif not task.is_regression and (absent := absent_classes(labels, task)):
        log.warning("%s: no training row of %s, which is not learnt", where, absent)


def load_file(
    config: ResolvedConfig, tokenizer: PreTrainedTokenizerBase, file: str, columns: InputColumns
) -> dict[str, Any]:
    """All rows of a labelled file, tokenised, under the file's name; ``data.max_eval_samples`` does not count.

    Raises:
        UsageError: the file or a column does not exist.
        RunError: a row cannot be used, or its label is not one of the run's, or the rows have no score.
    """
    rows = labelled_rows(config, file, columns)
    check_rows(rows, config.task_spec, file)
    if config.task == CUSTOM:
        _check_labels(rows, config.task_spec, file, file)
    else:
        check_has_score(rows, config.task_spec, file)
    return {file: _tokenise(rows, config, tokenizer, file)}


def _subset(rows: Any, data: DataConfig, split: str) -> Any:
    limit = data.max_train_samples if split == "train" else data.max_eval_samples
    if limit is None or limit >= len(rows):
        return rows
    option = "data.max_train_samples" if split == "train" else "data.max_eval_samples"
    log.info("%s: %d of %d rows are used (%s)", split, limit, len(rows), option)
    return rows.shuffle(seed=_SUBSET_SEED).select(range(limit))


def raw_split(config: ResolvedConfig, split: str) -> Any:
    """Any split of the run's task, not tokenised, with or without labels. MNLI's ``ax`` is GLUE's diagnostic set.

    Raises:
        UsageError: the task has no such split.
        RunError: the data set cannot be loaded, or lacks the task's columns.
    """
    task = config.task_spec
    names = ("train", *task.validation, *task.test, *task.diagnostic)
    if split not in names:
        raise UsageError(f"task {task.name} has no split '{split}'; choose from {', '.join(names)}")
    subset = task.name
    name = split
    if split in task.diagnostic:  # a data set of its own, with nothing but a test split
        subset = split
        name = "test"
    splits = _load(config, subset)
    if name not in splits:
        raise UsageError(f"{_where(config, subset)}: no split {name}; choose from {', '.join(splits)}")
    check_texts(splits[name], task, _where(config, subset, name))
    return splits[name]


def raw_splits(config: ResolvedConfig) -> dict[str, Any]:
    """Every split of the run's task, not tokenised, the training split first; it raises the errors of ``raw_split``."""
    task = config.task_spec
    splits = _load(config, task.name)
    names = [name for name in ("train", *task.validation, *task.test) if name in splits]
    for name in names:
        check_texts(splits[name], task, _where(config, task.name, name))
    return {name: splits[name] for name in names}


def _where(config: ResolvedConfig, subset: str, split: str = "") -> str:
    """The source of rows, for messages: the user's own file, or a subset of a data set."""
    if config.task == CUSTOM:
        return describe_source(config.data, split)
    parts = f"{subset}, {split}" if split else subset
    return f"data set {config.data.source} ({parts})"


def _load(config: ResolvedConfig, subset: str, *, scores_test: bool = False) -> Any:
    """Splits by name: of a subset of the GLUE data set, or of the user's own data."""
    if config.task == CUSTOM:
        return load_tables(config, scores_test=scores_test)
    with loading("data set", f"{config.data.source} ({subset})", _LOCAL):
        source = located_data(config.data.source)
        return datasets.load_dataset(source, subset, cache_dir=_local_cache(source))


def encode_texts(
    texts: Sequence[list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[dict[str, list[int]]], list[bool]]:
    """One or two columns of texts as tokenised rows without padding, and whether each of them was cut."""
    encoded = tokenizer(*texts, truncation=True, max_length=max_length)
    rows = [{key: values[row] for key, values in encoded.items()} for row in range(len(texts[0]))]
    return rows, _are_cut(encoded, texts, tokenizer, max_length)


def _are_cut(encoded: Any, texts: Sequence[list[str]], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[bool]:
    """Whether each row was cut; a tokenizer in Python does not tell, so its rows are tokenised again without a limit.

    Args:
        encoded: the rows as tokens.
        texts: the columns of their texts.
        tokenizer: the tokenizer of the rows.
        limit: the maximum number of tokens in a row.
    """
    if encoded.is_fast:
        return [bool(row.overflowing) for row in encoded.encodings]
    return [len(tokens) > limit for tokens in tokenizer(*texts, truncation=False, verbose=False)["input_ids"]]


def log_cut(where: str, cut: int, count: int, max_length: int) -> None:
    """Say how many rows are longer than the model reads; nothing if none is.

    Args:
        where: the split or the file of the rows.
        cut: the number of rows that are longer.
        count: the number of all rows.
        max_length: the maximum number of tokens in a row.
    """
    if cut:
        text = "%s: %d of %d rows are longer than data.max_length=%d tokens and are truncated"
        log.info(text, where, cut, count, max_length)


def collator(data: DataConfig, tokenizer: PreTrainedTokenizerBase, device: str) -> DataCollatorWithPadding:
    """The collator: it pads a batch to its longest row, on a GPU to a multiple of 8 for the tensor cores."""
    if data.padding == "max_length":
        return DataCollatorWithPadding(tokenizer, padding="max_length", max_length=data.max_length)
    multiple = padding_multiple(data, device)
    return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=multiple if multiple > 1 else None)


def padding_multiple(data: DataConfig, device: str) -> int:
    """The number of tokens of a batch is rounded up to a multiple of this."""
    return 8 if device == "cuda" and data.max_length % 8 == 0 else 1


def lengths(rows: Any) -> Any:
    """The number of tokens of every row of a tokenised split."""
    return pc.list_value_length(rows.data.column("input_ids")).to_numpy()


def _local_cache(source: str) -> str | None:
    """A separate cache for every content of a local copy, because ``datasets`` only looks at its path."""
    folder = Path(source)
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.resolve().rglob("*") if path.is_file())
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return str(Path(datasets.config.HF_DATASETS_CACHE) / f"local-{Hasher.hash(state)}")


def _tokenise(rows: Any, config: ResolvedConfig, tokenizer: PreTrainedTokenizerBase, split: str) -> Any:
    """The rows as tokens; how many of them were cut is logged."""
    task = config.task_spec
    max_length = config.data.max_length
    special_tokens = tokenizer.num_special_tokens_to_add(pair=len(task.text) == 2)
    if max_length < special_tokens + len(task.text):
        raise UsageError(
            f"data.max_length is {max_length}, but [CLS] and [SEP] need {special_tokens} tokens; set it higher"
        )
    encode = partial(_encode, tokenizer=tokenizer, columns=task.text, label=label_name(task), max_length=max_length)
    key = ["with cuts", rows._fingerprint, _identity(tokenizer), task.text, task.is_regression, max_length]
    tokenised = rows.map(
        encode,
        batched=True,
        remove_columns=rows.column_names,
        new_fingerprint=Hasher.hash(key),
        desc="tokenising",
    )
    log_cut(split, pc.sum(tokenised.data.column(_IS_CUT)).as_py(), len(rows), max_length)
    return tokenised.remove_columns(_IS_CUT)


def _encode(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, columns: Iterable[str], label: str, max_length: int
) -> dict[str, Any]:
    texts = [batch[column] for column in columns]
    encoded = tokenizer(*texts, truncation=True, max_length=max_length)
    return {**encoded, "labels": batch[label], _IS_CUT: _are_cut(encoded, texts, tokenizer, max_length)}


def _identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """Digest of everything that decides a tokenizer's output, without the padding and truncation of its last call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    state = {key: value for key, value in state.items() if key not in ("truncation", "padding")}
    state |= {name: getattr(tokenizer, name, None) for name in _TOKENIZER_ATTRIBUTES}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
