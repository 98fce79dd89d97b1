"""The tasks that are served, by name; a limited number of their adapters is in memory, the others are on disk."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from itertools import count

from adapter_tune.foundation.errors import unknown_name
from adapter_tune.multitask.model import LoadedTask, MultiTask, StoredTask
from adapter_tune.serving.metrics import Metrics
from adapter_tune.serving.refusals import RefusedRequest

_MAX_NAMES_IN_MESSAGE = 50


class ServedTask:
    """A task under the name that requests use.

    Args:
        name: the name.
        key: what the backbone calls it; a later task of the same name has another one.
        stored: what is known of it without its tensors.
    """

    def __init__(self, name: str, key: str, stored: StoredTask) -> None:
        self.name = name
        self.key = key
        self.stored = stored
        self.is_removed = False
        """Whether new requests no longer reach it; accepted ones do."""

    @property
    def task(self) -> LoadedTask:
        """Its columns, labels, maximum length and tokenizer."""
        return self.stored.task


class ServedTasks:
    """Names for tasks, and their adapters in memory: the most recently used ones.

    ``load``, ``unload`` and ``resident`` are only for the thread that computes: no adapter goes away below a batch.

    Args:
        model: the backbone.
        capacity: how many adapters may be in memory; None for all.
        metrics: where loads are counted.
    """

    def __init__(self, model: MultiTask, capacity: int | None, metrics: Metrics) -> None:
        self.model = model
        self.capacity = capacity
        self.metrics = metrics
        self._by_name: dict[str, ServedTask] = {}
        self._resident: OrderedDict[ServedTask, None] = OrderedDict()
        """The least recently used first."""
        self._numbers = count()
        self._lock = threading.Lock()

    def get(self, name: str) -> ServedTask:
        """The task of this name.

        Raises:
            RefusedRequest: there is none.
        """
        task = self._by_name.get(name)
        if task is None:
            raise RefusedRequest(404, self._unknown(name))
        return task

    def _unknown(self, name: str) -> str:
        names = list(self._by_name)
        if len(names) > _MAX_NAMES_IN_MESSAGE:  # to find the most similar one of thousands would take long
            return f"unknown task '{name}'; GET /v1/tasks lists the {len(names):,} tasks"
        return unknown_name("task", name, names)

    def all(self) -> list[ServedTask]:
        """Every task, in the order in which they were added."""
        with self._lock:
            return list(self._by_name.values())

    def is_resident(self, task: ServedTask) -> bool:
        """Whether the adapter is in memory."""
        return task in self._resident

    def add(self, name: str, stored: StoredTask) -> ServedTask:
        """Serve a task; its adapter is loaded when it is needed.

        Raises:
            RefusedRequest: the name is taken.
        """
        with self._lock:
            if name in self._by_name:
                raise RefusedRequest(409, f"task '{name}' is served already; give another name, or remove it first")
            task = ServedTask(name, f"{next(self._numbers)} {name}", stored)
            self._by_name[name] = task
            self.metrics.adapters.set(len(self._by_name))
        return task

    def remove(self, name: str) -> None:
        """Serve a task no longer.

        Raises:
            RefusedRequest: there is no such task.
        """
        with self._lock:
            self._remove(self.get(name))

    def discard(self, task: ServedTask) -> None:
        """Serve this task no longer; without effect if it is removed already, whatever has its name now."""
        with self._lock:
            if not task.is_removed:
                self._remove(task)

    def _remove(self, task: ServedTask) -> None:
        task.is_removed = True
        del self._by_name[task.name]
        self.metrics.adapters.set(len(self._by_name))

    def load(self, task: ServedTask) -> None:
        """Bring the adapter of a task into memory; the least recently used one goes if there is no room.

        Raises:
            UsageError: its files have gone.
            RunError: its files are damaged.
        """
        if task not in self._resident:
            if self.capacity is not None and len(self._resident) >= self.capacity:
                self._unload(next(iter(self._resident)))
                self.metrics.adapter_evictions.inc()
            start = time.perf_counter()
            self.model.add(task.key, task.stored)
            self.metrics.adapter_load_seconds.observe(time.perf_counter() - start)
            self._resident[task] = None
            self.metrics.adapters_resident.set(len(self._resident))
        self._resident.move_to_end(task)

    def unload(self, tasks: list[ServedTask]) -> None:
        """Take the adapters of tasks out of memory."""
        for task in tasks:
            if task in self._resident:
                self._unload(task)

    def resident(self) -> list[ServedTask]:
        """The tasks whose adapters are in memory, the least recently used first."""
        return list(self._resident)

    def _unload(self, task: ServedTask) -> None:
        self.model.remove(task.key)
        del self._resident[task]
        self.metrics.adapters_resident.set(len(self._resident))
