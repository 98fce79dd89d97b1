"""Parameters counted from the model's tensors, by group, and compared with the strategy's closed formula."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from adapter_tune.adapters.formula import Formula, Groups, ParameterCount
from adapter_tune.adapters.model_parts import (
    added_parameters,
    base_of,
    head_parameters,
    language_modules,
    layer_norms,
    layers_of,
    pooler_parameters,
)
from adapter_tune.adapters.surgery import sites
from adapter_tune.foundation.errors import RunError


def count_parameters(model: nn.Module, formula: Formula | None = None) -> ParameterCount:
    """Count a model's parameters; a model on the ``meta`` device, without weights, can be counted too.

    Args:
        model: a sequence classifier of a supported family, with or without adapters.
        formula: the strategy's closed formula; if given, it must agree with the model.

    Raises:
        RunError: model and formula differ (a bug in one of them), or the family is not supported.
    """
    adapters = added_parameters(model)
    head = head_parameters(model)
    groups = _groups(model, adapters, head)
    total = _size(model.parameters())
    without_adapters = total - _size(adapters)
    layers = _size(p for layer in layers_of(model) for p in layer.parameters()) - _size(adapters)
    adapter_sizes = _adapter_sizes(model)
    count = ParameterCount(
        backbone=without_adapters - _size(head),
        language_adapter=_size(p for module in language_modules(model) for p in module.parameters()),
        groups=groups,
        trained=groups.total,
        total=total,
        trained_percent=100 * groups.total / without_adapters,
        trained_percent_encoder=100 * groups.total / layers,
        per_adapter=adapter_sizes.common,
        adapter_count=len(adapter_sizes.adapters),
        adapter_norms=sum(adapter_sizes.norms),
        formula=formula.total if formula else None,
    )
    if formula is not None:
        _check_agreement(count, formula)
    return count


def _groups(model: nn.Module, adapters: list[nn.Parameter], head: list[nn.Parameter]) -> Groups:
    """Count trained parameters by group; a parameter belongs to the first group that has it."""
    members = {
        "adapters": adapters,
        "head": head,
        "pooler": pooler_parameters(model),
        "layer_norm": (p for norm in layer_norms(base_of(model)) for p in norm.parameters()),
        "other": model.parameters(),
    }
    counted: set[int] = set()
    sizes = {}
    for name, parameters in members.items():
        new = [p for p in parameters if p.requires_grad and id(p) not in counted]
        counted.update(id(p) for p in new)
        sizes[name] = _size(new)
    return Groups(**sizes)


@dataclass(frozen=True)
class _AdapterSizes:
    """Parameters of each adapter of a model, and trained parameters of the LayerNorm after each."""

    adapters: list[int]
    norms: list[int]

    @property
    def common(self) -> int | None:
        """Parameters of one adapter with its LayerNorm; None without adapters, and where they differ."""
        totals = {size + norm for size, norm in zip(self.adapters, self.norms, strict=True)}
        return totals.pop() if len(totals) == 1 else None


def _adapter_sizes(model: nn.Module) -> _AdapterSizes:
    sizes = _AdapterSizes([], [])
    for site in sites(model):
        if site.adapted is not None:
            sizes.adapters.append(_size(site.adapted.adapter.parameters()))
            norm = [] if site.norm is None else [p for p in site.norm.parameters() if p.requires_grad]
            sizes.norms.append(_size(norm))
    if sizes.adapters:
        return sizes
    for module in model.modules():
        if hasattr(module, "adapter_layer_names"):  # a projection that peft wrapped; no LayerNorm is trained with it
            sizes.adapters.append(_size(added_parameters(module)))
            sizes.norms.append(0)
    return sizes


def _check_agreement(count: ParameterCount, formula: Formula) -> None:
    pairs = {
        "adapters": (count.groups.adapters, formula.adapters),
        "layer_norm": (count.groups.layer_norm, formula.layer_norm),
        "other": (count.groups.other, formula.other),
        "per adapter": (count.per_adapter, formula.per_adapter),
        "LayerNorms after adapters": (count.adapter_norms, formula.adapter_norms),
        "number of adapters": (count.adapter_count, formula.adapter_count),
    }
    for name, (from_model, from_formula) in pairs.items():
        if from_model != from_formula:
            raise RunError(
                f"{name}: the model has {from_model} but the formula says {from_formula}; please report this bug"
            )


def _size(parameters: Iterable[nn.Parameter]) -> int:
    """Number of elements; a parameter that occurs twice counts once."""
    return sum({id(p): p.numel() for p in parameters}.values())
