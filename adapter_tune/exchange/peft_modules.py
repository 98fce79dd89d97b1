"""The modules that peft trains in a classifier: their tensors' names, and the strategy that trains the same."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.model_parts import (
    base_of,
    head_modules,
    head_parameters,
    layer_norms,
    layers_of,
    pooler_parameters,
)
from adapter_tune.exchange.peft_options import PeftSettings
from adapter_tune.exchange.peft_patterns import without_patterns
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.tensor_files import check_tensors
from adapter_tune.strategies.lora import Lora, load_peft

PREFIX = "base_model.model."
"""Before the names of all tensors, as peft's model contains the classifier."""
_LORA = ".lora_"
_ADAPTER = re.compile(r"(\.lora_[AB])\.default\.")


def peft_name(name: str) -> str:
    """The name in peft's files of a parameter of a classifier that has LoRA."""
    return PREFIX + _ADAPTER.sub(r"\1.", name)


def lora_paths(model: nn.Module) -> list[str]:
    """The paths of the modules that peft has wrapped."""
    return [path for path, module in model.named_modules() if hasattr(module, "adapter_layer_names")]


def saved_modules(model: Any) -> list[str]:
    """The modules that peft has to save beside LoRA (``modules_to_save``): those with tensors of the run.

    Modules of the head are named as a whole, because peft wraps them as a whole.

    Args:
        model: the classifier of a run; tensors that are not the run's are on the meta device.
    """
    base = f"{model.base_model_prefix}."
    names = [name for name, p in model.named_parameters() if not p.is_meta and _LORA not in name]
    paths = [name.rpartition(".")[0] if name.startswith(base) else name.partition(".")[0] for name in names]
    return list(dict.fromkeys(paths))


@dataclass(frozen=True)
class Source:
    """The files of an adapter, for messages."""

    config: Path
    weights: Path


@dataclass(frozen=True)
class PeftPlan:
    """How an adapter of peft becomes a run here."""

    strategy: Lora
    pooler: Literal["auto", "frozen", "train"]
    num_labels: int


def plan_of(settings: PeftSettings, tensors: dict[str, Tensor], backbone: Any, source: Source) -> PeftPlan:
    """What the strategy lora has to train to compute the same; no memory for weights is needed.

    peft itself says, from the configuration, which tensors it would save; the file must have exactly these.

    Args:
        settings: the adapter's configuration.
        tensors: those in its file.
        backbone: the transformers configuration of the backbone.
        source: for messages.

    Raises:
        RunError: the tensors are others than those, or the strategy lora cannot train them.
    """
    num_labels = _num_labels(backbone, tensors, source)
    model = _classifier(backbone, num_labels)
    parts = _parts(model)
    shapes = _saved_shapes(model, settings, source)
    check_tensors(shapes, tensors, source.weights)
    names = [name.removeprefix(PREFIX) for name in shapes]
    saved = frozenset(name for name in names if _LORA not in name)
    _check_head(parts, saved, source)
    _check_other_modules(parts, saved, source)
    layers = _by_layer(parts, {name.partition(_LORA)[0] for name in names if _LORA in name}, source)
    linear = family_of(backbone).linear
    chosen = next(iter(layers.values()))
    is_one_matrix = linear["key"] == linear["query"]  # the default names stand for it
    strategy = Lora(
        r=settings.r,
        alpha=float(settings.lora_alpha),
        rank_stabilized=settings.use_rslora,
        dropout=float(settings.lora_dropout),
        projections=[name for name, path in linear.items() if path in chosen and not (is_one_matrix and name == "key")],
        layers="all" if len(layers) == parts.layers else sorted(layers),
        layer_norm="all" if parts.norms & saved else "none",
    )
    pooler: Any = ("train" if parts.pooler & saved else "frozen") if parts.pooler else "auto"
    return PeftPlan(strategy, pooler, num_labels)


@dataclass(frozen=True)
class _Parts:
    """The names of a classifier's parameters by part, and the places for LoRA."""

    head: frozenset[str]
    pooler: frozenset[str]
    norms: frozenset[str]
    places: dict[str, tuple[int, str]]
    """By path of a projection: its layer, and its path from there."""
    layers: int
    """Number of layers."""


def _classifier(backbone: Any, num_labels: int) -> Any:
    """A classifier without weights."""
    config = copy.deepcopy(backbone)
    config.num_labels = num_labels
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)


def _parts(model: Any) -> _Parts:
    names = {id(p): name for name, p in model.named_parameters()}
    paths = {id(module): path for path, module in model.named_modules()}
    linear = set(family_of(model.config).linear.values())
    layers = layers_of(model)
    places = {paths[id(layer.get_submodule(path))]: (n, path) for n, layer in enumerate(layers) for path in linear}
    norms = [p for norm in layer_norms(base_of(model)) for p in norm.parameters()]
    return _Parts(
        head=frozenset(names[id(p)] for p in head_parameters(model)),
        pooler=frozenset(names[id(p)] for p in pooler_parameters(model)),
        norms=frozenset(names[id(p)] for p in norms),
        places=places,
        layers=len(layers),
    )


def _num_labels(backbone: Any, tensors: dict[str, Tensor], source: Source) -> int:
    model = _classifier(backbone, 2)
    paths = {id(module): path for path, module in model.named_modules()}
    out = f"{PREFIX}{paths[id(head_modules(model)[-1])]}.weight"
    if out not in tensors or tensors[out].dim() != 2 or not len(tensors[out]):
        raise RunError(
            f"{source.weights}: contains no classification head ({out}), so it cannot predict; save it with the "
            "classifier in modules_to_save, as peft does with task_type SEQ_CLS"
        )
    return len(tensors[out])


def _saved_shapes(model: Any, settings: PeftSettings, source: Source) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that peft saves with these settings, by name."""
    peft = load_peft()
    try:
        peft.LoraConfig(**settings.lora_options())  # refuses options that contradict each other
        plain = without_patterns(settings, [name for name, _ in model.named_modules()], source.config)
        wrapped = peft.get_peft_model(model, peft.LoraConfig(**plain.lora_options()))
    except (ValueError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise RunError(
            f"{source.config}: does not fit the backbone ({reason}); give its own backbone with --model"
        ) from None
    tensors = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_head(parts: _Parts, saved: frozenset[str], source: Source) -> None:
    """Refuse a head that is saved in part: peft leaves modules that are not in ``modules_to_save`` at random values."""
    for name in sorted(parts.head - saved):
        raise RunError(
            f"{source.weights}: tensor {PREFIX}{name} of the head is missing, as peft did not save it, so the adapter "
            f"cannot predict; train again with {name.rpartition('.')[0]} in modules_to_save"
        )


def _check_other_modules(parts: _Parts, saved: frozenset[str], source: Source) -> None:
    """Refuse saved modules of the encoder other than the pooler and all LayerNorms."""
    for name in sorted(saved - parts.head):
        whole = next((group for group in (parts.pooler, parts.norms) if name in group), None)
        if whole is None or not whole <= saved:
            raise RunError(
                f"{source.config}: modules_to_save includes {name.rpartition('.')[0]}, which has no counterpart here; "
                "only the head, the pooler, and all LayerNorms of the encoder together can be imported"
            )


def _by_layer(parts: _Parts, wrapped: set[str], source: Source) -> dict[int, set[str]]:
    """The projections with LoRA in each layer that has some; they must be the same ones."""
    layers: dict[int, set[str]] = {}
    for name in sorted(wrapped):
        if name not in parts.places:
            raise RunError(
                f"{source.config}: target_modules includes {name}, which has no counterpart here; only projections of "
                "the layers can be imported"
            )
        layer, path = parts.places[name]
        layers.setdefault(layer, set()).add(path)
    if not layers:
        raise RunError(f"{source.weights}: contains no LoRA; save an adapter with target_modules")
    first = min(layers)
    for layer, paths in layers.items():
        for path in sorted(paths ^ layers[first]):
            raise RunError(
                f"{source.config}: target_modules includes {path} in only one of layers {first} and {layer}; only "
                "adapters with the same projections in each layer can be imported"
            )
    return layers
