"""Adapters are put into a backbone, skipped, and taken out again; ``families.py`` says where they go."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from adapter_tune.adapters.adapted import Adapted, AdaptedProjection, Insertion
from adapter_tune.adapters.families import SubLayer, SubLayerPaths, family_of
from adapter_tune.adapters.layer_ranges import LayerRange, layers_in
from adapter_tune.adapters.model_parts import adapters_of, base_of, layer_norms, layers_of
from adapter_tune.adapters.token_batch_norm import AttentionMaskHolder
from adapter_tune.foundation.errors import RunError

_ORIGINAL = "before_surgery"


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
        """The module that holds the adapter, or None without adapter; one that is in the backbone is none."""
        host = self.host
        return host if isinstance(host, Adapted) and not host.in_backbone else None

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


def sites(model: nn.Module) -> list[Site]:
    """Every site for an adapter, from the lowest layer up, attention before feed-forward."""
    sub_layers = family_of(model.config).sub_layers
    return [
        Site(index, sub_layer, layer, paths)
        for index, layer in enumerate(layers_of(model))
        for sub_layer, paths in sub_layers.items()
    ]


def attach(
    model: nn.Module, site: Site, adapter: nn.Module, insertion: Insertion = "serial", *, in_backbone: bool = False
) -> Adapted:
    """Put an adapter between the site's dropout and its residual addition, in the training mode of the site.

    The adapter maps d values to d; ``Adapted`` says what is done with its output. The LayerNorms are copied first, so
    that ``detach`` can restore them. With ``in_backbone`` it is from then on a part of the backbone: another one can be
    attached above it, and ``bypass`` and ``detach`` leave it.

    Raises:
        RunError: the site has one already.
    """
    if site.adapted is not None:
        raise RunError(f"layer {site.layer} ({site.sub_layer}) has an adapter already: load the backbone again")
    original = _original_of(model)
    host = site.host
    adapted_class = Adapted if site.paths.dropout else AdaptedProjection
    norm = site.norm if insertion in ("after_norm", "norm_skip") else None
    adapted = adapted_class(cast(nn.Linear, host), adapter, insertion, norm)
    adapted.in_backbone = in_backbone
    adapted.train(host.training)
    site.put(adapted)
    if adapted.follows_norm:
        assert site.norm is not None
        original.hooks.append(site.norm.register_forward_hook(adapted.follow_norm))
    elif insertion != "serial":
        entry = site.module.get_submodule(site.paths.entry)
        hook = entry.register_forward_pre_hook(adapted.capture_input, with_kwargs=True)
        if not in_backbone:
            original.hooks.append(hook)
    return adapted


def track_attention_mask(model: nn.Module) -> AttentionMaskHolder:
    """Return an object that always has the mask of the current batch, for batch normalisation inside adapters."""
    mask_holder = AttentionMaskHolder()
    hook = base_of(model).register_forward_pre_hook(mask_holder.capture, with_kwargs=True)
    _original_of(model).hooks.append(hook)
    return mask_holder


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


def detach(model: nn.Module) -> None:
    """Take every adapter out and restore the LayerNorms to their values before surgery. The head stays as it is.

    Raises:
        RunError: the model has no adapters.
    """
    if not adapters_of(model):
        raise RunError("the model has no adapters to remove")
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


@dataclass
class _Original:
    """What ``detach`` needs to undo surgery; stored in the model, and copied with it."""

    norms: list[tuple[nn.Module, dict[str, Tensor]]] = field(default_factory=list)
    hooks: list[Any] = field(default_factory=list)


def _original_of(model: nn.Module) -> _Original:
    """Return what is stored of a model; the first call copies its LayerNorms, before anything is trained."""
    if _ORIGINAL not in model.__dict__:
        original = _Original()
        for norm in layer_norms(base_of(model)):
            state = {name: tensor.detach().clone() for name, tensor in norm.state_dict().items()}
            original.norms.append((norm, state))
        model.__dict__[_ORIGINAL] = original
    return cast(_Original, model.__dict__[_ORIGINAL])
