"""A backbone that is held once, and any number of trained tasks on it; a batch may mix them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import ModelConfig, RunConfig, TrainingConfig
from adapter_tune.foundation.errors import RunError, UsageError, unknown_name
from adapter_tune.modeling.backbone import load_backbone
from adapter_tune.modeling.fast_paths import enable_fast_paths
from adapter_tune.modeling.precision import cast_frozen_weights, resolve_compute
from adapter_tune.multitask.by_task import CurrentGroups, Group
from adapter_tune.multitask.holders import Holders
from adapter_tune.multitask.shared_layers import SharedLayers
from adapter_tune.multitask.task_parts import TaskReader, check_no_language
from adapter_tune.run_files.adapter_files import AdapterConfig, adapter_folder, read_adapter_config, tokenizer_digest
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.runs.run_config import adapter_run_config
from adapter_tune.tasks.glue import Task


@dataclass(frozen=True)
class LoadedTask:
    """A task on the backbone."""

    spec: Task
    """Its columns, labels and metrics."""
    max_length: int
    """Maximum number of tokens in a row, as in training."""
    folder: Path
    """The adapter folder."""
    tokenizer: str
    """SHA-256 over the files of its tokenizer."""


@dataclass(frozen=True)
class StoredTask:
    """A task on disk that fits the backbone; its tensors have not been read."""

    task: LoadedTask
    adapter: AdapterConfig
    config: ResolvedConfig


class MultiTask:
    """A backbone with the adapters, LayerNorms, poolers and heads of any number of tasks.

        >>> model = MultiTask("google-bert/bert-base-uncased")                       # doctest: +SKIP
        >>> model.add("rte", "runs/rte-houlsby-m64-0123abcd")                        # doctest: +SKIP
        >>> logits = model(input_ids, attention_mask, tasks=["rte", "sst2", None])   # doctest: +SKIP

    Only the first token's output is computed in the top layer where the head reads no other. Any number of threads may
    use one object; their batches are computed one after another.

    Args:
        backbone: path or id of the backbone that the tasks were trained on.
        revision: branch, tag or commit on the Hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``float32``, ``bf16`` or ``fp16``; auto takes bf16 where it is faster.

    Raises:
        RunError: the backbone cannot be loaded, or the machine has no such device.
        UsageError: the device cannot compute in this precision.
    """

    def __init__(
        self, backbone: str, *, revision: str | None = None, device: Any = "auto", precision: Any = "auto"
    ) -> None:
        self.compute = resolve_compute(TrainingConfig(device=device, precision=precision))
        model = ModelConfig(id=backbone, revision=revision)
        self._loaded = load_backbone(resolved(RunConfig(task="sst2", model=model)))
        self.model: Any = self._loaded.model
        self.model.requires_grad_(False)
        cast_frozen_weights(self.model, self.compute.precision, self._loaded.newly_initialized)
        enable_fast_paths(self.model)
        self.model.to(self.compute.device).eval()
        self._current = CurrentGroups()
        self._shared_layers = SharedLayers(self.model, self._current)
        self._holders = Holders(self.model, self._current)
        self._tasks: dict[str, LoadedTask] = {}
        self._readers: dict[str, TaskReader] = {}
        self._active: str | None = None
        self._lock = threading.Lock()

    @property
    def tasks(self) -> dict[str, LoadedTask]:
        """The tasks by name, in the order in which they were added (a copy)."""
        return dict(self._tasks)

    @property
    def active(self) -> str | None:
        """The task of batches that do not say theirs; None for the bare encoder."""
        return self._active

    @active.setter
    def active(self, name: str | None) -> None:
        self._check_known(name)
        self._active = name

    def add(self, name: str, run: str | Path | StoredTask) -> None:
        """Load a task: its adapters, LayerNorms, pooler if it was trained, and head.

        Args:
            name: what to call it.
            run: a run folder, or the ``adapter`` folder in it; or ``ORG/NAME[@revision]`` on the Hub; or what
                ``stored_task`` returned for it.

        Raises:
            UsageError: the name is taken, the folder contains no adapter, or the strategy trains whole matrices.
            RunError: the task was trained on another backbone, or a file is damaged.
        """
        self._check_new(name)
        stored = run if isinstance(run, StoredTask) else self.stored_task(run)
        reader = self._reader(stored.config, stored.adapter)
        parts = reader.read(stored.task.folder, stored.adapter, self.compute)
        with self._lock:
            self._check_new(name)  # another thread may have been quicker
            self._holders.add(name, parts)
            self._tasks[name] = stored.task

    def stored_task(self, run: str | Path) -> StoredTask:
        """What ``add`` needs to know of a task, with every check that needs no tensors.

        Args:
            run: a run folder, or the ``adapter`` folder in it; or ``ORG/NAME[@revision]`` on the Hub.

        Raises:
            UsageError: the folder contains no adapter, or the strategy trains whole matrices.
            RunError: the task was trained on another backbone, or its configuration is damaged.
        """
        folder = adapter_folder(local_run(run))
        adapter = read_adapter_config(folder)
        config = adapter_run_config(folder, adapter)
        check_no_language(folder, adapter)
        if adapter.fingerprint != self._loaded.fingerprint:
            raise RunError(f"{folder}: the adapter was trained on another backbone ({adapter.model['id']})")
        try:
            self._reader(config, adapter)
        except UsageError as error:
            raise UsageError(f"{folder}: {error}") from None
        task = LoadedTask(config.task_spec, adapter.max_length, folder, tokenizer_digest(folder))
        return StoredTask(task, adapter, config)

    def remove(self, name: str) -> None:
        """Unload a task.

        Raises:
            UsageError: there is no such task.
        """
        with self._lock:
            self._check_known(name)
            self._holders.remove(name)
            del self._tasks[name]
            if self._active == name:
                self._active = None

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        tasks: Sequence[str | None] | None = None,
    ) -> list[Tensor]:
        """Compute a batch.

        Args:
            input_ids: (rows, tokens)
            attention_mask: (rows, tokens); all tokens are real by default.
            token_type_ids: (rows, tokens), for backbones that have them.
            tasks: the task of each row; None in it for the bare encoder. All rows are of the active task by default.

        Returns:
            For each row its logits (labels) in float32; for the bare encoder its output at the first token (d).

        Raises:
            UsageError: there is no such task, or the number of tasks is not that of the rows.
        """
        names = [self._active] * len(input_ids) if tasks is None else list(tasks)
        if len(names) != len(input_ids):
            raise UsageError(f"{len(names)} tasks for {len(input_ids)} rows; give one task for each row")
        batch = self._batch(input_ids, attention_mask, token_type_ids)
        with self._lock:
            for name in dict.fromkeys(names):
                self._check_known(name)
            return self._compute(names, batch)

    def all_tasks(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Compute several tasks on the same rows; layers below the first own module of any task are computed once.

        Args:
            input_ids: (rows, tokens)
            attention_mask: (rows, tokens); all tokens are real by default.
            token_type_ids: (rows, tokens), for backbones that have them.
            names: the tasks; all by default.

        Returns:
            The logits (rows, labels) of each task, in float32.

        Raises:
            UsageError: there is no such task.
        """
        batch = self._batch(input_ids, attention_mask, token_type_ids)
        with self._lock:
            names = list(dict.fromkeys(self._tasks if names is None else names))
            for name in names:
                self._check_known(name)
            if not names:
                return {}
            by_task = torch.split(self._compute_all(names, batch, len(input_ids)), len(input_ids))
            widths = [self._tasks[name].spec.num_labels for name in names]
        return {name: rows[:, :width] for name, rows, width in zip(names, by_task, widths, strict=True)}

    def _batch(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> dict[str, Tensor]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return {key: value.to(self.compute.device) for key, value in inputs.items() if value is not None}

    def _compute_all(self, names: list[str], batch: dict[str, Tensor], rows: int) -> Tensor:
        """The logits of the rows of the first task, then of the second, and so on."""
        first = self._shared_layers.first_layer(self._holders.paths(names))
        if first is None or not self._shared_layers.can_repeat:
            self._current.groups = _groups([name for name in names for _ in range(rows)])
            return self._forward({key: value.repeat(len(names), 1) for key, value in batch.items()})[0]
        self._shared_layers.start(first, rows, names)
        try:
            return self._forward(batch)[0]
        finally:
            self._shared_layers.stop()

    def _compute(self, names: list[str | None], batch: dict[str, Tensor]) -> list[Tensor]:
        order = sorted(range(len(names)), key=lambda row: names[row] or "")
        self._current.groups = _groups([names[row] for row in order])
        logits, first_token = self._forward({key: value[order] for key, value in batch.items()})
        results: list[Tensor] = [torch.empty(0)] * len(names)
        for position, row in enumerate(order):
            name = names[row]
            if name is None:
                results[row] = first_token[position]
            else:
                results[row] = logits[position, : self._tasks[name].spec.num_labels]
        return results

    def _forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (rows, labels of the widest head), and the encoder's output at the first token (rows, d); float32."""
        captured: list[Tensor] = []
        hook = self.model.base_model.register_forward_hook(lambda _, __, output: captured.append(output[0][:, 0]))
        with hook, torch.inference_mode(), self.compute.autocast():
            logits: Tensor = self.model(**batch).logits
        return logits.float(), captured[0].float()

    def _check_new(self, name: str) -> None:
        if name in self._tasks:
            raise UsageError(f"task '{name}' is loaded already; remove it first, or choose another name")

    def _check_known(self, name: str | None) -> None:
        if name is not None and name not in self._tasks:
            raise UsageError(unknown_name("task", name, self._tasks))

    def _reader(self, config: ResolvedConfig, adapter: AdapterConfig) -> TaskReader:
        """What reads tasks like this one; it is made the first time."""
        train_pooler = adapter.model["pooler"] == "train"
        key = json.dumps([adapter.strategy, config.task_spec.num_labels, train_pooler])
        if key not in self._readers:
            self._readers[key] = TaskReader(config, self._loaded, train_pooler=train_pooler)
        return self._readers[key]


def _groups(names: list[str | None]) -> tuple[Group, ...]:
    """The groups of rows that are sorted by task."""
    groups = []
    start = 0
    for stop in range(1, len(names) + 1):
        if stop == len(names) or names[stop] != names[start]:
            groups.append(Group(names[start], slice(start, stop)))
            start = stop
    return tuple(groups)
