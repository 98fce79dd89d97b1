"""What a trained task brings to a shared backbone: its modules by path, read from its adapter folder alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from adapter_tune.adapters.bottleneck import Adapted
from adapter_tune.adapters.model_parts import base_of, pooler_parameters
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.backbone import LoadedBackbone, head_options
from adapter_tune.modeling.build import prepare
from adapter_tune.multitask.by_task import LowRankUpdate
from adapter_tune.run_files.adapter_files import AdapterConfig, load_weights, saved_tensors
from adapter_tune.strategies import Strategy


@dataclass(frozen=True)
class Part:
    """One module of a task."""

    path: str
    """Where it is in the classifier."""
    content: Any
    """An ``Adapted``, a module, a bias (d), or a ``LowRankUpdate``."""


def load_parts(
    folder: Path, adapter: AdapterConfig, config: ResolvedConfig, backbone: LoadedBackbone, device: str
) -> list[Part]:
    """Read a task's tensors and return its modules; the frozen tensors in them are the backbone's own.

    Args:
        folder: the adapter folder.
        adapter: its configuration.
        config: the configuration of its run.
        backbone: the shared one.
        device: of the parts.

    Raises:
        UsageError: the strategy trains matrices of the backbone.
        RunError: a file is damaged.
    """
    skeleton = _skeleton(config, backbone.model, train_pooler=adapter.model["pooler"] == "train")
    _check_small(skeleton, config.strategy)
    _materialise(skeleton, backbone.newly_initialized)
    load_weights(skeleton, backbone.newly_initialized, folder, adapter)
    return list(_parts(skeleton, backbone.model, device))


def _skeleton(config: ResolvedConfig, backbone: PreTrainedModel, *, train_pooler: bool) -> PreTrainedModel:
    """The task's model without any weights."""
    options = {**backbone.config.to_dict(), **head_options(config.task_spec)}
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(type(backbone.config)(**options))
    prepare(model, config.strategy, train_pooler=train_pooler)
    return model.eval()


def _check_small(model: PreTrainedModel, strategy: Strategy) -> None:
    small = {id(p) for p in pooler_parameters(model)}
    for adapted in model.modules():
        if isinstance(adapted, Adapted):
            small.update(id(p) for p in adapted.adapter.parameters())
        for name in getattr(adapted, "adapter_layer_names", ()):
            small.update(id(p) for p in getattr(adapted, name).parameters())
    large = [p for p in base_of(model).parameters() if p.requires_grad and p.dim() > 1 and id(p) not in small]
    if large:
        raise UsageError(
            f"strategy {strategy.name} trains {sum(p.numel() for p in large):,} parameters in matrices of the "
            "backbone, which tasks cannot share; use the run alone"
        )


def _materialise(model: PreTrainedModel, newly_initialized: frozenset[str]) -> None:
    """Give memory to the tensors that an adapter file has; all others stay without."""
    for name in saved_tensors(model, newly_initialized):
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        tensor = getattr(module, attribute)
        empty = torch.empty_like(tensor, device="cpu")
        if isinstance(tensor, nn.Parameter):
            setattr(module, attribute, nn.Parameter(empty, requires_grad=tensor.requires_grad))
        else:
            module._buffers[attribute] = empty


def _parts(model: PreTrainedModel, backbone: PreTrainedModel, device: str) -> Iterator[Part]:
    inside: tuple[str, ...] = ()
    for path, module in model.named_modules():
        if path.startswith(inside):
            continue
        if isinstance(module, Adapted):
            inside = (*inside, f"{path}.")
            module.adapter.to(device)
            yield Part(path, module)
        elif hasattr(module, "adapter_layer_names"):
            inside = (*inside, f"{path}.")
            yield Part(path, _update(module, device))
        elif any(not p.is_meta for p in module.parameters(recurse=False)):
            yield _own_part(path, module, backbone.get_submodule(path), device)


def _own_part(path: str, module: nn.Module, shared: nn.Module, device: str) -> Part:
    if isinstance(module, nn.Linear) and module.weight.is_meta:
        return Part(path, module.bias.detach().to(device))
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.is_meta:
            setattr(module, name, getattr(shared, name))
    return Part(path, module.to(device))


def _update(module: Any, device: str) -> LowRankUpdate:
    (name,) = module.lora_A
    a = module.lora_A[name].weight.detach().to(device)
    b = module.lora_B[name].weight.detach().to(device)
    return LowRankUpdate(a, b, float(module.scaling[name]))
