"""The rows of one request, from their tokens to their logits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapter_tune.serving.residency import ServedTask

Logits = np.ndarray[Any, Any]


@dataclass(eq=False)
class Row:
    """A row of tokens that waits for its logits."""

    task: ServedTask
    tokens: dict[str, list[int]]
    job: Job
    position: int
    """In its job."""
    arrived: float = field(default_factory=time.monotonic)

    @property
    def length(self) -> int:
        """The number of its tokens."""
        return len(self.tokens["input_ids"])


class Job:
    """The rows of one request.

    Args:
        rows: the task and the tokens of each row.
    """

    def __init__(self, rows: Sequence[tuple[ServedTask, dict[str, list[int]]]]) -> None:
        self.rows = [Row(task, tokens, self, position) for position, (task, tokens) in enumerate(rows)]
        self.future: Future[list[Logits]] = Future()
        """The logits (labels) of every row; cancel it if nobody waits for them any more."""
        self._logits: dict[int, Logits] = {}

    def set_logits(self, row: Row, logits: Logits) -> None:
        """Store the logits (labels) of a row; with the last one, the job is done."""
        self._logits[row.position] = logits
        if len(self._logits) == len(self.rows):
            self.finish([self._logits[position] for position in range(len(self.rows))])

    def finish(self, result: list[Logits] | Exception) -> None:
        """Set the result, or the error; without effect if nobody waits for it, or it has one."""
        try:
            if isinstance(result, Exception):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)
        except InvalidStateError:
            pass
