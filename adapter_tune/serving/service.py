"""Everything that computes behind the paths of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_tune.multitask.model import MultiTask
from adapter_tune.multitask.texts import TaskTexts
from adapter_tune.serving import schemas
from adapter_tune.serving.batcher import Batcher
from adapter_tune.serving.limits import Limits
from adapter_tune.serving.metrics import Metrics
from adapter_tune.serving.predictions import Predictor
from adapter_tune.serving.residency import ServedTask, ServedTasks
from adapter_tune.serving.task_changes import TaskChanges


@dataclass(frozen=True)
class ServiceOptions:
    """How tasks are served."""

    resident: int | None = None
    """How many adapters may be in memory; None for all."""
    batch_tokens: int | None = None
    """Tokens of a batch with padding; None for a number that suits the device."""
    wait_ms: float = 2.0
    """How long a row waits for others before its batch starts."""
    adapters: Path | None = None
    """The folder from which tasks may be loaded while the server runs; None to allow no changes."""
    api_key: str | None = None
    """The key that requests need."""
    limits: Limits = field(default_factory=Limits)


class Service:
    """Tasks on a backbone, ready to answer requests.

    Args:
        model: the backbone, without tasks.
        folders: the adapter folder of each task, by its name.
        options: how they are served.

    Raises:
        UsageError: a folder contains no adapter, or a strategy trains whole matrices.
        RunError: a task was trained on another backbone, or a file is damaged.
    """

    def __init__(self, model: MultiTask, folders: Mapping[str, Path], options: ServiceOptions) -> None:
        self.limits = options.limits
        self.api_key = options.api_key
        self.metrics = Metrics()
        texts = TaskTexts(model)
        self.tasks = ServedTasks(model, options.resident, self.metrics)
        self.batcher = Batcher(
            model,
            texts,
            self.tasks,
            max_tokens=options.batch_tokens or default_batch_tokens(model.compute.device),
            wait=options.wait_ms / 1e3,
            max_rows=options.limits.queue,
            metrics=self.metrics,
        )
        self.predictor = Predictor(self.tasks, texts, self.batcher, options.limits, self.metrics)
        self.changes = TaskChanges(options.adapters, model, texts, self.tasks, self.batcher)
        for number, (name, folder) in enumerate(folders.items()):
            stored = model.stored_task(folder)
            texts.encode(stored.task, [["text"]])  # loads its tokenizer
            task = self.tasks.add(name, stored)
            if options.resident is None or number < options.resident:
                self.tasks.load(task)

    def start(self) -> None:
        """Begin to compute."""
        self.batcher.start()

    def stop(self) -> None:
        """Compute what was accepted, and end the threads."""
        self.batcher.stop()
        self.predictor.close()

    @property
    def is_working(self) -> bool:
        """Whether requests can be answered."""
        return self.batcher.is_working

    def task_list(self) -> schemas.TaskList:
        """All tasks."""
        return schemas.TaskList(tasks=[self.task_info(task) for task in self.tasks.all()])

    def task_info(self, task: ServedTask) -> schemas.TaskInfo:
        """What one task reads and predicts."""
        spec = task.task.spec
        kind: Any = "multi_label" if spec.is_multi_label else "regression" if spec.is_regression else "classification"
        return schemas.TaskInfo(
            name=task.name,
            kind=kind,
            texts=list(spec.text),
            labels=list(spec.labels),
            max_length=task.task.max_length,
            resident=self.tasks.is_resident(task),
        )


def default_batch_tokens(device: str) -> int:
    """Tokens of a batch that use a device well without making its rows wait long."""
    return 1024 if device == "cpu" else 8192
