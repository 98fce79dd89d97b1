"""What test modules share: tiny models of every family, and rows of the demo's tasks.

``conftest.py`` sets the environment and has the fixtures; it is loaded first.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedModel,
    RobertaConfig,
)

from adapter_tune.adapters.families import FAMILIES
from adapter_tune.conformance import tiny_models
from adapter_tune.demo.glue import rows
from adapter_tune.demo.location import BACKBONE
from adapter_tune.modeling.backbone import load_tokenizer
from adapter_tune.modeling.build import build_model, prepare
from adapter_tune.run_files.adapter_files import save_adapter, saved_tensors
from adapter_tune.runs.run import run
from adapter_tune.runs.save import adapter_config
from adapter_tune.strategies import parse_strategy
from adapter_tune.strategies.lora import PROJECTIONS
from adapter_tune.training.trainer import AdapterTrainer

TOKENIZER = AutoTokenizer.from_pretrained(BACKBONE)
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


LORA_EVERYWHERE: dict[str, Any] = {"name": "lora", "r": 3, "projections": [*PROJECTIONS], "layer_norm": "all"}


def bert_config(**changes: Any) -> BertConfig:
    return BertConfig(**{"vocab_size": len(TOKENIZER), **SHAPE, **changes})


def save_tokenizer(folder: Path) -> None:
    TOKENIZER.save_pretrained(folder)


def save_backbone(folder: Path, kind: type[PreTrainedModel], seed: int, **options: Any) -> str:
    """A random BERT of the tests' shape with its tokenizer, saved as one finds them."""
    torch.manual_seed(seed)
    kind(bert_config(), **options).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def save_family(folder: Path, family: str, seed: int = 0) -> str:
    """A random encoder of a family as one finds it, with the tests' tokenizer."""
    torch.manual_seed(seed)
    config = copy.deepcopy(CONFIGS[family])
    config.vocab_size = len(TOKENIZER)
    AutoModel.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def saved_run(folder: Path, config: Any, seed: int = 3) -> Path:
    """An adapter folder with the tokenizer as a run saves it, and random trained tensors."""
    saved_task(folder, config, seed)
    load_tokenizer(config.model).save_pretrained(folder)
    return folder


def saved_task(folder: Path, config: Any, seed: int) -> None:
    """An adapter folder as a run writes it, with random trained tensors."""
    prepared = build_model(config)
    torch.manual_seed(seed)
    for tensor in saved_tensors(prepared.model, prepared.newly_initialized).values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor), alpha=0.2)
    save_adapter(folder, prepared.model, prepared.newly_initialized, adapter_config(prepared, config))
    save_tokenizer(folder)


def rows_of(task: str, count: int, split: str = "train") -> dict[str, list[Any]]:
    """Rows of the demo world, column by column."""
    found = list(rows(task, split, count))
    return {column: [row[column] for row in found] for column in found[0]}


# The families that have fast paths ---------------------------------------------------------------------------------

CONFIGS: dict[str, Any] = {
    "bert": bert_config(),
    "roberta": RobertaConfig(vocab_size=60, **SHAPE, pad_token_id=1),
    "electra": ElectraConfig(vocab_size=60, **SHAPE, embedding_size=16),
    "distilbert": DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=48),
    "mpnet": MPNetConfig(vocab_size=60, **SHAPE),
    "modernbert": ModernBertConfig(vocab_size=60, **SHAPE, pad_token_id=0, cls_token_id=1, sep_token_id=2),
}


def batch(rows: int = 4, tokens: int = 9) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = (torch.arange(tokens) < torch.tensor([[tokens], [3], [5], [2]])[:rows]).long()
    return {
        "input_ids": torch.randint(3, 60, (rows, tokens)),
        "attention_mask": mask,
        "labels": torch.tensor([0, 1, 1, 0])[:rows],
    }


# Every family with every shape of its own ---------------------------------------------------------------------------

LAYERS, D = tiny_models.LAYERS, tiny_models.HIDDEN_SIZE
SIZES = tiny_models.SIZES
OWN = tiny_models.VARIANTS
BACKBONES = tiny_models.backbones()
config_of = tiny_models.config_of
model_of = tiny_models.model_of
ONE_TOKEN = [family for family, row in FAMILIES.items() if row.reads_first_token]  # their top layer computes one token
FAST_FAMILIES = [*CONFIGS, *(family for family in ONE_TOKEN if family not in CONFIGS)]


def perturbed_model(family: str, strategy: Any = "houlsby") -> Any:
    """A random classifier as transformers has it, without dropout, its trained parameters moved off their start."""
    torch.manual_seed(0)
    if family in CONFIGS:
        config = copy.deepcopy(CONFIGS[family])
    else:
        config = config_of(family, dict(reversed(BACKBONES))[family])
        config.vocab_size = 60  # as ``batch`` draws them
    model = AutoModelForSequenceClassification.from_config(config)
    prepare(model, parse_strategy(strategy), train_pooler=True)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn_like(p))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def gradients(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The gradients of a batch by name, with the logits."""
    output = model.train()(**inputs)
    output.loss.backward()
    by_name = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return {"logits": output.logits.detach(), **by_name}


def applied(model: Any, options: Any) -> Any:
    """A copy with the strategy applied, always with the same weights, and its head as it was."""
    torch.manual_seed(5)
    strategy, copied = parse_strategy(options), copy.deepcopy(model)
    prepare(copied, strategy, train_pooler=strategy.trains_pooler)
    kept = {k: v for k, v in model.state_dict().items() if k in copied.state_dict()}
    copied.load_state_dict(kept, strict=False)
    return copied


# A tokenised split of random rows ------------------------------------------------------------------------------------

ROWS = 40
LABELS: dict[str, list[Any]] = {
    "classes": [row % 3 for row in range(ROWS)],
    "numbers": [row / 7 for row in range(ROWS)],
    "several": [[float(row % 2), 1.0] for row in range(ROWS)],
}


def tokenised(labels: list[Any], *, with_types: bool = True) -> Any:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 30, ROWS)
    columns = {
        "input_ids": [rng.integers(1, 90, size).tolist() for size in sizes],
        "token_type_ids": [[0] * (size // 2) + [1] * (size - size // 2) for size in sizes],
        "attention_mask": [[1] * size for size in sizes],
        "labels": labels,
    }
    if not with_types:
        del columns["token_type_ids"]
    return datasets.concatenate_datasets(  # in several pieces, as a large data set is
        [datasets.Dataset.from_dict({k: v[a:b] for k, v in columns.items()}) for a, b in ((0, 13), (13, ROWS))]
    )


# Runs --------------------------------------------------------------------------------------------------------------


class StopError(Exception):
    """Ends a training in the middle."""


def interrupted(config: Any, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Run until a number of steps is done, and fail there."""
    step = AdapterTrainer.training_step
    count = 0

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        if count == after:
            raise StopError
        count += 1
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(AdapterTrainer, "training_step", training_step)
        with pytest.raises(StopError):
            run(config)


def weights(config: Any) -> dict[str, torch.Tensor]:
    return load_file(config.folder / "adapter" / "adapter_model.safetensors")


STRATEGY_MODULE = '''
from typing import ClassVar
from adapter_tune import Strategy, strategy
from adapter_tune.adapters.formula import Formula

@strategy("nothing")
class Nothing(Strategy):
    """Nothing is trained."""

    paper: ClassVar[str] = "none"
    learning_rate: ClassVar[float] = 1e-3

    def apply(self, model):
        pass

    def formula(self, shape):
        return Formula()
'''
"""The module of another package, with one strategy that is complete."""


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def write_language(folder: Path, seed: int = 0, name: str = "de", **options: Any) -> Path:
    """The folder of a language adapter for the tests' BERT, as AdapterHub's ``save_adapter`` writes it."""
    generator = torch.Generator().manual_seed(seed)
    d = SHAPE["hidden_size"]

    def pair(place: str, names: tuple[str, str], sizes: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        shapes = ((sizes[1], sizes[0]), (sizes[1],), (sizes[2], sizes[1]), (sizes[2],))
        parts = (f"{names[0]}.weight", f"{names[0]}.bias", f"{names[1]}.weight", f"{names[1]}.bias")
        drawn = (torch.randn(shape, generator=generator) * 0.3 for shape in shapes)
        return dict(zip((f"bert.{place}.{part}" for part in parts), drawn, strict=True))

    section = {**LANGUAGE, **options}
    tensors = {}
    for layer in range(SHAPE["num_hidden_layers"]):
        place = f"encoder.layer.{layer}.output.adapters.{name}"
        if layer not in section["leave_out"]:
            tensors.update(pair(place, ("adapter_down.0", "adapter_up"), (d, d // section["reduction_factor"], d)))
    if section["inv_adapter"]:
        m = d // 2 // section["inv_adapter_reduction_factor"]
        for part in "FG":
            tensors.update(pair(f"invertible_adapters.{name}", (f"{part}.0", f"{part}.2"), (d // 2, m, d // 2)))
    folder.mkdir(parents=True)
    settings = {"name": name, "model_type": "bert", "hidden_size": d, "version": "adapters.1.3.0", "config": section}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "adapter.safetensors")
    return folder


LANGUAGE: dict[str, Any] = {
    "mh_adapter": False,
    "output_adapter": True,
    "reduction_factor": 2,
    "non_linearity": "relu",
    "original_ln_before": True,
    "leave_out": [],
    "inv_adapter": "nice",
    "inv_adapter_reduction_factor": 2,
}
"""The options of ``seq_bn_inv``, with a smaller bottleneck."""


def killed_or_broken(job: Any, number: int) -> None:
    """The first worker is killed, the second one ends with an error, and others end well."""
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(1 if number == 1 else 0)
