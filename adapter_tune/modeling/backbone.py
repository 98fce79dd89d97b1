"""Backbones as published: tokenizer, configuration and weights, from the Hub or a folder, with a fingerprint."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.model_parts import base_of, head_parameters, pooler_parameters
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import DataConfig, ModelConfig
from adapter_tune.demo.location import located_model
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.modeling.model_files import (
    LOCAL_HINT,
    check_encoder,
    check_finite,
    check_is_backbone,
    check_model_folder,
    check_shards,
    check_whole_model,
)
from adapter_tune.modeling.tokenizer_fit import check_token_ids, fit_to_backbone, pad_and_cut_right
from adapter_tune.modeling.unused_tensors import check_unused
from adapter_tune.tasks.glue import Task


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """Load the backbone's tokenizer, made to fit the backbone.

    Raises:
        RunError: there is none, it has no vocabulary, it does not fit the backbone, or the Hub cannot be reached.
    """
    backbone = load_config(config, {})
    tokenizer = _tokenizer(located_model(config.id), config.revision, config.id)
    fit_to_backbone(tokenizer, backbone, config.id)
    return tokenizer


def load_saved_tokenizer(folder: Path, backbone: Any) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an adapter folder, as it was in training.

    Args:
        folder: the adapter folder.
        backbone: the transformers configuration of the adapter's backbone.

    Raises:
        RunError: there is none, or it has tokens that the backbone has no embeddings for.
    """
    tokenizer = load_tokenizer_folder(folder)
    check_token_ids(tokenizer, backbone, str(folder))
    return tokenizer


def load_tokenizer_folder(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an adapter folder or an export, as it was in training.

    Raises:
        RunError: there is none.
    """
    tokenizer = _tokenizer(str(folder), None, str(folder))
    pad_and_cut_right(tokenizer, str(folder))
    return tokenizer


def _tokenizer(source: str, revision: str | None, name: str) -> PreTrainedTokenizerBase:
    with loading("model", name, LOCAL_HINT):
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers 5 makes an empty one if files are missing
        raise RunError(f"model {name}: its tokenizer has no vocabulary; add tokenizer.json or vocab.txt to it")
    return tokenizer


def load_config(config: ModelConfig, options: dict[str, Any]) -> Any:
    """Load the backbone's transformers configuration, without weights.

    Raises:
        UsageError: the model is a file, or the folder of a trained run.
        RunError: there is none, it belongs to an adapter, it is no encoder's, or the Hub cannot be reached.
    """
    check_is_backbone(config.id)
    check_model_folder(config.id)
    with loading("model", config.id, LOCAL_HINT):
        check_whole_model(config)
        backbone = AutoConfig.from_pretrained(
            located_model(config.id), revision=config.revision, trust_remote_code=False, **options
        )
        check_encoder(config.id, backbone)
    return backbone


def positions_of(config: Any) -> int | None:
    """Return the number of tokens that a backbone has positions for; None if it has no such limit."""
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions) - family_of(config).lost_positions


def check_length(max_length: int, config: Any) -> None:
    """Refuse a maximum length that is more than the backbone has positions.

    Raises:
        UsageError: it is more.
    """
    positions = positions_of(config)
    if positions is not None and max_length > positions:
        raise UsageError(
            f"data.max_length is {max_length}, but the backbone has {positions} positions; "
            f"set data.max_length={positions}"
        )


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone as loaded from its checkpoint, not changed yet."""

    model: PreTrainedModel
    unexpected: set[str]
    """Names of tensors in the checkpoint that the model does not have."""
    newly_initialized: frozenset[str]
    """Names of tensors in the model that the checkpoint does not have."""
    fingerprint: str


@dataclass
class RunCache:
    """What a process reuses from one run to the next."""

    custom_data: dict[str, DataConfig] = field(default_factory=dict)
    """Resolved data sections, as ``data.custom.resolve_config`` adds them."""
    tokenizers: dict[str, PreTrainedTokenizerBase] = field(default_factory=dict)
    """By the configuration of the model, as JSON."""
    splits: dict[str, Any] = field(default_factory=dict)
    """Tokenised splits by task, data and model; ``datasets`` maps their rows from disk."""
    examples: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Texts of every class, by task and data, as ``data.examples.label_examples`` returns them."""
    _backbone: tuple[str, LoadedBackbone] | None = None
    """The last one that was loaded, and what it was loaded for."""

    def backbone(self, config: ResolvedConfig) -> LoadedBackbone:
        """Return a copy of the backbone; it is loaded unless it is the one that was loaded last."""
        key = repr((config.model.id, config.model.revision, head_options(config.task_spec)))
        if self._backbone is None or self._backbone[0] != key:
            self._backbone = None  # frees the last one first: two in memory would be too many
            self._backbone = (key, load_backbone(config))
        loaded = self._backbone[1]
        return replace(loaded, model=copy.deepcopy(loaded.model))


def load_backbone(config: ResolvedConfig) -> LoadedBackbone:
    """Load a backbone in float32, with a new head for the task.

    Raises:
        RunError: the backbone cannot be loaded, or its checkpoint does not hold the whole encoder.
    """
    task = config.task_spec
    check_shards(config.model.id)
    with loading("model", config.model.id, LOCAL_HINT), _loading_report_off():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            located_model(config.model.id),
            revision=config.model.revision,
            trust_remote_code=False,
            use_safetensors=True,  # other formats can execute code
            dtype=torch.float32,  # transformers 5 keeps the stored type otherwise
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # another task's head, which is replaced anyway
            output_attentions=False,  # whatever config.json says: they would come with the logits
            output_hidden_states=False,
            **head_options(task),
        )
    unexpected = set(info["unexpected_keys"])
    check_unused(unexpected, model, config.model.id)
    newly_initialized = _newly_initialized(config.model.id, model, info)
    check_finite(config.model.id, base_of(model))
    return LoadedBackbone(
        model=model,
        unexpected=unexpected,
        newly_initialized=newly_initialized,
        fingerprint=fingerprint(model, newly_initialized),
    )


def head_options(task: Task) -> dict[str, Any]:
    """Return the options that transformers needs for a task: width of the head, label names, problem type."""
    names = task.labels or ("score",)
    return {
        "num_labels": task.num_labels,
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": _problem_type(task),
    }


def _problem_type(task: Task) -> str:
    if task.is_multi_label:
        return "multi_label_classification"
    return "regression" if task.is_regression else "single_label_classification"


def fingerprint(model: nn.Module, newly_initialized: frozenset[str] = frozenset()) -> str:
    """Return the SHA-256 of name, type, shape and bytes of a backbone's tensors as loaded, before anything is attached.

    The tensors are loaded in float32, so a checkpoint has one fingerprint, whatever type its file stores.

    Args:
        model: with or without a head, which is left out.
        newly_initialized: names (in the whole model) of tensors that no checkpoint held; they are left out.
    """
    backbone = {id(p) for p in (*base_of(model).parameters(), *pooler_parameters(model))}
    digest = hashlib.sha256()
    for name, p in sorted(model.named_parameters(), key=lambda item: item[0]):
        if id(p) in backbone and name not in newly_initialized:
            digest.update(f"{name} {p.dtype} {tuple(p.shape)}\n".encode())
            digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def _loading_report_off() -> Iterator[None]:
    """Keep transformers from printing which tensors are missing: ``_newly_initialized`` checks them."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _newly_initialized(model_id: str, model: nn.Module, info: dict[str, Any]) -> frozenset[str]:
    """Return the names of the tensors that the checkpoint did not fill: the head, and perhaps the pooler.

    Raises:
        RunError: the checkpoint lacks tensors of the encoder, which would stay random.
    """
    unfilled = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    parameters = dict(model.named_parameters())
    head = {id(p) for p in head_parameters(model)}
    may_be_new = head | {id(p) for p in pooler_parameters(model)}
    missing = sorted(name for name in unfilled if name in parameters and id(parameters[name]) not in may_be_new)
    if missing:
        raise RunError(
            f"model {model_id}: {len(missing)} tensors of the encoder are missing from its weights or have another "
            f"shape ({missing[0]}, ...); choose a checkpoint that matches its config.json"
        )
    return frozenset(name for name, p in parameters.items() if name in unfilled or id(p) in head)
