"""Interruptions: a signal, or time gone by, makes a checkpoint at the end of the step; a signal then ends the run."""

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

from adapter_tune.foundation.errors import TERMINATED

_AGREE_EVERY = 10  # steps after which several processes ask each other

log = logging.getLogger("adapter_tune")


class CheckpointOnSignal(TrainerCallback):
    """While its block lasts, SIGINT and SIGTERM wait for a checkpoint; the second one does not.

    Args:
        minutes: after how long without a checkpoint one is written within an epoch.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes, self.signal, self._saved = minutes, 0, time.monotonic()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> CheckpointOnSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint, but not where an epoch's own evaluation and checkpoint come next."""
        if args.world_size > 1 and state.global_step % _AGREE_EVERY:
            return
        late = time.monotonic() - self._saved > 60 * self.minutes
        self.signal, late = _agreed(args, self.signal, late)
        if (self.signal or late) and not (control.should_training_stop or float(state.epoch or 0).is_integer()):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave, now that all is kept."""
        self._saved = time.monotonic()
        self.signal, _late = _agreed(args, self.signal, False)
        if self.signal:
            self._leave()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            self._leave()
        self.signal = number
        log.info("stopping with a checkpoint at the end of the step (a second signal stops at once)")

    def _leave(self) -> NoReturn:
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(TERMINATED)


def _agreed(args: TrainingArguments, number: int, late: bool) -> tuple[int, bool]:
    """The same answer in all processes of the run: any one's signal, any one's clock."""
    if args.world_size == 1:
        return number, late
    asked = torch.tensor([number, int(late)], device=args.device)
    dist.all_reduce(asked, dist.ReduceOp.MAX)
    return int(asked[0]), bool(asked[1])
