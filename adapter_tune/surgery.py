"""Where a backbone takes an adapter. To add a backbone family, add a row to ``FAMILIES``.

Everything goes by module and by parameter identity, never by a piece of a parameter's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from torch import nn

from adapter_tune.adapter import Adapted
from adapter_tune.errors import RunError

SubLayer = Literal["attention", "feed_forward"]


@dataclass(frozen=True)
class Family:
    """How the encoders of one family are laid out; paths are attribute paths."""

    layers: str
    """From the base model to its list of layers."""
    sub_layers: dict[SubLayer, str]
    """From a layer to the output block of each sub-layer, which holds a ``dropout`` and a ``LayerNorm``."""
    pooler: str
    """From the base model to its pooler."""
    pooler_objective: str
    """A checkpoint with tensors under this name was pretrained through its pooler (BERT: next sentence)."""


FAMILIES: dict[str, Family] = {
    "bert": Family(
        layers="encoder.layer",
        sub_layers={"attention": "attention.output", "feed_forward": "output"},
        pooler="pooler",
        pooler_objective="cls.seq_relationship",
    ),
}


@dataclass(frozen=True)
class Site:
    """One place for an adapter: the output block of a sub-layer."""

    layer: int
    sub_layer: SubLayer
    block: nn.Module

    @property
    def norm(self) -> nn.LayerNorm:
        """The LayerNorm that follows the adapter."""
        return cast(nn.LayerNorm, self.block.LayerNorm)


def family_of(model: nn.Module) -> Family:
    """The row of the model's family.

    Raises:
        RunError: no row; the message lists those there are and says where to add one.
    """
    kind = str(getattr(model.config, "model_type", type(model).__name__))
    if kind not in FAMILIES:
        raise RunError(
            f"backbones of type '{kind}' are not supported; known: {', '.join(FAMILIES)}. "
            "Choose such a model, or add a row to FAMILIES in adapter_tune/surgery.py"
        )
    return FAMILIES[kind]


def base_of(model: nn.Module) -> nn.Module:
    """The encoder inside a model with a head."""
    return cast(nn.Module, model.base_model)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The Transformer layers, lowest first."""
    return list(cast(nn.ModuleList, base_of(model).get_submodule(family_of(model).layers)))


def pooler_of(model: nn.Module) -> nn.Module:
    """The module between the encoder's last layer and the head."""
    return base_of(model).get_submodule(family_of(model).pooler)


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters outside the base model."""
    inside = {id(p) for p in base_of(model).parameters()}
    return [p for p in model.parameters() if id(p) not in inside]


def layer_norms(module: nn.Module) -> Iterator[nn.LayerNorm]:
    """Every LayerNorm of a module."""
    return (m for m in module.modules() if isinstance(m, nn.LayerNorm))


def sites(model: nn.Module) -> list[Site]:
    """Every place for an adapter, from the lowest layer up, attention before feed-forward."""
    family = family_of(model)
    return [
        Site(index, sub_layer, layer.get_submodule(path))
        for index, layer in enumerate(layers_of(model))
        for sub_layer, path in family.sub_layers.items()
    ]


def attach(site: Site, adapter: nn.Module) -> Adapted:
    """Put an adapter between the site's dropout and its residual addition, in the mode the site is in.

    Raises:
        RunError: the site has one already.
    """
    dropout = cast(nn.Module, site.block.dropout)
    if isinstance(dropout, Adapted):
        raise RunError(f"layer {site.layer} ({site.sub_layer}) has an adapter already: load a fresh backbone first")
    adapted = Adapted(dropout, adapter)
    adapted.train(site.block.training)
    site.block.dropout = adapted
    return adapted


def adapters_of(model: nn.Module) -> list[Adapted]:
    """Every adapter of a model, with the dropout before it, from the lowest layer up."""
    return [m for m in model.modules() if isinstance(m, Adapted)]


def unfreeze(*modules: nn.Module) -> None:
    """Let every parameter of the modules be trained."""
    for module in modules:
        module.requires_grad_(True)
