"""Adapters are put into a backbone and taken out again, parameters frozen and unfrozen; ``families.py`` has the paths.

Everything goes by module and by parameter identity, never by a part of a parameter's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch import Tensor, nn

from adapter_tune.adapters.bottleneck import Adapted, AdaptedProjection, AttentionMaskHolder, Bottleneck, Insertion
from adapter_tune.adapters.families import SubLayer, SubLayerPaths, family_of
from adapter_tune.adapters.layer_ranges import LayerRange, layers_in
from adapter_tune.foundation.errors import RunError


@dataclass(frozen=True)
class Site:
    """A position in a model where an adapter can be."""

    layer: int
    sub_layer: SubLayer
    module: nn.Module
    """The Transformer layer."""
    paths: SubLayerPaths

    @property
    def norm(self) -> nn.LayerNorm | None:
        """The LayerNorm that follows the adapter; None in a pre-norm backbone."""
        if self.paths.norm is None:
            return None
        return cast(nn.LayerNorm, self.module.get_submodule(self.paths.norm))

    @property
    def adapted(self) -> Adapted | None:
        """The module that holds the adapter, or None without adapter."""
        host = self.host
        return host if isinstance(host, Adapted) else None

    @property
    def projection(self) -> nn.Module:
        """The last projection of the sub-layer."""
        return self.module.get_submodule(self.paths.projection)

    @property
    def host(self) -> nn.Module:
        """The module that an adapter replaces (the dropout, or the projection without one), or its replacement."""
        return self.module.get_submodule(self._host_path)

    @property
    def _host_path(self) -> str:
        return self.paths.dropout or self.paths.projection

    def put(self, module: nn.Module) -> None:
        """Replace the host by a module."""
        path, _, name = self._host_path.rpartition(".")
        setattr(self.module.get_submodule(path), name, module)


@dataclass
class _Original:
    """What ``detach`` needs to undo surgery; stored in the model, and copied with it."""

    norms: list[tuple[nn.Module, dict[str, Tensor]]] = field(default_factory=list)
    hooks: list[Any] = field(default_factory=list)


def base_of(model: nn.Module) -> nn.Module:
    """The encoder inside a model with a head."""
    return cast(nn.Module, model.base_model)


def layer_list(model: nn.Module) -> nn.ModuleList:
    """The module list of the Transformer layers, lowest first; an assignment to it replaces a layer."""
    return cast(nn.ModuleList, base_of(model).get_submodule(family_of(model.config).layers))


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The Transformer layers, lowest first."""
    return list(layer_list(model))


def frozen_layers(model: nn.Module) -> int:
    """Return how many of the lowest layers are below all trained parameters; 0 if the embeddings are trained."""
    if any(p.requires_grad for p in parameters_below_layers(model)):
        return 0
    layers = layers_of(model)
    for index, layer in enumerate(layers):
        if any(p.requires_grad for p in layer.parameters()):
            return index
    return len(layers)


def parameters_below_layers(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of the encoder outside its layers, its top norm and its pooler: the embeddings."""
    others = [*layers_of(model), *top_norms(model)]
    excluded = {id(p) for module in others for p in module.parameters()}
    excluded.update(id(p) for p in pooler_parameters(model))
    return [p for p in base_of(model).parameters() if id(p) not in excluded]


def top_norms(model: nn.Module) -> list[nn.Module]:
    """The LayerNorm above the last layer, as a list; empty where the family has none."""
    path = family_of(model.config).top_norm
    return [] if path is None else [base_of(model).get_submodule(path)]


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


def pooler_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters between the encoder's last layer and the head that may have been pretrained."""
    pooler = _pooler(model)
    return [] if pooler is None else list(pooler.parameters())


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
    inside_adapters = {id(m) for adapted in adapters_of(module) for m in adapted.adapter.modules()}
    return (m for m in module.modules() if isinstance(m, nn.LayerNorm) and id(m) not in inside_adapters)


def sites(model: nn.Module) -> list[Site]:
    """Every site for an adapter, from the lowest layer up, attention before feed-forward."""
    sub_layers = family_of(model.config).sub_layers
    return [
        Site(index, sub_layer, layer, paths)
        for index, layer in enumerate(layers_of(model))
        for sub_layer, paths in sub_layers.items()
    ]


def attach(model: nn.Module, site: Site, adapter: Bottleneck, insertion: Insertion = "serial") -> Adapted:
    """Put an adapter between the site's dropout and its residual addition, in the training mode of the site.

    The LayerNorms are copied first, so that ``detach`` can restore them.

    Raises:
        RunError: the site has one already.
    """
    if site.adapted is not None:
        raise RunError(f"layer {site.layer} ({site.sub_layer}) has an adapter already: load the backbone again")
    original = _original_of(model)
    host = site.host
    adapted_class = Adapted if site.paths.dropout else AdaptedProjection
    adapted = adapted_class(cast(nn.Linear, host), adapter, insertion)
    adapted.train(host.training)
    site.put(adapted)
    if insertion != "serial":
        entry = site.module.get_submodule(site.paths.entry)
        original.hooks.append(entry.register_forward_pre_hook(adapted.capture_input, with_kwargs=True))
    return adapted


def track_attention_mask(model: nn.Module) -> AttentionMaskHolder:
    """Return an object that always has the mask of the current batch, for batch normalisation inside adapters."""
    mask_holder = AttentionMaskHolder()
    hook = base_of(model).register_forward_pre_hook(mask_holder.capture, with_kwargs=True)
    _original_of(model).hooks.append(hook)
    return mask_holder


def adapters_of(model: nn.Module) -> list[Adapted]:
    """Every adapter of a model with the dropout before it, from the lowest layer up."""
    return [m for m in model.modules() if isinstance(m, Adapted)]


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


def detach(model: nn.Module) -> None:
    """Take every adapter out and restore the LayerNorms to their values before surgery. The head stays as it is.

    Raises:
        RunError: the model has no adapters.
    """
    if not adapters_of(model):
        raise RunError("the model has no adapters to take out")
    for site in sites(model):
        if site.adapted is not None:
            site.put(site.adapted.original())
    original = _original_of(model)
    for hook in original.hooks:
        hook.remove()
    for norm, state in original.norms:
        norm.load_state_dict(state)
        norm.requires_grad_(False)
    del model.__dict__[_ORIGINAL]


def bypass(model: nn.Module, layer_range: LayerRange = "all", *, sub_layer: SubLayer | None = None) -> ExitStack:
    """Skip the adapters of some layers from now on; trained LayerNorms stay as they are.

    Args:
        model: with adapters.
        layer_range: ``all``, ``FIRST-LAST`` (both included), ``top-N``, or layer numbers.
        sub_layer: skip only the adapters of this sub-layer; both by default.

    Returns:
        What undoes it: by its ``close()``, or at the end of ``with bypass(model, "0-4"): ...``.

    Raises:
        RunError: there is no adapter in these layers.
        UsageError: the range names a layer that the backbone does not have.
    """
    layers = layers_in(layer_range, len(layers_of(model)), "layer_range")
    chosen = [site for site in sites(model) if site.layer in layers and sub_layer in (None, site.sub_layer)]
    adapters = [site.adapted for site in chosen if site.adapted is not None]
    if not adapters:
        raise RunError(f"the model has no adapters in layers {layer_range}")
    undo = ExitStack()
    for adapted in adapters:
        undo.callback(setattr, adapted, "bypassed", adapted.bypassed)
        adapted.bypassed = True
    return undo


def unfreeze(*modules: nn.Module) -> None:
    """Make every parameter of the modules trainable."""
    for module in modules:
        module.requires_grad_(True)


def _pooler(model: nn.Module) -> nn.Module | None:
    path = family_of(model.config).pooler
    if path is not None and base_of(model) is model:  # a bare encoder
        path = path.removeprefix(f"{model.base_model_prefix}.")
    return dict(model.named_modules()).get(path or "-")


_ORIGINAL = "before_surgery"


def _original_of(model: nn.Module) -> _Original:
    """Return what is stored of a model; the first call copies its LayerNorms, before anything is trained."""
    if _ORIGINAL not in model.__dict__:
        original = _Original()
        for norm in layer_norms(base_of(model)):
            state = {name: tensor.detach().clone() for name, tensor in norm.state_dict().items()}
            original.norms.append((norm, state))
        model.__dict__[_ORIGINAL] = original
    return cast(_Original, model.__dict__[_ORIGINAL])
