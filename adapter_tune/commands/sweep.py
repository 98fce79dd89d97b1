"""``adapter-tune sweep``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_tune.commands.options import general, many_runs
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.startup import prepare_libraries

if TYPE_CHECKING:
    from adapter_tune.config.schema import RunConfig
    from adapter_tune.sweeps.spec import Sweep
    from adapter_tune.sweeps.study import SweepStudy

log = logging.getLogger("adapter_tune")


def sweep(
    file: many_runs.SweepFile,
    workers: many_runs.Workers = 1,
    storage: many_runs.StorageUrl = None,
    output: many_runs.SweepsFolder = Path("sweeps"),
    dry_run: many_runs.SweepDryRun = False,
    as_json: general.Json = False,
) -> None:
    """Run a grid or a search over configurations.

    Any number of processes and machines can share a sweep. Run the same command again to resume an interrupted sweep.
    """
    from adapter_tune.sweeps.spec import read_sweep

    spec = read_sweep(file)
    folder = output / spec.name
    prepare_libraries(spec.demo)
    if dry_run:
        _print_cost(spec, folder, workers)
        return
    from adapter_tune.config.yaml_files import to_yaml
    from adapter_tune.foundation import atomic_files
    from adapter_tune.report.command_output import show_best_choices
    from adapter_tune.sweeps.cells import cells, config_of, samples
    from adapter_tune.sweeps.live import LiveProgress
    from adapter_tune.sweeps.workers import run_sweep

    checked = cells(spec) if spec.method == "grid" else samples(spec)
    cache: dict[str, Any] = {}
    _check_configs([config_of(spec, values, folder) for values in checked], cache)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(folder / "sweep.yaml", to_yaml(spec.model_dump()))
    with LiveProgress(spec.name) as live:
        study, best = run_sweep(spec, folder, storage, workers, live.show, cache)
    atomic_files.write_text(folder / "selection.json", json.dumps(best, indent=2) + "\n")
    if as_json:
        print(json.dumps(best, indent=2))
    else:
        show_best_choices(best)
        print(f"runs: {folder / 'runs'}; best choices: {folder / 'selection.json'}")
    _check_complete(study, folder)


def _check_configs(configs: list[RunConfig], cache: dict[str, Any]) -> None:
    """Check the user's own data, and that each strategy fits its backbone, before anything runs.

    Raises:
        UsageError: a configuration is wrong.
        RunError: data or a backbone's configuration cannot be read.
    """
    from adapter_tune.run_files.result import FILE
    from adapter_tune.runs.resolve import resolve_run

    checked: set[str] = set()
    for config in configs:
        resolved = resolve_run(config, cache)
        if (resolved.folder / FILE).is_file():
            continue
        key = repr((config.model, config.strategy, config.data.max_length))
        if key not in checked:
            from adapter_tune.modeling.build import check_backbone_fits  # imports torch, not needed if all is finished

            check_backbone_fits(resolved)
            checked.add(key)


def _check_complete(study: SweepStudy, folder: Path) -> None:
    """Warn if a search has fewer runs than trials.

    Raises:
        RunError: runs failed, or runs are left without a worker.
    """
    progress = study.progress()
    if progress.failed:
        errors = study.errors()
        first = f"{json.dumps(errors[0][0])}: {errors[0][1]}" if errors else "its worker died"
        raise RunError(
            f"{progress.failed} runs failed; the first error: {first}; run the same command again to retry them"
        )
    left = progress.waiting + progress.running
    if left:
        logs = f"{folder}/worker-*.log"
        raise RunError(
            f"{left} runs are not finished, and no worker is running: see {logs}; run the same command again to resume"
        )
    ended = progress.done + progress.pruned
    if ended < progress.total:
        log.warning(
            "the search ended after %d of %d runs: all values have been tried; give more values, or fewer trials",
            ended,
            progress.total,
        )


def _print_cost(spec: Sweep, folder: Path, workers: int) -> None:
    """Check every cell; print the runs, the trained parameters and the time that the sweep would take."""
    from adapter_tune.report.terminal import show
    from adapter_tune.sweeps.cost import estimate_cost

    estimate = estimate_cost(spec, folder)
    rows = []
    for row in estimate.rows:
        rows.append([row.strategy, f"{row.runs:,}", f"{row.trained:,}", f"{row.seconds / 60:,.1f}"])
    show(f"{spec.name}: {estimate.runs:,} runs", ["strategy", "runs", "trained parameters", "minutes"], rows)
    minutes = f"{estimate.seconds / 60 / workers:,.0f} min"
    print(f"about {minutes} with {workers} worker{'s' * (workers > 1)} on this machine; {estimate.method}")
