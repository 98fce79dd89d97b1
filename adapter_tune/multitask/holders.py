"""The shared backbone with a holder in the place of every module that some task has of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from adapter_tune.adapters.adapted import Adapted
from adapter_tune.adapters.surgery import sites
from adapter_tune.multitask.by_task import ByTask, CurrentGroups, OwnAdapter, OwnLinear, OwnModule
from adapter_tune.multitask.task_parts import Part


class Holders:
    """Puts the parts of tasks into a backbone, and takes them out again.

    Args:
        model: the backbone, a classifier; modules are replaced in place when the first task needs it.
        current: the groups of the current batch.
    """

    def __init__(self, model: Any, current: CurrentGroups) -> None:
        self.model = model
        self.current = current
        paths = {id(module): path for path, module in model.named_modules()}
        self._sites = {paths[id(site.host)]: site for site in sites(model)}
        self._holders: dict[tuple[str, bool], ByTask] = {}
        """By path, and whether it is for adapters: a projection may have an adapter and a bias of a task."""

    def add(self, name: str, parts: Collection[Part]) -> None:
        """Put the parts of a task in their places."""
        for part in parts:
            self._holder(part).own[name] = part.content

    def remove(self, name: str) -> None:
        """Take the parts of a task out."""
        for holder in self._holders.values():
            holder.own.pop(name, None)

    def paths(self, names: Collection[str]) -> set[str]:
        """The paths of the modules that any of the tasks has of its own."""
        return {path for (path, _), holder in self._holders.items() if not holder.own.keys().isdisjoint(names)}

    def contents(self, name: str) -> list[Any]:
        """What a task has in the backbone."""
        return [holder.own[name] for holder in self._holders.values() if name in holder.own]

    def _holder(self, part: Part) -> ByTask:
        is_adapter = isinstance(part.content, Adapted)
        key = (part.path, is_adapter)
        if key not in self._holders:
            adapters = self._holders.get((part.path, True))
            if adapters is None:
                self._holders[key] = self._insert(part.path, is_adapter)
            else:  # they follow this projection
                self._holders[key] = OwnLinear(adapters.shared, self.current)
                adapters.shared = self._holders[key]
        return self._holders[key]

    def _insert(self, path: str, is_adapter: bool) -> ByTask:
        shared = self.model.get_submodule(path)
        holder: ByTask
        if is_adapter:
            site = self._sites[path]
            holder = OwnAdapter(shared, self.current)
            entry = site.module.get_submodule(site.paths.entry)
            entry.register_forward_pre_hook(holder.capture_input, with_kwargs=True)
            if site.norm is not None:
                site.norm.register_forward_hook(holder.follow_norm)
        elif isinstance(shared, nn.Linear):
            holder = OwnLinear(shared, self.current)
        else:
            holder = OwnModule(shared, self.current)
        parent, _, attribute = path.rpartition(".")
        setattr(self.model.get_submodule(parent), attribute, holder)
        return holder
