"""Speed and memory of strategies side by side: real training steps, taken in turns, on random weights and rows.

Every strategy trains in a process of its own, so that its memory is its own; a step of one is followed by a step of
the next, so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, cast

import torch

from adapter_tune.arguments import check_training
from adapter_tune.bench_worker import WARM, shape_config, work
from adapter_tune.config import RunConfig
from adapter_tune.errors import RunError, UsageError
from adapter_tune.families import shape_of
from adapter_tune.lengths import drawn
from adapter_tune.precision import TYPES, pick_device, product_rate, resolved


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
        UsageError: what it is configured with does not fit.
    """
    for config in cases.values():  # what does not fit is said before anything is built
        check_training(config)
        config.strategy.formula(shape_of(shape_config(config)))
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
            process = context.Process(target=work, args=given, daemon=True)
            process.start()
            workers[name] = (process, here)
            _answer(name, workers[name])  # one is built after the other
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        for _ in range(WARM + steps):
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
    return _related([_row(name, taken[name][WARM:], rest, rate) for name, rest in rows]), about


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
        raise (UsageError if found["is_usage"] else RunError)(f"{name}: {found['error']}")
    return cast("dict[str, Any]", found)
