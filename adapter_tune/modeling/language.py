"""A language adapter as a part of a frozen backbone: beneath the adapter of a task, as AdapterHub's ``Stack``."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapter_tune.adapterhub.folder import LAYOUTS, bottleneck_parameters, check_backbone, place_of
from adapter_tune.adapterhub.language import LanguageAdapter, local_language, read_language_adapter
from adapter_tune.adapterhub.to_strategy import strategy_of
from adapter_tune.adapters.bottleneck import ACTIVATIONS, Bottleneck
from adapter_tune.adapters.families import shape_of
from adapter_tune.adapters.formula import Shape
from adapter_tune.adapters.invertible import AdditiveCoupling
from adapter_tune.adapters.model_parts import base_of, language_modules
from adapter_tune.adapters.surgery import Site, attach, sites
from adapter_tune.config.schema import ModelConfig
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.tensor_files import check_tensors
from adapter_tune.strategies import Injection

_META = torch.device("meta")
_WIDEST = 1 << 16  # as of a strategy's m; far beyond it no tensor has a size


def attach_language(model: nn.Module, adapter: LanguageAdapter) -> None:
    """Put a language adapter into a backbone, frozen: its bottlenecks, and the invertible one behind the embeddings.

    Args:
        model: without adapters; on the meta device, the language adapter is there, too.
        adapter: the language adapter.

    Raises:
        RunError: it is one for another kind or size of backbone, or a tensor is missing, surplus or of another shape.
    """
    backbone = cast("Any", model.config)
    check_language(backbone, adapter)
    shape = shape_of(backbone)
    strategy, _ = strategy_of(adapter.options, shape.d, shape.layers, adapter.config_file)
    chosen = _chosen_sites(model, strategy, shape.layers)
    bottlenecks = {_place(site, adapter, backbone): _bottleneck(site, strategy, shape) for site in chosen}
    coupling = _coupling(adapter, strategy, backbone)
    modules = {**bottlenecks, f"invertible_adapters.{adapter.name}": coupling or nn.Module()}
    _fill(modules, adapter, next(base_of(model).parameters()).device)
    for site, bottleneck in zip(chosen, bottlenecks.values(), strict=True):
        attach(model, site, bottleneck, strategy.chosen_insertion(), in_backbone=True)
    if coupling is not None:
        embeddings = cast("nn.Module", base_of(model).embeddings)
        embeddings.add_module("invertible_adapter", coupling.train(embeddings.training))
        embeddings.register_forward_hook(coupling.after)


def open_language(section: ModelConfig) -> LanguageAdapter | None:
    """The language adapter of a configuration; None if it has none.

    Raises:
        UsageError: its folder is not there.
        RunError: a file is damaged, the Hub cannot be reached, or it is another adapter than the configuration says.
    """
    if section.language_adapter is None:
        return None
    adapter = read_language_adapter(local_language(section.language_adapter))
    if section.language_digest not in (None, adapter.digest):
        raise RunError(
            f"model.language_adapter: {section.language_adapter} has digest {adapter.digest}, and the run was trained "
            f"on {section.language_digest}; bring that one back, or give another one with --language-adapter"
        )
    return adapter


def check_language(backbone: Any, adapter: LanguageAdapter) -> None:
    """Refuse a language adapter for another kind or size of backbone, given the backbone's transformers configuration.

    Raises:
        RunError: it is for another one, or its options have no counterpart here.
    """
    check_backbone(adapter.settings, backbone, adapter.config_file)
    shape = shape_of(backbone)
    strategy, _ = strategy_of(adapter.options, shape.d, shape.layers, adapter.config_file)
    if strategy.insertion == "parallel":
        raise RunError(
            f"{adapter.config_file}: is_parallel is true; above such a language adapter AdapterHub's Stack loses the "
            "output of the sub-layer, so only others can be used"
        )
    if strategy.chosen_insertion() == "after_sub_layer" or strategy.output_norm == "sum":
        raise RunError(
            f"{adapter.config_file}: original_ln_after is false or adapter_residual_before_ln is true; such language "
            "adapters cannot be used beneath the adapter of a task"
        )


def resolved_section(section: ModelConfig) -> ModelConfig:
    """The section ``model`` with the place and the digest of its language adapter.

    Raises:
        UsageError: its folder is not there.
        RunError: a file is damaged, or it is another adapter than the configuration says.
    """
    adapter = open_language(section)
    return section if adapter is None else with_place(section, adapter)


def with_place(section: ModelConfig, adapter: LanguageAdapter) -> ModelConfig:
    """The section ``model`` with the place and the digest of a language adapter."""
    place = {"language_adapter": adapter.place, "language_digest": adapter.digest}
    return section.model_copy(update=place)


def language_note(model: nn.Module, adapter: LanguageAdapter) -> str:
    """A line that names the language adapter of a model, and what does not carry over."""
    size = sum(p.numel() for module in language_modules(model) for p in module.parameters())
    note = f"language adapter {adapter.name} ({adapter.place}): {size:,} frozen parameters, a part of the backbone"
    for name in ("dropout", "stochastic_depth"):
        if value := getattr(adapter.options, name):
            note += f"; its {name} ({value:g}) is not carried over"
    return note


def with_language(fingerprint: str, digest: str | None) -> str:
    """The fingerprint of a backbone with a language adapter, given the digest of the latter; None stands for none."""
    if digest is None:
        return fingerprint
    return hashlib.sha256(f"{fingerprint} with language adapter {digest}".encode()).hexdigest()


def _chosen_sites(model: nn.Module, strategy: Injection, layers: int) -> list[Site]:
    sizes = strategy.sizes(layers)
    return [site for site in sites(model) if sizes[site.layer] and site.sub_layer in strategy.chosen_sub_layers()]


def _place(site: Site, adapter: LanguageAdapter, backbone: Any) -> str:
    return place_of(LAYOUTS[backbone.model_type], site.layer, site.sub_layer, adapter.name)


def _bottleneck(site: Site, strategy: Injection, shape: Shape) -> Bottleneck:
    """The bottleneck of a site, without tensors."""
    return Bottleneck(shape.d, strategy.sizes(shape.layers)[site.layer], strategy.bottleneck_config(), _META)


def _coupling(adapter: LanguageAdapter, strategy: Injection, backbone: Any) -> AdditiveCoupling | None:
    """The invertible adapter, without tensors; it has the bottlenecks' activation, and the embeddings' width."""
    if adapter.options.inv_adapter is None:
        return None
    width = getattr(backbone, "embedding_size", backbone.hidden_size)
    factor = adapter.options.inv_adapter_reduction_factor
    if factor is None or not width / _WIDEST <= factor <= width // 2:
        raise RunError(
            f"{adapter.config_file}: inv_adapter_reduction_factor is {factor}; it should be above 0 and at most "
            f"{width // 2}, for a bottleneck of at most {_WIDEST} values"
        )
    return AdditiveCoupling(width, factor, ACTIVATIONS[strategy.activation](), _META)


def _fill(modules: dict[str, nn.Module], adapter: LanguageAdapter, device: torch.device) -> None:
    """Move the modules to a device, frozen, with the adapter's tensors; memory is allocated only if these fit."""
    shapes = {name: tuple(p.shape) or (1,) for name, p in _parameters(modules).items()}
    check_tensors(shapes, adapter.tensors, adapter.file)
    for module in modules.values():
        module.to_empty(device=device).requires_grad_(False)
    with torch.no_grad():
        for name, parameter in _parameters(modules).items():
            parameter.copy_(adapter.tensors[name].reshape(parameter.shape))


def _parameters(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The parameters of the modules by AdapterHub's names; the path of each module is its key."""
    parameters: dict[str, Tensor] = {}
    for place, module in modules.items():
        if isinstance(module, Bottleneck):
            parameters.update(bottleneck_parameters(module, place))
        else:
            parameters.update({f"{place}.{name}": p for name, p in module.named_parameters()})
    return parameters
