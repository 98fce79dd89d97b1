"""Processes that take runs from a sweep's ledger until none is left; what one run loaded, the next one keeps."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from adapter_tune.foundation.errors import AdapterTuneError, first_line
from adapter_tune.run_files.result import read_result
from adapter_tune.sweeps.pruning import join
from adapter_tune.sweeps.spec import Sweep, Values, choice_of, chosen, config_of, group_of, repeats
from adapter_tune.sweeps.study import Progress, SweepStudy, fail

_POLL, _LOOK = 0.5, 2.0  # seconds between a waiting worker's questions, and between looks at the progress


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know."""

    sweep: Sweep
    folder: Path
    storage: str | None
    path: list[str]
    threads: int


def resolve_sweep_data(
    sweep: Sweep,
    folder: Path,
    storage: str | None,
    workers: int,
    show: Callable[[Progress], None],
    known: dict[str, Any] | None = None,
) -> tuple[SweepStudy, list[dict[str, Any]]]:
    """Run a sweep to its end, then the best again where it says so; the ledger, and the best of each group.

    Arguments as of ``work_off``.
    """
    ledger = run_workers(sweep, folder, storage, workers, show, known=known)
    best = chosen(sweep, [(values, read_result(run)) for values, run in ledger.finished(repeats=False)])
    if not sweep.repeat:
        return ledger, best
    kept = [one["choice"] for one in best]
    ledger = run_workers(sweep, folder, storage, workers, show, repeats(sweep, best), known)
    done = [found for found in ledger.finished(repeats=True) if choice_of(sweep, found[0]) in kept]
    return ledger, chosen(sweep, [(values, read_result(run)) for values, run in done])


def run_workers(sweep: Sweep, folder: Path, storage: str | None, workers: int, show: Callable[[Progress], None],
             repeats: Sequence[Values] = (), known: dict[str, Any] | None = None) -> SweepStudy:  # fmt: skip
    """Run a sweep to its end with worker processes on this machine; others may join through the same storage.

    Args:
        sweep: the sweep.
        folder: of the sweep.
        storage: as of ``Ledger``.
        workers: processes.
        show: called with the progress every two seconds.
        repeats: as of ``Ledger.fill``.
        known: as of ``Ledger``.

    Returns:
        The ledger, with nothing left in it to do.
    """
    ledger = SweepStudy(sweep, folder, storage, known)
    ledger.fill(repeats)
    workers = workers if ledger.is_open() or ledger.is_busy() else 0
    context = multiprocessing.get_context("spawn")
    job = Job(sweep, folder, storage, list(sys.path), max(1, _cores() // max(1, workers)))
    processes = [context.Process(target=worker_main, args=(job, number), daemon=True) for number in range(workers)]
    try:
        for process in processes:
            process.start()
        while alive := [process.sentinel for process in processes if process.is_alive()]:
            show(ledger.progress())
            wait(alive, _LOOK)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    ledger.release_dead()
    show(ledger.progress())
    return ledger


def worker_main(job: Job, number: int) -> None:
    """A worker's whole life; what its runs say goes to ``worker-N.log``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent passes it on, once
    sys.path[:] = job.path
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))  # workers that share cores fight over them otherwise
    with (job.folder / f"worker-{number}.log").open("a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        from adapter_tune.foundation.startup import prepare_libraries

        prepare_libraries(job.sweep.demo)
        logger = logging.getLogger("adapter_tune")
        logger.setLevel(logging.INFO)
        logger.handlers = [logging.StreamHandler()]
        worker_loop(SweepStudy(job.sweep, job.folder, job.storage), job.folder)


def worker_loop(ledger: SweepStudy, folder: Path) -> None:
    """Take runs until none is left, here or with other workers."""
    from adapter_tune.modeling.backbone import BackboneCache
    from adapter_tune.runs.run import run

    kept = BackboneCache()
    ledger.known = kept.things
    gc.freeze()  # the libraries' objects: every run's collections would go through them again
    while True:
        ledger.release_dead()
        if ledger.is_open():
            ledger.take(lambda trial, values: _run(ledger, trial, values, folder, run, kept))
        elif ledger.is_busy():
            time.sleep(_POLL)
        else:
            return


def _run(ledger: SweepStudy, trial: Any, values: Values, folder: Path, run: Callable[..., Any], kept: Any) -> float:
    """One trial: its run's headline score on the validation split."""
    import optuna

    from adapter_tune.data.custom import resolve_custom_data

    try:
        config = resolve_custom_data(config_of(ledger.sweep, values, folder), kept.things)
        print(f"{values}: {config.folder}", flush=True)
        join(trial, group_of(ledger.sweep, config.model_dump()))
        result = run(config, kept=kept, callbacks=[_pruning(trial, config)])
    except optuna.TrialPruned:
        shutil.rmtree(config.folder, ignore_errors=True)
        raise
    except Exception as error:
        first = first_line(error)
        fail(trial, first if isinstance(error, AdapterTuneError) else f"{type(error).__name__}: {first}")
        raise
    return float(result.headline.value)


def _pruning(trial: Any, config: Any) -> Any:
    """A callback that tells the ledger every epoch's score, and stops the run where it is hopeless."""
    import optuna
    from transformers import TrainerCallback

    task = config.task_spec
    key = f"eval_{task.validation[0]}_{task.headline}"

    class Pruning(TrainerCallback):  # type: ignore[misc]
        """Reports and asks."""

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            """After each evaluation."""
            if metrics and key in metrics:
                trial.report(float(metrics[key]), round(state.epoch or 0))
                if trial.should_prune():
                    raise optuna.TrialPruned

    return Pruning()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
