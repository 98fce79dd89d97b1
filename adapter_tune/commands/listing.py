"""``adapter-tune list``."""

from __future__ import annotations

from adapter_tune.commands.options import information
from adapter_tune.foundation.errors import UsageError


def list_(what: information.What = None, name: information.StrategyToShow = None) -> None:
    """List tasks, strategies, configurations and sweeps.

    With the name of a strategy, shows its options and its formula.
    """
    if name is not None:
        if what is not information.Listing.strategies:
            raise UsageError(f"'{name}': only a strategy can be shown on its own; use 'list strategies NAME'")
        from adapter_tune.report.strategy_listing import show_strategy

        show_strategy(name)
        return

    if what in (None, information.Listing.tasks):
        _list_tasks()
    if what in (None, information.Listing.strategies):
        from adapter_tune.report.strategy_listing import show_strategies

        show_strategies()
    for listing in (information.Listing.configs, information.Listing.sweeps):
        if what in (None, listing):
            _list_configs(listing)


def _list_tasks() -> None:
    from adapter_tune.report.terminal import show
    from adapter_tune.tasks.glue import TASKS

    rows = []
    for task in TASKS.values():
        labels = " ".join(task.labels) or "{:g} to {:g}".format(*task.bounds)
        rows.append([task.name, task.title, " ".join(task.text), labels, task.headline])
    show("tasks", ["name", "what", "columns", "labels", "headline"], rows)


def _list_configs(listing: information.Listing) -> None:
    from adapter_tune.config.shipped import shipped_configs, summary
    from adapter_tune.report.terminal import show

    files = shipped_configs(sweeps=listing is information.Listing.sweeps)
    show(listing.value, ["name", "what"], [[name, summary(path)] for name, path in files.items()])
