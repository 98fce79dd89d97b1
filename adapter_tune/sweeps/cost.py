"""What a sweep would cost: runs, trained parameters, and time by a short probe of each strategy."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_tune.config.schema import RunConfig
from adapter_tune.data.custom import resolve_custom_data
from adapter_tune.foundation.console import quiet_libraries
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.backbone import BackboneCache, head_options
from adapter_tune.modeling.build import count_on_meta
from adapter_tune.runs.run import loaded, run
from adapter_tune.strategies import described
from adapter_tune.sweeps.spec import Sweep, cells, config_of
from adapter_tune.training.arguments import check_training

_STEPS = 4

log = logging.getLogger("adapter_tune")


@dataclass(frozen=True)
class Row:
    """Runs of one strategy with its options."""

    strategy: str
    runs: int
    trained: int
    seconds: float


@dataclass(frozen=True)
class CostEstimate:
    """A whole sweep."""

    rows: list[Row]
    probed: str

    @property
    def runs(self) -> int:
        """Of all strategies."""
        return sum(row.runs for row in self.rows)

    @property
    def seconds(self) -> float:
        """One after the other."""
        return sum(row.seconds for row in self.rows)


def estimate_cost(sweep: Sweep, folder: Path) -> CostEstimate:
    """Check every cell of a grid and estimate its cost.

    Args:
        sweep: the sweep.
        folder: of the sweep.

    Raises:
        UsageError: a cell is wrong, or the sweep is a search, whose runs are not known.
        RunError: backbone or data cannot be loaded.
    """
    if sweep.method != "grid":
        raise UsageError(f"--dry-run: the runs of method: {sweep.method} are not known before it is run")
    kept = BackboneCache()
    configs = [resolve_custom_data(config_of(sweep, values, folder), kept.things) for values in cells(sweep)]
    rates, groups = dict[str, tuple[float, float]](), dict[str, list[RunConfig]]()
    for config in configs:
        check_training(config)
        groups.setdefault(f"{config.model!r} {config.strategy!r}", []).append(config)
    counted = [(group, _trained(group)) for group in groups.values()]  # all of them, before anything is probed
    rows = []
    for group, trained in counted:
        seconds = sum(_seconds(config, kept, rates) for config in group)
        rows.append(Row(described(group[0].strategy.to_dict()), len(group), trained, seconds))
    return CostEstimate(rows, f"measured over {_STEPS} steps of one run a strategy and task")


def _trained(group: list[RunConfig]) -> int:
    """Of one backbone and strategy; the most where the heads of several tasks differ."""
    tasks = {f"{config.task} {config.data.max_length}": config for config in group}.values()
    return max(
        count_on_meta(config.model, config.strategy, head_options(config.task_spec), config.data.max_length)[0].trained
        for config in tasks
    )


def _seconds(config: RunConfig, kept: BackboneCache, rates: dict[str, tuple[float, float]]) -> float:
    """Of one run, from the rates of a probe of its strategy on its task."""
    _, splits = loaded(config, kept)
    key = f"{config.task} {config.strategy.name}"
    if key not in rates:
        rates[key] = _probe(config, kept)
    t, (train, evaluate) = config.training, rates[key]
    rows = len(splits.train)
    batch = t.batch_size * t.gradient_accumulation
    trained = t.max_steps * batch if t.max_steps else t.epochs * rows
    held = sum(len(split) for split in splits.validation.values())
    return float(trained / train + max(1.0, trained / rows) * held / evaluate)


def _probe(config: RunConfig, kept: BackboneCache) -> tuple[float, float]:
    """Rows a second in training and in evaluation."""
    log.info("a probe of %s on %s", config.strategy.name, config.task)
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        short: Any = {"max_steps": _STEPS, "cache_frozen_prefix": "off"}
        training = config.training.model_copy(update=short)
        start = time.perf_counter()
        result = run(config.model_copy(update={"training": training, "output": folder}), kept=kept)
        elapsed = time.perf_counter() - start
    rate = result.speed.train_examples_per_second or 1 / elapsed
    return rate, result.speed.eval_examples_per_second or rate
