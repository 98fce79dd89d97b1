"""What a user sees while a model is trained: a progress bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adapter_tune.foundation.console import console
from adapter_tune.tasks.score_keys import scores_of

_LINES = 10  # training lines in a whole run, off a terminal


class ProgressCallback(TrainerCallback):
    """Base: says the scores after every evaluation."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Say what was measured."""
        logs = logs or {}
        if "loss" in logs:
            self.step(state, float(logs["loss"]))
        scores = [f"{name} {score:.4f}" for name, score in scores_of(logs).items()]
        if scores and state.epoch:
            console.print(f"epoch {state.epoch:.3g}: {'  '.join(scores)}")

    def step(self, state: TrainerState, loss: float) -> None:
        """Show the training loss at a step."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the screen as it was, whatever happened."""


class LineProgress(ProgressCallback):
    """Plain lines, a handful in a run."""

    def step(self, state: TrainerState, loss: float) -> None:
        """Say the loss at about ten points of the run."""
        every = max(1, state.max_steps // _LINES)
        if state.global_step == 1 or state.global_step // every > self._said // every:
            console.print(f"step {state.global_step}/{state.max_steps}: loss {loss:.4f}")
            self._said = state.global_step

    _said = 0


class BarProgress(ProgressCallback):
    """A progress bar with the loss beside it, and another one while evaluation goes on."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._training: TaskID | None = None
        self._evaluating: TaskID | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show the bar."""
        self._training = self._bar.add_task("training", total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Move the bar."""
        if self._training is not None:
            self._bar.update(self._training, completed=state.global_step)

    def step(self, state: TrainerState, loss: float) -> None:
        """Show the loss."""
        if self._training is not None:
            self._bar.update(self._training, description=f"training, loss {loss:.4f}")

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Move the bar of the evaluation."""
        if self._evaluating is None:
            self._evaluating = self._bar.add_task("evaluating", total=len(eval_dataloader))
            self._bar.start()
        self._bar.advance(self._evaluating)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the bar of the evaluation away."""
        if self._evaluating is not None:
            self._bar.remove_task(self._evaluating)
            self._evaluating = None

    def close(self) -> None:
        """Take the bars off the screen."""
        self._bar.stop()


def progress_callback() -> ProgressCallback:
    """A bar on a terminal, plain lines elsewhere."""
    return BarProgress() if console.is_terminal else LineProgress()
