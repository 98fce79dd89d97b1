"""A signal, or elapsed time, makes a checkpoint at the end of the step; after a signal the run ends."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adapter_tune.foundation.errors import STOP_SIGNALS, TERMINATED

_AGREE_EVERY = 10  # steps between two agreements of several processes

log = logging.getLogger("adapter_tune")


class CheckpointOnSignal(TrainerCallback):
    """In its ``with`` block, a signal to stop waits for a checkpoint; a second one ends the run at once.

    Args:
        minutes: write a checkpoint within an epoch after this many minutes without one.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.signal = 0
        """The signal that was received, or 0."""
        self._last_save = time.monotonic()
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> CheckpointOnSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *STOP_SIGNALS):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous_handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Request a checkpoint, unless the epoch ends here: then its own evaluation and checkpoint come next."""
        if args.world_size > 1 and state.global_step % _AGREE_EVERY:
            return
        is_late = time.monotonic() - self._last_save > 60 * self.minutes
        self.signal, is_late = _agree(args, self.signal, is_late)
        epoch_ends = control.should_training_stop or float(state.epoch or 0).is_integer()
        if (self.signal or is_late) and not epoch_ends:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End the run after a signal, now that the checkpoint is complete."""
        self._last_save = time.monotonic()
        self.signal, _late = _agree(args, self.signal, False)
        if self.signal:
            self._end()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            self._end()
        self.signal = number
        log.info(
            "a checkpoint is written at the end of this step, then the run stops (a second signal stops immediately)"
        )

    def _end(self) -> NoReturn:
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(TERMINATED)


def _agree(args: TrainingArguments, number: int, is_late: bool) -> tuple[int, bool]:
    """The same answer in all processes of a run: the signal of any of them, and whether any of them is late."""
    if args.world_size == 1:
        return number, is_late
    answers = torch.tensor([number, int(is_late)], device=args.device)
    dist.all_reduce(answers, dist.ReduceOp.MAX)
    return int(answers[0]), bool(answers[1])
