"""Speed and memory of strategies side by side: real training steps, taken in turns, on random weights and rows.

Every strategy trains in a process of its own, so that its memory is its own; a step of one is followed by a step of
the next, so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, cast

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, TrainerCallback

from adapter_tune.config import RunConfig, parse_config
from adapter_tune.data import Splits
from adapter_tune.demo import DEMO, located_model
from adapter_tune.errors import RunError
from adapter_tune.families import shape_of
from adapter_tune.lengths import drawn
from adapter_tune.model import Built, check_length, head_options, load_config, prepare
from adapter_tune.precision import TYPES, pick_device, resolved
from adapter_tune.published import published
from adapter_tune.speed import Clock, peak_memory
from adapter_tune.surgery import frozen_layers, layers_of
from adapter_tune.trainer import AdapterTrainer

_WARM = 2  # steps before the measured ones
_EVALUATED = 8  # batches


@dataclass(frozen=True)
class Measured:
    """What one strategy costs."""

    name: str
    forward_ms: float
    """Medians over the steps; a step also fetches its batch."""
    backward_ms: float
    optimiser_ms: float
    step_ms: float
    examples_per_second: float
    tokens_per_second: float
    """Real tokens, padding left out."""
    eval_examples_per_second: float
    peak_share: float
    """Of the matrix-product rate measured on the same device: the arithmetic of the Transformer layers alone."""
    peak_memory_bytes: int | None
    """Above what the imports take."""
    checkpoint_bytes: int
    step_ratio: float | None = None
    """Median over the steps of this one's time to that of ``full`` on the same rows."""
    memory_ratio: float | None = None
    steps: list[float] = field(default_factory=list, repr=False)
    """Seconds of every step."""


def bench(cases: dict[str, RunConfig], lengths: str, steps: int) -> tuple[list[Measured], dict[str, Any]]:
    """Measure training steps and evaluation.

    Args:
        cases: configurations by the names they are shown under; the first called ``full`` is what others are held to.
        lengths: as of ``lengths.drawn``.
        steps: measured ones.

    Returns:
        A row a case, and what the numbers depend on.

    Raises:
        RunError: a case failed.
    """
    for config in cases.values():  # what does not fit is said before anything is built
        config.strategy.formula(shape_of(_config(config)))
        drawn(lengths, 1, config.data.max_length)
    first = next(iter(cases.values()))
    device = pick_device(first.training.device)
    precision = resolved(first.training.precision, device)
    rate = product_rate(device, TYPES[precision])
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Any, Connection]] = {}
    try:
        for name, config in cases.items():
            here, there = context.Pipe()
            given = (config.model_dump(), lengths, steps, list(sys.path), there)
            process = context.Process(target=_work, args=given, daemon=True)
            process.start()
            workers[name] = (process, here)
            _answer(name, workers[name])  # one is built after the other
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        for _ in range(_WARM + steps):
            for name, worker in workers.items():
                worker[1].send("step")
                taken[name].append(_answer(name, worker))
        rows = []
        for name, worker in workers.items():
            worker[1].send("finish")
            rows.append((name, _answer(name, worker)))
        rate = max(rate, product_rate(device, TYPES[precision]))  # whatever else the machine did at either end
    finally:
        for process, _ in workers.values():
            process.terminate()
    about = {
        "model": first.model.id, "lengths": lengths, "batch_size": first.training.batch_size, "steps": steps,
        "device": torch.cuda.get_device_name() if device == "cuda" else device, "precision": precision,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "products_per_second": rate / 2,
    }  # fmt: skip
    return _related([_row(name, taken[name][_WARM:], rest, rate) for name, rest in rows]), about


def product_rate(device: str, dtype: torch.dtype, size: int = 1024) -> float:
    """The best measured rate of products (size, size) x (size, 4 size), operations a second: two a multiplication."""
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(4 * size, size, device=device).to(dtype)
    seconds = []
    for _ in range(25):
        _wait(device)
        start = time.perf_counter()
        nn.functional.linear(a, b)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size * size * 4 * size / min(seconds)


def _row(name: str, steps: list[dict[str, float]], rest: dict[str, Any], rate: float) -> Measured:
    seconds = sum(step["step"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    return Measured(
        name=name,
        forward_ms=1e3 * median(step["forward"] for step in steps),
        backward_ms=1e3 * median(step["backward"] for step in steps),
        optimiser_ms=1e3 * median(step["optimiser"] for step in steps),
        step_ms=1e3 * median(step["step"] for step in steps),
        examples_per_second=sum(step["examples"] for step in steps) / seconds,
        tokens_per_second=tokens / seconds,
        eval_examples_per_second=rest["eval"],
        peak_share=rest["operations"] * tokens / seconds / rate,
        peak_memory_bytes=rest["memory"],
        checkpoint_bytes=rest["checkpoint"],
        steps=[step["step"] for step in steps],
    )


def _related(rows: list[Measured]) -> list[Measured]:
    """The rows with their ratios to ``full``, where it is among them."""
    full = next((row for row in rows if row.name == "full"), None)
    if full is None:
        return rows
    out = []
    for row in rows:
        memory = row.peak_memory_bytes and full.peak_memory_bytes and row.peak_memory_bytes / full.peak_memory_bytes
        ratio = median(own / other for own, other in zip(row.steps, full.steps, strict=True))
        out.append(replace(row, step_ratio=ratio, memory_ratio=memory))
    return out


def _answer(name: str, worker: tuple[Any, Connection]) -> dict[str, Any]:
    try:
        found = worker[1].recv()
    except EOFError:
        raise RunError(f"{name}: its process ended (out of memory?); lower --batch-size") from None
    if "error" in found:
        raise RunError(f"{name}: {found['error']}")
    return cast("dict[str, Any]", found)


def _work(values: dict[str, Any], lengths: str, steps: int, path: list[str], parent: Connection) -> None:
    """A process's whole life: build, then take a step whenever it is told to."""
    sys.path[:] = path
    try:
        parent.send(_Worker(parse_config(values), lengths, steps, parent).run())
    except BaseException as error:
        parent.send({"error": (str(error) or type(error).__name__).splitlines()[0]})


class _Worker:
    """One strategy in its process."""

    def __init__(self, config: RunConfig, lengths: str, steps: int, parent: Connection) -> None:
        self.config, self.parent = config, parent
        self.device = pick_device(config.training.device)
        self.imported = peak_memory(self.device) or 0
        self.lengths, self.count = lengths, _WARM + steps

    def run(self) -> dict[str, Any]:
        """Train under the parent's eyes; what was measured of the whole."""
        config = self.config
        total = {"max_steps": self.count, "epochs": 1.0, "logging_steps": 10**6}
        config = config.model_copy(update={"training": config.training.model_copy(update=total)})
        t = config.training
        with tempfile.TemporaryDirectory() as folder:
            config = config.model_copy(update={"output": folder})
            built = _random(config)
            operations = _operations(built.model)
            words = cast(Any, built.model.config).vocab_size
            train = _rows(config, words, self.lengths, self.count * t.batch_size, seed=1)
            held = _rows(config, words, self.lengths, _EVALUATED * t.eval_batch_size, seed=2)
            splits = Splits(train, {config.record.validation[0]: held})
            tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))  # pads with id 0, as BERT's own
            clock = Clock()
            trainer = _Timed(config, built, tokenizer, Path(folder), splits, [_Turns(self)], clock)
            if trainer.prefix is not None:
                operations = _operations(built.model, kept=trainer.prefix.depth)
            self.times = trainer.times
            trainer.train()
            values = trainer.evaluate()  # the second time, when everything is warm
            runtime = next(value for key, value in values.items() if key.endswith("_runtime"))
            size = sum(file.stat().st_size for file in Path(folder).glob("checkpoint-*/*") if file.is_file())
        memory = None if self.memory is None else self.memory - (self.imported if self.device != "cuda" else 0)
        return {"eval": len(held) / runtime, "operations": operations, "memory": memory, "checkpoint": size}

    def turn(self, found: dict[str, float]) -> None:
        """Say what a step took, and wait for the next."""
        self.memory = peak_memory(self.device)
        self.parent.send(found)
        self.parent.recv()
        self.start = time.perf_counter()


class _Timed(AdapterTrainer):
    """The trainer of every run, with a clock between its phases."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.times: dict[str, float] = {}

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Forward."""
        start = time.perf_counter()
        out = super().compute_loss(*args, **kwargs)
        _wait(self.args.device.type)
        self.times["forward"] = time.perf_counter() - start
        return out

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward."""
        self.times["examples"], self.times["tokens"] = len(inputs["labels"]), int(inputs["attention_mask"].sum())
        start = time.perf_counter()
        out = super().training_step(model, inputs, num_items_in_batch)
        _wait(self.args.device.type)
        self.times["done"] = time.perf_counter()
        self.times["backward"] = self.times["done"] - start - self.times["forward"]
        return out


class _Turns(TrainerCallback):
    """Waits for the parent between two steps."""

    def __init__(self, worker: _Worker) -> None:
        self.worker = worker

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Ready."""
        self.worker.turn({})

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step is done."""
        _wait(self.worker.device)
        now, times = time.perf_counter(), self.worker.times
        self.worker.turn({**times, "optimiser": now - times["done"], "step": now - self.worker.start})


def _random(config: RunConfig) -> Built:
    """A model of the backbone's shape with random weights, prepared as a run's."""
    torch.manual_seed(config.training.seed)
    model = AutoModelForSequenceClassification.from_config(_config(config))
    prepare(model, config.strategy, train_pooler=config.strategy.trains_pooler or config.model.pooler == "train")
    return Built(model, config.model, "random", frozenset())


def _config(config: RunConfig) -> Any:
    """The backbone's transformers configuration, without the Hub for a published BERT."""
    known, options = published(config.model.id), head_options(config.record)
    found = BertConfig(**asdict(known), **options) if known else load_config(config.model, options)
    check_length(config.data.max_length, found)
    return found


def _operations(model: nn.Module, kept: int = 0) -> int:
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
    sizes = drawn(lengths, count, config.data.max_length, seed)
    return datasets.Dataset.from_dict(
        {
            "input_ids": [rng.integers(vocabulary // 2, vocabulary, size).tolist() for size in sizes],
            "attention_mask": [[1] * size for size in sizes],
            "labels": rng.integers(0, config.record.num_labels, count).tolist(),
        }
    )


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
