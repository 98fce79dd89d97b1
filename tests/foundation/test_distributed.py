"""What launchers say in environment variables: counted as processes, ignored with a note, or refused in one line."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapter_tune.cli import main
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import UsageError
from adapter_tune.run_files.result import read_result
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.runs.run import run

COMPLETE = {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
NAMES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", *COMPLETE)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets a launcher's variables; all others are unset."""

    def set_variables(**variables: str) -> None:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def test_a_complete_set_counts(launched: Any) -> None:
    launched(**COMPLETE)
    assert (distributed.rank(), distributed.world_size(), distributed.is_main_process()) == (2, 4, False)
    distributed.check_launcher()


@pytest.mark.parametrize("missing", COMPLETE)
def test_a_part_of_a_set_counts_for_nothing(launched: Any, missing: str) -> None:
    launched(**{name: value for name, value in COMPLETE.items() if name != missing})
    assert (distributed.rank(), distributed.world_size(), distributed.is_main_process()) == (0, 1, True)


def test_one_process_of_a_launcher_is_an_ordinary_run(launched: Any) -> None:
    launched(**COMPLETE | {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"})
    distributed.check_launcher()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)


WRONG = {
    "WORLD_SIZE=2 says that 2 processes share this run, but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set": {
        "WORLD_SIZE": "2"
    },
    "WORLD_SIZE=4 says that 4 processes share this run, but LOCAL_RANK is not set": {
        name: value for name, value in COMPLETE.items() if name != "LOCAL_RANK"
    },
    "OMPI_COMM_WORLD_SIZE=2 says that 2 processes": {"OMPI_COMM_WORLD_SIZE": "2"},
    "PMI_SIZE=3 says that 3 processes": {"PMI_SIZE": "3"},
    "WORLD_SIZE=x should be a whole number": {"WORLD_SIZE": "x"},
    "RANK=one should be a whole number": {"RANK": "one"},
    "RANK=7 should be below WORLD_SIZE=4": {**COMPLETE, "RANK": "7"},
    "ACCELERATE_USE_FSDP is set, and FSDP shards the trained weights": {"ACCELERATE_USE_FSDP": "true"},
    "ACCELERATE_USE_DEEPSPEED is set": {"ACCELERATE_USE_DEEPSPEED": "1"},
    "ACCELERATE_USE_MEGATRON_LM is set": {"ACCELERATE_USE_MEGATRON_LM": "true"},
    "ACCELERATE_USE_PARALLELISM_CONFIG is set": {"ACCELERATE_USE_PARALLELISM_CONFIG": "true"},
    "ACCELERATE_TORCH_DEVICE=meta: unset it": {"ACCELERATE_TORCH_DEVICE": "meta"},
    "ACCELERATE_DYNAMO_BACKEND=inductor: torch.compile is not supported": {"ACCELERATE_DYNAMO_BACKEND": "inductor"},
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_cannot_be_right_is_one_line_before_data_are_read(
    launched: Any, make_config: Any, trained_runs: dict[str, str], problem: str
) -> None:
    launched(**WRONG[problem])
    with pytest.raises(UsageError, match=problem):
        run(make_config(data={"source": "no/such-data"}))
    with pytest.raises(UsageError, match=problem):
        evaluate_run(Path(trained_runs["rte"]))


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
def test_a_rank_alone_is_ignored_with_a_note(
    launched: Any, make_config: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    launched(**{name: "1"})
    with caplog.at_level(logging.INFO, "adapter_tune"):
        result = run(make_config("rte", max_steps=1))
    assert f"{name}=1 is ignored" in caplog.text
    assert (Path(result.storage.folder) / "result.json").is_file()


def test_the_only_process_of_a_job_needs_no_note(launched: Any, caplog: pytest.LogCaptureFixture) -> None:
    launched(WORLD_SIZE="1", RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")  # as in a container's job
    with caplog.at_level(logging.INFO, "adapter_tune"):
        distributed.check_launcher()
    assert caplog.text == ""


def test_commands_print_whatever_a_container_sets(launched: Any, capsys: pytest.CaptureFixture[str]) -> None:
    launched(RANK="1", WORLD_SIZE="x")
    main(["config", "show", "glue/rte"])
    assert "rte" in capsys.readouterr().out


@pytest.mark.parametrize(("launcher", "precision"), [("bf16", "float32"), ("no", "bf16"), ("fp8", "float32")])
def test_the_configuration_decides_about_the_precision(
    make_config: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    launcher: str,
    precision: str,
) -> None:
    config = make_config("rte", max_steps=2, precision=precision)
    alone = run(config, force=True).history
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    with caplog.at_level(logging.INFO, "adapter_tune"):
        launched = run(config, force=True)
    assert launched.history == alone
    assert (f"the launcher's {launcher} is not used" in caplog.text) == (launcher != "no")
    assert read_result(config.folder).speed.precision == precision
    caplog.clear()
    assert evaluate_run(config.folder).scores == launched.scores


def test_the_configuration_decides_about_gradient_accumulation(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config("rte", max_steps=1)
    alone = run(config).history
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with caplog.at_level(logging.INFO, "adapter_tune"):
        assert run(config, force=True).history == alone
    assert "the launcher's 4 steps of gradient accumulation are not used" in caplog.text


def test_a_launcher_on_the_cpu_is_not_overruled(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    with pytest.raises(UsageError, match="asks for the CPU, and this run takes mps"):
        run(make_config(device="mps"))


SCRIPT = """
import json, sys
import adapter_tune
from adapter_tune.config.schema import parse_config

print(json.dumps(adapter_tune.run(parse_config(json.loads(sys.argv[1])), force=True).history))
"""


@pytest.mark.slow
def test_accelerate_launch_with_another_precision(make_config: Any, tmp_path: Path) -> None:
    config = make_config("rte", max_steps=2, precision="float32")
    alone = run(config).history
    (script := tmp_path / "script.py").write_text(SCRIPT)
    options = [
        "--cpu",
        "--num_processes",
        "1",
        "--num_machines",
        "1",
        "--mixed_precision",
        "bf16",
        "--dynamo_backend",
        "no",
    ]
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options]
    words = [*launch, str(script), json.dumps(config.model_dump())]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(printed.stdout) == alone
