"""What the Trainer forgets over a resume: where the best checkpoint lies, how long it has waited, that it was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from adapter_tune.speed import kept


class BestCheckpoint(TrainerCallback):
    """Finds the best checkpoint again when training goes on, also in a run folder that has moved."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Point the state at the checkpoint in this folder, or at none where it is gone."""
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        state.best_model_checkpoint = str(best) if best.is_dir() else None


class Patience(EarlyStoppingCallback):
    """Early stopping that remembers over a resume how long it has waited."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Go on waiting from where the checkpoint stood."""
        super().on_train_begin(args, state, control)
        self.early_stopping_patience_counter = kept(self, state).get("early_stopping_patience_counter", 0)


def was_over(checkpoint: Path | None) -> bool:
    """Whether training had ended at a checkpoint; the Trainer would take one more step within an unfinished epoch."""
    if checkpoint is None:
        return False
    stored = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).stateful_callbacks
    return bool(stored.get("TrainerControl", {}).get("args", {}).get("should_training_stop"))
