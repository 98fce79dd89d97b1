"""What a library of experiment loggers does for a run: opens it, continues it, describes it and ends it.

What a training step logs is written by the HF Trainer's own callback for the library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from transformers import TrainerCallback
from transformers.integrations import integration_utils

PROJECT = "adapter-tune"
"""The project, or experiment, of a run where the library's own environment variable names no other."""

EVENTS = "tensorboard"
"""The folder of TensorBoard's event files, in the run folder."""

HEADLINE = "final/headline"
"""The entry that has the headline score, in every library."""

Values = dict[str, bool | int | float | str]


class LoggerLibrary(ABC):
    """A library that logs one run.

    Args:
        folder: the run folder; its name is the run's name.
        run_id: the library's own identifier of the run that is continued; None starts a new one.
        last_step: the last step that a continued run has.
    """

    module: ClassVar[str]
    """The name that it is imported by."""
    callback_class: ClassVar[str]
    """The Trainer's callback."""
    describes_again: ClassVar[bool] = True
    """Whether a continued run is described again: by the Trainer's callback, which would replace our values."""

    def __init__(self, folder: Path, run_id: str | None = None, last_step: int = 0) -> None:
        self.folder = folder
        self.name = folder.name
        self.run_id = run_id
        self.is_new = run_id is None
        self.last_step = last_step
        self.is_ours = True
        """Whether the library's run was started here, and not by the program that called us."""

    @abstractmethod
    def open(self) -> None:
        """Start the run, or continue the one with ``run_id``, and set ``run_id``."""

    def callback(self) -> TrainerCallback:
        """The Trainer's callback, which writes to the opened run."""
        return getattr(integration_utils, self.callback_class)()

    def started(self, callback: TrainerCallback) -> None:  # noqa: B027  # only one library needs it
        """Do what is possible only once the Trainer's callback has begun."""

    @abstractmethod
    def describe(self, values: Values) -> None:
        """Write what is known before training: configuration, parameter counts."""

    @abstractmethod
    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the final scores, and the warnings."""

    @abstractmethod
    def close(self, *, is_complete: bool) -> None:
        """End the run if it was started here; nothing is lost that was logged."""
