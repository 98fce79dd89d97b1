"""``adapter-tune list``."""

from __future__ import annotations

from adapter_tune.commands import options as o
from adapter_tune.foundation.errors import UsageError


def list_(what: o.What = None, name: o.StrategyToShow = None) -> None:
    """List tasks, strategies, shipped configurations and sweeps; one strategy in full with its name."""
    from adapter_tune.report.terminal import show

    if name is not None:
        if what is not o.Listing.strategies:
            raise UsageError(f"'{name}': only strategies are shown one by one, by 'list strategies NAME'; leave it out")
        from adapter_tune.report.strategy_listing import show_strategy

        show_strategy(name)
        return

    if what in (None, o.Listing.tasks):
        from adapter_tune.tasks.glue import TASKS

        rows = [
            [t.name, t.title, " ".join(t.text), " ".join(t.labels) or "{:g} to {:g}".format(*t.bounds), t.headline]
            for t in TASKS.values()
        ]
        show("tasks", ["name", "what", "columns", "labels", "headline"], rows)
    if what in (None, o.Listing.strategies):
        from adapter_tune.report.strategy_listing import show_strategies

        show_strategies()
    for kind in (o.Listing.configs, o.Listing.sweeps):
        if what in (None, kind):
            from adapter_tune.config.shipped import shipped_configs, summary

            files = shipped_configs(sweeps=kind is o.Listing.sweeps)
            show(kind.value, ["name", "what"], [[name, summary(path)] for name, path in files.items()])
