"""A backbone that is held once, and any number of trained tasks on it; a batch may mix them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapter_tune.adapters.bottleneck import Adapted
from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.surgery import sites
from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import ModelConfig, RunConfig, TrainingConfig
from adapter_tune.foundation.errors import RunError, UsageError, unknown_name
from adapter_tune.modeling.backbone import load_backbone
from adapter_tune.modeling.fast_paths import enable_fast_paths
from adapter_tune.modeling.precision import cast_frozen_weights, resolve_compute
from adapter_tune.multitask.by_task import ByTask, CurrentGroups, Group, OwnAdapter, OwnLinear, OwnModule
from adapter_tune.multitask.shared_layers import SharedLayers
from adapter_tune.multitask.task_parts import Part, TaskReader
from adapter_tune.run_files.adapter_files import AdapterConfig, adapter_folder, read_adapter_config
from adapter_tune.runs.reload import adapter_run_config
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
        self.model.base_model.register_forward_hook(self._capture_first_token)
        paths = {id(module): path for path, module in self.model.named_modules()}
        self._sites = {paths[id(site.host)]: site for site in sites(self.model)}
        self._current = CurrentGroups()
        self._shared_layers = SharedLayers(self.model, self._current)
        self._holders: dict[tuple[str, bool], ByTask] = {}
        """By path, and whether it is for adapters."""
        self._tasks: dict[str, LoadedTask] = {}
        self._readers: dict[str, TaskReader] = {}
        self._active: str | None = None
        self._first_token: Tensor | None = None
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

    def add(self, name: str, run: str | Path) -> None:
        """Load a task: its adapters, LayerNorms, pooler if it was trained, and head.

        Args:
            name: what to call it.
            run: a run folder, or the ``adapter`` folder in it.

        Raises:
            UsageError: the name is taken, the folder contains no adapter, or the strategy trains whole matrices.
            RunError: the task was trained on another backbone, or a file is damaged.
        """
        if name in self._tasks:
            raise UsageError(f"task '{name}' is loaded already; remove it first, or choose another name")
        folder = adapter_folder(Path(run))
        adapter = read_adapter_config(folder)
        config = adapter_run_config(folder, adapter)
        if adapter.fingerprint != self._loaded.fingerprint:
            raise RunError(f"{folder}: the adapter was trained on another backbone ({adapter.model['id']})")
        parts = self._reader(config, adapter).read(folder, adapter, self.compute.device)
        self._check_rows_only(parts, config.strategy.name)
        with self._lock:
            for part in parts:
                self._holder(part).own[name] = part.content
            self._tasks[name] = LoadedTask(config.task_spec, adapter.max_length, folder)

    def remove(self, name: str) -> None:
        """Unload a task.

        Raises:
            UsageError: there is no such task.
        """
        self._check_known(name)
        with self._lock:
            for holder in self._holders.values():
                holder.own.pop(name, None)
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
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        with self._lock:
            for name in dict.fromkeys(names):
                self._check_known(name)
            return self._compute(names, {key: value for key, value in inputs.items() if value is not None})

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
        names = list(self._tasks if names is None else names)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        batch = {key: value.to(self.compute.device) for key, value in inputs.items() if value is not None}
        with self._lock:
            for name in names:
                self._check_known(name)
            if not names:
                return {}
            rows = len(input_ids)
            logits = self._compute_all(names, batch, rows)
        return {
            name: logits[number * rows : (number + 1) * rows, : self._tasks[name].spec.num_labels]
            for number, name in enumerate(names)
        }

    def _compute_all(self, names: list[str], batch: dict[str, Tensor], rows: int) -> Tensor:
        """The logits of the rows of the first task, then of the second, and so on."""
        own = {path for (path, _), holder in self._holders.items() if holder.own.keys() & set(names)}
        first = self._shared_layers.first_layer(own)
        if first is None or not self._shared_layers.can_repeat:
            self._current.groups = _groups([name for name in names for _ in range(rows)])
            batch = {key: value.repeat(len(names), 1) for key, value in batch.items()}
        else:
            self._shared_layers.start(first, rows, names)
        try:
            with torch.inference_mode(), self.compute.autocast():
                logits: Tensor = self.model(**batch).logits.float()
        finally:
            self._shared_layers.stop()
            self._first_token = None
        return logits

    def _compute(self, names: list[str | None], inputs: dict[str, Tensor]) -> list[Tensor]:
        order = sorted(range(len(names)), key=lambda row: names[row] or "")
        self._current.groups = _groups([names[row] for row in order])
        device = self.compute.device
        batch = {key: value.to(device)[order] for key, value in inputs.items()}
        with torch.inference_mode(), self.compute.autocast():
            logits = self.model(**batch).logits.float()
        first_token, self._first_token = self._first_token, None
        assert first_token is not None
        results: list[Tensor] = [torch.empty(0)] * len(names)
        for position, row in enumerate(order):
            name = names[row]
            if name is None:
                results[row] = first_token[position].float()
            else:
                results[row] = logits[position, : self._tasks[name].spec.num_labels]
        return results

    def _capture_first_token(self, module: Any, args: Any, output: Any) -> None:
        self._first_token = output[0][:, 0]

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

    def _check_rows_only(self, parts: list[Part], strategy: str) -> None:
        """Refuse parts that would differ between the rows where the backbone computes one thing for all of them."""
        paths = family_of(self.model.config).position_modules
        if paths and getattr(self.model.config, "relative_attention", False):
            for part in parts:
                if part.path.endswith(paths) and not isinstance(part.content, Adapted):
                    raise UsageError(
                        f"strategy {strategy} trains {part.path}, which also computes the relative positions of all "
                        "rows, so tasks cannot share a batch; use the run alone"
                    )

    def _holder(self, part: Part) -> ByTask:
        """The module that holds a part at its path; it is put into the model the first time."""
        is_adapter = isinstance(part.content, Adapted)
        key = (part.path, is_adapter)
        if key not in self._holders:
            adapter_holder = self._holders.get((part.path, True))
            if adapter_holder is not None:  # an adapter follows this projection
                holder: ByTask = OwnLinear(adapter_holder.shared, self._current)
                adapter_holder.shared = holder
            else:
                holder = self._insert(part.path, is_adapter)
            self._holders[key] = holder
        return self._holders[key]

    def _insert(self, path: str, is_adapter: bool) -> ByTask:
        shared = self.model.get_submodule(path)
        if is_adapter:
            site = self._sites[path]
            holder: ByTask = OwnAdapter(shared, self._current)
            entry = site.module.get_submodule(site.paths.entry)
            entry.register_forward_pre_hook(holder.capture_input, with_kwargs=True)
        else:
            holder = (OwnLinear if isinstance(shared, nn.Linear) else OwnModule)(shared, self._current)
        parent, _, attribute = path.rpartition(".")
        setattr(self.model.get_submodule(parent), attribute, holder)
        return holder


def _groups(names: list[str | None]) -> tuple[Group, ...]:
    """The groups of rows that are sorted by task."""
    groups = []
    start = 0
    for stop in range(1, len(names) + 1):
        if stop == len(names) or names[stop] != names[start]:
            groups.append(Group(names[start], slice(start, stop)))
            start = stop
    return tuple(groups)
