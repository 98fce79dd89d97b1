"""A training run written to experiment loggers: TensorBoard, MLflow and others, by the HF Trainer's own callbacks.

A logger that cannot start ends the run before training. One that fails later is left out, with a warning.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adapter_tune.adapters.formula import ParameterCount
from adapter_tune.config.resolved import ResolvedConfig, flat
from adapter_tune.foundation import atomic_files, distributed
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.run_files.json_files import read_json
from adapter_tune.run_files.result import Backbone, Headline, Scores
from adapter_tune.training.logger import Logger, Record
from adapter_tune.training.logger_libraries import LIBRARIES
from adapter_tune.training.logger_library import EVENTS, HEADLINE, Values

log = logging.getLogger("adapter_tune")

FILE = "loggers.json"
"""The run that each logger has, and what was written to it: a resumed run continues there."""
_FORMAT = 1
_FINAL = "final"


class _Records(BaseModel):
    """The content of ``loggers.json``."""

    format: int = _FORMAT
    loggers: dict[str, Record] = {}


def check_loggers(names: Sequence[str]) -> None:
    """Check that the packages of loggers are installed.

    Raises:
        UsageError: one is missing.
    """
    for name in names:
        module = LIBRARIES[name].module
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:  # a folder of that name, such as wandb/, is no package
            raise UsageError(
                f"training.report_to: {name} needs the package {module}; "
                f"install it (pip install 'adapter-tune[{name}]'), or remove {name}"
            )


def described(config: ResolvedConfig, backbone: Backbone, parameters: ParameterCount) -> Values:
    """What is known of a run before its training, by dotted names; lists and null as JSON."""
    run = {
        **config.model_dump(),
        "backbone": backbone.model_dump(),
        "parameters": parameters.model_dump(),
        "run_folder": str(config.folder.absolute()),
    }
    is_plain = (bool, int, float, str)
    return {name: value if isinstance(value, is_plain) else json.dumps(value) for name, value in flat(run).items()}


class RunLoggers(TrainerCallback):
    """The loggers of one run; to be used in a ``with`` block, which closes them.

    Args:
        names: the loggers, as in ``training.report_to``.
        folder: the run folder.
        values: what is known before training, written once.
        is_resumed: whether the run continues from a checkpoint, and so its logs.

    Raises:
        RunError: ``loggers.json`` is damaged.
    """

    def __init__(self, names: Sequence[str], folder: Path, values: Values, *, is_resumed: bool) -> None:
        self._file = folder / FILE
        self._values = values
        is_main = distributed.is_main_process()
        if is_main and not is_resumed:
            self._file.unlink(missing_ok=True)
            shutil.rmtree(folder / EVENTS, ignore_errors=True)
        records = _Records()
        if is_main and self._file.is_file():  # the other processes have no loggers
            records = read_json(self._file, _Records, _FORMAT, "start again with --no-resume")
        self._loggers = {}
        for name in names if is_main else ():
            if is_resumed and name not in records.loggers:
                log.warning("%s has nothing of this run yet: its log begins where the run is resumed", name)
            record = records.loggers.setdefault(name, Record())
            last_step = max(record.last_steps.values(), default=0)
            self._loggers[name] = Logger(name, LIBRARIES[name](folder, record.run_id, last_step), record)
        self._records = records
        self._end: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def __enter__(self) -> RunLoggers:
        return self

    def __exit__(self, *_: object) -> None:
        for logger in self._loggers.values():
            logger.close(is_complete=False)  # those of a complete run are closed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Start every logger.

        Raises:
            RunError: one cannot start, or the disk is full.
        """
        for logger in self._loggers.values():
            logger.start(self._values, (args, state, control), more)
        self._save()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **more: Any
    ) -> None:
        """Write an entry to every logger that does not have it."""
        kind = next(iter(logs or {}), None)
        if kind is None:
            return
        for logger in self._loggers.values():
            if logger.record.last_steps.get(kind, -1) < state.global_step:
                logger.call("on_log", (args, state, control), {**more, "logs": logs})
                logger.record.last_steps[kind] = state.global_step
                self._save()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Let the loggers copy the checkpoint, where the environment tells them to."""
        for logger in self._loggers.values():
            logger.call("on_save", (args, state, control), more)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Remember the event: the loggers have it once the final scores are written."""
        self._end = ((args, state, control), more)

    def finish(self, scores: Scores, headline: Headline, warnings: list[str]) -> None:
        """Write the final scores, and close the loggers."""
        if self._end is None or not self._loggers:
            return
        event, more = self._end
        state = event[1]
        values = {f"{_FINAL}/{split}_{name}": score for split, each in scores.items() for name, score in each.items()}
        values[HEADLINE] = headline.value
        values[f"{_FINAL}/best_epoch"] = _epoch_of(state, state.best_global_step)
        for logger in self._loggers.values():
            if logger.record.last_steps.get(_FINAL, -1) < state.global_step:
                logger.summarize(values, warnings, state.global_step)
                logger.record.last_steps[_FINAL] = state.global_step
            logger.call("on_train_end", event, more)
            logger.close(is_complete=True)
        self._save()

    def _save(self) -> None:
        if not self._loggers:
            return
        try:
            atomic_files.write_text(self._file, json.dumps(self._records.model_dump(), indent=2) + "\n")
        except OSError as error:
            raise RunError(
                f"cannot write {self._file}: {error}; free some space and run the same command again"
            ) from error


def _epoch_of(state: TrainerState, step: int | None) -> float:
    """The epoch that a step of the log belongs to."""
    return next((float(entry["epoch"]) for entry in state.log_history if entry["step"] == step), 0.0)
