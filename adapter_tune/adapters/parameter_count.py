"""Parameters counted from the model's tensors, by group, and held against the strategy's closed formula."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from adapter_tune.adapters.formula import Formula, Groups, ParameterCount
from adapter_tune.adapters.surgery import (
    added_parameters,
    base_of,
    head_parameters,
    layer_norms,
    layers_of,
    pooler_parameters,
    sites,
)
from adapter_tune.foundation.errors import RunError


def count_parameters(model: nn.Module, formula: Formula | None = None) -> ParameterCount:
    """Count a model's parameters; works on the ``meta`` device too, without weights.

    Args:
        model: a sequence classifier of a supported family, adapted or not.
        formula: what the strategy's closed formula says. When given, both routes must agree.

    Raises:
        RunError: model and formula differ (a bug in one of the two), or the family is not supported.
    """
    adapters = added_parameters(model)
    head = head_parameters(model)
    groups = _groups(model, adapters, head)
    total = _size(model.parameters())
    unadapted = total - _size(adapters)
    layers = _size(p for layer in layers_of(model) for p in layer.parameters()) - _size(adapters)
    each = _adapters(model)
    count = ParameterCount(
        backbone=unadapted - _size(head),
        groups=groups,
        trained=groups.total,
        total=total,
        trained_percent=100 * groups.total / unadapted,
        trained_percent_encoder=100 * groups.total / layers,
        per_adapter=each.each,
        adapter_count=len(each.sizes),
        adapter_norms=sum(each.norms),
        formula=formula.total if formula else None,
    )
    if formula is not None:
        _agree(count, formula)
    return count


def _groups(model: nn.Module, adapters: list[nn.Parameter], head: list[nn.Parameter]) -> Groups:
    """Trained parameters by group; the first group that claims a parameter keeps it."""
    claims = {
        "adapters": adapters,
        "head": head,
        "pooler": pooler_parameters(model),
        "layer_norm": (p for norm in layer_norms(base_of(model)) for p in norm.parameters()),
        "other": model.parameters(),
    }
    seen: set[int] = set()
    sizes = {}
    for name, parameters in claims.items():
        mine = [p for p in parameters if p.requires_grad and id(p) not in seen]
        seen.update(id(p) for p in mine)
        sizes[name] = _size(mine)
    return Groups(**sizes)


@dataclass(frozen=True)
class _Adapters:
    """The adapters of a model: parameters of each, its trained LayerNorm aside, and those of the LayerNorms."""

    sizes: list[int]
    norms: list[int]

    @property
    def each(self) -> int | None:
        """Parameters of one with its LayerNorm; None where they differ or there are none."""
        together = {size + norm for size, norm in zip(self.sizes, self.norms, strict=True)}
        return together.pop() if len(together) == 1 else None


def _adapters(model: nn.Module) -> _Adapters:
    adapted = [site for site in sites(model) if site.adapted is not None]
    if not adapted:  # the layers that peft wrapped have no LayerNorm of their own
        wrapped = [module for module in model.modules() if hasattr(module, "adapter_layer_names")]
        return _Adapters([_size(added_parameters(module)) for module in wrapped], [0] * len(wrapped))
    norms = [_size(p for p in s.norm.parameters() if p.requires_grad) if s.norm is not None else 0 for s in adapted]
    return _Adapters([_size(s.adapted.adapter.parameters()) for s in adapted if s.adapted is not None], norms)


def _agree(count: ParameterCount, formula: Formula) -> None:
    pairs = {
        "adapters": (count.groups.adapters, formula.adapters),
        "layer_norm": (count.groups.layer_norm, formula.layer_norm),
        "other": (count.groups.other, formula.other),
        "per adapter": (count.per_adapter, formula.per_adapter),
        "LayerNorms behind adapters": (count.adapter_norms, formula.adapter_norms),
        "number of adapters": (count.adapter_count, formula.adapter_count),
    }
    for name, (model, by_formula) in pairs.items():
        if model != by_formula:
            raise RunError(f"{name}: the model has {model} but the formula says {by_formula}; please report this bug")


def _size(parameters: Iterable[nn.Parameter]) -> int:
    """Elements of distinct parameters."""
    return sum({id(p): p.numel() for p in parameters}.values())
