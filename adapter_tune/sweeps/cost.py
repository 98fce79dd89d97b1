"""What a sweep would cost: runs, trained parameters, and the time, from a short probe of each strategy."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.foundation.console import quiet_libraries
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.backbone import RunCache, head_options
from adapter_tune.modeling.build import count_on_meta
from adapter_tune.runs.resolve import resolve_run
from adapter_tune.runs.run import load_tokenizer_and_splits, run
from adapter_tune.strategies import described
from adapter_tune.sweeps.cells import cells, config_of
from adapter_tune.sweeps.spec import Sweep
from adapter_tune.training.arguments import check_training

_PROBE_STEPS = 4

log = logging.getLogger("adapter_tune")


@dataclass(frozen=True)
class StrategyCost:
    """The cost of all runs with one backbone and one strategy with its options."""

    strategy: str
    runs: int
    trained: int
    seconds: float


@dataclass(frozen=True)
class CostEstimate:
    """The cost of a whole sweep."""

    rows: list[StrategyCost]
    method: str
    """How the time was measured, for the reader."""

    @property
    def runs(self) -> int:
        """Number of runs of all strategies."""
        return sum(row.runs for row in self.rows)

    @property
    def seconds(self) -> float:
        """Time of all runs, one after the other."""
        return sum(row.seconds for row in self.rows)


@dataclass(frozen=True)
class _Rates:
    """Rows per second."""

    training: float
    evaluation: float


def estimate_cost(sweep: Sweep, folder: Path) -> CostEstimate:
    """Check every cell of a grid and return an estimate of its cost.

    Args:
        sweep: the sweep.
        folder: the sweep's folder.

    Raises:
        UsageError: a cell is wrong, or the sweep is a search, whose runs are not known before they are drawn.
        RunError: the backbone or the data cannot be loaded.
    """
    if sweep.method != "grid":
        raise UsageError(
            f"--dry-run: the runs of method: {sweep.method} are drawn during the sweep and not known before; "
            "remove --dry-run"
        )
    cache = RunCache()
    groups: dict[str, list[ResolvedConfig]] = {}
    for values in cells(sweep):
        config = resolve_run(config_of(sweep, values, folder), cache.custom_data)
        check_training(config)
        groups.setdefault(f"{config.model!r} {config.strategy!r}", []).append(config)
    # All groups are counted before the first probe, so that a configuration that does not fit is refused at once.
    trained = {key: _trained_parameters(configs) for key, configs in groups.items()}
    rates: dict[str, _Rates] = {}
    rows = []
    for key, configs in groups.items():
        seconds = sum(_seconds(config, cache, rates) for config in configs)
        rows.append(StrategyCost(described(configs[0].strategy.to_dict()), len(configs), trained[key], seconds))
    return CostEstimate(rows, f"estimated from {_PROBE_STEPS} measured steps of one run for each strategy and task")


def _trained_parameters(configs: list[ResolvedConfig]) -> int:
    """Return the trained parameters of one backbone and strategy: the largest count over the tasks' heads."""
    config_by_task = {f"{config.task} {config.data.max_length}": config for config in configs}
    counts = []
    for config in config_by_task.values():
        head = head_options(config.task_spec)
        count, _, _ = count_on_meta(config.model, config.strategy, head, config.data.max_length)
        counts.append(count.trained)
    return max(counts)


def _seconds(config: ResolvedConfig, cache: RunCache, rates: dict[str, _Rates]) -> float:
    """Return the estimated time of one run; the first run of a strategy on a task is probed for the rates."""
    _, splits = load_tokenizer_and_splits(config, cache)
    key = f"{config.task} {config.strategy.name}"
    if key not in rates:
        rates[key] = _probe(config, cache)
    training = config.training
    rows = len(splits.train)
    trained_rows = training.epochs * rows
    if training.max_steps:
        trained_rows = training.max_steps * training.batch_size * training.gradient_accumulation
    evaluations = max(1.0, trained_rows / rows)
    evaluated_rows = evaluations * sum(len(split) for split in splits.validation.values())
    return float(trained_rows / rates[key].training + evaluated_rows / rates[key].evaluation)


def _probe(config: ResolvedConfig, cache: RunCache) -> _Rates:
    """Return the rates of a run of a few steps."""
    log.info("measuring the speed of %s on %s", config.strategy.name, config.task)
    changes = {"training.max_steps": _PROBE_STEPS, "training.cache_frozen_prefix": "off", "training.report_to": []}
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        probe_config = config.with_values({**changes, "output": folder})
        start = time.perf_counter()
        result = run(probe_config, cache=cache)
        elapsed = time.perf_counter() - start
    rate = result.speed.train_examples_per_second or 1 / elapsed
    return _Rates(rate, result.speed.eval_examples_per_second or rate)
