"""A trained run as an export reads it: its configuration, and a model that has the run's own tensors and no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from adapter_tune.adapters.model_parts import base_of, layer_norms, pooler_parameters
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.modeling.backbone import head_options, load_config
from adapter_tune.modeling.build import prepare
from adapter_tune.run_files.adapter_files import (
    WEIGHTS,
    AdapterConfig,
    adapter_folder,
    check_same_tensors,
    read_adapter_config,
    read_weights,
    saved_tensors,
)
from adapter_tune.runs.run_config import adapter_run_config


@dataclass(frozen=True)
class StoredRun:
    """A run that is exported."""

    folder: Path
    """The adapter folder."""
    adapter: AdapterConfig
    config: ResolvedConfig
    model: PreTrainedModel
    """The classifier with the stored tensors; all others are on the meta device."""

    def trained_norms(self) -> dict[str, Tensor]:
        """The tensors of the LayerNorms that were trained, by their names in the model."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        parameters = [p for norm in layer_norms(base_of(self.model)) for p in norm.parameters()]
        return {names[id(p)]: p.detach() for p in parameters if not p.is_meta}


def read_run_config(run: Path, model: str | None = None) -> tuple[Path, AdapterConfig, ResolvedConfig]:
    """The adapter folder of a run, the adapter's configuration, and that of the run as far as the folder has it.

    Args:
        run: a run folder, or the adapter folder in it.
        model: path or id of the backbone, if it has moved since training.

    Raises:
        UsageError: the folder contains no adapter.
        RunError: the adapter's configuration is damaged.
    """
    folder = adapter_folder(run)
    adapter = read_adapter_config(folder)
    return folder, adapter, adapter_run_config(folder, adapter, model)


def open_run(run: Path, model: str | None = None) -> StoredRun:
    """Read a run's adapter folder; of the backbone only the configuration is read.

    Args:
        run: a run folder, or the adapter folder in it.
        model: path or id of the backbone, if it has moved since training.

    Raises:
        UsageError: the folder contains no adapter.
        RunError: the backbone's configuration cannot be loaded, or a file is damaged.
    """
    folder, adapter, config = read_run_config(run, model)
    stored = read_weights(folder, adapter)
    backbone = load_config(config.model, head_options(config.task_spec))
    with torch.device("meta"):
        classifier = AutoModelForSequenceClassification.from_config(backbone, dtype=torch.float32)
    prepare(classifier, config.strategy, train_pooler=adapter.model["pooler"] == "train")
    check_same_tensors(folder / WEIGHTS, saved_tensors(classifier, _stored_pooler(classifier, stored)), stored)
    classifier.load_state_dict(stored, strict=False, assign=True)
    return StoredRun(folder, adapter, config, classifier.eval())


def _stored_pooler(model: PreTrainedModel, stored: dict[str, Tensor]) -> frozenset[str]:
    """The names of the pooler's stored tensors: they are stored without training if no checkpoint contained them."""
    pooler = {id(p) for p in pooler_parameters(model)}
    return frozenset(name for name, p in model.named_parameters() if id(p) in pooler and name in stored)


def is_stored(module: nn.Module) -> bool:
    """Whether the tensors of a module are those of the run."""
    return not any(p.is_meta for p in module.parameters())
