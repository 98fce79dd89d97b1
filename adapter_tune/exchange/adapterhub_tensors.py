"""The tensors in a folder of AdapterHub: their names, and the modules here that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapter_tune.adapterhub.folder import LAYOUTS, WEIGHTS, bottleneck_parameters, current_name, place_of
from adapter_tune.adapters.bottleneck import Bottleneck
from adapter_tune.adapters.formula import Shape
from adapter_tune.adapters.model_parts import base_of, layer_norms
from adapter_tune.adapters.surgery import sites
from adapter_tune.exchange.adapterhub_head import HeadPlan, fill_head
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.tensor_files import check_tensors, copy_tensors, read_tensors
from adapter_tune.strategies import Injection

HEAD_WEIGHTS = ("model_head.safetensors", "pytorch_model_head.bin")
NORMS = "adapter_tune_layer_norms.safetensors"
"""Trained LayerNorms, for which AdapterHub has no place: tensors by their names in the model."""


class HubTensors:
    """The tensors in a folder, and where they belong.

    Args:
        folder: the folder.
        name: of the adapter.
        plan: the head.
        model_type: of the backbone.

    Raises:
        RunError: a file is missing or damaged, or contains a tensor twice.
    """

    def __init__(self, folder: Path, name: str, plan: HeadPlan, model_type: str) -> None:
        self.name = name
        self.plan = plan
        self.notes: list[str] = []
        self.file, adapter = read_tensors(*(folder / file for file in WEIGHTS))
        self.head_file, head = read_tensors(*(folder / file for file in HEAD_WEIGHTS))
        self.norms_file = folder / NORMS
        self.norms = read_tensors(self.norms_file, self.norms_file)[1] if self.norms_file.is_file() else {}
        self.layout = LAYOUTS[model_type]
        self.adapter: dict[str, Tensor] = {}
        for key, tensor in adapter.items():
            current = current_name(key).removeprefix(f"{self.layout.base}.")
            if current in self.adapter:
                raise RunError(f"{self.file}: contains tensor {current} under two names; save the adapter again")
            self.adapter[current] = tensor
        self.head = {}
        for key, tensor in head.items():
            is_other = key.startswith("heads.") and not key.startswith(tuple(f"{p}." for p in plan.prefixes.values()))
            if is_other and not key.startswith(f"heads.{name}."):
                self.notes.append(f"{self.head_file.name}: {key} belongs to another head, so it is not imported")
            else:
                self.head[key] = tensor

    def check(self, strategy: Injection, shape: Shape) -> None:
        """Refuse tensors that are not those of the configuration, before a model of its size is built.

        Raises:
            RunError: a tensor is missing, surplus, or has another shape.
        """
        expected: dict[str, tuple[int, ...]] = {}
        for layer, m in enumerate(strategy.sizes(shape.layers)):
            for sub_layer in strategy.chosen_sub_layers() if m else ():
                place = place_of(self.layout, layer, sub_layer, self.name)
                bottleneck = Bottleneck(shape.d, m, strategy.bottleneck_config(), torch.device("meta"))
                for name, parameter in bottleneck_parameters(bottleneck, place):
                    expected[name] = tuple(parameter.shape) or (1,)
        check_tensors(expected, self.adapter, self.file)
        check_tensors(self.plan.shapes(shape.d), self.head, self.head_file)

    def fill(self, model: Any) -> None:
        """Copy all tensors into a classifier with the strategy applied.

        Raises:
            RunError: a tensor is missing, surplus, or has another shape.
        """
        expected = dict(adapter_parameters(model, self.name))
        adapter = {key: tensor.reshape(expected[key].shape) for key, tensor in self.adapter.items()}
        copy_tensors(expected, adapter, self.file)
        fill_head(model, self.plan, self.head, self.head_file)
        norms = {id(p) for norm in layer_norms(base_of(model)) for p in norm.parameters()}
        trained = {name: p for name, p in model.named_parameters() if id(p) in norms and p.requires_grad}
        copy_tensors(trained, self.norms, self.norms_file)


def adapter_parameters(model: Any, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of the adapters by AdapterHub's names in the base model."""
    layout = LAYOUTS[model.config.model_type]
    for site in sites(model):
        if site.adapted is None:
            continue
        yield from bottleneck_parameters(site.adapted.adapter, place_of(layout, site.layer, site.sub_layer, name))
