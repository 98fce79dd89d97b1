"""What the Trainer loses when it resumes: best checkpoint, patience, whether it was done, precision, threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from adapter_tune.modeling.precision import TYPES, Precision
from adapter_tune.training.speed_monitor import SpeedMonitor, restored_attributes


class BestCheckpoint(TrainerCallback):
    """Finds the best checkpoint again when training resumes, also in a run folder that has moved."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Point the state at the checkpoint in this folder, or at none where it is gone."""
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        state.best_model_checkpoint = str(best) if best.is_dir() else None


class ResumableEarlyStopping(EarlyStoppingCallback):
    """Early stopping that keeps its patience counter when training resumes."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Continue the counter of the checkpoint."""
        super().on_train_begin(args, state, control)
        self.early_stopping_patience_counter = restored_attributes(self, state).get(
            "early_stopping_patience_counter", 0
        )


def training_was_over(checkpoint: Path | None) -> bool:
    """Whether training had ended at a checkpoint; the Trainer would take one more step within an unfinished epoch."""
    return bool(_stored(checkpoint, "TrainerControl", "args").get("should_training_stop"))


def checkpoint_precision(checkpoint: Path | None) -> Precision | None:
    """The precision that a run had up to its checkpoint."""
    precision = _stored(checkpoint, SpeedMonitor.__name__, "attributes").get("precision")
    return precision if precision in TYPES else None


def checkpoint_threads(checkpoint: Path | None) -> int | None:
    """The number of CPU threads that a run had up to its checkpoint."""
    threads = _stored(checkpoint, SpeedMonitor.__name__, "attributes").get("threads")
    return threads if isinstance(threads, int) and threads > 0 else None


def _stored(checkpoint: Path | None, callback: str, section: str) -> dict[str, Any]:
    if checkpoint is None:
        return {}
    callbacks = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).stateful_callbacks
    return dict(callbacks.get(callback, {}).get(section, {}))
