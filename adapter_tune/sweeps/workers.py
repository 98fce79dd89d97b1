"""Worker processes that run a sweep's configurations until none is left; what one run loads, the next one reuses."""

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
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_tune.foundation.errors import AdapterTuneError, first_line
from adapter_tune.run_files.result import read_result
from adapter_tune.sweeps.cells import config_of, repeated_cells
from adapter_tune.sweeps.pruning import set_group
from adapter_tune.sweeps.selection import best_choices, choice_of, group_of
from adapter_tune.sweeps.spec import Sweep, Values
from adapter_tune.sweeps.study import Progress, SweepStudy
from adapter_tune.sweeps.trial_attributes import set_error

if TYPE_CHECKING:
    from adapter_tune.config.resolved import ResolvedConfig
    from adapter_tune.modeling.backbone import RunCache

log = logging.getLogger("adapter_tune")

_IDLE_SECONDS = 0.5
"""How long a worker waits before it looks for a run again."""

_PROGRESS_SECONDS = 2.0
"""Time between two calls of ``show``."""


@dataclass(frozen=True)
class WorkerJob:
    """What a worker process is started with."""

    sweep: Sweep
    folder: Path
    storage: str | None
    path: list[str]
    """The parent's ``sys.path``."""
    threads: int


def run_sweep(
    sweep: Sweep,
    folder: Path,
    storage: str | None,
    workers: int,
    show: Callable[[Progress], None],
    cache: dict[str, Any] | None = None,
) -> tuple[SweepStudy, list[dict[str, Any]]]:
    """Run a sweep to its end, then its ``repeat``; return its study and the best choice of each group.

    The arguments are those of ``run_workers``.
    """
    study = run_workers(sweep, folder, storage, workers, show, cache=cache)
    best = best_choices(sweep, [(values, read_result(run)) for values, run in study.finished(repeats=False)])
    if not sweep.repeat:
        return study, best
    study = run_workers(sweep, folder, storage, workers, show, repeated_cells(sweep, best), cache)
    repeated_choices = [entry["choice"] for entry in best]
    results = []
    for values, run in study.finished(repeats=True):
        if choice_of(sweep, values) in repeated_choices:
            results.append((values, read_result(run)))
    return study, best_choices(sweep, results)


def run_workers(
    sweep: Sweep,
    folder: Path,
    storage: str | None,
    workers: int,
    show: Callable[[Progress], None],
    repeats: Sequence[Values] = (),
    cache: dict[str, Any] | None = None,
) -> SweepStudy:
    """Run a sweep to its end with worker processes on this machine; others may join through the same storage.

    Args:
        sweep: the sweep.
        folder: the sweep's folder.
        storage: the storage URL, as in ``SweepStudy``.
        workers: number of processes.
        show: called with the progress every two seconds.
        repeats: the cells that the sweep's ``repeat`` adds.
        cache: what was read of the user's own data, as in ``SweepStudy``.

    Returns:
        The study, in which no run is left.
    """
    study = SweepStudy(sweep, folder, storage, cache)
    study.fill(repeats)
    if not study.has_next() and not study.has_running():
        workers = 0
    context = multiprocessing.get_context("spawn")
    threads = max(1, _available_cores() // max(1, workers))
    job = WorkerJob(sweep, folder, storage, list(sys.path), threads)
    processes = [context.Process(target=worker_main, args=(job, number), daemon=True) for number in range(workers)]
    ended: set[int] = set()
    try:
        for process in processes:
            process.start()
        while alive := [process.sentinel for process in processes if process.is_alive()]:
            show(study.progress())
            wait(alive, _PROGRESS_SECONDS)
            _report_ended(processes, ended, folder)
        _report_ended(processes, ended, folder)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    study.release_dead()
    show(study.progress())
    return study


def _report_ended(processes: Sequence[BaseProcess], known: set[int], folder: Path) -> None:
    """Warn of workers that have ended before their work; their numbers are added to ``known``."""
    for number, process in enumerate(processes):
        code = process.exitcode
        if not code or number in known:
            continue
        known.add(number)
        if code > 0:
            log.warning("worker %d ended with exit code %d; see %s/worker-%d.log", number, code, folder, number)
        else:
            name = signal.Signals(-code).name
            reason = ", as the system does when memory runs out; fewer --workers need less of it" * (name == "SIGKILL")
            log.warning("worker %d was ended by %s%s; the next free worker resumes its run", number, name, reason)


def worker_main(job: WorkerJob, number: int) -> None:
    """Run a worker process; the output of its runs goes to ``worker-N.log``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent terminates the workers
    sys.path[:] = job.path
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))  # workers whose threads compete for cores are slow
    with (job.folder / f"worker-{number}.log").open("a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        from adapter_tune.foundation.startup import prepare_libraries

        prepare_libraries(job.sweep.demo)
        _choose_gpu(number)
        logger = logging.getLogger("adapter_tune")
        logger.setLevel(logging.INFO)
        logger.handlers = [logging.StreamHandler()]
        worker_loop(SweepStudy(job.sweep, job.folder, job.storage), job.folder)


def worker_loop(study: SweepStudy, folder: Path) -> None:
    """Run trials until none is left, neither in the queue nor with other workers."""
    from adapter_tune.modeling.backbone import RunCache

    cache = RunCache()
    study.cell_keys.custom_data = cache.custom_data

    def objective(trial: Any, values: Values) -> float:
        return _run_trial(study, trial, values, folder, cache)

    gc.freeze()  # otherwise every run's garbage collections would examine the libraries' objects again
    while True:
        study.release_dead()
        if study.has_next():
            study.run_next(objective)
        elif study.has_running():
            time.sleep(_IDLE_SECONDS)
        else:
            return


def _run_trial(study: SweepStudy, trial: Any, values: Values, folder: Path, cache: RunCache) -> float:
    """Run one trial and return the headline score on the validation split.

    Raises:
        optuna.TrialPruned: the run was stopped early; its folder is removed.
        Exception: the run failed; the error is stored with the trial.
    """
    import optuna

    from adapter_tune.runs.resolve import resolve_run
    from adapter_tune.runs.run import run

    try:
        config = resolve_run(config_of(study.sweep, values, folder), cache.custom_data)
        print(f"{values}: {config.folder}", flush=True)
        set_group(trial, group_of(study.sweep, config.model_dump()))
        result = run(config, cache=cache, callbacks=[_pruning_callback(trial, config)])
    except optuna.TrialPruned:
        shutil.rmtree(config.folder, ignore_errors=True)
        raise
    except Exception as error:
        message = first_line(error)
        is_expected = isinstance(error, AdapterTuneError)
        set_error(trial, message if is_expected else f"{type(error).__name__}: {message}")
        raise
    return float(result.headline.value)


def _pruning_callback(trial: Any, config: ResolvedConfig) -> Any:
    """Return a Trainer callback that reports each epoch's score to the study and stops a run that is pruned."""
    import optuna
    from transformers import TrainerCallback

    from adapter_tune.tasks.score_keys import score_key

    task = config.task_spec
    key = score_key(task.validation[0], task.headline)

    class PruningCallback(TrainerCallback):  # type: ignore[misc]
        """Reports each epoch's score; raises TrialPruned if the pruner stops the run."""

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            """Report the score of an evaluation."""
            if metrics and key in metrics:
                trial.report(float(metrics[key]), round(state.epoch or 0))
                if trial.should_prune():
                    raise optuna.TrialPruned

    return PruningCallback()


def _choose_gpu(number: int) -> None:
    """Give worker k the k-th GPU, starting again after the last one, before CUDA starts; one GPU is shared by all."""
    import torch

    every_gpu = ",".join(str(index) for index in range(torch.cuda.device_count()))
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", every_gpu).split(",")
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]


def _available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
