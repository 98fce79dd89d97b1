"""One strategy on the bench, in a process of its own: it takes training steps whenever it is told to."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, TrainerCallback

from adapter_tune.adapters.model_parts import frozen_layers, layers_of
from adapter_tune.adapters.published_sizes import published_size
from adapter_tune.bench.row_lengths import sample_lengths
from adapter_tune.config.schema import RunConfig, parse_config
from adapter_tune.data.splits import Splits
from adapter_tune.demo.location import DEMO, located_model
from adapter_tune.foundation.errors import UsageError, first_line
from adapter_tune.modeling.backbone import check_length, head_options, load_config
from adapter_tune.modeling.build import PreparedModel, prepare
from adapter_tune.modeling.precision import resolve_device, synchronize
from adapter_tune.training.speed_monitor import SpeedMonitor, peak_memory
from adapter_tune.training.trainer import AdapterTrainer

_EVALUATED = 8  # batches


def worker_main(values: dict[str, Any], lengths: str, count: int, path: list[str], parent: Connection) -> None:
    """A process's whole life: build, then take as many steps as it is told to, ``count`` in all."""
    sys.path[:] = path
    try:
        parent.send(_Worker(parse_config(values), lengths, count, parent).run())
    except BaseException as error:
        parent.send({"error": first_line(error), "is_usage": isinstance(error, UsageError)})


class _Worker:
    """One strategy in its process."""

    def __init__(self, config: RunConfig, lengths: str, count: int, parent: Connection) -> None:
        self.config, self.parent = config, parent
        self.device = resolve_device(config.training.device)
        self.imported = peak_memory(self.device) or 0
        self.lengths, self.count = lengths, count

    def run(self) -> dict[str, Any]:
        """Train under the parent's eyes; what was measured of the whole."""
        config = self.config
        total = {"max_steps": self.count, "epochs": 1.0, "logging_steps": 10**6}
        config = config.model_copy(update={"training": config.training.model_copy(update=total)})
        t = config.training
        with tempfile.TemporaryDirectory() as folder:
            config = config.model_copy(update={"output": folder})
            prepared = _random(config)
            operations = operations_a_token(prepared.model)
            words = cast(Any, prepared.model.config).vocab_size
            count = self.count * t.batch_size * t.gradient_accumulation
            train = _rows(config, words, self.lengths, count, seed=1)
            held = _rows(config, words, self.lengths, _EVALUATED * t.eval_batch_size, seed=2)
            splits = Splits(train, {config.task_spec.validation[0]: held})
            tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))  # pads with id 0, as BERT's own
            speed_monitor = SpeedMonitor()
            trainer = _Timed(config, prepared, tokenizer, Path(folder), splits, [_Turns(self)], speed_monitor)
            if trainer.frozen_layer_cache is not None:
                operations = operations_a_token(prepared.model, kept=trainer.frozen_layer_cache.depth)
            self.trainer = trainer
            trainer.train()
            values = trainer.evaluate()  # the second time, when everything is warm
            runtime = next(value for key, value in values.items() if key.endswith("_runtime"))
            size = sum(file.stat().st_size for file in Path(folder).glob("checkpoint-*/*") if file.is_file())
        memory = None if self.memory is None else self.memory - (self.imported if self.device != "cuda" else 0)
        return {"eval": len(held) / runtime, "operations": operations, "memory": memory, "checkpoint": size}

    def turn(self, report: dict[str, float]) -> int:
        """Say what the last steps took, and wait for the number of the next ones."""
        self.memory = peak_memory(self.device)
        self.parent.send(report)
        return cast(int, self.parent.recv())


class _Timed(AdapterTrainer):
    """The trainer of every run; where the device does not work ahead of the host, with a clock between its phases."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.has_phases = self.args.device.type != "cuda"
        self.times: defaultdict[str, float] = defaultdict(float)
        """Of a step so far, which may have several batches."""
        self.done = 0.0

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Forward."""
        if not self.has_phases:
            return super().compute_loss(*args, **kwargs)
        start = time.perf_counter()
        out = super().compute_loss(*args, **kwargs)
        synchronize(self.args.device.type)
        self.times["forward"] += time.perf_counter() - start
        return out

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward."""
        if not self.has_phases:
            return super().training_step(model, inputs, num_items_in_batch)
        start, before = time.perf_counter(), self.times["forward"]
        out = super().training_step(model, inputs, num_items_in_batch)
        synchronize(self.args.device.type)
        self.done = time.perf_counter()
        self.times["backward"] += self.done - start - (self.times["forward"] - before)
        return out


class _Turns(TrainerCallback):
    """Takes as many steps as the parent says, reports, and waits for it to say more."""

    def __init__(self, worker: _Worker) -> None:
        self.worker = worker
        self.wanted = self.taken = 0
        self.start, self.before = 0.0, (0, 0)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Ready."""
        self._turn({})

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step is done."""
        self.taken += 1
        if self.taken < self.wanted:
            return
        synchronize(self.worker.device)
        now, trainer, (examples, tokens) = time.perf_counter(), self.worker.trainer, self.before
        trainer.speed_monitor.count_pending()
        report = {
            "steps": self.taken,
            "seconds": now - self.start,
            "examples": trainer.speed_monitor.examples - examples,
            "tokens": trainer.speed_monitor.real - tokens,
        }
        if trainer.has_phases:
            report |= {**trainer.times, "optimiser": now - trainer.done}
            trainer.times.clear()
        self._turn(report)

    def _turn(self, report: dict[str, float]) -> None:
        speed_monitor = self.worker.trainer.speed_monitor
        self.wanted, self.taken = self.worker.turn(report), 0
        self.start, self.before = time.perf_counter(), (speed_monitor.examples, speed_monitor.real)


def has_frozen_layers(config: RunConfig) -> bool:
    """Whether a strategy leaves the lowest layers frozen; no weights are made."""
    return frozen_layers(_random(config, "meta").model) > 0


def _random(config: RunConfig, device: str = "cpu") -> PreparedModel:
    """A model of the backbone's shape with random weights, prepared as a run's."""
    torch.manual_seed(config.training.seed)
    with torch.device(device):
        model = AutoModelForSequenceClassification.from_config(shape_config(config), dtype=torch.float32)
    prepare(model, config.strategy, train_pooler=config.strategy.trains_pooler or config.model.pooler == "train")
    return PreparedModel(model, config.model, "random", frozenset())


def shape_config(config: RunConfig) -> Any:
    """The backbone's transformers configuration, without the Hub for a published BERT."""
    known, options = published_size(config.model.id), head_options(config.task_spec)
    found = BertConfig(**asdict(known), **options) if known else load_config(config.model, options)
    check_length(config.data.max_length, found)
    return found


def operations_a_token(model: nn.Module, kept: int = 0) -> int:
    """Operations a token in the layers: 2 a parameter forward, 2 back where a gradient passes, 2 if it is trained.

    Args:
        model: prepared.
        kept: how many of the lowest layers are not computed.
    """
    total, below = 0, frozen_layers(model)
    for index, layer in enumerate(layers_of(model)):
        sizes = [(p.numel(), p.requires_grad) for p in layer.parameters()]
        if index >= kept:
            total += sum((2 + 2 * (index >= below) + 2 * trained) * size for size, trained in sizes)
    return total


def _rows(config: RunConfig, vocabulary: int, lengths: str, count: int, seed: int) -> Any:
    """Random rows of the given lengths."""
    rng = np.random.default_rng(seed)
    sizes = sample_lengths(lengths, count, config.data.max_length, seed)
    return datasets.Dataset.from_dict(
        {
            "input_ids": [rng.integers(vocabulary // 2, vocabulary, size).tolist() for size in sizes],
            "attention_mask": [[1] * size for size in sizes],
            "labels": rng.integers(0, config.task_spec.num_labels, count).tolist(),
        }
    )
