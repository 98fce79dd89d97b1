"""Backbones as they come: tokenizer, configuration and weights, from the Hub or a folder, with a fingerprint."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME
from transformers.utils import logging as transformers_logging

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.surgery import base_of, head_parameters, pooler_parameters
from adapter_tune.config.schema import ModelConfig, RunConfig
from adapter_tune.demo.location import located_model
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.tasks.glue import Task

_LOCAL = "name a local folder with --model DIR"


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The backbone's tokenizer.

    Raises:
        RunError: there is none, it has no vocabulary, or the Hub cannot be reached.
    """
    with loading("model", config.id, _LOCAL):
        tokenizer = AutoTokenizer.from_pretrained(
            located_model(config.id), revision=config.revision, trust_remote_code=False
        )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers 5 makes an empty one where files lack
        raise RunError(f"model {config.id}: its tokenizer has no vocabulary; put tokenizer.json or vocab.txt beside it")
    return tokenizer


def load_config(config: ModelConfig, options: dict[str, Any]) -> Any:
    """The backbone's transformers configuration, without weights; errors as of ``load_tokenizer``."""
    with loading("model", config.id, _LOCAL):
        return AutoConfig.from_pretrained(
            located_model(config.id), revision=config.revision, trust_remote_code=False, **options
        )


def check_length(max_length: int, config: Any) -> None:
    """Refuse rows longer than the backbone's positions.

    Raises:
        UsageError: they are.
    """
    positions = getattr(config, "max_position_embeddings", max_length) - family_of(config).lost_positions
    if max_length > positions:
        raise UsageError(
            f"data.max_length is {max_length}, but the backbone has {positions} positions; "
            f"set data.max_length={positions}"
        )


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone as its checkpoint gives it, nothing done to it yet."""

    model: PreTrainedModel
    unexpected: set[str]
    newly_initialized: frozenset[str]
    fingerprint: str


class BackboneCache:
    """What a process keeps from one run to the next: the last backbone, tokenizers, tokenised data."""

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}
        self._backbone: tuple[str, LoadedBackbone] | None = None

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The thing under a key, made if it is not there."""
        if key not in self.things:
            self.things[key] = make()
        return self.things[key]

    def backbone(self, config: RunConfig) -> LoadedBackbone:
        """A copy of the backbone, loaded if another one was loaded last."""
        key = repr((config.model.id, config.model.revision, head_options(config.task_spec)))
        if self._backbone is None or self._backbone[0] != key:
            self._backbone = None  # two at a time would be one too many
            self._backbone = (key, load_backbone(config))
        loaded = self._backbone[1]
        return replace(loaded, model=copy.deepcopy(loaded.model))


def load_backbone(config: RunConfig) -> LoadedBackbone:
    """A backbone with a head for the task, in float32; errors as of ``load_tokenizer``."""
    task = config.task_spec
    _check_shards(config.model.id)
    with loading("model", config.model.id, _LOCAL), _without_report():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            located_model(config.model.id),
            revision=config.model.revision,
            trust_remote_code=False,
            use_safetensors=True,  # other formats can execute code
            dtype=torch.float32,  # transformers 5 keeps the stored type otherwise
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # another task's head; ours is drawn anew
            **head_options(task),
        )
    newly_initialized = _newly_initialized(config.model.id, model, info)
    return LoadedBackbone(model, set(info["unexpected_keys"]), newly_initialized, fingerprint(model, newly_initialized))


def head_options(task: Task) -> dict[str, Any]:
    """What transformers is told of a task: width of the head, names of the labels, kind of problem."""
    names = task.labels or ("score",)
    return {
        "num_labels": task.num_labels,
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": _problem(task),
    }


def _problem(task: Task) -> str:
    if task.is_multi_label:
        return "multi_label_classification"
    return "regression" if task.is_regression else "single_label_classification"


def fingerprint(model: nn.Module, newly_initialized: frozenset[str] = frozenset()) -> str:
    """SHA-256 over name, type, shape and bytes of a backbone's tensors as loaded, before anything is attached.

    They are loaded in float32, so a checkpoint has one fingerprint whatever type its file stores it in.

    Args:
        model: with or without a head, which is left out.
        newly_initialized: names (in the whole model) of tensors that no checkpoint held; they are left out.
    """
    inside = {id(p) for p in (*base_of(model).parameters(), *pooler_parameters(model))}
    digest = hashlib.sha256()
    for name, p in sorted(model.named_parameters(), key=lambda item: item[0]):
        if id(p) in inside and name not in newly_initialized:
            digest.update(f"{name} {p.dtype} {tuple(p.shape)}\n".encode())
            digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_shards(model_id: str) -> None:
    """Refuse a local checkpoint whose index leads out of its folder; the Hub has no such files.

    Raises:
        RunError: it does.
    """
    index = Path(located_model(model_id)) / SAFE_WEIGHTS_INDEX_NAME
    if not index.is_file():
        return
    with loading("model", model_id, _LOCAL):
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    outside = sorted(name for name in names if name != Path(name).name)
    if outside:
        raise RunError(f"{index}: '{outside[0]}' is not a file of this folder; fetch the checkpoint again")


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from printing which tensors it missed: what may be missing is checked here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _newly_initialized(model_id: str, model: nn.Module, info: dict[str, Any]) -> frozenset[str]:
    """Names of the tensors that the checkpoint did not fill: the head, and a pooler that it lacks.

    Raises:
        RunError: it left a part of the encoder at random values.
    """
    unfilled = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    may_be_new = {id(p) for p in (*head_parameters(model), *pooler_parameters(model))}
    named = dict(model.named_parameters())
    lost = sorted(name for name in unfilled if name in named and id(named[name]) not in may_be_new)
    if lost:
        raise RunError(
            f"model {model_id}: its weights lack or misshape {len(lost)} tensors of the encoder ({lost[0]}, ...); "
            "choose a checkpoint that matches its config.json"
        )
    head = {id(p) for p in head_parameters(model)}
    return frozenset(name for name, p in named.items() if name in unfilled or id(p) in head)
