import subprocess
import sys

import pytest
import torch
from transformers import TrainerState

from adapter_tune.training.speed_monitor import Clock, measured, peak_memory


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr("adapter_tune.training.speed_monitor.time.perf_counter", lambda: now[0])
    return now


def trained(clock: Clock, time: list[float]) -> None:
    """Two steps of a second each, a minute of evaluation, a minute of saving, a third step."""
    clock.on_epoch_begin()
    for event, seconds in (
        (clock.on_step_end, 1), (clock.on_step_end, 1), (clock.on_evaluate, 60), (clock.on_save, 60),
        (clock.on_step_end, 1),
    ):  # fmt: skip
        time[0] += seconds
        event()


def test_training_time_leaves_out_evaluation_and_saving(time: list[float]) -> None:
    clock = Clock()
    trained(clock, time)
    assert clock.seconds == 3


def test_rows_and_tokens_a_second(time: list[float]) -> None:
    clock = Clock()
    for _ in range(3):
        clock.count(2, 8, torch.tensor(6))
    trained(clock, time)
    rates = [{"eval_a_runtime": 2.0}, {"eval_b_runtime": 3.0}, {"loss": 1.0}]
    speed = measured(clock, "cpu", "float32", rates, {"a": 10, "b": 20})
    assert (speed.train_seconds, speed.train_examples_per_second, speed.train_tokens_per_second) == (3, 2, 6)
    assert (speed.real_token_share, speed.eval_examples_per_second) == (0.75, 6)


def test_a_clock_that_never_ran_gives_nulls() -> None:
    speed = measured(Clock(), "cpu", "float32", [], {})
    assert speed.train_seconds is speed.train_examples_per_second is speed.real_token_share is None
    assert speed.eval_examples_per_second is None


def test_the_count_goes_on_from_a_checkpoint(time: list[float]) -> None:
    before = Clock()
    before.count(2, 8, torch.tensor(8))
    trained(before, time)
    state = TrainerState(global_step=3, stateful_callbacks={"Clock": before.state()})
    after = Clock()
    after.on_train_begin(None, state, None)
    assert (after.seconds, after.examples, after.real, after.padded) == (3, 2, 8, 8)
    fresh = Clock()
    fresh.on_train_begin(None, TrainerState(stateful_callbacks={"Clock": before.state()}), None)
    assert fresh.seconds == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process inherits its starter's peak")
def test_peak_memory_is_a_processs_own() -> None:
    held = bytearray(1 << 29)
    code = "from adapter_tune.training.speed_monitor import peak_memory; print(peak_memory('cpu'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = peak_memory("cpu")
    assert ours is not None
    assert 0 < int(found.stdout) < ours - len(held) // 2
