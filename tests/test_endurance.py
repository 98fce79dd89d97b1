"""What runs for a day: memory stays flat, a study stays small, the same configuration gives the same bits."""

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState, create_trial

from adapter_tune.run_files.result import FILE
from adapter_tune.runs.run import run
from adapter_tune.sweeps.spec import Sweep
from adapter_tune.sweeps.study import SweepStudy
from adapter_tune.training.trainer import AdapterTrainer

MIB = 2**20


def resident() -> int:
    """Memory of this process, in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux only")
@pytest.mark.parametrize("many", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory_stays_flat_over_many_evaluations(make_config: Any, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    seen: list[int] = []
    before = AdapterTrainer.train

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        for number in range(many):
            self.evaluate()
            if number in (many // 4, many - 1):
                seen.append(resident())
        return before(self, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "train", train)
    run(make_config("sst2", epochs=1, max_steps=1))
    assert seen[1] - seen[0] < 8 * MIB


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_same_configuration_gives_the_same_result(make_config: Any, deterministic: bool) -> None:
    found = []
    for _ in range(2):
        config = make_config("mnli", deterministic=deterministic)
        run(config, force=True)
        found.append(json.loads((config.folder / FILE).read_text()))
        assert found[-1].pop("speed")
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        torch.use_deterministic_algorithms(False)
    assert found[0] == found[1]


@pytest.mark.parametrize("many", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_study_of_many_trials_stays_small_and_quick(tmp_path: Path, many: int) -> None:
    parameters = {"task": ["rte"], "strategy": [{"name": "houlsby", "m": list(range(1, many + 1))}]}
    sweep = Sweep(name="s", parameters=parameters)
    study = SweepStudy(sweep, tmp_path)
    done = [
        create_trial(
            state=TrialState.COMPLETE, value=0.5,
            user_attrs={"cell": cell, "values": json.dumps(values), "host": "h", "pid": 1},
        )
        for cell, values in list(study.cells.items())[:-1]
    ]  # fmt: skip
    for trial in done:
        (tmp_path / "runs" / trial.user_attrs["cell"]).mkdir(parents=True)
        (tmp_path / "runs" / trial.user_attrs["cell"] / FILE).touch()
    study.optuna_study.add_trials(done)
    study = SweepStudy(sweep, tmp_path)
    start = time.perf_counter()
    study.fill()
    study.has_next()
    progress = study.progress()
    first = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(10):  # what a worker asks before every run
        study.release_dead()
        assert study.has_next()
    again = (time.perf_counter() - start) / 10
    assert (progress.total, progress.done, progress.waiting) == (many, many - 1, 1)
    size = (tmp_path / "study.db").stat().st_size
    print(f"{many:,} trials: {size / MIB:.1f} MiB, opened in {first:.1f} s, then {1000 * again:.0f} ms before a run")
    assert size < 2500 * many + MIB
