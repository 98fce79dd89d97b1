"""The parts of a classifier: layers, norms, pooler, head, and what a strategy added; and which of them are trained.

Everything goes by module and by parameter identity, never by a part of a parameter's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

from torch import Tensor, nn

from adapter_tune.adapters.adapted import Adapted
from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.invertible import AdditiveCoupling


def base_of(model: nn.Module) -> nn.Module:
    """The encoder inside a model with a head."""
    return cast(nn.Module, model.base_model)


def layer_list(model: nn.Module) -> nn.ModuleList:
    """The module list of the Transformer layers, lowest first; an assignment to it replaces a layer."""
    return cast(nn.ModuleList, base_of(model).get_submodule(family_of(model.config).layers))


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The Transformer layers, lowest first."""
    return list(layer_list(model))


def top_norms(model: nn.Module) -> list[nn.Module]:
    """The LayerNorm above the last layer, as a list; empty where the family has none."""
    path = family_of(model.config).top_norm
    return [] if path is None else [base_of(model).get_submodule(path)]


def parameters_below_layers(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of the encoder outside its layers, its top norm and its pooler: the embeddings."""
    others = [*layers_of(model), *top_norms(model)]
    excluded = {id(p) for module in others for p in module.parameters()}
    excluded.update(id(p) for p in pooler_parameters(model))
    return [p for p in base_of(model).parameters() if id(p) not in excluded]


def pooler_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters between the encoder's last layer and the head that may have been pretrained."""
    pooler = _pooler(model)
    return [] if pooler is None else list(pooler.parameters())


def _pooler(model: nn.Module) -> nn.Module | None:
    path = family_of(model.config).pooler
    if path is not None and base_of(model) is model:  # a bare encoder
        path = path.removeprefix(f"{model.base_model_prefix}.")
    return dict(model.named_modules()).get(path or "-")


def head_modules(model: nn.Module) -> list[nn.Module]:
    """The modules with parameters outside the base model, without the pooler."""
    pooler = _pooler(model)
    excluded = {id(module) for module in base_of(model).modules()}
    if pooler is not None:
        excluded.update(id(module) for module in pooler.modules())
    return [module for module in model.modules() if id(module) not in excluded and module._parameters]


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters outside the base model, without the pooler's."""
    return [p for module in head_modules(model) for p in module.parameters(recurse=False)]


def layer_norms(module: nn.Module) -> Iterator[nn.LayerNorm]:
    """The LayerNorms in a module, without those inside adapters."""
    adapters = [m.adapter for m in module.modules() if isinstance(m, Adapted)]
    inside_adapters = {id(m) for adapter in adapters for m in adapter.modules()}
    return (m for m in module.modules() if isinstance(m, nn.LayerNorm) and id(m) not in inside_adapters)


def adapters_of(model: nn.Module) -> list[Adapted]:
    """Every adapter of a model with the dropout before it, from the lowest layer up; none of a language adapter."""
    return [m for m in model.modules() if isinstance(m, Adapted) and not m.in_backbone]


def language_modules(model: nn.Module) -> list[nn.Module]:
    """The frozen modules of a language adapter: the invertible one, and its bottlenecks from the lowest layer up."""
    invertible = [m for m in model.modules() if isinstance(m, AdditiveCoupling)]
    return invertible + [m.adapter for m in model.modules() if isinstance(m, Adapted) and m.in_backbone]


def added_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Every parameter that a strategy added: of adapters, and of the layers that the peft package adds."""
    added = [p for adapted in adapters_of(model) for p in adapted.adapter.parameters()]
    for module in model.modules():
        for name in getattr(module, "adapter_layer_names", ()):  # peft's own list of what it trains in a layer
            added += getattr(module, name).parameters()
    return added


def added_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers of adapters that are saved (running statistics), by their names in the model's state dict."""
    adapter_buffers = {id(b) for adapted in adapters_of(model) for b in adapted.adapter.buffers()}
    return {name: b for name, b in model.state_dict(keep_vars=True).items() if id(b) in adapter_buffers}


def unfreeze(*modules: nn.Module) -> None:
    """Make every parameter of the modules trainable."""
    for module in modules:
        module.requires_grad_(True)


def frozen_layers(model: nn.Module) -> int:
    """Return how many of the lowest layers are below all trained parameters; 0 if the embeddings are trained."""
    if any(p.requires_grad for p in parameters_below_layers(model)):
        return 0
    layers = layers_of(model)
    for index, layer in enumerate(layers):
        if any(p.requires_grad for p in layer.parameters()):
            return index
    return len(layers)


def disable_dropout(model: nn.Module, where: Literal["on", "frozen-off", "off"]) -> None:
    """Turn the backbone's dropout off, in place; that of the head and of adapters stays.

    ``off`` does so everywhere, ``frozen-off`` below the first trained tensor, ``on`` nowhere.
    """
    if where == "on" or (where == "frozen-off" and not frozen_layers(model)):
        return
    trained_layers = layers_of(model)[frozen_layers(model) :] if where == "frozen-off" else []
    excluded = {id(m) for module in (*trained_layers, *_added_modules(model)) for m in module.modules()}
    for module in base_of(model).modules():
        if id(module) in excluded:
            continue
        for name in ("p", "drop_prob", "attention_dropout"):  # of dropout modules, and of ModernBERT's attention
            if isinstance(module.__dict__.get(name), float):
                setattr(module, name, 0.0)


def _added_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that a strategy added: adapters, and those that peft adds to the projections that it wraps."""
    yield from (adapted.adapter for adapted in adapters_of(model))
    for module in model.modules():
        if hasattr(module, "adapter_layer_names"):
            yield from (child for name, child in module.named_children() if name != "base_layer")
