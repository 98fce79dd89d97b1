"""``adapter-tune sweep``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from adapter_tune.commands import options as o
from adapter_tune.foundation.startup import prepare_libraries

log = logging.getLogger("adapter_tune")


def sweep(
    file: o.SweepFile,
    workers: o.Workers = 1,
    storage: o.StorageUrl = None,
    output: o.SweepsFolder = Path("sweeps"),
    dry_run: o.SweepDryRun = False,
    as_json: o.Json = False,
) -> None:
    """Run a grid or a search over configurations, resumable, on any number of processes and machines."""
    from adapter_tune.sweeps.spec import read_sweep

    wanted = read_sweep(file)
    folder = output / wanted.name
    prepare_libraries(wanted.demo)
    if dry_run:
        _plan(wanted, folder, workers)
        return
    from adapter_tune.config.yaml_files import to_yaml
    from adapter_tune.foundation import atomic_files
    from adapter_tune.foundation.errors import RunError
    from adapter_tune.report.terminal import show_chosen
    from adapter_tune.sweeps.live import Live
    from adapter_tune.sweeps.spec import cells as all_cells
    from adapter_tune.sweeps.spec import config_of, samples
    from adapter_tune.sweeps.workers import resolve_sweep_data

    tried = all_cells(wanted) if wanted.method == "grid" else samples(wanted)
    known: dict[str, Any] = {}
    _check([config_of(wanted, values, folder) for values in tried], known)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(folder / "sweep.yaml", to_yaml(wanted.model_dump()))
    with Live(wanted.name, workers) as live:
        ledger, best = resolve_sweep_data(wanted, folder, storage, workers, live.show, known)
    atomic_files.write_text(folder / "selection.json", json.dumps(best, indent=2) + "\n")
    if as_json:
        print(json.dumps(best, indent=2))
    else:
        show_chosen(best)
        print(f"runs in {folder / 'runs'}, the choice in {folder / 'selection.json'}")
    progress = ledger.progress()
    if progress.failed:
        cell, first = next(iter(ledger.errors().items()), ("", "its worker died"))
        raise RunError(f"{progress.failed} runs failed; the first: {cell}: {first}; the same command takes them again")
    if left := progress.waiting + progress.running:
        raise RunError(f"{left} runs are left, and no worker: see {folder}/worker-*.log; the same command goes on")
    if (found := progress.done + progress.pruned) < progress.total:
        log.warning(
            "%d of %d runs: no other values were drawn; give more of them, or fewer trials", found, progress.total
        )


def _check(configs: list[Any], known: dict[str, Any]) -> None:
    """Say before anything runs what is wrong with data of the user's own, and what does not fit its backbone."""
    from adapter_tune.data.custom import resolve_custom_data
    from adapter_tune.run_files.result import FILE

    fitting: set[str] = set()
    for config in configs:
        if (resolve_custom_data(config, known).folder / FILE).is_file():
            continue
        if (key := repr((config.model, config.strategy, config.data.max_length))) not in fitting:
            from adapter_tune.modeling.build import check_backbone_fits  # and torch, which a finished sweep needs not

            check_backbone_fits(config)
            fitting.add(key)


def _plan(wanted: Any, folder: Path, workers: int) -> None:
    """What a sweep would do: every cell checked, parameters counted, time estimated from a short probe."""
    from adapter_tune.report.terminal import show
    from adapter_tune.sweeps.cost import estimate_cost

    found = estimate_cost(wanted, folder)
    rows = [[r.strategy, f"{r.runs:,}", f"{r.trained:,}", f"{r.seconds / 60:,.1f}"] for r in found.rows]
    show(f"{wanted.name}: {found.runs:,} runs", ["strategy", "runs", "trained parameters", "minutes"], rows)
    several = f"{workers} worker{'s' * (workers > 1)}"
    print(f"about {found.seconds / 60 / workers:,.0f} min with {several} here; {found.probed}")
