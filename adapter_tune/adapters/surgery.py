"""Adapters into a backbone and out of it again, and what is frozen. Where they go is said in ``families.py``.

Everything goes by module and by parameter identity, never by a piece of a parameter's name.
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
    """One place for an adapter in a model."""

    layer: int
    sub_layer: SubLayer
    module: nn.Module
    """The Transformer layer."""
    place: SubLayerPaths

    @property
    def norm(self) -> nn.LayerNorm | None:
        """The LayerNorm that follows the adapter; None in a pre-norm backbone."""
        return None if self.place.norm is None else cast(nn.LayerNorm, self.module.get_submodule(self.place.norm))

    @property
    def adapted(self) -> Adapted | None:
        """What holds the adapter, if there is one."""
        behind = self.behind
        return behind if isinstance(behind, Adapted) else None

    @property
    def projection(self) -> nn.Module:
        """The last projection of the sub-layer."""
        return self.module.get_submodule(self.place.projection)

    @property
    def behind(self) -> nn.Module:
        """The dropout, or the projection where none follows, or the adapter in the place of either."""
        return self.module.get_submodule(self.place.dropout or self.place.projection)

    def put(self, module: nn.Module) -> None:
        """Put a module in the place of the dropout (or projection)."""
        path, _, name = (self.place.dropout or self.place.projection).rpartition(".")
        setattr(self.module.get_submodule(path), name, module)


@dataclass
class _Original:
    """What surgery changed, so that it can be undone; kept in the model, and copied with it."""

    norms: list[tuple[nn.Module, dict[str, Tensor]]] = field(default_factory=list)
    taps: list[Any] = field(default_factory=list)


def base_of(model: nn.Module) -> nn.Module:
    """The encoder inside a model with a head."""
    return cast(nn.Module, model.base_model)


def layer_list(model: nn.Module) -> nn.ModuleList:
    """The module that holds the Transformer layers, lowest first; what is put there takes a layer's place."""
    return cast(nn.ModuleList, base_of(model).get_submodule(family_of(model.config).layers))


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The Transformer layers, lowest first."""
    return list(layer_list(model))


def frozen_layers(model: nn.Module) -> int:
    """How many of the lowest layers lie below everything that is trained; 0 where the embeddings are."""
    layers, top = layers_of(model), family_of(model.config).top_norm
    above = [*layers, *([base_of(model).get_submodule(top)] if top else [])]
    elsewhere = {id(p) for module in above for p in module.parameters()} | {id(p) for p in pooler_parameters(model)}
    if any(p.requires_grad and id(p) not in elsewhere for p in base_of(model).parameters()):
        return 0
    trained = (i for i, layer in enumerate(layers) if any(p.requires_grad for p in layer.parameters()))
    return next(trained, len(layers))


def disable_dropout(model: nn.Module, where: Literal["on", "frozen-off", "off"]) -> None:
    """Turn the backbone's own dropout off, in place: below the first trained tensor, or everywhere (not the head's)."""
    if where == "on" or (where == "frozen-off" and not frozen_layers(model)):
        return
    trained = layers_of(model)[frozen_layers(model) :] if where == "frozen-off" else []
    spared = {id(m) for module in (*trained, *_added_modules(model)) for m in module.modules()}
    for module in base_of(model).modules():
        if id(module) not in spared:
            for name in ("p", "drop_prob", "attention_dropout"):  # of modules of dropout, and ModernBERT's attention
                if isinstance(module.__dict__.get(name), float):
                    setattr(module, name, 0.0)


def _added_modules(model: nn.Module) -> Iterator[nn.Module]:
    """What a strategy put in: adapters, and what peft puts beside the projections that it wraps."""
    yield from (adapted.adapter for adapted in adapters_of(model))
    for module in model.modules():
        if hasattr(module, "adapter_layer_names"):
            yield from (child for name, child in module.named_children() if name != "base_layer")


def pooler_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of what stands between the encoder's last layer and the head and may have been pretrained."""
    pooler = _pooler(model)
    return [] if pooler is None else list(pooler.parameters())


def head_modules(model: nn.Module) -> list[nn.Module]:
    """The modules of the head that hold parameters: outside the base model, pooler aside."""
    pooler = _pooler(model)
    others = [*base_of(model).modules(), *([] if pooler is None else pooler.modules())]
    inside = {id(module) for module in others}
    return [module for module in model.modules() if id(module) not in inside and module._parameters]


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters outside the base model, pooler aside."""
    return [p for module in head_modules(model) for p in module.parameters(recurse=False)]


def layer_norms(module: nn.Module) -> Iterator[nn.LayerNorm]:
    """Every LayerNorm of the backbone's in a module; those inside adapters are the adapters'."""
    inside = {id(m) for adapted in adapters_of(module) for m in adapted.adapter.modules()}
    return (m for m in module.modules() if isinstance(m, nn.LayerNorm) and id(m) not in inside)


def sites(model: nn.Module) -> list[Site]:
    """Every place for an adapter, from the lowest layer up, attention before feed-forward."""
    places = family_of(model.config).places
    return [
        Site(index, sub_layer, layer, place)
        for index, layer in enumerate(layers_of(model))
        for sub_layer, place in places.items()
    ]


def attach(model: nn.Module, site: Site, adapter: Bottleneck, join: Insertion = "serial") -> Adapted:
    """Put an adapter between the site's dropout and its residual addition, in the mode the site is in.

    The LayerNorm behind it is copied first, so that ``detach`` can bring it back.

    Raises:
        RunError: the site has one already.
    """
    if site.adapted is not None:
        raise RunError(f"layer {site.layer} ({site.sub_layer}) has an adapter already: load a fresh backbone first")
    behind, before = site.behind, _original_of(model)
    kind = Adapted if site.place.dropout else AdaptedProjection
    adapted = kind(cast(nn.Linear, behind), adapter, join)
    adapted.train(behind.training)
    site.put(adapted)
    if join != "serial":
        entry = site.module.get_submodule(site.place.entry)
        before.taps.append(entry.register_forward_pre_hook(adapted.capture_input, with_kwargs=True))
    return adapted


def track_attention_mask(model: nn.Module) -> AttentionMaskHolder:
    """The mask of the batch that is in the model, for batch normalisation inside adapters."""
    tokens = AttentionMaskHolder()
    _original_of(model).taps.append(base_of(model).register_forward_pre_hook(tokens.capture, with_kwargs=True))
    return tokens


def adapters_of(model: nn.Module) -> list[Adapted]:
    """Every adapter of a model, with the dropout before it, from the lowest layer up."""
    return [m for m in model.modules() if isinstance(m, Adapted)]


def added_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Every parameter that a strategy brought: of adapters, and of the layers that the peft package puts in."""
    added = [p for adapted in adapters_of(model) for p in adapted.adapter.parameters()]
    for module in model.modules():
        for name in getattr(module, "adapter_layer_names", ()):  # peft's own list of what it trains in a layer
            added += getattr(module, name).parameters()
    return added


def added_buffers(model: nn.Module) -> dict[str, Tensor]:
    """What adapters keep beside their parameters (running statistics), by name in the model's state dict."""
    names = dict(model.named_parameters(remove_duplicate=False))
    inside = {id(b) for adapted in adapters_of(model) for b in adapted.adapter.buffers()}
    kept = {name: b for name, b in model.state_dict(keep_vars=True).items() if name not in names}
    return {name: b for name, b in kept.items() if id(b) in inside}


def detach(model: nn.Module) -> None:
    """Take every adapter out, and bring the LayerNorms back to what they were before. The head stays as it is.

    Raises:
        RunError: the model has no adapters.
    """
    found = [site for site in sites(model) if site.adapted is not None]
    if not found:
        raise RunError("the model has no adapters to take out")
    for site in found:
        assert site.adapted is not None
        site.put(site.adapted.original())
    before = _original_of(model)
    for tap in before.taps:
        tap.remove()
    for norm, state in before.norms:
        norm.load_state_dict(state)
        norm.requires_grad_(False)
    del model.__dict__[_KEY]


def bypass(model: nn.Module, span: LayerRange = "all", *, sub_layer: SubLayer | None = None) -> ExitStack:
    """Skip the adapters of a span of layers at once, trained LayerNorms left as they are.

    Args:
        model: with adapters.
        span: ``all``, ``FIRST-LAST`` (both included), ``top-N``, or layer numbers.
        sub_layer: only the adapters of this one; both by default.

    Returns:
        What undoes it: by its ``close()``, or at the end of ``with bypass(model, "0-4"): ...``.

    Raises:
        RunError: there is no adapter in the span.
        UsageError: the span names a layer that is not there.
    """
    layers = layers_in(span, len(layers_of(model)), "span")
    found = [s.adapted for s in sites(model) if s.layer in layers and sub_layer in (None, s.sub_layer) and s.adapted]
    if not found:
        raise RunError(f"the model has no adapters in layers {span}")
    undo = ExitStack()
    for adapted in found:
        undo.callback(setattr, adapted, "bypassed", adapted.bypassed)
        adapted.bypassed = True
    return undo


def unfreeze(*modules: nn.Module) -> None:
    """Let every parameter of the modules be trained."""
    for module in modules:
        module.requires_grad_(True)


def _pooler(model: nn.Module) -> nn.Module | None:
    path = family_of(model.config).pooler
    if path is not None and base_of(model) is model:  # a bare encoder
        path = path.removeprefix(f"{model.base_model_prefix}.")
    return dict(model.named_modules()).get(path or "-")


_KEY = "before_surgery"


def _original_of(model: nn.Module) -> _Original:
    """The record of a model; LayerNorms are copied when it is begun, before anything is trained."""
    if _KEY not in model.__dict__:
        states = [(norm, {k: v.detach().clone() for k, v in norm.state_dict().items()})
                  for norm in layer_norms(base_of(model))]  # fmt: skip
        model.__dict__[_KEY] = _Original(norms=cast(Any, states))
    return cast(_Original, model.__dict__[_KEY])
