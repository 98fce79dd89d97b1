"""From a configuration to a model ready to train: load, freeze all, unfreeze the head, ``strategy.apply``."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME
from transformers.utils import logging as transformers_logging

from adapter_tune.adapter import cut_normal_
from adapter_tune.config import ModelConfig, RunConfig
from adapter_tune.counts import ParameterCount, Shape
from adapter_tune.demo import DEMO, located_model
from adapter_tune.errors import RunError, UsageError
from adapter_tune.families import family_of, shape_of
from adapter_tune.hub import loading, resolved_revision
from adapter_tune.parameters import count_parameters
from adapter_tune.published import published
from adapter_tune.strategies import Strategy
from adapter_tune.surgery import base_of, head_modules, head_parameters, pooler_parameters
from adapter_tune.tasks import Task

_LOCAL = "name a local folder with --model DIR"
_HEAD_STD = 0.02  # the released code's initial head, cut at two deviations
_ASSUMED_FROZEN = "assumed without weights: the pooler stays frozen, since BERT's own checkpoints pretrained it"
_ASSUMED_TRAINED = (
    "assumed without weights: the pooler is trained, as for a checkpoint without its pretraining objective "
    "(model.pooler=frozen counts it as frozen)"
)


@dataclass(frozen=True)
class Built:
    """A model ready to train, with what is known of where it came from."""

    model: PreTrainedModel
    config: ModelConfig
    """The backbone's section with ``pooler`` decided and ``revision`` resolved."""
    fingerprint: str
    fresh: frozenset[str]
    """Names of the tensors that no checkpoint held; they are saved with the adapter, trained or not."""
    notes: list[str] = field(default_factory=list)
    """Decisions that a user should know of."""


def check_fit(config: RunConfig) -> None:
    """Refuse what does not fit the backbone, from its configuration alone: before data is read and weights are loaded.

    Raises:
        RunError: it cannot be found, or its family is not supported.
        UsageError: layers that are not there, rows longer than its positions, and the like.
    """
    backbone = load_config(config.model, {})
    config.strategy.formula(shape_of(backbone))
    check_length(config.data.max_length, backbone)


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


@dataclass(frozen=True)
class _Loaded:
    """A backbone as its checkpoint gives it, nothing done to it yet."""

    model: PreTrainedModel
    unexpected: set[str]
    fresh: frozenset[str]
    fingerprint: str


class Kept:
    """What a process keeps from one run to the next: the last backbone, tokenizers, tokenised data."""

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}
        self._backbone: tuple[str, _Loaded] | None = None

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The thing under a key, made if it is not there."""
        if key not in self.things:
            self.things[key] = make()
        return self.things[key]

    def backbone(self, config: RunConfig) -> _Loaded:
        """A copy of the backbone, loaded if another one was loaded last, or if a part of it is drawn at random."""
        key = repr((config.model.id, config.model.revision, head_options(config.record)))
        if self._backbone is None or self._backbone[0] != key:
            self._backbone = None  # two at a time would be one too many
            loaded = _load(config)
            names = {id(p): name for name, p in loaded.model.named_parameters()}
            if any(names[id(p)] in loaded.fresh for p in pooler_parameters(loaded.model)):
                return loaded
            self._backbone = (key, loaded)
        loaded = self._backbone[1]
        return replace(loaded, model=copy.deepcopy(loaded.model))


def build_model(config: RunConfig, kept: Kept | None = None) -> Built:
    """Load the backbone in float32, freeze it, and unfreeze what is trained.

    Random weights (head, adapters) are drawn from torch's global generator, seeded with the run's seed.

    Raises:
        RunError: the backbone cannot be loaded or is of an unsupported family.
        UsageError: ``data.max_length`` is more than the backbone takes.
    """
    loaded = _load(config) if kept is None else kept.backbone(config)
    model, fresh = loaded.model, loaded.fresh
    pooler, notes = _decide_pooler(config, model, loaded.unexpected, fresh)
    settled = ModelConfig(
        id=_lasting(config.model.id),
        revision=resolved_revision(located_model(config.model.id), config.model.revision),
        pooler=pooler,
    )
    torch.manual_seed(config.training.seed)  # whatever loading drew, or did not
    prepare(model, config.strategy, train_pooler=pooler == "train")
    return Built(model, settled, loaded.fingerprint, fresh, notes)


def _load(config: RunConfig) -> _Loaded:
    task = config.record
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
    fresh = _fresh_tensors(config.model.id, model, info)
    return _Loaded(model, set(info["unexpected_keys"]), fresh, fingerprint(model, fresh))


def prepare(model: nn.Module, strategy: Strategy, *, train_pooler: bool) -> None:
    """Freeze everything, draw and unfreeze the head, then let the strategy attach and unfreeze its own."""
    model.requires_grad_(False)
    for module in head_modules(model):
        module.requires_grad_(True)
        if isinstance(module, nn.Linear):
            cut_normal_(module.weight.data, _HEAD_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias.data)
    for parameter in pooler_parameters(model) if train_pooler else ():
        parameter.requires_grad_(True)
    strategy.apply(model)


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
    if task.several:
        return "multi_label_classification"
    return "regression" if task.is_regression else "single_label_classification"


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


def fingerprint(model: nn.Module, fresh: frozenset[str] = frozenset()) -> str:
    """SHA-256 over name, type, shape and bytes of a backbone's tensors as loaded, before anything is attached.

    They are loaded in float32, so a checkpoint has one fingerprint whatever type its file stores it in.

    Args:
        model: with or without a head, which is left out.
        fresh: names (in the whole model) of tensors that no checkpoint held; they are left out.
    """
    inside = {id(p) for p in (*base_of(model).parameters(), *pooler_parameters(model))}
    digest = hashlib.sha256()
    for name, p in sorted(model.named_parameters(), key=lambda item: item[0]):
        if id(p) in inside and name not in fresh:
            digest.update(f"{name} {p.dtype} {tuple(p.shape)}\n".encode())
            digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def count_on_meta(
    config: ModelConfig, strategy: Strategy, options: dict[str, Any], max_length: int | None = None
) -> tuple[ParameterCount, Shape, list[str]]:
    """Counts of a model that is never given weights; the published models need no network either.

    Args:
        config: the backbone.
        strategy: what is attached and trained.
        options: as of ``head_options``; ``num_labels`` is enough.
        max_length: tokens a row, checked against the backbone's positions if given.

    Returns:
        The count, the backbone's shape, and what had to be assumed.
    """
    known = None if Path(located_model(config.id)).is_dir() else published(config.id)
    bert = BertConfig(**asdict(known), **options) if known else load_config(config, options)
    if max_length is not None:
        check_length(max_length, bert)
    shape = shape_of(bert)
    formula = strategy.formula(shape)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(bert)
    train_pooler, notes = strategy.trains_pooler or config.pooler == "train", []
    if config.pooler == "auto" and not train_pooler and shape.pooler:
        train_pooler = known is None
        notes = [_ASSUMED_TRAINED if train_pooler else _ASSUMED_FROZEN]
    prepare(model, strategy, train_pooler=train_pooler)
    return count_parameters(model, formula), shape, notes


def load_config(config: ModelConfig, options: dict[str, Any]) -> Any:
    """The backbone's transformers configuration, without weights; errors as of ``load_tokenizer``."""
    with loading("model", config.id, _LOCAL):
        return AutoConfig.from_pretrained(
            located_model(config.id), revision=config.revision, trust_remote_code=False, **options
        )


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


def _lasting(model_id: str) -> str:
    """The name under which a backbone is found from any working directory."""
    return str(Path(model_id).resolve()) if model_id != DEMO and Path(model_id).is_dir() else model_id


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from printing which tensors it missed: what may be missing is checked here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _fresh_tensors(model_id: str, model: nn.Module, info: dict[str, Any]) -> frozenset[str]:
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


def _decide_pooler(
    config: RunConfig, model: nn.Module, unexpected: set[str], fresh: frozenset[str]
) -> tuple[Any, list[str]]:
    """Whether the pooler is trained, and the reason where the user left it open.

    A pooler that no objective kept in step with its encoder is stale or random and must be trained; BERT's own
    checkpoints hold the objective theirs was pretrained with (next sentence).
    """
    if not pooler_parameters(model):
        if config.model.pooler != "auto":
            kind = cast(Any, model.config).model_type
            raise UsageError(f"model.pooler: a {kind} backbone has none (its head is trained whole); leave it out")
        return "auto", []
    if config.strategy.trains_pooler:
        return "train", []
    if config.model.pooler != "auto":
        return config.model.pooler, []
    objective = family_of(model.config).pooler_objective
    if any(key.startswith(objective) for key in unexpected):
        return "frozen", []
    inside = {id(p) for p in pooler_parameters(model)}
    is_random = any(name in fresh for name, p in model.named_parameters() if id(p) in inside)
    state = "has no pooler" if is_random else f"has no {objective}, so its pooler may be stale"
    return "train", [f"the pooler is trained with the head: the checkpoint {state} (model.pooler=frozen keeps it)"]
