"""From a configuration to a model ready to train: load, freeze all, unfreeze the head, ``strategy.apply``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedModel,
)

from adapter_tune.adapters.bottleneck import truncated_normal_
from adapter_tune.adapters.families import family_of, shape_of
from adapter_tune.adapters.formula import ParameterCount, Shape
from adapter_tune.adapters.model_parts import head_modules, language_modules, pooler_parameters
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.adapters.published_sizes import published_size
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import ModelConfig
from adapter_tune.demo.location import DEMO, located_model
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.hub_errors import resolved_revision
from adapter_tune.modeling.backbone import (
    LoadedBackbone,
    RunCache,
    check_length,
    load_backbone,
    load_config,
)
from adapter_tune.modeling.language import (
    attach_language,
    check_language,
    language_note,
    open_language,
    with_language,
    with_place,
)
from adapter_tune.modeling.unused_tensors import unused_note
from adapter_tune.strategies import Strategy

_HEAD_STD = 0.02  # as in the released code: a normal distribution, cut at two standard deviations
_ASSUMED_FROZEN = (
    "assumption, as no weights are loaded: the pooler stays frozen, because it is pretrained in BERT's own checkpoints"
)
_ASSUMED_TRAINED = (
    "assumption, as no weights are loaded: the pooler is not pretrained, so it is trained "
    "(model.pooler=frozen counts it as frozen)"
)


@dataclass(frozen=True)
class PreparedModel:
    """A model ready to train, and where it came from."""

    model: PreTrainedModel
    config: ModelConfig
    """The backbone's section with ``pooler`` decided and ``revision`` resolved."""
    fingerprint: str
    newly_initialized: frozenset[str]
    """Names of the tensors that no checkpoint held; they are saved with the adapter, trained or not."""
    notes: list[str] = field(default_factory=list)
    """Decisions that a user should know of."""
    bare_fingerprint: str = ""
    """The fingerprint of the backbone without its language adapter."""


def check_backbone_fits(config: ResolvedConfig) -> None:
    """Check a run's options against the backbone's configuration, before data is read and weights are loaded.

    Raises:
        RunError: the backbone cannot be found, its family is not supported, or the language adapter is for another one.
        UsageError: ``model.revision`` of a local folder, layers that the backbone does not have, rows longer than its
            positions, or gradient checkpointing that it does not support.
    """
    if config.model.revision is not None and Path(located_model(config.model.id)).is_dir():
        raise UsageError(
            f"model.revision: {config.model.id} is a local folder, which has no revisions; remove model.revision"
        )
    backbone = load_config(config.model, {})
    config.strategy.formula(shape_of(backbone))
    if (language := open_language(config.model)) is not None:
        check_language(backbone, language)
    check_length(config.data.max_length, backbone)
    model_class = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(backbone)]
    if config.training.gradient_checkpointing and not model_class.supports_gradient_checkpointing:
        raise UsageError(
            f"training.gradient_checkpointing: {backbone.model_type} does not support it; remove the option"
        )


def build_model(config: ResolvedConfig, cache: RunCache | None = None) -> PreparedModel:
    """Load the backbone in float32, freeze it, and unfreeze what is trained.

    Random weights (head, adapters) are drawn from torch's global generator, seeded with the run's seed.

    Raises:
        RunError: the backbone cannot be loaded or is of an unsupported family.
        UsageError: ``data.max_length`` is more than the backbone takes.
    """
    loaded = load_backbone(config) if cache is None else cache.backbone(config)
    pooler, notes = _decide_pooler(config, loaded)
    if (note := unused_note(loaded.unexpected, loaded.model)) is not None:
        notes.append(note)
    resolved = ModelConfig(
        id=_absolute_id(config.model.id),
        revision=resolved_revision(located_model(config.model.id), config.model.revision),
        pooler=pooler,
    )
    fingerprint = loaded.fingerprint
    if (language := open_language(config.model)) is not None:
        attach_language(loaded.model, language)
        resolved = with_place(resolved, language)
        fingerprint = with_language(fingerprint, language.digest)
        notes.append(language_note(loaded.model, language))
    torch.manual_seed(config.training.seed)  # however many random numbers loading has drawn
    _init_new_pooler(loaded.model, loaded.newly_initialized)
    torch.manual_seed(config.training.seed)
    prepare(loaded.model, config.strategy, train_pooler=pooler == "train")
    return PreparedModel(
        loaded.model, resolved, fingerprint, loaded.newly_initialized, notes, bare_fingerprint=loaded.fingerprint
    )


def _init_new_pooler(model: Any, newly_initialized: frozenset[str]) -> None:
    """Draw a pooler that the checkpoint lacks, from the distribution of the model's own initialisation."""
    names = {id(p): name for name, p in model.named_parameters()}
    for parameter in pooler_parameters(model):
        if names[id(parameter)] not in newly_initialized:
            continue
        if parameter.dim() > 1:
            nn.init.normal_(parameter.data, std=model.config.initializer_range)
        else:
            nn.init.zeros_(parameter.data)


def prepare(model: nn.Module, strategy: Strategy, *, train_pooler: bool) -> None:
    """Freeze everything, draw and unfreeze the head, then let the strategy attach and unfreeze its part."""
    model.requires_grad_(False)
    for module in head_modules(model):
        module.requires_grad_(True)
        if isinstance(module, nn.Linear):
            truncated_normal_(module.weight.data, _HEAD_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias.data)
    if train_pooler:
        for parameter in pooler_parameters(model):
            parameter.requires_grad_(True)
    strategy.apply(model)
    for module in language_modules(model):  # a part of the backbone that no strategy trains
        module.requires_grad_(False)


def count_on_meta(
    config: ModelConfig, strategy: Strategy, options: dict[str, Any], max_length: int | None = None
) -> tuple[ParameterCount, Shape, list[str]]:
    """Count a model's parameters without weights; for the published models without network, too.

    Args:
        config: the backbone.
        strategy: what is attached and trained.
        options: as ``head_options`` returns them; ``num_labels`` is enough.
        max_length: maximum number of tokens in a row; checked against the backbone's positions if given.

    Returns:
        The count, the backbone's shape, and notes on what had to be assumed.
    """
    published = None if Path(located_model(config.id)).is_dir() else published_size(config.id)
    backbone = BertConfig(**asdict(published), **options) if published else load_config(config, options)
    if max_length is not None:
        check_length(max_length, backbone)
    shape = shape_of(backbone)
    formula = strategy.formula(shape)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(backbone)
    notes = []
    if (language := open_language(config)) is not None:
        attach_language(model, language)
        notes.append(language_note(model, language))
    train_pooler = strategy.trains_pooler or config.pooler == "train"
    if config.pooler == "auto" and not train_pooler and shape.pooler:
        train_pooler = published is None
        notes.append(_ASSUMED_TRAINED if train_pooler else _ASSUMED_FROZEN)
    prepare(model, strategy, train_pooler=train_pooler)
    return count_parameters(model, formula), shape, notes


def _absolute_id(model_id: str) -> str:
    """Return an id that names the same backbone from any working directory."""
    is_folder = model_id != DEMO and Path(model_id).is_dir()
    return str(Path(model_id).resolve()) if is_folder else model_id


def _decide_pooler(config: ResolvedConfig, loaded: LoadedBackbone) -> tuple[Any, list[str]]:
    """Return ``train`` or ``frozen`` (``auto`` without a pooler), and a note with the reason if the user left it open.

    A pooler that was not pretrained together with its encoder is stale or random and must be trained. BERT's own
    checkpoints also hold the objective through which their pooler was pretrained (next sentence).

    Raises:
        UsageError: ``model.pooler`` is set, and the backbone has no pooler.
    """
    model = loaded.model
    if not pooler_parameters(model):
        if config.model.pooler != "auto":
            kind = cast(Any, model.config).model_type
            raise UsageError(f"model.pooler: a {kind} backbone has none (its whole head is trained); remove the option")
        return "auto", []
    if config.strategy.trains_pooler:
        return "train", []
    if config.model.pooler != "auto":
        return config.model.pooler, []
    objective = family_of(model.config).pooler_objective
    if any(key.startswith(objective) for key in loaded.unexpected):
        return "frozen", []
    pooler = {id(p) for p in pooler_parameters(model)}
    is_random = any(name in loaded.newly_initialized for name, p in model.named_parameters() if id(p) in pooler)
    state = "has no pooler" if is_random else f"has no {objective}, so its pooler may be out of date"
    return "train", [f"the pooler is trained with the head: the checkpoint {state} (model.pooler=frozen prevents this)"]
