"""Speed and memory of strategies side by side: real training steps, taken in turns, on random weights and rows.

Every strategy trains in a process of its own, so that its memory is its own. On a CPU a step of one is followed by a
step of the next, so that whatever else the machine does falls on all of them alike. On a GPU, which works ahead of the
host and would cool down in between, one strategy takes all of its steps before the next one's process begins.
"""

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, cast

import numpy as np
import torch

from adapter_tune.adapters.families import shape_of
from adapter_tune.bench.row_lengths import sample_lengths
from adapter_tune.bench.worker import shape_config, worker_main
from adapter_tune.config.schema import RunConfig
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.precision import TYPES, matmul_rate, resolve_device, resolve_precision
from adapter_tune.training.arguments import check_training

WARM = 2
"""Steps before the measured ones."""

WARM_ON_A_GPU = 60
"""Likewise: every common shape has come often enough to have a CUDA graph."""

_PARTS = 10


@dataclass(frozen=True)
class Measured:
    """What one strategy costs."""

    name: str
    forward_ms: float | None
    """Medians over the steps; a step also fetches its batch. None on a GPU, where phases overlap."""
    backward_ms: float | None
    optimiser_ms: float | None
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
    """Seconds of every step; on a GPU the mean of every tenth of them."""


def bench(cases: dict[str, RunConfig], lengths: str, steps: int) -> tuple[list[Measured], dict[str, Any]]:
    """Measure training steps and evaluation.

    Args:
        cases: configurations by the names they are shown under; the first called ``full`` is what others are held to.
        lengths: as of ``row_lengths.drawn``.
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
        sample_lengths(lengths, 1, config.data.max_length)
    first = next(iter(cases.values()))
    device = resolve_device(first.training.device)
    precision = resolve_precision(first.training.precision, device)
    rate = matmul_rate(device, TYPES[precision])
    taken, ends = (_one_after_the_other if device == "cuda" else _in_turns)(cases, lengths, steps)
    rate = max(rate, matmul_rate(device, TYPES[precision]))  # whatever else the machine did at either end
    about = {
        "model": first.model.id, "lengths": lengths, "batch_size": first.training.batch_size, "steps": steps,
        "device": torch.cuda.get_device_name() if device == "cuda" else device, "precision": precision,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "products_per_second": rate / 2,
    }  # fmt: skip
    return _related([_row(name, taken[name], ends[name], rate) for name in cases]), about


Taken = dict[str, list[dict[str, float]]]
"""What every strategy reports of its measured steps, one after the other or several at a time."""


def _in_turns(cases: dict[str, RunConfig], lengths: str, steps: int) -> tuple[Taken, dict[str, Any]]:
    processes: dict[str, _Process] = {}
    try:
        for name, config in cases.items():  # one is built after the other
            processes[name] = _Process(name, config, lengths, WARM + steps)
        taken: Taken = {name: [] for name in cases}
        for turn in range(WARM + steps):
            for name, process in processes.items():
                report = process.take(1)
                if turn >= WARM:
                    taken[name].append(report)
        return taken, {name: process.finish() for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.end()


def _one_after_the_other(cases: dict[str, RunConfig], lengths: str, steps: int) -> tuple[Taken, dict[str, Any]]:
    taken: Taken = {}
    ends: dict[str, Any] = {}
    sizes = [len(part) for part in np.array_split(range(steps), min(steps, _PARTS))]
    for name, config in cases.items():
        process = _Process(name, config, lengths, WARM_ON_A_GPU + steps)
        try:
            process.take(WARM_ON_A_GPU)
            taken[name] = [process.take(size) for size in sizes]
            ends[name] = process.finish()
        finally:
            process.end()
    return taken, ends


class _Process:
    """One strategy's worker, built and ready."""

    def __init__(self, name: str, config: RunConfig, lengths: str, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, (here, there) = name, context.Pipe()
        self.connection = here
        self.process = context.Process(
            target=worker_main, args=(config.model_dump(), lengths, count, list(sys.path), there), daemon=True
        )
        self.process.start()
        there.close()  # else an end of the process would go unnoticed
        self._answer()

    def take(self, steps: int) -> dict[str, float]:
        """Let it take steps; what they took."""
        self.connection.send(steps)
        return self._answer()

    def finish(self) -> dict[str, Any]:
        """Let it come to its end; what was measured of the whole."""
        self.connection.send(0)
        return self._answer()

    def end(self) -> None:
        """Whatever it is doing."""
        self.process.terminate()
        self.process.join()

    def _answer(self) -> dict[str, Any]:
        return _checked(self.name, self.connection)


def _row(name: str, steps: list[dict[str, float]], rest: dict[str, Any], rate: float) -> Measured:
    seconds = sum(step["seconds"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    return Measured(
        name=name,
        forward_ms=_phase("forward", steps),
        backward_ms=_phase("backward", steps),
        optimiser_ms=_phase("optimiser", steps),
        step_ms=1e3 * median(step["seconds"] / step["steps"] for step in steps),
        examples_per_second=sum(step["examples"] for step in steps) / seconds,
        tokens_per_second=tokens / seconds,
        eval_examples_per_second=rest["eval"],
        peak_share=rest["operations"] * tokens / seconds / rate,
        peak_memory_bytes=rest["memory"],
        checkpoint_bytes=rest["checkpoint"],
        steps=[step["seconds"] / step["steps"] for step in steps],
    )


def _phase(name: str, steps: list[dict[str, float]]) -> float | None:
    return 1e3 * median(step[name] for step in steps) if name in steps[0] else None


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


def _checked(name: str, connection: Connection) -> dict[str, Any]:
    """The next answer of a process."""
    try:
        found = connection.recv()
    except EOFError:
        raise RunError(f"{name}: its process ended (out of memory?); lower --batch-size") from None
    if "error" in found:
        raise (UsageError if found["is_usage"] else RunError)(f"{name}: {found['error']}")
    return cast("dict[str, Any]", found)
