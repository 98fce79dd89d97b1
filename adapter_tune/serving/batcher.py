"""Rows of all requests and tasks, computed in batches by one thread."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import torch

from adapter_tune.multitask.model import MultiTask
from adapter_tune.multitask.texts import TaskTexts
from adapter_tune.serving.batch_choice import choose_rows
from adapter_tune.serving.jobs import Job, Logits, Row
from adapter_tune.serving.logs import describe, log
from adapter_tune.serving.metrics import Metrics
from adapter_tune.serving.refusals import RefusedRequest
from adapter_tune.serving.residency import ServedTask, ServedTasks

_LONGEST_RETRY_AFTER = 60


class Batcher:
    """Collects rows and computes them in batches, in a thread of its own.

    Args:
        model: the backbone; only the batcher's thread computes with it.
        texts: pads rows to batches.
        tasks: whose adapters are loaded when the rows need them.
        max_tokens: tokens of a batch, with padding.
        wait: seconds that a row waits for others before its batch starts.
        max_rows: rows that may be accepted and not answered.
        metrics: where batches are counted.
    """

    def __init__(
        self,
        model: MultiTask,
        texts: TaskTexts,
        tasks: ServedTasks,
        *,
        max_tokens: int,
        wait: float,
        max_rows: int,
        metrics: Metrics,
    ) -> None:
        self.model = model
        self.texts = texts
        self.tasks = tasks
        self.max_tokens = max_tokens
        self.wait = wait
        self.max_rows = max_rows
        self.metrics = metrics
        self._changed = threading.Condition()
        self._waiting: list[Row] = []
        """The oldest first."""
        self._unanswered: Counter[ServedTask] = Counter()
        """By task: rows that are accepted and not answered yet."""
        self._calls: list[Callable[[], None]] = []
        self._is_stopping = False
        self._seconds_per_row = 0.0
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Compute what was accepted, then end the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    @property
    def is_working(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def accept(self, tasks: Sequence[ServedTask]) -> None:
        """Take on rows, before they are tokenised: their tasks stay until the rows are answered.

        Args:
            tasks: the task of each row.

        Raises:
            RefusedRequest: there are too many rows already, or the server stops.
        """
        with self._changed:
            if self._is_stopping:
                raise RefusedRequest(503, "the server is stopping; try another one, or again later")
            rows = self._unanswered.total()
            if rows + len(tasks) > self.max_rows:
                seconds = min(max(1, math.ceil(rows * self._seconds_per_row)), _LONGEST_RETRY_AFTER)
                raise RefusedRequest(
                    429,
                    f"{rows:,} rows are waiting, and at most {self.max_rows:,} may; try again in {seconds} s",
                    {"Retry-After": str(seconds)},
                )
            self._unanswered.update(tasks)
            self.metrics.queue_rows.set(rows + len(tasks))

    def give_up(self, tasks: Sequence[ServedTask]) -> None:
        """Count accepted rows as answered."""
        with self._changed:
            self._unanswered.subtract(tasks)
            self.metrics.queue_rows.set(self._unanswered.total())
            self._changed.notify()

    def submit(self, job: Job) -> None:
        """Add accepted rows to the queue."""
        with self._changed:
            self._waiting += job.rows
            self._changed.notify()

    def load(self, task: ServedTask) -> Future[None]:
        """Load an adapter between two batches; the future has the error if it cannot be loaded."""
        done: Future[None] = Future()

        def load() -> None:
            try:
                self.tasks.load(task)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        with self._changed:
            self._calls.append(load)
            self._changed.notify()
        return done

    def forget_removed(self) -> None:
        """Let the thread unload the tasks that were removed, as soon as their rows are answered."""
        with self._changed:
            self._changed.notify()

    def _work(self) -> None:
        while self._wait_for_work():
            try:
                for call in self._take_calls():
                    call()
                self._unload_removed()
                self._compute_next()
            except Exception as error:  # a bug; the rows were answered with it, and the next ones are computed
                log.error("computing a batch: %s", describe(error))

    def _wait_for_work(self) -> bool:
        """Wait until a batch is due, or something is to be loaded or unloaded; False to stop."""
        with self._changed:
            while True:
                if self._calls or self._removed():
                    return True
                if self._is_stopping and not self._unanswered.total():  # rows are accepted before they wait
                    return False
                left = self._seconds_left()
                if left is not None and left <= 0:
                    return True
                self._changed.wait(left)

    def _seconds_left(self) -> float | None:
        """Until the next batch is due; None if no row waits."""
        if not self._waiting:
            return None
        is_full = sum(row.length for row in self._waiting) >= self.max_tokens
        return 0.0 if is_full or self._is_stopping else self._waiting[0].arrived + self.wait - time.monotonic()

    def _take_calls(self) -> list[Callable[[], None]]:
        with self._changed:
            calls = self._calls
            self._calls = []
        return calls

    def _removed(self) -> list[ServedTask]:
        """The tasks in memory that were removed and have no rows."""
        return [task for task in self.tasks.resident() if task.is_removed and self._unanswered[task] <= 0]

    def _unload_removed(self) -> None:
        with self._changed:
            tasks = self._removed()
            self._unanswered += Counter()  # forgets tasks without rows
        self.tasks.unload(tasks)

    def _compute_next(self) -> None:
        rows = self._take_rows()
        if rows:
            self._compute(rows)

    def _compute(self, rows: Sequence[Row]) -> None:
        """Answer rows; if they fail, each half of them, so that one row cannot fail the others' requests."""
        try:
            results = self._logits(rows)
        except Exception as error:
            log.error("a batch of %d rows failed: %s", len(rows), describe(error))
            half = len(rows) // 2
            if half:
                self._compute(rows[:half])
                self._compute(rows[half:])
            else:
                self._fail(rows, RefusedRequest(500, "a row failed; the server's log says why"))
            return
        for row, logits in zip(rows, results, strict=True):
            row.job.set_logits(row, logits)
        self.give_up([row.task for row in rows])

    def _take_rows(self) -> list[Row]:
        """The rows of the next batch, whose adapters are in memory; none if the oldest row's cannot be loaded."""
        with self._changed:
            gone = self._split_off(lambda row: row.job.future.done())
        self.give_up([row.task for row in gone])
        with self._changed:
            left = self._seconds_left()
            if left is None or left > 0:
                return []
            task = self._waiting[0].task
        if not self._load(task):
            return []
        with self._changed:
            candidates = [row for row in self._waiting if self.tasks.is_resident(row.task)]
            chosen = {candidates[index] for index in choose_rows([row.length for row in candidates], self.max_tokens)}
            rows = self._split_off(chosen.__contains__)
        for task in {row.task for row in rows}:
            self.tasks.load(task)  # the most recently used ones now
        return rows

    def _split_off(self, is_taken: Callable[[Row], bool]) -> list[Row]:
        """Take rows out of the queue."""
        taken = [row for row in self._waiting if is_taken(row)]
        self._waiting = [row for row in self._waiting if not is_taken(row)]
        return taken

    def _load(self, task: ServedTask) -> bool:
        """Whether the adapter is in memory now; if it cannot be loaded, the rows of its task get the error."""
        try:
            self.tasks.load(task)
        except Exception as error:
            log.error("task %s cannot be loaded: %s", task.name, describe(error))
            with self._changed:
                rows = self._split_off(lambda row: row.task is task)
            self._fail(rows, RefusedRequest(503, f"task '{task.name}' cannot be loaded; the server's log says why"))
            return False
        return True

    def _fail(self, rows: Sequence[Row], error: RefusedRequest) -> None:
        for row in rows:
            row.job.finish(error)
        self.give_up([row.task for row in rows])

    def _logits(self, rows: Sequence[Row]) -> list[Logits]:
        """The logits (labels) of each row of a batch."""
        start = time.monotonic()
        batch = self.texts.pad([row.tokens for row in rows], rows[0].task.task)
        outputs = self.model(**batch, tasks=[row.task.key for row in rows])
        together = torch.cat(outputs).cpu().numpy()  # one copy from the device
        logits = np.split(together, np.cumsum([len(output) for output in outputs])[:-1])
        self._observe(rows, batch["input_ids"].numel(), start)
        return logits

    def _observe(self, rows: Sequence[Row], tokens: int, start: float) -> None:
        seconds = time.monotonic() - start
        self._seconds_per_row += 0.2 * (seconds / len(rows) - self._seconds_per_row)
        metrics = self.metrics
        metrics.batch_seconds.observe(seconds)
        metrics.batch_rows.observe(len(rows))
        metrics.batch_tasks.observe(len({row.task for row in rows}))
        metrics.batch_tokens.observe(tokens)
        metrics.padding_tokens.inc(tokens - sum(row.length for row in rows))
        for row in rows:
            metrics.queue_seconds.observe(start - row.arrived)
