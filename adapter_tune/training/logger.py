"""One experiment logger of a run: it ends the run if it cannot start, and is left out if it fails later."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from pydantic import BaseModel
from transformers import TrainerCallback

from adapter_tune.foundation.errors import RunError, first_line
from adapter_tune.training.logger_library import LoggerLibrary, Values

log = logging.getLogger("adapter_tune")


class Record(BaseModel):
    """What one logger has of a run."""

    run_id: str | None = None
    last_steps: dict[str, int] = {}
    """The last step of every kind of entry: the first key of an entry, as in ``loss``."""


class Logger:
    """One logger. It is off until it has started, and again once it has failed.

    Args:
        name: its name in ``training.report_to``.
        library: its library.
        record: what it has of this run.
    """

    def __init__(self, name: str, library: LoggerLibrary, record: Record) -> None:
        self.name = name
        self.library = library
        self.record = record
        self._callback: TrainerCallback | None = None

    def start(self, values: Values, event: tuple[Any, ...], more: dict[str, Any]) -> None:
        """Open the library's run; describe it if it is a new one.

        Raises:
            RunError: the library cannot do so.
        """
        try:
            with redirect_stdout(sys.stderr):
                self.library.open()
                self._callback = self.library.callback()
                if self.library.is_new or self.library.describes_again:
                    self._callback.on_train_begin(*event, **more)
                    self.library.started(self._callback)
                    self.library.describe(values)
        except Exception as error:
            self._abandon()
            raise RunError(
                f"training.report_to: {self.name} cannot start ({_cause(error)}); "
                f"fix this, or remove {self.name}, on which the results do not depend"
            ) from error
        self.record.run_id = self.library.run_id

    def call(self, name: str, event: tuple[Any, ...], more: dict[str, Any]) -> None:
        """Pass an event of training on to the Trainer's callback."""
        if self._callback is not None:
            with self._guarded(f"step {event[1].global_step}"):
                getattr(self._callback, name)(*event, **more)

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the final scores."""
        if self._callback is not None:
            with self._guarded("the end"):
                self.library.summarize(scores, warnings, step)

    def close(self, *, is_complete: bool) -> None:
        """End the library's run, if it was started."""
        if self._callback is not None:
            with self._guarded("the end"):
                self.library.close(is_complete=is_complete)
            self._callback = None

    @contextmanager
    def _guarded(self, where: str) -> Iterator[None]:
        """Turn the logger off if the block fails."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:
            self._abandon()
            log.warning(
                "%s failed at %s (%s); the run goes on without it, and its log is incomplete",
                self.name,
                where,
                _cause(error),
            )

    def _abandon(self) -> None:
        """End the library's run as far as that is possible, so that the next run of this process does not get it."""
        self._callback = None
        with suppress(Exception), redirect_stdout(sys.stderr):
            self.library.close(is_complete=False)


def _cause(error: Exception) -> str:
    """The first line of an error, without the user names and passwords of addresses in it."""
    return re.sub(r"://[^/\s@]+@", "://***@", first_line(error))
