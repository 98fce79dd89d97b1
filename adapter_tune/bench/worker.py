"""The process of one strategy in a benchmark: it trains as many steps as its parent asks for, and reports them."""

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
from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import RunConfig, parse_config
from adapter_tune.data.splits import Splits
from adapter_tune.demo.location import DEMO, located_model
from adapter_tune.foundation.errors import UsageError, first_line
from adapter_tune.modeling.backbone import check_length, head_options, load_config
from adapter_tune.modeling.build import PreparedModel, prepare
from adapter_tune.modeling.language import attach_language, open_language
from adapter_tune.modeling.precision import resolve_device, synchronize
from adapter_tune.training.speed_monitor import SpeedMonitor, peak_memory
from adapter_tune.training.trainer import AdapterTrainer

_EVAL_BATCHES = 8


def worker_main(
    config_values: dict[str, Any], lengths: str, max_steps: int, path: list[str], parent: Connection
) -> None:
    """Run a worker process: build the model, train as the parent asks, send the totals.

    Args:
        config_values: the configuration, as ``model_dump`` returns it.
        lengths: a task or a number of tokens, as in ``sample_lengths``.
        max_steps: how many steps the parent asks for in all.
        path: the parent's ``sys.path``.
        parent: the connection to the parent, which also gets an error if there is one.
    """
    sys.path[:] = path
    try:
        parent.send(_Worker(resolved(parse_config(config_values)), lengths, max_steps, parent).run())
    except BaseException as error:
        parent.send({"error": first_line(error), "is_usage": isinstance(error, UsageError)})


class _Worker:
    """Trains one strategy in steps that the parent asks for."""

    def __init__(self, config: ResolvedConfig, lengths: str, max_steps: int, parent: Connection) -> None:
        changes = {"training.max_steps": max_steps, "training.epochs": 1.0, "training.logging_steps": 10**6}
        self.config = config.with_values(changes)
        self.lengths = lengths
        self.max_steps = max_steps
        self.parent = parent
        self.device = resolve_device(config.training.device)
        self.memory_of_imports = peak_memory(self.device) or 0
        self.memory: int | None = None
        """Peak memory at the last report."""

    def run(self) -> dict[str, Any]:
        """Train and evaluate; return the totals."""
        with tempfile.TemporaryDirectory() as folder:
            config = self.config.with_values({"output": folder})
            prepared = random_model(config)
            splits = self._random_splits(config, cast(Any, prepared.model.config).vocab_size)
            tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))  # pads with id 0, as BERT's own
            callbacks: list[TrainerCallback] = [_ReportCallback(self)]
            self.trainer = _TimedTrainer(config, prepared, tokenizer, Path(folder), splits, callbacks, SpeedMonitor())
            cache = self.trainer.frozen_layer_cache
            cached_layers = 0 if cache is None else cache.depth
            operations = operations_per_token(prepared.model, cached_layers)
            self.trainer.train()
            metrics = self.trainer.evaluate()  # the second evaluation, which has no warm-up
            eval_seconds = next(value for key, value in metrics.items() if key.endswith("_runtime"))
            files = [file for file in Path(folder).glob("checkpoint-*/*") if file.is_file()]
            checkpoint_bytes = sum(file.stat().st_size for file in files)
        (eval_rows,) = splits.validation.values()
        return {
            "eval": len(eval_rows) / eval_seconds,
            "operations": operations,
            "memory": self._own_memory(),
            "checkpoint": checkpoint_bytes,
        }

    def _random_splits(self, config: ResolvedConfig, vocabulary: int) -> Splits:
        training = config.training
        train_rows = self.max_steps * training.batch_size * training.gradient_accumulation
        train = _random_rows(config, vocabulary, self.lengths, train_rows, seed=1)
        eval_rows = _EVAL_BATCHES * training.eval_batch_size
        validation = _random_rows(config, vocabulary, self.lengths, eval_rows, seed=2)
        return Splits(train, {config.task_spec.validation[0]: validation})

    def _own_memory(self) -> int | None:
        """Return the peak memory; on a CPU without the memory that the imports take."""
        if self.memory is None or self.device == "cuda":
            return self.memory
        return self.memory - self.memory_of_imports

    def exchange(self, report: dict[str, float]) -> int:
        """Send a report of the last steps to the parent; return how many steps it asks for next."""
        self.memory = peak_memory(self.device)
        self.parent.send(report)
        return cast(int, self.parent.recv())


class _TimedTrainer(AdapterTrainer):
    """The trainer of every run; on a CPU it measures the phases of a step, which overlap on a GPU."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.measures_phases = self.args.device.type != "cuda"
        self.phase_seconds: defaultdict[str, float] = defaultdict(float)
        """Summed over the batches of a step."""
        self.backward_end = 0.0

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss; measure the forward pass."""
        if not self.measures_phases:
            return super().compute_loss(*args, **kwargs)
        start = time.perf_counter()
        loss = super().compute_loss(*args, **kwargs)
        synchronize(self.args.device.type)
        self.phase_seconds["forward"] += time.perf_counter() - start
        return loss

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Do the forward and backward pass of a batch; measure the backward pass."""
        if not self.measures_phases:
            return super().training_step(model, inputs, num_items_in_batch)
        start = time.perf_counter()
        forward_before = self.phase_seconds["forward"]
        loss = super().training_step(model, inputs, num_items_in_batch)
        synchronize(self.args.device.type)
        self.backward_end = time.perf_counter()
        forward = self.phase_seconds["forward"] - forward_before
        self.phase_seconds["backward"] += self.backward_end - start - forward
        return loss


class _ReportCallback(TrainerCallback):
    """Lets the trainer take as many steps as the parent asks for, reports them, and waits for the next request."""

    def __init__(self, worker: _Worker) -> None:
        self.worker = worker
        self.requested_steps = 0
        self.steps = 0
        """Steps since the last report, as the values below."""
        self.start = 0.0
        self.examples_before = 0
        self.tokens_before = 0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Report that the model is built."""
        self._exchange({})

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Count a step; report after the last one that the parent has asked for."""
        self.steps += 1
        if self.steps < self.requested_steps:
            return
        synchronize(self.worker.device)
        now = time.perf_counter()
        trainer = self.worker.trainer
        trainer.speed_monitor.count_pending()
        report = {
            "steps": self.steps,
            "seconds": now - self.start,
            "examples": trainer.speed_monitor.examples - self.examples_before,
            "tokens": trainer.speed_monitor.real - self.tokens_before,
        }
        if trainer.measures_phases:
            report |= {**trainer.phase_seconds, "optimiser": now - trainer.backward_end}
            trainer.phase_seconds.clear()
        self._exchange(report)

    def _exchange(self, report: dict[str, float]) -> None:
        """Report to the parent, wait for its next request, and start to count anew."""
        self.requested_steps = self.worker.exchange(report)
        self.steps = 0
        self.examples_before = self.worker.trainer.speed_monitor.examples
        self.tokens_before = self.worker.trainer.speed_monitor.real
        self.start = time.perf_counter()


def has_frozen_layers(config: RunConfig) -> bool:
    """Return whether a strategy leaves the lowest layers frozen; the model is built without weights."""
    return frozen_layers(random_model(resolved(config), "meta").model) > 0


def backbone_config(config: ResolvedConfig) -> Any:
    """Return the transformers configuration of the backbone; a published BERT's needs no network."""
    size = published_size(config.model.id)
    options = head_options(config.task_spec)
    backbone = BertConfig(**asdict(size), **options) if size else load_config(config.model, options)
    check_length(config.data.max_length, backbone)
    return backbone


def operations_per_token(model: nn.Module, cached_layers: int = 0) -> int:
    """Return the operations of the layers for one token of training.

    For each parameter 2 in the forward pass, 2 in the backward pass if a gradient passes, and 2 if it is trained.

    Args:
        model: a prepared model.
        cached_layers: how many of the lowest layers are not computed, because their outputs are cached.
    """
    operations = 0
    first_with_gradient = frozen_layers(model)
    for index, layer in enumerate(layers_of(model)):
        if index < cached_layers:
            continue
        backward = 2 if index >= first_with_gradient else 0
        for parameter in layer.parameters():
            update = 2 if parameter.requires_grad else 0
            operations += (2 + backward + update) * parameter.numel()
    return operations


def random_model(config: ResolvedConfig, device: str = "cpu") -> PreparedModel:
    """Return a model of the backbone's shape with random weights, prepared as in a run; a language adapter has its own.

    Raises:
        UsageError: the folder of the language adapter is not there.
        RunError: it is damaged, or another one than in the run.
    """
    torch.manual_seed(config.training.seed)
    with torch.device(device):
        model = AutoModelForSequenceClassification.from_config(backbone_config(config), dtype=torch.float32)
    if (language := open_language(config.model)) is not None:
        attach_language(model, language)
    train_pooler = config.strategy.trains_pooler or config.model.pooler == "train"
    prepare(model, config.strategy, train_pooler=train_pooler)
    return PreparedModel(model, config.model, "random", frozenset())


def _random_rows(config: ResolvedConfig, vocabulary: int, lengths: str, count: int, seed: int) -> Any:
    """Return a data set of random rows."""
    rng = np.random.default_rng(seed)
    row_lengths = sample_lengths(lengths, count, config.data.max_length, seed)
    return datasets.Dataset.from_dict(
        {
            "input_ids": [rng.integers(vocabulary // 2, vocabulary, length).tolist() for length in row_lengths],
            "attention_mask": [[1] * length for length in row_lengths],
            "labels": rng.integers(0, config.task_spec.num_labels, count).tolist(),
        }
    )
