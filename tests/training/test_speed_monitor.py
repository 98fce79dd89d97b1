import subprocess
import sys

import pytest
import torch
from transformers import TrainerState

from adapter_tune.training.speed_monitor import SpeedMonitor, peak_memory, speed_of


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr("adapter_tune.training.speed_monitor.time.perf_counter", lambda: now[0])
    return now


def trained(speed_monitor: SpeedMonitor, time: list[float]) -> None:
    """Two steps of a second each, a minute of evaluation, a minute of saving, a third step."""
    speed_monitor.on_epoch_begin()
    step = (speed_monitor.on_step_end, 1)
    for event, seconds in (step, step, (speed_monitor.on_evaluate, 60), (speed_monitor.on_save, 60), step):
        time[0] += seconds
        event()


def test_training_time_leaves_out_evaluation_and_saving(time: list[float]) -> None:
    speed_monitor = SpeedMonitor()
    trained(speed_monitor, time)
    assert speed_monitor.seconds == 3


def test_rows_and_tokens_a_second(time: list[float]) -> None:
    speed_monitor = SpeedMonitor()
    for _ in range(3):
        speed_monitor.count(2, 8, torch.tensor(6))
    trained(speed_monitor, time)
    rates = [{"eval_a_runtime": 2.0}, {"eval_b_runtime": 3.0}, {"loss": 1.0}]
    speed = speed_of(speed_monitor, "cpu", "float32", rates, {"a": 10, "b": 20})
    assert (speed.train_seconds, speed.train_examples_per_second, speed.train_tokens_per_second) == (3, 2, 6)
    assert (speed.real_token_share, speed.eval_examples_per_second) == (0.75, 6)


def test_a_clock_that_never_ran_gives_nulls() -> None:
    speed = speed_of(SpeedMonitor(), "cpu", "float32", [], {})
    assert speed.train_seconds is speed.train_examples_per_second is speed.real_token_share is None
    assert speed.eval_examples_per_second is None


def test_the_count_goes_on_from_a_checkpoint(time: list[float]) -> None:
    before = SpeedMonitor()
    before.count(2, 8, torch.tensor(8))
    trained(before, time)
    state = TrainerState(global_step=3, stateful_callbacks={"SpeedMonitor": before.state()})
    after = SpeedMonitor()
    after.on_train_begin(None, state, None)
    assert (after.seconds, after.examples, after.real, after.padded) == (3, 2, 8, 8)
    fresh = SpeedMonitor()
    fresh.on_train_begin(None, TrainerState(stateful_callbacks={"SpeedMonitor": before.state()}), None)
    assert fresh.seconds == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process inherits its starter's peak")
def test_peak_memory_is_a_processs_own() -> None:
    held = bytearray(1 << 29)
    code = "from adapter_tune.training.speed_monitor import peak_memory; print(peak_memory('cpu'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = peak_memory("cpu")
    assert ours is not None
    assert 0 < int(found.stdout) < ours - len(held) // 2
