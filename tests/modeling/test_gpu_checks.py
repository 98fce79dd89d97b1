"""What is said about GPUs before anything is loaded; the GPUs are pretended."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_tune.config.schema import TrainingConfig
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling import gpu_checks, precision
from adapter_tune.modeling.gpu_checks import check_gpus
from adapter_tune.modeling.precision import ComputeSettings
from adapter_tune.runs.run import run
from adapter_tune.training.arguments import arguments
from adapter_tune.training.trainer import AdapterTrainer

HOPPER = ["sm_80", "sm_90", "compute_90"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends GPUs of a compute capability, and a build of PyTorch."""

    def pretend(
        gpus: int = 1, capability: tuple[int, int] = (9, 0), built_for: list[str] = HOPPER, has_bf16: bool = True
    ) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
        monkeypatch.setattr(gpu_checks, "has_bf16", lambda device: has_bf16)

    return pretend


def noted(caplog: pytest.LogCaptureFixture, **training: Any) -> str:
    with caplog.at_level(logging.INFO, "adapter_tune"):
        check_gpus(TrainingConfig(**training), ComputeSettings("cuda", "float32"))
    return caplog.text


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((9, 0), HOPPER, True),
        ((8, 6), HOPPER, True),  # the code of sm_80 runs on every 8.x
        ((7, 0), HOPPER, False),
        ((7, 0), ["sm_75", "sm_80", "compute_120"], False),
        ((7, 5), ["sm_75"], True),
        ((10, 0), HOPPER, True),  # compiled from compute_90 at the start
        ((12, 0), ["sm_80", "sm_90a"], False),
        ((12, 0), ["sm_120"], True),
        ((9, 0), [], True),  # a build that does not say
    ],
)
def test_a_gpu_that_the_build_has_no_code_for_is_refused(
    machine: Any, caplog: pytest.LogCaptureFixture, capability: tuple[int, int], built_for: list[str], runs: bool
) -> None:
    machine(capability=capability, built_for=built_for)
    if runs:
        assert noted(caplog) == ""
    else:
        with pytest.raises(RunError, match=rf"compute capability {capability[0]}\.{capability[1]}, and this build"):
            noted(caplog)


def test_unused_gpus_are_named(machine: Any, caplog: pytest.LogCaptureFixture) -> None:
    machine(gpus=4)
    assert "1 of 4 GPUs is used; to use all, start with: torchrun --nproc-per-node 4" in noted(caplog)


def test_fp16_is_named_where_there_is_no_bf16(machine: Any, caplog: pytest.LogCaptureFixture) -> None:
    machine(capability=(7, 5), built_for=["sm_75"], has_bf16=False)
    assert "training.precision=fp16 is faster" in noted(caplog)
    caplog.clear()
    assert noted(caplog, precision="float32") == ""


def test_more_processes_than_gpus_are_refused(
    machine: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpus=2)
    monkeypatch.setattr(distributed, "world_size", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="4 processes on a machine with 2 GPUs; start at most 2,"):
        noted(caplog)
    machine(gpus=4)
    assert noted(caplog) == ""


@pytest.mark.parametrize("is_new", [True, False])
def test_bf16_on_mps_needs_a_new_system(is_new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: is_new)
    settings = ComputeSettings("mps", "bf16")
    if is_new:
        check_gpus(TrainingConfig(), settings)
    else:
        with pytest.raises(UsageError, match="bf16 on mps needs macOS 14"):
            check_gpus(TrainingConfig(), settings)


def test_fp16_has_an_optimiser_whose_overflowed_steps_are_seen(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert arguments(make_config(precision="float32"), tmp_path).optim == "adamw_torch_fused"
    monkeypatch.setattr("adapter_tune.training.arguments.resolve_compute", lambda t: ComputeSettings("cpu", "fp16"))
    assert arguments(make_config(precision="fp16"), tmp_path).optim == "adamw_torch"


def test_the_generator_of_mps_is_stored_and_restored(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Any] = []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7, 8], dtype=torch.uint8))
    monkeypatch.setattr(torch.mps, "set_rng_state", stored.append)

    class Arguments:
        device = torch.device("mps")

    class OnMps(AdapterTrainer):
        def __init__(self) -> None:
            self.args = Arguments()

    trainer = OnMps()
    monkeypatch.setattr("transformers.Trainer._save_rng_state", lambda self, folder: None)
    monkeypatch.setattr("transformers.Trainer._load_rng_state", lambda self, folder: None)
    folder = Path(make_config().output)
    folder.mkdir(parents=True)
    trainer._save_rng_state(str(folder))
    trainer._load_rng_state(str(folder))
    assert [state.tolist() for state in stored] == [[7, 8]]
    (folder / "rng_state_mps.pth").write_bytes(b"?")
    with pytest.raises(RunError, match="cannot be read"):
        trainer._load_rng_state(str(folder))


def test_a_run_asks_before_it_loads(make_config: Any, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(capability=(7, 0))
    monkeypatch.setattr(precision, "resolve_device", lambda requested: "cuda")
    with pytest.raises(RunError, match="this build of PyTorch is for"):
        run(make_config(model="no/such", precision="float32"))
