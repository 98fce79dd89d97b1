"""The training loss as it is written down: a mean over steps that goes on over a resume; an end to one gone wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState

from adapter_tune.training.speed_monitor import restored_attributes


class LossLog(TrainerCallback, ExportableState):
    """Adds up the loss between two lines of the log; its state travels in the checkpoints."""

    def __init__(self) -> None:
        self.total, self.since = torch.tensor(0.0), 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the sum so far, and the step that it begins after."""
        return {"args": {}, "attributes": {"total": float(self.total), "since": self.since}}

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Go on from what the checkpoint kept, if training goes on from one."""
        stored = restored_attributes(self, state)
        self.total = torch.tensor(float(stored.get("total", 0.0)))
        self.since = int(stored.get("since", 0))

    def add(self, loss: Tensor) -> None:
        """Add a batch's loss (a scalar), without waiting for the device."""
        self.total = self.total.to(loss.device) + loss.detach()

    @property
    def is_finite(self) -> bool:
        """False once a loss was infinite or no number; waits for the device."""
        return bool(torch.isfinite(self.total))

    def mean(self, step: int) -> Tensor:
        """The mean over the steps since the last call (a scalar)."""
        found = self.total / max(1, step - self.since)
        self.total, self.since = torch.zeros_like(self.total), step
        return found
