"""A run that is stopped, by whatever and whenever, ends like one that was not: to the bit."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapter_tune.cli import _explain, main
from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.foundation.errors import RunError
from adapter_tune.modeling import precision
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.result import FILE, Result, read_result
from adapter_tune.run_files.run_lock import lock_run_folder
from adapter_tune.runs.run import run
from adapter_tune.training.scorer import Scorer
from adapter_tune.training.signals import CheckpointOnSignal
from adapter_tune.training.trainer import AdapterTrainer


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """A shell that starts pytest in the background lets it ignore SIGINT, nohup SIGHUP; these tests send them."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(one: tuple[Result, dict[str, torch.Tensor]], other: tuple[Result, dict[str, torch.Tensor]]) -> None:
    """Scores, every line of the history, and every tensor are equal to the bit."""
    assert one[0].scores == other[0].scores
    assert one[0].history == other[0].history
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def signalled(config: Any, monkeypatch: pytest.MonkeyPatch, number: int, steps: set[int]) -> type[BaseException]:
    """Run, and send signals to this process within these steps; what the run ended with."""
    step = AdapterTrainer.training_step

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = step(self, *args, **kwargs)
        if self.state.global_step + 1 in steps:
            steps.remove(self.state.global_step + 1)
            os.kill(os.getpid(), number)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(AdapterTrainer, "training_step", training_step)
        with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
            run(config)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 143
    return caught.type


@pytest.mark.parametrize(
    ("number", "step", "changes"),
    [
        (signal.SIGTERM, 1, {}),
        (signal.SIGTERM, 6, {}),
        (signal.SIGTERM, 8, {}),  # the last step of an epoch: evaluated first, then kept
        (signal.SIGTERM, 12, {}),  # the last of all
        (signal.SIGINT, 7, {}),
        (signal.SIGUSR1, 5, {}),  # SLURM, some time before the limit
        (signal.SIGUSR2, 2, {}),
        (signal.SIGHUP, 4, {}),  # the terminal is closed
        (signal.SIGTERM, 3, {"gradient_accumulation": 2}),
        (signal.SIGTERM, 6, {"early_stopping": 1}),
        (signal.SIGTERM, 6, {"backbone_dropout": "frozen-off"}),
        (signal.SIGTERM, 6, {"epochs": 1.5}),  # the last of all, within an epoch: evaluated first, too
        (signal.SIGTERM, 6, {"max_steps": 6}),
        (signal.SIGTERM, 8, {"early_stopping": 1, "learning_rate": 1e-12}),  # it has waited long enough here
    ],
)
def test_a_signal_keeps_all_that_was_done(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, number: int, step: int, changes: dict[str, Any]
) -> None:
    strategy = {"name": "houlsby", "m": 4, "layers": "top-1"} if "backbone_dropout" in changes else "houlsby"
    config = make_config("sst2", strategy=strategy, logging_steps=5, **{"epochs": 3, **changes})
    whole = run(config), weights(config.folder)
    shutil.rmtree(config.folder)
    ended = signalled(config, monkeypatch, number, {step})
    assert ended is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    kept = checkpoints.newest(config.folder)
    assert kept is not None
    assert kept.name == f"checkpoint-{step}"
    same(whole, (run(config), weights(config.folder)))


def test_a_run_goes_on_in_the_precision_it_had(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("sst2", precision="auto", epochs=2)
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    whole = run(config), weights(config.folder)
    shutil.rmtree(config.folder)
    signalled(config, monkeypatch, signal.SIGTERM, {3})
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)  # as it may be measured on a busy machine
    same((run(config), weights(config.folder)), whole)


def test_a_run_may_be_stopped_again_and_again(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("rte", strategy="full", epochs=2, logging_steps=3)
    whole = run(config), weights(config.folder)
    shutil.rmtree(config.folder)
    for step in (2, 3, 5, 7):
        signalled(config, monkeypatch, signal.SIGTERM, {step})
    same(whole, (run(config), weights(config.folder)))


def test_a_second_signal_stops_at_once(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("a checkpoint was written after the second signal")

    config, before = make_config("sst2"), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(AdapterTrainer, "_save_checkpoint", refuse)
    signalled(config, monkeypatch, signal.SIGTERM, {2})
    assert checkpoints.newest(config.folder) is None
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_in_the_background_ignores_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell's & does
    with CheckpointOnSignal(minutes=10) as interruption:
        os.kill(os.getpid(), signal.SIGINT)
    assert interruption.signal == 0


def test_time_alone_makes_a_checkpoint_within_an_epoch(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("sst2", epochs=1, checkpoint_minutes=1e-9)
    seen, seal = [], checkpoints.seal

    def sealed(folder: Path) -> None:
        seal(folder)
        seen.append(folder.name)
        assert len(list(folder.parent.glob("checkpoint-*"))) <= 2  # the one before goes when this one is whole

    monkeypatch.setattr(checkpoints, "seal", sealed)
    timed = run(config), weights(config.folder)
    assert seen == [f"checkpoint-{step}" for step in (1, 2, 3, 4)]
    plain = make_config("sst2", epochs=1)
    same((run(plain), weights(plain.folder)), timed)


COMMAND = (sys.executable, "-m", "adapter_tune", "train", "--config")


@pytest.fixture
def process(make_config: Any, tmp_path: Path) -> Iterator[Any]:
    """Starts the run of a configuration in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(config: Any) -> subprocess.Popen[str]:
        file = tmp_path / "run.yaml"
        file.write_text(to_yaml(config.model_dump()))
        threads = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process
        one = subprocess.Popen(
            [*COMMAND, str(file)], env=threads, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate()


def train_from(file: str) -> None:
    """What a forked process runs."""
    main(["train", "--config", file])


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[Any]:
    """Starts the run of a configuration in a fork of a process that has imported everything: in 0.1 s instead of 5."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers", "tests.training.test_signals"])
    started: list[Any] = []

    def start(config: Any) -> Any:
        file = tmp_path / "run.yaml"
        file.write_text(to_yaml(config.model_dump()))
        started.append(context.Process(target=train_from, args=(str(file),)))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.join()


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_random_ends_like_one_that_was_not(make_config: Any, forked: Any, kills: int) -> None:
    config = make_config("sst2", epochs=6, logging_steps=3, batch_size=8, checkpoint_minutes=1e-9)
    whole = run(config), weights(config.folder)
    shutil.rmtree(config.folder)
    rng = random.Random(0)
    for _ in range(kills):  # of 48 steps, each with a checkpoint: most of the time it is writing
        one, begun = forked(config), checkpoints.newest(config.folder)
        while checkpoints.newest(config.folder) == begun and one.is_alive():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        one.kill()
        one.join()
    if not (config.folder / FILE).exists():
        one = forked(config)
        one.join()
        assert one.exitcode == 0
    same(whole, (read_result(config.folder), weights(config.folder)))


def test_sigterm_says_so_and_exits_with_143(make_config: Any, process: Any) -> None:
    config = make_config("sst2", epochs=200)
    one = process(config)
    while checkpoints.newest(config.folder) is None:
        time.sleep(0.01)
    one.terminate()
    _, err = one.communicate()
    assert one.returncode == 143
    assert err.splitlines()[-1] == "terminated; run the same command again to resume"
    assert "Traceback" not in err


@pytest.mark.parametrize("wrong", ["nan", "inf"])
def test_a_loss_that_goes_wrong_ends_the_run(make_config: Any, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    compute = AdapterTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute(self, model, inputs, *args, **kwargs)
        return loss * float(wrong) if model.training and self.state.global_step == 5 else loss

    monkeypatch.setattr(AdapterTrainer, "compute_loss", compute_loss)
    config = make_config("sst2", epochs=3)
    at = "at or before" if torch.cuda.is_available() else "at"
    said = (
        rf"the loss is {wrong} {at} step 6, with learning rate 0.00\d+ \(the last good checkpoint: checkpoint-4, .*--lr"
    )
    with pytest.raises(RunError, match=said):
        run(config)
    assert not (config.folder / FILE).exists()


def test_on_a_gpu_a_wrong_loss_is_seen_before_anything_is_kept(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = AdapterTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute(self, model, inputs, *args, **kwargs)
        return loss * float("nan") if model.training and self.state.global_step == 5 else loss

    monkeypatch.setattr(AdapterTrainer, "compute_loss", compute_loss)
    monkeypatch.setattr(AdapterTrainer, "_checks_every_loss", lambda self: False)
    scored: list[int] = []
    score = Scorer.__call__

    def counted(self: Scorer, prediction: Any) -> dict[str, float]:
        scored.append(1)
        return score(self, prediction)

    monkeypatch.setattr(Scorer, "__call__", counted)
    config = make_config("sst2", epochs=3, logging_steps=1000)
    with pytest.raises(RunError, match=r"the loss is nan at or before step 8, .* checkpoint: checkpoint-4, "):
        run(config)
    assert [path.name for path in config.folder.glob("checkpoint-*")] == ["checkpoint-4"]
    assert len(scored) == 1  # the first epoch; a model that is NaN is not evaluated
    config = make_config("sst2", epochs=3, logging_steps=1000, checkpoint_minutes=1e-9)  # one after every step
    with pytest.raises(RunError, match=r"the loss is nan at or before step 6, .* checkpoint: checkpoint-5, "):
        run(config)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("CUDA error: out of memory\nmore", "CUDA error: out of memory"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "CUBLAS_STATUS_ALLOC_FAILED"),
        ("PytorchStreamWriter failed writing file", "free some space and run the same command again"),
    ],
)
def test_a_checkpoint_that_fails_says_why(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, message: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises((RuntimeError, RunError), match=said) as caught:
        run(make_config("sst2", epochs=1))
    line, code = _explain(caught.value)
    assert code == 1
    assert ("gradient_checkpointing" in line) == ("CUDA" in message)


def test_the_norm_of_the_gradient_is_written_down(make_config: Any) -> None:
    norms = [entry["grad_norm"] for entry in run(make_config("sst2")).history if "loss" in entry]
    assert len(norms) == 8
    assert all(0 < norm < 100 for norm in norms)


def test_the_second_process_is_told_who_holds_the_folder(make_config: Any) -> None:
    config = make_config("sst2", epochs=1)
    with (
        lock_run_folder(config.folder),
        pytest.raises(RunError, match=rf"process {os.getpid()} on .* uses this folder"),
    ):
        run(config)
    assert not config.folder.exists()
    run(config)
    assert {path.name for path in config.folder.iterdir()} == {"adapter", "config.yaml", "result.json"}


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".holder").write_text(json.dumps({"process": 1, "host": "gone"}))
    with lock_run_folder(tmp_path):
        assert json.loads((tmp_path / ".holder").read_text())["process"] == os.getpid()


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Two checkpoints of one run."""
    for step in (4, 12):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_bytes(bytes([step] * 100))
        checkpoints.seal(folder)
    return tmp_path


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "unsealed", "nonsense"])
def test_a_damaged_checkpoint_is_passed_over(sealed: Path, damage: str) -> None:
    last = sealed / "checkpoint-12"
    assert checkpoints.newest(sealed) == last
    file = last / "weights"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "flipped":
        file.write_bytes(b"\x0d" + file.read_bytes()[1:])
    elif damage == "gone":
        file.unlink()
    elif damage == "unsealed":
        (last / checkpoints.FILE).unlink()
    else:
        (last / checkpoints.FILE).write_text("[1]")
    assert checkpoints.newest(sealed) == sealed / "checkpoint-4"


def test_only_what_is_named_stays(sealed: Path) -> None:
    (sealed / "checkpoint-12" / checkpoints.FILE).unlink()
    checkpoints.remove_unsealed(sealed)
    assert {path.name for path in sealed.iterdir()} == {"checkpoint-4"}
    (sealed / "checkpoint-best").mkdir()  # none of ours
    checkpoints.keep_only(sealed, set())
    assert {path.name for path in sealed.iterdir()} == {"checkpoint-best"}
