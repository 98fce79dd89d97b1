"""A run as an ordinary classifier of transformers: what was trained is folded into the weights of the backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from adapter_tune.adapters.model_parts import added_parameters
from adapter_tune.exchange.cards import write_card
from adapter_tune.exchange.formats import Export, Exported, Format
from adapter_tune.exchange.loaded_run import LoadedRun, load_run, logits_of, save_tokenizer
from adapter_tune.exchange.stored_run import read_run_config
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.strategies import Injection, Strategy
from adapter_tune.strategies.lora import Lora

_TOLERANCE = 1e-4
"""Largest difference of two logits if updates were folded into weights; otherwise they are equal."""

_ABOUT = "A classifier of transformers: everything that was trained is in `model.safetensors`, with the backbone."
_EXAMPLE = """
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder", truncation=True)
print(classify({}))
"""


def write_merged(export: Export, folder: Path) -> Exported:
    """Write a run as a folder that ``AutoModelForSequenceClassification.from_pretrained`` loads.

    Args:
        export: the run.
        folder: an empty folder.

    Raises:
        UsageError: the run has no adapter folder, or has adapters, which cannot be folded into weights.
        RunError: the backbone is not the run's, a file is damaged, or the written model computes something else.
    """
    place, adapter, config = read_run_config(export.run, export.model)
    if isinstance(config.strategy, Injection):
        raise UsageError(_no_place(config.strategy))
    if config.model.language_adapter is not None:
        raise UsageError(
            f"{export.run}: has a language adapter ({config.model.language_adapter}), for which a classifier of "
            "transformers has no place; export the run with --format onnx, which contains the whole model"
        )
    run = load_run(place, adapter, config, export.model)
    expected = [run.logits(batch) for batch in run.batches()]
    if isinstance(config.strategy, Lora):
        merge_lora(run.model)
    if added_parameters(run.model):
        raise UsageError(_no_place(config.strategy))
    run.model.save_pretrained(folder)
    save_tokenizer(run, folder)
    rows = '{"text": "A first text.", "text_pair": "A second text."}'
    example = _EXAMPLE.format(rows if len(config.task_spec.text) == 2 else '"A text."')
    write_card(run, folder, library="transformers", about=_ABOUT, example=example)
    difference = _difference(run, expected, folder)
    allowed = _TOLERANCE if isinstance(config.strategy, Lora) else 0.0
    if not difference <= allowed:
        raise RunError(
            f"{export.run}: the merged model computes other logits (difference {difference:.1e}, {allowed:g} is "
            "allowed); nothing was written; export it with --format onnx"
        )
    return Exported(facts=[f"largest difference of a logit from the run's: {difference:.1e}"])


def merge_lora(model: nn.Module) -> None:
    """Add the updates to the projections that they belong to, and put these back in the place of peft's modules."""
    from peft.tuners.lora import LoraLayer

    wrapped = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in wrapped:
        module.merge(safe_merge=True)
        model.set_submodule(name, module.get_base_layer())


def _no_place(strategy: Strategy) -> str:
    return (
        f"strategy {strategy.name}: its adapters cannot be folded into the backbone's weights (an activation function "
        "is between their two projections); export the run with --format onnx, which contains the whole model"
    )


def _difference(run: LoadedRun, expected: list[Any], folder: Path) -> float:
    """The largest difference of a logit of the written model, loaded again, from the run's; NaN if there is one."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    computed = [logits_of(model.eval(), batch) for batch in run.batches()]
    differences = [(a - b).abs().max() for a, b in zip(computed, expected, strict=True)]
    return float(torch.stack(differences).max())


FORMAT = Format(name="merged", title="a classifier of transformers", write=write_merged)
