"""The training loss as it is logged: a mean over steps, continued after a resume."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState

from adapter_tune.training.speed_monitor import restored_attributes


class LossLog(TrainerCallback, ExportableState):
    """Adds up the loss between two lines of the log; its state is stored in the checkpoints."""

    def __init__(self) -> None:
        self.total = torch.tensor(0.0)
        self.since = 0
        """The step after which the sum begins."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint stores."""
        return {"args": {}, "attributes": {"total": float(self.total), "since": self.since}}

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Continue the sum that the checkpoint stores, if training resumes."""
        stored = restored_attributes(self, state)
        self.total = torch.tensor(float(stored.get("total", 0.0)))
        self.since = int(stored.get("since", 0))

    def add(self, loss: Tensor) -> None:
        """Add a batch's loss (a scalar), without waiting for the device."""
        self.total = self.total.to(loss.device) + loss.detach()

    @property
    def is_finite(self) -> bool:
        """False once a loss was infinite or NaN; waits for the device."""
        return bool(torch.isfinite(self.total))

    def mean(self, step: int) -> Tensor:
        """The mean over the steps since the last call (a scalar)."""
        mean = self.total / max(1, step - self.since)
        self.total = torch.zeros_like(self.total)
        self.since = step
        return mean
