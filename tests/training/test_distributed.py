"""Several processes of one run learn what one learns."""

import os
import re
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
import torch.distributed as dist
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import BertForPreTraining

from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.build import build_model
from adapter_tune.modeling.sharding import shard
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.adapter_files import saved_tensors
from adapter_tune.run_files.result import Result, finished_runs, read_result
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.runs.run import run
from tests.helpers import BACKBONES, TOKENIZER, applied, bert_config, model_of


@pytest.fixture
def still(make_config: Any, tmp_path: Path) -> Any:
    """Configurations without any dropout."""
    folder = tmp_path / "still"
    config = bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForPreTraining(config).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)

    def make(rows: int | None = None, **training: Any) -> Any:
        training = {"epochs": 5, "precision": "float32", **training}
        data = {"max_eval_samples": 23, "max_train_samples": rows}
        return make_config("sst2", model=str(folder), data=data, **training)

    return make


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node"],
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_machines=1", "--mixed_precision=no",
                   "--dynamo_backend=no", "--main_process_port=0", "--num_processes"],
}  # fmt: skip


def started(config: Any, many: int, tmp_path: Path, launcher: str = "torchrun") -> subprocess.Popen[str]:
    """The run of a configuration in several processes."""
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(config.model_dump()))
    launched = [*LAUNCHERS[launcher], str(many), "-m", "adapter_tune", "train", "--config", str(file)]
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    words, pipe = [sys.executable, "-m", *launched], subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=own)


MEASURED = """
import sys
import adapter_tune
from adapter_tune.modeling import precision
from adapter_tune.foundation import distributed
from adapter_tune.config.compose import compose

precision.has_bf16 = lambda device: distributed.is_main_process()
print(adapter_tune.run(compose(sys.argv[1], {})).speed.precision)
"""


@pytest.mark.slow
def test_a_precision_that_is_measured_is_the_same_in_all(still: Any, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(to_yaml(still(precision="auto", epochs=1).model_dump()))
    (script := tmp_path / "measured.py").write_text(MEASURED)
    words = [sys.executable, "-m", *LAUNCHERS["torchrun"], "2", str(script), str(tmp_path / "run.yaml")]
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(words, capture_output=True, text=True, env=own, check=True, timeout=120)
    assert found.stdout.split() == ["bf16", "bf16"]


def learnt(result: Result) -> Any:
    return load_file(Path(result.storage.folder) / "adapter" / "adapter_model.safetensors")


def counted(result: Result) -> tuple[float, float]:
    """Rows and real tokens of the training."""
    speed = result.speed
    assert speed.train_examples_per_second is not None
    assert speed.train_tokens_per_second is not None
    assert speed.train_seconds is not None
    return speed.train_examples_per_second * speed.train_seconds, speed.train_tokens_per_second * speed.train_seconds


CASES: list[tuple[str, int | None, dict[str, Any]]] = [
    ("torchrun", 60, {"class_weights": "balanced"}),  # the last batch of an epoch has 12 rows: 8 and 4
    ("torchrun", 51, {"shard_backbone": True}),  # 3 rows: 3 and none
    ("torchrun", None, {}),
    ("accelerate", 60, {"gradient_accumulation": 2, "epochs": 10}),
]


@pytest.mark.parametrize(
    ("many", "launcher", "rows", "changes"),
    [
        *((2, *case) for case in CASES[:2]),
        *(pytest.param(2, *case, marks=pytest.mark.slow) for case in CASES[2:]),
        *(pytest.param(4, *case, marks=pytest.mark.slow) for case in CASES),
    ],
)
def test_they_learn_what_one_learns(
    still: Any, tmp_path: Path, many: int, launcher: str, rows: int | None, changes: dict[str, Any]
) -> None:
    alone = still(rows, **{name: value for name, value in changes.items() if name != "shard_backbone"})
    one = run(alone)
    tensors = learnt(one)
    shutil.rmtree(alone.folder)
    config = still(rows, **changes)
    process = started(config, many, tmp_path, launcher)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("headline") == 1  # one of them speaks
    assert len(re.findall(r"step 20/20: ", err)) == 1
    several = read_result(config.folder)
    assert {path.name for path in config.folder.iterdir()} == {"adapter", "config.yaml", "result.json"}
    for name, tensor in learnt(several).items():
        assert (tensor - tensors[name]).abs().max() < 1e-5, name
    losses = [[entry["loss"] for entry in result.history if "loss" in entry] for result in (one, several)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert several.scores == evaluate_run(config.folder).scores  # 23 rows, each once
    assert several.parameters == one.parameters
    assert counted(several) == pytest.approx(counted(one))


def test_a_batch_is_shared_out_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    assert distributed.per_process_batch_size(32) == 8
    with pytest.raises(UsageError, match=r"training.batch_size is 30 .* among 4 processes; set training.batch_size=28"):
        distributed.per_process_batch_size(30)


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The first of four processes, without the others."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("strategy", "model"),
    [({"name": "houlsby", "m": 8}, {"id": DEMO, "pooler": "frozen"}),  # a pooler drawn at random, saved though frozen
     ({"name": "top_n", "n": 1}, None), ({"name": "lora"}, None)],
    ids=str,
)  # fmt: skip
def test_a_process_holds_its_piece_of_what_is_frozen_and_all_that_is_saved(
    four: None, make_config: Any, strategy: dict[str, Any], model: dict[str, Any] | None
) -> None:
    prepared = build_model(make_config("sst2", strategy=strategy, model=model))
    kept = set(saved_tensors(prepared.model, prepared.newly_initialized))
    shard(prepared.model, prepared.newly_initialized, torch.device("cpu"))
    for name, p in prepared.model.named_parameters():
        if name in kept:
            assert not isinstance(p, DTensor), name
        else:
            rows = -(-p.shape[0] // 4)
            assert p.to_local().numel() == rows * p.numel() // p.shape[0], name


@pytest.mark.parametrize(("family", "own"), BACKBONES)
def test_every_family_computes_in_pieces(four: None, family: str, own: dict[str, Any]) -> None:
    model = applied(model_of(family, own), {"name": "houlsby", "m": 4}).train()
    shard(model, frozenset(), torch.device("cpu"))
    ids = torch.randint(3, 30, (4, 8))
    model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum().backward()
    trained = [p for p in model.parameters() if not isinstance(p, DTensor)]
    assert trained
    assert all(p.requires_grad and p.grad is not None for p in trained)


def test_pieces_need_processes(still: Any) -> None:
    with pytest.raises(UsageError, match="shard_backbone needs several processes"):
        run(still(shard_backbone=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "pieces"), [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGKILL, True)]
)
def test_where_one_is_killed_all_end_and_the_same_command_goes_on(
    still: Any, tmp_path: Path, number: int, pieces: bool
) -> None:
    config = still(epochs=40, shard_backbone=pieces)
    process = started(config, 2, tmp_path)
    process.communicate()
    whole, tensors = read_result(config.folder), learnt(read_result(config.folder))
    shutil.rmtree(config.folder)
    process = started(config, 2, tmp_path)
    while checkpoints.newest(config.folder) is None:
        time.sleep(0.01)
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[-1]), number)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert not finished_runs(config.folder.parent)
    if number == signal.SIGKILL:
        assert "another process of this run has ended" in err or "terminated; run the same command again" in err
    process = started(config, 2, tmp_path)
    _, err = process.communicate()
    assert "resuming from checkpoint-" in err
    again = read_result(config.folder)
    assert again.history == whole.history
    assert all((tensor == learnt(again)[name]).all() for name, tensor in tensors.items())
