"""Training and evaluation, from a prepared model to scores, speed and warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase, TrainerCallback

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.data.row_checks import score_warnings
from adapter_tune.data.splits import Splits
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.threads import LoadMeter, choose_threads, cpu_threads
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.precision import resolve_device, resolve_precision
from adapter_tune.run_files.result import COLLAPSED, Headline, Scores, Speed
from adapter_tune.tasks.glue import CUSTOM, Task
from adapter_tune.tasks.score_keys import score_key, scores_of, without_timings
from adapter_tune.training.progress import progress_callback
from adapter_tune.training.resume import (
    ResumableEarlyStopping,
    checkpoint_precision,
    checkpoint_threads,
    training_was_over,
)
from adapter_tune.training.scorer import DISTINCT
from adapter_tune.training.signals import CheckpointOnSignal
from adapter_tune.training.speed_monitor import SpeedMonitor, speed_of
from adapter_tune.training.trainer import AdapterTrainer

_ZERO = 0.005  # a correlation below this prints as 0.00


@dataclass(frozen=True)
class Outcome:
    """What training or evaluation gave."""

    scores: Scores
    headline: Headline
    speed: Speed
    history: list[dict[str, float]]
    warnings: list[str]


def train(
    config: ResolvedConfig,
    prepared: PreparedModel,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    checkpoint: Path | None = None,
    extra_callbacks: Sequence[TrainerCallback] = (),
    load: LoadMeter | None = None,
) -> Outcome:
    """Train in place and leave the model at its best checkpoint.

    Args:
        config: the run's configuration.
        prepared: the model, prepared.
        splits: the data.
        tokenizer: pads the batches.
        folder: where checkpoints are written while training goes on.
        checkpoint: go on from here.
        extra_callbacks: callbacks besides our own.
        load: the load of the machine since the run started; None measures it now.

    Raises:
        RunError: the device is not there, a checkpoint cannot be written, or the best one is gone.
    """
    config = _with_precision(config, checkpoint)
    speed_monitor = SpeedMonitor()
    speed_monitor.threads = _threads(config.training, checkpoint, load or LoadMeter())
    with cpu_threads(speed_monitor.threads):
        trainer = _run_trainer(config, prepared, splits, tokenizer, folder, checkpoint, extra_callbacks, speed_monitor)
        state = trainer.state
        if state.best_model_checkpoint is None:
            raise RunError(
                f"{folder}: the best checkpoint (step {state.best_global_step}) is missing; "
                "start again with --no-resume"
            )
        best_values: dict[str, Any] = {}
        for entry in state.log_history:
            if entry["step"] == state.best_global_step:
                best_values.update(entry)
        speed = _speed(trainer, speed_monitor, state.log_history, splits.validation)
    return _outcome(config.task_spec, best_values, splits.validation, speed, _history(state.log_history))


def _run_trainer(
    config: ResolvedConfig,
    prepared: PreparedModel,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    checkpoint: Path | None,
    extra_callbacks: Sequence[TrainerCallback],
    speed_monitor: SpeedMonitor,
) -> AdapterTrainer:
    """Train, and return the trainer with its state at the end."""
    progress = progress_callback()
    checkpoint_on_signal = CheckpointOnSignal(config.training.checkpoint_minutes)
    callbacks: list[TrainerCallback] = [speed_monitor, progress, *extra_callbacks, checkpoint_on_signal]
    if config.training.early_stopping is not None:
        callbacks.append(ResumableEarlyStopping(config.training.early_stopping))
    trainer = AdapterTrainer(config, prepared, tokenizer, folder, splits, callbacks, speed_monitor)
    trainer.is_over = training_was_over(checkpoint)
    try:
        with checkpoint_on_signal:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.accelerator.wait_for_everyone()  # the first process goes on to remove the checkpoints
    finally:
        progress.close()
        if trainer.frozen_layer_cache is not None:
            trainer.frozen_layer_cache.restore()
    return trainer


def _threads(training: TrainingConfig, checkpoint: Path | None, load: LoadMeter) -> int | None:
    """The number of CPU threads, chosen once for a run; None on a GPU."""
    if resolve_device(training.device) != "cpu":
        return None
    if training.threads != "auto":
        return training.threads
    return checkpoint_threads(checkpoint) or choose_threads(load)


def _with_precision(config: ResolvedConfig, checkpoint: Path | None) -> ResolvedConfig:
    """The configuration with its precision chosen: once for a run, whatever the next measurement would say."""
    device = resolve_device(config.training.device)
    if config.training.precision != "auto":
        return config
    precision = checkpoint_precision(checkpoint) or resolve_precision("auto", device)
    if device == "cpu":  # where it is measured, and processes may measure differently
        precision = distributed.agree(precision)
    return config.with_values({"training.precision": precision})


def evaluate(
    config: ResolvedConfig,
    prepared: PreparedModel,
    splits: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
) -> Outcome:
    """Score a model on splits, with the batches that training's evaluation has."""
    speed_monitor = SpeedMonitor()
    progress = progress_callback()
    trainer = AdapterTrainer(config, prepared, tokenizer, folder, Splits(None, splits), [progress], speed_monitor)
    with given_threads(config.training):
        try:
            values = trainer.evaluate()
        finally:
            progress.close()
        speed = _speed(trainer, speed_monitor, [values], splits)
    return _outcome(config.task_spec, values, splits, speed, [])


def given_threads(training: TrainingConfig) -> AbstractContextManager[None]:
    """Compute in the block with the number of threads that a configuration names, or as it is where it names none."""
    return cpu_threads(None if training.threads == "auto" else training.threads)


def _outcome(
    task: Task, values: dict[str, Any], splits: dict[str, Any], speed: Speed, history: list[dict[str, float]]
) -> Outcome:
    scores: Scores = {}
    for split in splits:
        scores[split] = {metric: float(values[score_key(split, metric)]) for metric in task.metrics}
    first = next(iter(scores))
    headline = Headline(split=first, metric=task.headline, value=scores[first][task.headline])
    varied = [split for split, rows in splits.items() if len(np.unique(rows["labels"][:], axis=0)) > 1]
    distinct = {split: values[score_key(split, DISTINCT)] for split in varied}  # of one label, one prediction is right
    warnings = _collapse_warnings(task, scores, distinct)
    if task.name == CUSTOM:
        warnings += [text for split, rows in splits.items() for text in score_warnings(rows["labels"][:], task, split)]
    return Outcome(scores, headline, speed, history, warnings)


def _speed(
    trainer: AdapterTrainer, speed_monitor: SpeedMonitor, rates: list[dict[str, Any]], splits: dict[str, Any]
) -> Speed:
    rows = {split: len(rows) for split, rows in splits.items()}
    return speed_of(speed_monitor, trainer.args.device.type, trainer.precision, rates, rows)


def _collapse_warnings(task: Task, scores: Scores, distinct: dict[str, float]) -> list[str]:
    """A warning for every split whose predictions do not depend on the row.

    Args:
        task: the task.
        scores: the scores by split.
        distinct: the number of distinct predictions, for each split that is checked.
    """
    problems = []
    for split, count in distinct.items():
        if count == 1:
            what = "the same value" if task.is_regression else "one class"
            problems.append(f"{what} is predicted for every row of {split}")
            continue
        for name in ("matthews_correlation", "pearson", "spearmanr"):
            if abs(scores[split].get(name, 1.0)) < _ZERO:
                problems.append(f"{name} is 0 on {split}")
    return [f"{COLLAPSED}: {problem}; try another learning rate or seed" for problem in problems]


def _history(log: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Training loss and scores by step, without the Trainer's timings and without values that are not finite."""
    history = []
    for logged in log:
        entry = {key: value for key, value in without_timings(logged).items() if math.isfinite(value)}
        if "loss" in entry or scores_of(entry):
            history.append(entry)
    return history
