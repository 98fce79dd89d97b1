"""Speed and memory of strategies side by side, over real training steps on random weights and rows.

Each strategy trains in its own process, so that its memory is its own. On a CPU the strategies take turns: one step of
each, then the next step of each, so that other load on the machine slows all of them alike. A GPU works ahead of the
host and would cool down between the turns, so there each strategy takes all of its steps before the next one starts.
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
from adapter_tune.bench.worker import backbone_config, worker_main
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import RunConfig
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.precision import matmul_rate, resolve_compute
from adapter_tune.training.arguments import check_training

WARM_UP_STEPS = 2
"""Steps before the measured ones."""

GPU_WARM_UP_STEPS = 60
"""The same on a GPU: after so many steps every common shape has a CUDA graph."""

_GPU_REPORTS = 10
"""Number of reports of a strategy on a GPU, each of several steps."""

StepReport = dict[str, float]
"""What a worker reports of one step or several: steps, seconds, examples, tokens, and on a CPU each phase's seconds."""

Totals = dict[str, Any]
"""What a worker reports at its end: rate of evaluation, operations a token, memory and checkpoint size in bytes."""


@dataclass(frozen=True)
class Measurement:
    """The speed and memory of one strategy; ``--json`` prints these names."""

    name: str
    forward_ms: float | None
    """Phases are medians over the steps, and a step also fetches its batch. None on a GPU, where phases overlap."""
    backward_ms: float | None
    optimiser_ms: float | None
    step_ms: float
    examples_per_second: float
    tokens_per_second: float
    """Tokens without padding."""
    eval_examples_per_second: float
    peak_share: float
    """Arithmetic of the Transformer layers, as a share of the rate of matrix products on the same device."""
    peak_memory_bytes: int | None
    """On a CPU without the memory that the imports take."""
    checkpoint_bytes: int
    step_ratio: float | None = None
    """Time of a step divided by that of ``full`` on the same rows: the median over the steps."""
    memory_ratio: float | None = None
    """Peak memory divided by that of ``full``."""
    steps: list[float] = field(default_factory=list, repr=False)
    """Seconds of each step; on a GPU means over a tenth of the steps."""


def bench(cases: dict[str, RunConfig], lengths: str, steps: int) -> tuple[list[Measurement], dict[str, Any]]:
    """Measure training steps and evaluation.

    Args:
        cases: configurations by the names they are shown under; the others are compared with the one called ``full``.
        lengths: a task or a number of tokens, as in ``sample_lengths``.
        steps: the number of measured steps.

    Returns:
        A measurement of each case, and what the numbers depend on (model, device, versions and so on).

    Raises:
        RunError: a case failed.
        UsageError: a configuration is wrong.
    """
    for config in cases.values():  # everything is checked before the first process starts
        check_training(resolved(config))
        config.strategy.formula(shape_of(backbone_config(resolved(config))))
        sample_lengths(lengths, 1, config.data.max_length)
    first = next(iter(cases.values()))
    compute = resolve_compute(first.training)
    device = compute.device
    rate_before = matmul_rate(device, compute.dtype)
    measure = _measure_one_by_one if device == "cuda" else _measure_in_turns
    reports, totals = measure(cases, lengths, steps)
    rate = max(rate_before, matmul_rate(device, compute.dtype))  # other load may have slowed one of the two
    conditions = {
        "model": first.model.id,
        "lengths": lengths,
        "batch_size": first.training.batch_size,
        "steps": steps,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "precision": compute.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "products_per_second": rate / 2,
    }
    measurements = [_measurement(name, reports[name], totals[name], rate) for name in cases]
    return _with_ratios(measurements), conditions


def _measure_in_turns(
    cases: dict[str, RunConfig], lengths: str, steps: int
) -> tuple[dict[str, list[StepReport]], dict[str, Totals]]:
    """Measure all cases together, a step of each in turn; return the reports and the totals by case."""
    processes: dict[str, _StrategyProcess] = {}
    try:
        for name, config in cases.items():
            processes[name] = _StrategyProcess(name, config, lengths, WARM_UP_STEPS + steps)
        reports: dict[str, list[StepReport]] = {name: [] for name in cases}
        for step in range(WARM_UP_STEPS + steps):
            for name, process in processes.items():
                report = process.train(1)
                if step >= WARM_UP_STEPS:
                    reports[name].append(report)
        return reports, {name: process.finish() for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.stop()


def _measure_one_by_one(
    cases: dict[str, RunConfig], lengths: str, steps: int
) -> tuple[dict[str, list[StepReport]], dict[str, Totals]]:
    """Measure one case after the other, several steps for each report; return the reports and the totals by case."""
    reports: dict[str, list[StepReport]] = {}
    totals: dict[str, Totals] = {}
    report_sizes = [len(part) for part in np.array_split(range(steps), min(steps, _GPU_REPORTS))]
    for name, config in cases.items():
        process = _StrategyProcess(name, config, lengths, GPU_WARM_UP_STEPS + steps)
        try:
            process.train(GPU_WARM_UP_STEPS)
            reports[name] = [process.train(size) for size in report_sizes]
            totals[name] = process.finish()
        finally:
            process.stop()
    return reports, totals


class _StrategyProcess:
    """The worker process of one strategy; the constructor waits until its model is built."""

    def __init__(self, name: str, config: RunConfig, lengths: str, max_steps: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.connection, worker_end = context.Pipe()
        arguments = (config.model_dump(), lengths, max_steps, list(sys.path), worker_end)
        self.process = context.Process(target=worker_main, args=arguments, daemon=True)
        self.process.start()
        worker_end.close()  # while it is open here, the end of the process would not be noticed
        self._receive()

    def train(self, steps: int) -> StepReport:
        """Let the worker train for some steps; return its report."""
        self.connection.send(steps)
        return self._receive()

    def finish(self) -> Totals:
        """Let the worker end its training and evaluate; return its totals."""
        self.connection.send(0)
        return self._receive()

    def stop(self) -> None:
        """Terminate the process, whatever it is doing."""
        self.process.terminate()
        self.process.join()

    def _receive(self) -> dict[str, Any]:
        return _receive(self.name, self.connection)


def _receive(name: str, connection: Connection) -> dict[str, Any]:
    """Return the next message of a worker.

    Raises:
        UsageError: the worker reports that its configuration is wrong.
        RunError: the worker reports another error, or its process has ended.
    """
    try:
        message = connection.recv()
    except EOFError:
        raise RunError(f"{name}: its process ended (out of memory?); lower --batch-size") from None
    if "error" in message:
        error_type = UsageError if message["is_usage"] else RunError
        raise error_type(f"{name}: {message['error']}")
    return cast("dict[str, Any]", message)


def _measurement(name: str, reports: list[StepReport], totals: Totals, rate: float) -> Measurement:
    """Return the measurement of one case.

    Args:
        name: the case.
        reports: its reports.
        totals: its totals.
        rate: operations a second of matrix products on the same device.
    """
    seconds = sum(report["seconds"] for report in reports)
    tokens = sum(report["tokens"] for report in reports)
    step_seconds = [report["seconds"] / report["steps"] for report in reports]
    return Measurement(
        name=name,
        forward_ms=_median_ms("forward", reports),
        backward_ms=_median_ms("backward", reports),
        optimiser_ms=_median_ms("optimiser", reports),
        step_ms=1e3 * median(step_seconds),
        examples_per_second=sum(report["examples"] for report in reports) / seconds,
        tokens_per_second=tokens / seconds,
        eval_examples_per_second=totals["eval"],
        peak_share=totals["operations"] * tokens / seconds / rate,
        peak_memory_bytes=totals["memory"],
        checkpoint_bytes=totals["checkpoint"],
        steps=step_seconds,
    )


def _median_ms(phase: str, reports: list[StepReport]) -> float | None:
    """Return the median time of a phase; None if the reports do not have it, as on a GPU."""
    if phase not in reports[0]:
        return None
    return 1e3 * median(report[phase] for report in reports)


def _with_ratios(measurements: list[Measurement]) -> list[Measurement]:
    """Return the measurements with their ratios to the case ``full``, if there is one."""
    full = next((measurement for measurement in measurements if measurement.name == "full"), None)
    if full is None:
        return measurements
    with_ratios = []
    for measurement in measurements:
        step_ratios = [seconds / other for seconds, other in zip(measurement.steps, full.steps, strict=True)]
        memory_ratio = None
        if measurement.peak_memory_bytes is not None and full.peak_memory_bytes:
            memory_ratio = measurement.peak_memory_bytes / full.peak_memory_bytes
        with_ratios.append(replace(measurement, step_ratio=median(step_ratios), memory_ratio=memory_ratio))
    return with_ratios
