"""A run computes with as many threads as there are idle cores when it starts."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

import adapter_tune
from adapter_tune.config.schema import parse_config
from adapter_tune.foundation import threads
from adapter_tune.foundation.errors import FieldError
from adapter_tune.foundation.threads import LoadMeter, choose_threads, cpu_threads
from adapter_tune.runs.reload import evaluate_run, predictor
from adapter_tune.training.trainer import AdapterTrainer


class Busy(LoadMeter):
    def __init__(self, cores: float) -> None:
        self.cores = cores

    def busy_cores(self) -> float:
        return self.cores


@pytest.mark.parametrize(
    ("cores", "busy", "expected"),
    [(2, 0.0, 2), (2, 0.3, 2), (2, 1.0, 1), (2, 2.0, 1), (8, 5.2, 3), (8, 40.0, 1), (1, 0, 1)],
)
def test_idle_cores_are_taken(cores: int, busy: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert choose_threads(Busy(busy)) == expected


@pytest.mark.parametrize(("value", "expected"), [("4", 4), ("4,2", 4), ("", 1), ("four", 1), ("0", 1), ("-1", 1)])
def test_a_number_in_the_environment_decides(value: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert choose_threads(Busy(4)) == expected


def test_others_are_counted_and_this_process_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(10.0, 100.0, 7.0), (14.0, 109.0, 10.0)])  # in 4 seconds cores were busy for 9, with us for 3
    monkeypatch.setattr(threads, "_times", lambda: next(times))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(time, "monotonic", lambda: 14.0)
    assert LoadMeter().busy_cores() == 1.5


def test_where_the_load_is_hidden_all_cores_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("/proc/stat")

    monkeypatch.setattr("psutil.cpu_times", hidden)
    assert LoadMeter().busy_cores() == 0


def test_a_real_meter_sees_something_plausible() -> None:
    meter = LoadMeter()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:  # our own work counts for nothing
        pass
    assert 0 <= meter.busy_cores() <= len(threads.usable_cores()) + 0.5


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with cpu_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_a_run_says_how_many_it_had_and_is_scored_again_with_as_many(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = torch.nn.Embedding.forward

    def watched(self: Any, x: Any) -> Any:
        seen.append(torch.get_num_threads())
        return forward(self, x)

    monkeypatch.setattr(torch.nn.Embedding, "forward", watched)
    config = make_config("stsb", threads=2, device="cpu", epochs=1)
    result = adapter_tune.run(config)
    assert result.speed.threads == 2
    assert set(seen) == {2}
    seen.clear()
    assert evaluate_run(config.folder).scores == result.scores
    assert set(seen) == {2}
    assert predictor(config.folder).config.training.threads == 2


def test_threads_are_chosen_once_for_a_run(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter_tune.training.loop.choose_threads", lambda load: 2)
    config = make_config("rte", device="cpu", epochs=2)
    stop = type("Stop", (Exception,), {})

    step = AdapterTrainer.training_step

    def interrupted(self: AdapterTrainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 6:
            raise stop
        return step(self, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "training_step", interrupted)
    with pytest.raises(stop):
        adapter_tune.run(config)
    monkeypatch.setattr(AdapterTrainer, "training_step", step)
    monkeypatch.setattr("adapter_tune.training.loop.choose_threads", lambda load: 1)
    assert adapter_tune.run(config).speed.threads == 2


@pytest.mark.parametrize("wrong", [0, -1, "many", 1.5])
def test_other_numbers_are_refused(wrong: Any) -> None:
    with pytest.raises(FieldError, match=r"training\.threads"):
        parse_config({"task": "rte", "training": {"threads": wrong}})
