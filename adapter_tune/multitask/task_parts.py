"""What a trained task brings to a shared backbone: its modules by path, read from its adapter folder alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from adapter_tune.adapters.adapted import Adapted
from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.model_parts import base_of, pooler_parameters
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.hub_calls import run_title
from adapter_tune.modeling.backbone import LoadedBackbone, head_options
from adapter_tune.modeling.build import prepare
from adapter_tune.modeling.precision import ComputeSettings, cast_frozen_weights
from adapter_tune.multitask.by_task import HOOKS, ByTask, LowRankUpdate
from adapter_tune.run_files.adapter_files import (
    WEIGHTS,
    AdapterConfig,
    check_same_tensors,
    read_weights,
    saved_tensors,
)
from adapter_tune.strategies import Strategy


@dataclass(frozen=True)
class Part:
    """One module of a task."""

    path: str
    """Where it is in the classifier."""
    content: Any
    """An ``Adapted``, a module, a bias (d), or a ``LowRankUpdate``."""


class TaskReader:
    """Reads tasks of one strategy with heads of one size; the modules without tensors are made once.

    Args:
        config: the configuration of a run with this strategy.
        backbone: the shared one; the frozen tensors in a task's modules are its own.
        train_pooler: whether the pooler was trained.

    Raises:
        UsageError: the strategy trains matrices of the backbone, or modules that do not compute rows alone.
    """

    def __init__(self, config: ResolvedConfig, backbone: LoadedBackbone, *, train_pooler: bool) -> None:
        self.backbone = backbone.model
        skeleton = _skeleton(config, backbone.model.config, train_pooler=train_pooler)
        _check_small(skeleton, config.strategy)
        self.expected = saved_tensors(skeleton, backbone.newly_initialized)
        self.modules = _own_modules(skeleton, self.expected)
        self._norms_read = _norms_read(skeleton)
        self.names = {path: [name for name in self.expected if name.startswith(f"{path}.")] for path in self.modules}
        """The tensors of each module."""
        _check_rows_only(self.modules, skeleton.config, config.strategy)

    def read(self, folder: Path, adapter: AdapterConfig, compute: ComputeSettings) -> list[Part]:
        """The modules of a task, with the tensors in its adapter folder.

        Args:
            folder: the adapter folder.
            adapter: its configuration.
            compute: device and precision; matrices are stored in the type in which they are multiplied.

        Raises:
            UsageError: the folder has no weights.
            RunError: a file is damaged.
        """
        stored = read_weights(folder, adapter)
        check_same_tensors(folder / WEIGHTS, self.expected, stored)
        contents = {}
        for path, template in self.modules.items():
            module = _copy(template)
            for name in self.names[path]:
                _assign(module, name.removeprefix(f"{path}."), stored[name].to(compute.device))
            contents[path] = self._content(path, module, compute)
        for path, norm in self._norms_read.items():
            shared = self.backbone.get_submodule(norm)
            shared = shared.shared if isinstance(shared, ByTask) else shared
            contents[path].read_norm(contents.get(norm, shared))
        return [Part(path, content) for path, content in contents.items()]

    def _content(self, path: str, module: Any, compute: ComputeSettings) -> Any:
        if isinstance(module, Adapted):
            cast_frozen_weights(module.adapter, compute.precision)
            return module
        if _is_lora(module):
            return _update(module, compute)
        if isinstance(module, nn.Linear) and module.weight.is_meta:
            return module.bias.detach()
        shared = self.backbone.get_submodule(path)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta:
                setattr(module, name, getattr(shared, name))
        cast_frozen_weights(module, compute.precision)
        return module


def check_no_language(folder: Path, adapter: AdapterConfig) -> None:
    """Refuse a run that was trained on a language adapter, which a shared backbone does not have.

    Raises:
        UsageError: it was.
    """
    if adapter.model.get("language_adapter") is not None:
        raise UsageError(
            f"{run_title(folder)}: was trained on a language adapter ({adapter.model['language_adapter']}), which a "
            "backbone that tasks share does not have; predict with the run alone"
        )


def check_can_share(config: ResolvedConfig, backbone: Any, *, train_pooler: bool) -> None:
    """Refuse a task whose strategy trains matrices of the backbone; no weights are needed.

    Args:
        config: the configuration of its run.
        backbone: the transformers configuration of the backbone.
        train_pooler: whether the pooler was trained.

    Raises:
        UsageError: the strategy trains some.
    """
    _check_small(_skeleton(config, backbone, train_pooler=train_pooler), config.strategy)


def _skeleton(config: ResolvedConfig, backbone: Any, *, train_pooler: bool) -> PreTrainedModel:
    """The task's model without any weights, given the transformers configuration of the backbone."""
    options = {**backbone.to_dict(), **head_options(config.task_spec)}
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(type(backbone)(**options))
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


def _check_rows_only(modules: dict[str, nn.Module], backbone: Any, strategy: Strategy) -> None:
    """Refuse own modules where the backbone computes one thing for all rows, as DeBERTa does for relative positions."""
    if not getattr(backbone, "relative_attention", False):
        return
    for path, module in modules.items():
        if path.endswith(family_of(backbone).position_modules) and not isinstance(module, Adapted):
            raise UsageError(
                f"strategy {strategy.name} trains {path}, which also computes the relative positions of all rows, so "
                "tasks cannot share a batch; use the run alone"
            )


def _own_modules(model: PreTrainedModel, tensors: Iterable[str]) -> dict[str, nn.Module]:
    """The modules that a task has of its own, by path, given the names of its tensors; none is inside another."""
    modules: dict[str, nn.Module] = {}
    for name in tensors:
        path = name.rpartition(".")[0]
        parents = [path[:end] for end, character in enumerate(path) if character == "."]
        for parent in parents:
            module = model.get_submodule(parent)
            if isinstance(module, Adapted) or _is_lora(module):
                path = parent
                break
        modules[path] = model.get_submodule(path)
    return modules


def _norms_read(model: PreTrainedModel) -> dict[str, str]:
    """The path of the LayerNorm that an adapter reads, by the path of the adapter; most read none."""
    paths = {id(module): path for path, module in model.named_modules()}
    read = {}
    for path, module in model.named_modules():
        if isinstance(module, Adapted) and module.norm is not None:
            read[path] = paths[id(module.norm)]
    return read


def _is_lora(module: nn.Module) -> bool:
    return hasattr(module, "adapter_layer_names")


def _copy(module: nn.Module) -> nn.Module:
    """A module with its own places for tensors and submodules; what else it has is the template's, but for hooks.

    A deep copy takes four times as long, and loading an adapter keeps the others waiting. The hooks of the template
    belong to its own adapters; those of the backbone are on the holder in the module's place.
    """
    copied = module.__new__(type(module))
    copied.__dict__.update(module.__dict__)
    copied.__dict__.update({name: OrderedDict() for name in HOOKS})
    copied.__dict__["_parameters"] = dict(module._parameters)
    copied.__dict__["_buffers"] = dict(module._buffers)
    children = module._modules.items()
    copied.__dict__["_modules"] = {name: None if child is None else _copy(child) for name, child in children}
    return copied


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in the place of the one with this name."""
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path)
    if attribute in owner._parameters:
        owner._parameters[attribute] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[attribute] = tensor


def _update(module: Any, compute: ComputeSettings) -> LowRankUpdate:
    (name,) = module.lora_A
    a = module.lora_A[name].weight.detach().to(compute.dtype)
    b = module.lora_B[name].weight.detach().to(compute.dtype)
    return LowRankUpdate(a, b, float(module.scaling[name]))
