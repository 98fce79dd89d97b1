"""Sweeps: the file, the runs, and that every cell runs exactly once."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import psutil
import pytest
import torch
from optuna.trial import TrialState

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.shipped import shipped_configs
from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.backbone import RunCache
from adapter_tune.run_files.result import finished_runs, read_result
from adapter_tune.runs.resolve import resolve_run
from adapter_tune.sweeps import workers
from adapter_tune.sweeps.cells import cells, config_of
from adapter_tune.sweeps.cost import estimate_cost
from adapter_tune.sweeps.live import LiveProgress
from adapter_tune.sweeps.pruning import set_group
from adapter_tune.sweeps.selection import best_choices
from adapter_tune.sweeps.spec import Sweep, read_sweep
from adapter_tune.sweeps.study import Progress, SweepStudy
from adapter_tune.sweeps.trial_attributes import is_worker_dead
from adapter_tune.sweeps.workers import worker_loop
from tests.helpers import killed_or_broken, write_language


@pytest.fixture
def small(backbone: str, glue: str) -> dict[str, Any]:
    """A sweep's ``set`` for the small world."""
    return {
        "model.id": backbone, "data.source": glue, "data.max_length": 32, "training.epochs": 1,
        "training.batch_size": 16, "training.learning_rate": 3e-3, "training.precision": "float32",
    }  # fmt: skip


def sweep_of(small: dict[str, Any], **values: Any) -> Sweep:
    given = {"name": "s", "set": small, "parameters": {"task": ["rte"], "training.seed": [1, 2]}, **values}
    return Sweep(**given)


def test_a_grid_is_a_product_and_a_strategy_has_lists_of_its_own() -> None:
    strategies = [{"name": "houlsby", "m": [8, 64]}, {"name": "full", "training.learning_rate": [1e-5]}, "head"]
    grid = cells(Sweep(name="s", parameters={"task": ["cola", "rte"], "strategy": strategies, "training.seed": [1]}))
    assert len(grid) == 2 * 4
    assert grid[0] == {"task": "cola", "strategy.name": "houlsby", "strategy.m": 8, "training.seed": 1}
    assert grid[2] == {
        "task": "cola", "strategy.name": "full", "training.learning_rate": 1e-5, "training.seed": 1,
    }  # fmt: skip
    assert grid[3]["strategy.name"] == "head"


def test_a_parameter_that_changes_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nparameters:\n  task: [rte]\n  training.report_to: [none, tensorboard]\n")
    with pytest.raises(UsageError, match=r"s\.yaml:4: parameters\.training\.report_to .*; write it under set"):
        read_sweep(str(tmp_path / "s.yaml"))


def test_a_cell_is_a_configuration(small: dict[str, Any], tmp_path: Path) -> None:
    sweep = sweep_of(small, base="paper/houlsby")
    config = config_of(sweep, {"task": "cola", "strategy.name": "top_n", "strategy.n": 2}, tmp_path)
    assert (config.task, config.strategy.name, config.training.batch_size) == ("cola", "top_n", 16)
    assert config.output == str(tmp_path / "runs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: s\n", "parameters is missing"),
        ("name: s\nparameters: {}\n", "parameters is empty"),
        ("name: s\nparameters:\n  training.seed: 3\n", "x.yaml:3: parameters.training.seed should be a list"),
        ("name: s\nparameters: {training.seed: [1]}\nmethod: gird\n", "x.yaml:3: method"),
        ("name: s\nparameters: {training.seed: [1]}\nmethod: random\n", "trials is missing"),
        ("name: s\nparameters: {training.seed: [1]}\ntrials: 3\n", "trials is only for"),
        ("name: s\nparameters: {training.seed: {low: 1, high: 2}}\n", "a grid needs a list"),
        ("name: s\nmethod: tpe\ntrials: 2\nparameters: {a.b: {low: 2, high: 1}}\n", "needs low < high"),
        ("name: s\nmethod: tpe\ntrials: 2\nparameters: {a.b: {low: 2}}\n", "parameters.a.b.high"),
        ("name: a/b\nparameters: {training.seed: [1]}\n", "name"),
        ("name: s\nparameters: {task: [cola]}\nparametres: {}\n", "parametres"),
        ("name: s\nparameters: {task: [cola], training.sed: [1]}\n", "training.sed"),
        ("name: s\nparameters: {task: [colla]}\n", "did you mean 'cola'"),
        (
            "name: s\nmethod: tpe\ntrials: 2\nparameters: {a.b: {low: 1.5, high: 3, integer: true}}\n",
            "needs whole numbers as bounds",
        ),
        ("name: s\nmethod: random\ntrials: 2\nparameters: {task: [cola, colla]}\n", "did you mean 'cola'"),
        (
            "name: s\nmethod: random\ntrials: 2\nparameters: {task: [cola], training.epochs: {low: 0, high: 2}}\n",
            "epochs",
        ),
        ("name: s\ngroup_by: [taks]\nparameters: {task: [cola]}\n", "x.yaml:2: group_by taks: unknown option 'taks'"),
        ("name: s\naverage_over: [training.sed]\nparameters: {task: [cola]}\n", "did you mean 'seed'"),
        ("name: s\ngroup_by: [strategy.nme]\nparameters: {task: [cola]}\n", "unknown option 'nme'"),
        (
            "name: s\ndemo: true\nparameters: {task: [rte], strategy.layers: [all, top-9]}\n",
            "more than the backbone's 4",
        ),
        ("name: s\nparameters: {'': [1]}\n", "is not the path of an option"),
        ('name: s\nparameters: {"\\ta": [1]}\n', "is not the path of an option"),
        ("name: s\nparameters: {strategy: [{name: houlsby, a b: 1}]}\n", "'strategy.a b' is not the path of an option"),
        ("name: s\nparameters: {strategy: [{name: houlsby, 1: 2}]}\n", "unknown option '1'"),
        ("name: s\nset: {a b: 1}\nparameters: {task: [cola]}\n", "x.yaml:2: set.a b is not the path of an option"),
    ],
)
def test_a_wrong_sweep_is_said_before_anything_runs(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", str(tmp_path / "x.yaml"), "--output", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", shipped_configs(sweeps=True))
def test_every_shipped_sweep_is_whole(name: str, tmp_path: Path) -> None:
    sweep = read_sweep(name)
    for values in cells(sweep):
        config_of(sweep, values, tmp_path)


def test_the_best_is_run_again_with_further_seeds(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter_tune.sweeps.workers.run_workers", run_workers_here)
    rates = {"name": "houlsby", "m": 4, "training.learning_rate": [1e-6, 3e-3]}
    sweep = sweep_of(
        small, parameters={"task": ["rte"], "strategy": [rates], "training.seed": [1]}, repeat={"training.seed": [1, 2]}
    )
    (tmp_path / "s.yaml").write_text(to_yaml(sweep.model_dump()))
    for _ in range(2):
        main(["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "out")])
        best = json.loads((tmp_path / "out" / "s" / "selection.json").read_text())
        assert len(best) == 1
        assert best[0]["seeds"] == 2
        study = SweepStudy(sweep, tmp_path / "out" / "s")
        assert study.progress().total == study.progress().done == 3  # two rates, and the better one again
        assert len(study.finished(repeats=False)) == 2
        seeds = [values["training.seed"] for values, _ in study.finished(repeats=True)]
        assert sorted(seeds) == [1, 1, 2]


def run_workers_here(
    sweep: Sweep, folder: Path, storage: str | None, workers: int, show: Any, repeats: Any = (), cache: Any = None
) -> SweepStudy:
    """``run_workers`` without processes of its own."""
    study = SweepStudy(sweep, folder, storage, cache)
    study.fill(repeats)
    worker_loop(study, folder)
    show(study.progress())
    return study


def test_a_sweep_whose_workers_are_gone_is_no_success(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adapter_tune.sweeps.workers.run_workers", run_workers_here)
    monkeypatch.setitem(globals(), "worker_loop", lambda study, folder: None)
    (tmp_path / "s.yaml").write_text(to_yaml(sweep_of(small).model_dump()))
    with pytest.raises(SystemExit, match="1"):
        main(["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "out")])
    assert "2 runs are not finished, and no worker is running" in capsys.readouterr().err


def test_what_is_averaged_over_is_given_when_the_best_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "name: x\nparameters: {task: [rte], training.seed: [1]}\nrepeat: {training.epochs: [2]}\n"
    )
    with pytest.raises(UsageError, match=r"x.yaml:3: repeat lacks training.seed"):
        read_sweep(str(tmp_path / "x.yaml"))


def done(study: SweepStudy) -> list[str]:
    return [t.user_attrs["cell"] for t in study.trials() if t.state == TrialState.COMPLETE]


def test_a_finished_run_is_not_run_again_and_a_grid_can_grow(small: dict[str, Any], tmp_path: Path) -> None:
    for seeds in ([1], [1, 2]):
        study = SweepStudy(sweep_of(small, parameters={"task": ["rte"], "training.seed": seeds}), tmp_path)
        study.fill()
        worker_loop(study, tmp_path)
        study.fill()
        assert not study.has_next()
        assert len(done(study)) == len(set(done(study))) == len(seeds)
    assert study.progress().total == study.progress().done == 2
    assert len(finished_runs(tmp_path / "runs")) == 2


@pytest.mark.parametrize(("ended", "expected"), [(2, "2 of 2 done, 0 failed, best 0.5000, 0 s left"), (1, ", ? left")])
def test_what_is_left_of_a_sweep_that_went_on_before(
    ended: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with LiveProgress("s") as live:
        live.show(Progress(2, 2 - ended, 0, ended, 0, 0, 0.5))
    assert expected in capsys.readouterr().err


def test_a_failed_run_is_said_and_taken_again(small: dict[str, Any], tmp_path: Path) -> None:
    hole = tmp_path / "gone"
    sweep = sweep_of({**small, "model.id": str(hole)}, parameters={"task": ["rte"]})
    study = SweepStudy(sweep, tmp_path)
    study.fill()
    worker_loop(study, tmp_path)
    assert study.progress().failed == 1
    assert "gone" in study.errors()[0][1]
    hole.symlink_to(small["model.id"])
    study.fill()
    worker_loop(study, tmp_path)
    assert (study.progress().failed, study.progress().done) == (0, 1)


@pytest.mark.parametrize("model", [None, DEMO], ids=["with a pooler", "pooler drawn"])
def test_warm_runs_are_the_cold_ones_to_the_bit(make_config: Any, model: str | None, tmp_path: Path) -> None:
    cache = RunCache()
    for index, (task, strategy) in enumerate(
        (("rte", "houlsby"), ("rte", "full"), ("stsb", "houlsby"), ("rte", "head"))
    ):
        config = make_config(task, strategy, model, epochs=1, seed=index, precision="float32")
        cold = adapter_tune.run(config)
        there = config.model_copy(update={"output": str(tmp_path / "warm")})
        torch.rand(7 + index)  # the state of the generator must not matter
        warm = adapter_tune.run(there, cache=cache)
        assert (warm.scores, warm.history) == (cold.scores, cold.history)


def test_seeds_are_averaged_and_the_best_choice_is_found_in_each_group(make_config: Any) -> None:
    base = adapter_tune.run(make_config("rte", epochs=1))
    scores = {(8, 1): 0.5, (8, 2): 0.9, (64, 1): 0.65, (64, 2): 0.66}
    runs = []
    for (m, seed), value in scores.items():
        result = base.model_copy(update={"headline": base.headline.model_copy(update={"value": value})})
        runs.append(({"task": "rte", "strategy.m": m, "training.seed": seed}, result))
    (best,) = best_choices(Sweep(name="s", parameters={"task": ["rte"]}), runs)
    assert best["choice"] == {"task": "rte", "strategy.m": 8}
    assert (best["mean"], best["seeds"], best["of_choices"]) == (pytest.approx(0.7), 2, 2)
    assert best["group"] == {"task": "rte", "strategy.name": "houlsby"}


def test_a_sweep_that_is_changed_runs_anew_and_chooses_among_what_it_says_now(
    small: dict[str, Any], tmp_path: Path
) -> None:
    rates = {"task": ["rte"], "training.learning_rate": [1e-3, 3e-3]}
    small.pop("training.learning_rate")
    for given, runs in (({**small, "training.max_steps": 2}, 2), ({**small, "training.max_steps": 3}, 4)):
        study = SweepStudy(sweep_of(given, parameters=rates), tmp_path)
        study.fill()
        worker_loop(study, tmp_path)
        assert (study.progress().total, study.progress().done, len(finished_runs(tmp_path / "runs"))) == (2, 2, runs)
        max_steps = [read_result(folder).config["training"]["max_steps"] for _, folder in study.finished(repeats=True)]
        assert max_steps == [given["training.max_steps"]] * 2
    fewer = SweepStudy(sweep_of(given, parameters={**rates, "training.learning_rate": [3e-3]}), tmp_path)
    fewer.fill()
    assert (fewer.progress().total, fewer.progress().done, len(fewer.finished(repeats=True))) == (1, 1, 1)


def test_a_cell_that_is_no_more_in_the_file_is_not_run(small: dict[str, Any], tmp_path: Path) -> None:
    SweepStudy(sweep_of(small), tmp_path).fill()
    study = SweepStudy(sweep_of(small, parameters={"task": ["rte"], "training.seed": [2, 3]}), tmp_path)
    study.fill()
    worker_loop(study, tmp_path)
    assert sorted(values["training.seed"] for values, _ in study.finished(repeats=True)) == [2, 3]
    assert len(finished_runs(tmp_path / "runs")) == 2


def test_a_run_whose_folder_is_gone_is_made_again(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(small)
    monkeypatch.chdir(tmp_path)
    for here, there in ((tmp_path, Path("s")), (tmp_path / "below", Path("../s"))):  # found from anywhere
        here.mkdir(exist_ok=True)
        monkeypatch.chdir(here)
        study = SweepStudy(sweep, there)
        study.fill()
        worker_loop(study, there)
        assert len([read_result(folder) for _, folder in study.finished(repeats=True)]) == 2
        shutil.rmtree(min(tmp_path.glob("s/runs/*")))
        assert len(study.finished(repeats=True)) == 1


def search_of(small: dict[str, Any], **values: Any) -> Sweep:
    rates = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    given = {key: value for key, value in small.items() if key != "training.learning_rate"}
    return sweep_of(given, **{"method": "random", "trials": 3, "parameters": {"task": ["rte"], **rates}, **values})


def recording(drawn: list[Any], path: str) -> Any:
    """An objective that records the value drawn for an option."""

    def objective(trial: Any, values: Any) -> float:
        drawn.append(values[path])
        return 0.5

    return objective


def test_a_search_ends_when_its_runs_fail_and_takes_the_same_again(small: dict[str, Any], tmp_path: Path) -> None:
    hole = tmp_path / "gone"
    study = SweepStudy(search_of({**small, "model.id": str(hole)}), tmp_path)
    study.fill()
    worker_loop(study, tmp_path)
    assert (study.progress().failed, study.progress().done) == (3, 0)
    failed = [values for values, _ in study.errors()]
    hole.symlink_to(small["model.id"])
    study.fill()
    worker_loop(study, tmp_path)
    assert (study.progress().failed, study.progress().done, study.progress().total) == (0, 3, 3)
    assert [values for values, _ in study.finished(repeats=True)] == failed


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_that_goes_on_draws_new_values_whichever_process_draws(
    small: dict[str, Any], tmp_path: Path, method: str
) -> None:
    drawn: list[float] = []
    for trials in (2, 4, 5):  # another process each time
        study = SweepStudy(search_of(small, method=method, trials=trials), tmp_path)
        while study.has_next():
            study.run_next(recording(drawn, "training.learning_rate"))
    assert len(drawn) == len(set(drawn)) == 5
    other = SweepStudy(search_of(small, method=method, trials=5), tmp_path / "other")
    again: list[float] = []
    while other.has_next():
        other.run_next(recording(again, "training.learning_rate"))
    assert again == drawn


def test_a_search_that_has_been_through_all_there_is_ends(small: dict[str, Any], tmp_path: Path) -> None:
    parameters = {"task": ["rte"], "training.seed": {"low": 1, "high": 2, "integer": True}}
    study = SweepStudy(search_of(small, trials=4, parameters=parameters), tmp_path)
    seeds: list[int] = []
    while study.has_next():
        study.run_next(recording(seeds, "training.seed"))
    assert sorted(seeds) == [1, 2]
    assert (study.progress().total, study.progress().done) == (4, 2)


@pytest.mark.parametrize("kind", ["median", "halving"])
def test_a_run_is_held_against_its_own_group_only(kind: Any, small: dict[str, Any], tmp_path: Path) -> None:
    parameters = {"task": ["sst2", "cola"], "training.seed": [1, 2, 3, 4, 5, 6]}
    study = SweepStudy(sweep_of(small, prune=kind, parameters=parameters), tmp_path)
    study.fill()

    def score(trial: Any, values: Any) -> float:
        set_group(trial, {"task": values["task"]})
        value: float = (0.9 if values["task"] == "sst2" else 0.1) + 0.01 * values["training.seed"]
        value -= 0.05 * (values["training.seed"] == 6)  # below its own
        for epoch in range(1, 9):
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    while study.has_next():
        study.run_next(score)
    lost = [t.user_attrs["values"] for t in study.trials() if t.state == TrialState.PRUNED]
    assert {json.loads(values)["task"] for values in lost} == {"sst2", "cola"}
    assert (
        len({json.loads(t.user_attrs["values"])["task"] for t in study.trials() if t.state == TrialState.COMPLETE}) == 2
    )
    assert all(json.loads(values)["training.seed"] != 1 for values in lost)


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_makes_its_trials(small: dict[str, Any], tmp_path: Path, method: str) -> None:
    small.pop("training.learning_rate")
    rates = {"low": 1e-4, "high": 1e-2, "log": True}
    strategies = [{"name": "houlsby", "m": [2, 4]}, "head"]
    parameters = {"task": ["rte"], "strategy": strategies, "training.learning_rate": rates}
    study = SweepStudy(sweep_of(small, method=method, trials=3, parameters=parameters), tmp_path)
    study.fill()
    worker_loop(study, tmp_path)
    finished = study.finished(repeats=True)
    assert len(finished) == 3
    for values, folder in finished:
        config = read_result(folder).config
        assert config["training"]["learning_rate"] == values["training.learning_rate"]
        assert 1e-4 <= values["training.learning_rate"] <= 1e-2
        assert config["strategy"]["name"] == values["strategy.name"]


def test_hopeless_runs_are_stopped(small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number == 1)
    parameters = {"task": ["rte"], "training.seed": [1, 2, 3]}
    study = SweepStudy(sweep_of({**small, "training.epochs": 2}, prune="median", parameters=parameters), tmp_path)
    study.fill()
    worker_loop(study, tmp_path)
    progress = study.progress()
    assert (progress.done, progress.pruned, progress.failed) == (2, 1, 0)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_look_at_the_progress_is_one_question(small: dict[str, Any], tmp_path: Path) -> None:
    study = SweepStudy(sweep_of(small, parameters={"task": ["rte"], "training.seed": [1, 2, 3]}), tmp_path)
    study.fill()
    with mock.patch.object(study.optuna_study, "get_trials", wraps=study.optuna_study.get_trials) as get_trials:
        assert study.progress().waiting == 3
    assert get_trials.call_count == 1


def test_a_killed_worker_loses_nothing(small: dict[str, Any], tmp_path: Path) -> None:
    """Two workers on one storage, one of them killed in the middle: every cell ends done exactly once."""
    parameters = {"task": ["rte", "sst2"], "training.seed": [1, 2, 3]}
    sweep = sweep_of({**small, "training.epochs": 3, "training.device": "cpu"}, parameters=parameters)
    SweepStudy(sweep, tmp_path).fill()
    code = (
        "import sys, json, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from adapter_tune.sweeps.study import SweepStudy\nfrom adapter_tune.sweeps.spec import Sweep\n"
        "from adapter_tune.sweeps.workers import worker_loop\n"
        "folder = Path(sys.argv[1])\n"
        "worker_loop(SweepStudy(Sweep(**json.loads(sys.argv[2])), folder), folder)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), sweep.model_dump_json()]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(2)]
    study = SweepStudy(sweep, tmp_path)
    victim = None
    while victim is None:
        running = [t for t in study.trials() if t.state == TrialState.RUNNING and "pid" in t.user_attrs]
        victim = next((t.user_attrs["pid"] for t in running), None)
        time.sleep(0.05)
        assert any(worker.poll() is None for worker in workers)
    os.kill(victim, signal.SIGKILL)
    codes = sorted(worker.wait(timeout=120) for worker in workers)
    assert codes == [-signal.SIGKILL, 0]
    assert sorted(done(study)) == sorted(study.cells)
    assert len(finished_runs(tmp_path / "runs")) == 6
    progress = study.progress()
    assert (progress.total, progress.done, progress.running, progress.waiting, progress.failed) == (6, 6, 0, 0, 0)


def test_workers_that_end_early_are_reported_once(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "worker_main", killed_or_broken)
    workers.run_workers(sweep_of(small, parameters={"task": ["rte"]}), tmp_path, None, 3, lambda progress: None)
    killed, broken = sorted(caplog.messages)
    assert killed.startswith("worker 0 was ended by SIGKILL, as the system does when memory runs out; fewer --workers")
    assert broken == f"worker 1 ended with exit code 1; see {tmp_path}/worker-1.log"


def test_a_worker_is_dead_as_soon_as_its_process_has_ended() -> None:
    """Also while its parent has not looked at it: the system then still has its number."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def is_dead(pid: int, host: str = socket.gethostname()) -> bool:
        return is_worker_dead(optuna.trial.create_trial(value=0.0, user_attrs={"host": host, "pid": pid}))

    assert not is_dead(process.pid)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert is_dead(process.pid)
    assert not is_dead(process.pid, "another-machine")
    process.communicate()
    assert is_dead(process.pid)
    assert is_dead(0)


def test_a_surplus_trial_counts_for_nothing(small: dict[str, Any], tmp_path: Path) -> None:
    study = SweepStudy(sweep_of(small), tmp_path)
    study.fill()
    first = study.optuna_study.ask()
    values = study.claim(first)
    twin = {"cell": study.cell_keys.key(values), "values": json.dumps(values)}
    study.optuna_study.enqueue_trial({}, user_attrs=twin)  # two machines that filled the queue at once
    study.optuna_study.ask()
    for _ in range(2):
        with pytest.raises(optuna.TrialPruned):
            study.claim(study.optuna_study.ask())  # the twin of the first, then one that no cell is left for
    assert study.progress().total == 2


def test_a_journal_file_is_a_storage(small: dict[str, Any], tmp_path: Path) -> None:
    study = SweepStudy(sweep_of(small), tmp_path, f"journal:{tmp_path / 'journal'}")
    study.fill()
    worker_loop(study, tmp_path)
    assert study.progress().done == 2
    with pytest.raises(UsageError, match="should be a URL"):
        SweepStudy(sweep_of(small), tmp_path, "here")
    with pytest.raises(RunError, match="cannot be opened"):
        SweepStudy(sweep_of(small), tmp_path, f"sqlite:///{tmp_path}/no/where.db")
    with pytest.raises(RunError, match="cannot be opened") as caught:
        SweepStudy(sweep_of(small), tmp_path, "nosuchdatabase://me:secret@host/name")
    assert "secret" not in str(caught.value)


def test_a_plan_counts_and_estimates(
    small: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "good day,yes\nbad day,no\n" * 20)
    parameters = {"task": ["rte"], "strategy": [{"name": "houlsby", "m": [2, 4]}], "training.seed": [1, 2]}
    custom = {**small, "data.source": "demo", "data.custom.train_file": str(tmp_path / "rows.csv")}
    with caplog.at_level("INFO"):
        estimate_cost(sweep_of(custom, parameters={**parameters, "task": ["custom"]}), tmp_path)
    assert caplog.text.count("2 classes") == 1  # read once for four cells
    assert caplog.text.count("measuring the speed of houlsby on custom") == 1
    assert "loss" not in capfd.readouterr().err
    estimate = estimate_cost(sweep_of(small, parameters=parameters), tmp_path)
    assert estimate.runs == 4
    assert [row.strategy for row in estimate.rows] == ["houlsby m=2", "houlsby m=4"]
    assert estimate.rows[0].trained < estimate.rows[1].trained
    assert estimate.seconds > 0
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UsageError, match="are drawn during the sweep"):
        estimate_cost(sweep_of(small, method="tpe", trials=2), tmp_path)


def test_a_plan_counts_every_setting_and_refuses_what_does_not_fit(small: dict[str, Any], tmp_path: Path) -> None:
    deep = {"name": "houlsby", "m": 2, "layers": ["top-1", "all"], "depth": [1, 2]}
    estimate = estimate_cost(
        sweep_of(small, parameters={"task": ["rte", "mnli"], "strategy": [deep, "head"]}), tmp_path
    )
    assert [(row.strategy, row.runs) for row in estimate.rows] == [
        ("houlsby m=2 layers=top-1", 2), ("houlsby m=2 depth=2 layers=top-1", 2), ("houlsby m=2", 2),
        ("houlsby m=2 depth=2", 2), ("head", 2),
    ]  # fmt: skip
    assert len({row.trained for row in estimate.rows}) == 5
    wrong = {"task": ["rte"], "strategy": [{"name": "houlsby", "m": 2, "layers": ["all", "top-9"]}]}
    with mock.patch("adapter_tune.sweeps.cost._probe") as probe, pytest.raises(UsageError, match="top-9 is more than"):
        estimate_cost(sweep_of(small, parameters=wrong), tmp_path)
    assert not probe.called


def test_a_sweep_over_data_of_the_users_own(
    small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    custom = {**small, "data.source": "demo", "data.custom.train_file": str(tmp_path / "rows.csv")}
    sweep = sweep_of(custom, parameters={"task": ["custom"], "training.seed": [1, 2]})
    (tmp_path / "s.yaml").write_text(to_yaml(sweep.model_dump()))
    words = ["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        main(words)
    assert "rows.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # the error comes before any run
    (tmp_path / "rows.csv").write_text("text,label\n" + "good day,yes\nbad day,no\n" * 20)
    main(words)
    captured = capsys.readouterr()
    assert "2 of 2 done, 0 failed" in captured.err
    assert captured.err.count("2 classes") == 1
    study = SweepStudy(sweep, tmp_path / "out" / "s")
    assert all(read_result(run).task == "custom" for _, run in study.finished(repeats=False))
    assert (tmp_path / "out" / "s" / "worker-0.log").read_text().count("2 classes") == 1


def test_configurations_that_are_equal_are_counted(
    small: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = sweep_of(small, parameters={"task": ["rte"], "training.learning_rate": [1e-3, 0.001, 1e-4]})
    SweepStudy(sweep, tmp_path / "s").fill()
    assert "1 of the sweep's configurations are equal to others" in caplog.text


def test_two_language_adapters_are_two_runs(small: dict[str, Any], tmp_path: Path) -> None:
    places = [str(write_language(tmp_path / name, seed, name)) for seed, name in enumerate(("de", "sw"))]
    sweep = sweep_of(small, parameters={"task": ["rte"], "model.language_adapter": places})
    study = SweepStudy(sweep, tmp_path / "s")
    assert len(study.cells) == 2
    configs = (config_of(sweep, values, study.folder) for values in study.cells.values())
    assert list(study.cells) == [resolve_run(config).folder.name for config in configs]


def test_the_command(small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps({"name": "s", "set": small, "parameters": {"task": ["rte"]}}))
    words = ["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "sweeps")]
    main([*words, "--dry-run"])
    assert "s: 1 runs" in capsys.readouterr().out
    main([*words, "--json"])
    captured = capsys.readouterr()
    (best,) = json.loads(captured.out)
    assert best["seeds"] == 1
    assert "1 of 1 done, 0 failed" in captured.err
    assert json.loads((tmp_path / "sweeps" / "s" / "selection.json").read_text()) == [best]


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_workers_share_the_cores_and_leave_ctrl_c_to_their_parent(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_environment(study: SweepStudy, folder: Path) -> None:
        ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        (folder / f"environment-{os.getpid()}").write_text(f"{os.environ['OMP_NUM_THREADS']} {ignores}")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(workers, "worker_loop", write_environment)
    monkeypatch.setattr(workers, "_available_cores", lambda: 8)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: multiprocessing.context.ForkContext())
    workers.run_workers(sweep_of(small), tmp_path, None, 3, lambda _: None)
    assert [file.read_text() for file in tmp_path.glob("environment-*")] == ["2 True"] * 3


@pytest.mark.parametrize(
    ("visible", "devices", "chosen"),
    [
        (None, 4, ["0", "1", "2", "3", "0", "1"]),
        (None, 1, [None] * 6),
        (None, 0, [None] * 6),
        ("2,5", 8, ["2", "5", "2", "5", "2", "5"]),
        ("3", 8, ["3"] * 6),
        ("MIG-a,MIG-b", 1, ["MIG-a", "MIG-b"] * 3),
    ],
)
def test_each_worker_has_a_gpu_of_its_own_while_there_are_enough(
    visible: str | None, devices: int, chosen: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
    results = []
    for number in range(6):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        workers._choose_gpu(number)
        results.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
    assert results == chosen


def claim_all(folder: str, claimed: Any) -> None:
    """A worker whose runs take no time."""
    study = SweepStudy(large_grid(), Path(folder))
    while study.has_next():
        study.run_next(lambda trial, values: claimed.put(values["training.seed"]) or 0.5)


def large_grid() -> Sweep:
    return Sweep(name="s", parameters={"task": ["rte"], "training.seed": list(range(30))})


def test_no_two_workers_take_the_same_run(tmp_path: Path) -> None:
    SweepStudy(large_grid(), tmp_path).fill()
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    claimed = context.Queue()
    several = [context.Process(target=claim_all, args=(str(tmp_path), claimed)) for _ in range(4)]
    for worker in several:
        worker.start()
    seeds = [claimed.get(timeout=60) for _ in range(30)]
    for worker in several:
        worker.join()
    assert sorted(seeds) == list(range(30))
    assert claimed.empty()
