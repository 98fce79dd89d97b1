"""``adapter-tune sweep``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapter_tune import options as o
from adapter_tune.libraries import ready_libraries


def sweep(
    file: o.SweepFile,
    workers: o.Workers = 1,
    storage: o.StorageUrl = None,
    output: o.SweepsFolder = Path("sweeps"),
    dry_run: o.SweepDryRun = False,
    as_json: o.Json = False,
) -> None:
    """Run a grid or a search over configurations, resumable, on any number of processes and machines."""
    from adapter_tune.sweep import read_sweep

    wanted = read_sweep(file)
    folder = output / wanted.name
    ready_libraries(wanted.demo)
    if dry_run:
        _plan(wanted, folder, workers)
        return
    from adapter_tune import atomic
    from adapter_tune.errors import RunError
    from adapter_tune.report.live import Live
    from adapter_tune.report.tables import show_chosen
    from adapter_tune.sweep import cells as all_cells
    from adapter_tune.sweep import config_of
    from adapter_tune.workers import settle
    from adapter_tune.yaml_io import to_yaml

    grid = all_cells(wanted) if wanted.method == "grid" else []
    _check([config_of(wanted, values, folder) for values in grid])
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "sweep.yaml", to_yaml(wanted.model_dump()))
    with Live(wanted.name, workers) as live:
        ledger, best = settle(wanted, folder, storage, workers, live.show)
    atomic.write_text(folder / "selection.json", json.dumps(best, indent=2) + "\n")
    if as_json:
        print(json.dumps(best, indent=2))
    else:
        show_chosen(best)
        print(f"runs in {folder / 'runs'}, the choice in {folder / 'selection.json'}")
    if errors := ledger.errors():
        cell, first = next(iter(errors.items()))
        left = ledger.progress().failed
        if left:
            raise RunError(f"{left} runs failed; the first: {cell}: {first}; the same command takes them again")


def _check(configs: list[Any]) -> None:
    """Say before anything runs what is wrong with data of the user's own."""
    from adapter_tune.tasks import CUSTOM

    known: dict[str, Any] = {}
    for config in configs:
        if config.task == CUSTOM:
            from adapter_tune.own_data import settled

            settled(config, known)


def _plan(wanted: Any, folder: Path, workers: int) -> None:
    """What a sweep would do: every cell checked, parameters counted, time estimated from a short probe."""
    from adapter_tune.plan import plan
    from adapter_tune.report.tables import show

    found = plan(wanted, folder)
    rows = [[r.strategy, r.m, f"{r.runs:,}", f"{r.trained:,}", f"{r.seconds / 60:,.1f}"] for r in found.rows]
    show(f"{wanted.name}: {found.runs:,} runs", ["strategy", "m", "runs", "trained parameters", "minutes"], rows)
    print(f"about {found.seconds / 60 / workers:,.0f} min with {workers} workers here; {found.probed}")
