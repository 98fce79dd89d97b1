"""The same bits as before: weights, scores and predictions of short runs against values stored in reference.json.

Bits depend on the processor and on torch, so values are stored for each pair of them. ``ADAPTER_TUNE_STORE=1`` stores
those of this machine; do so before a change that must not move a bit, and run the test without it afterwards.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapter_tune.cli import main
from adapter_tune.strategies import REGISTRY

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).parent / "reference.json"
TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
SHORT = {
    "data.max_train_samples": 64,
    "data.max_eval_samples": 64,
    "training.max_steps": 8,
    "training.logging_steps": 1,
    "training.precision": "float32",
    "training.device": "cpu",
}
WORDS = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]


def machine() -> str:
    """What bits depend on: the processor, its vector instructions, and torch."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    vectors = sorted(flag for flag in known.get("flags", "").split() if flag.startswith(("sse", "avx", "amx", "fma")))
    name = known.get("model name", "unknown processor")
    digest = hashlib.sha256(" ".join(vectors).encode()).hexdigest()[:8]
    kind = f"family {known.get('cpu family')} model {known.get('model')} {digest}"
    return f"{name}, {kind}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def check(name: str, measured: dict[str, Any]) -> None:
    """Compare with what is stored, or store it."""
    stored = json.loads(REFERENCE.read_text(encoding="utf-8"))
    own = stored.setdefault(machine(), {})
    if os.environ.get("ADAPTER_TUNE_STORE"):
        own[name] = measured
        REFERENCE.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif name not in own:
        pytest.skip(f"no value is stored for {machine()}; ADAPTER_TUNE_STORE=1 stores this machine's")
    else:
        assert measured == own[name]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the processes that a sweep starts
    assert torch.get_num_threads() == 1


def trained(folder: Path, *words: str) -> Path:
    """The folder of a short run that the command line makes of the words."""
    main(["train", "--demo", *words, *WORDS, "--output", str(folder)])
    (file,) = folder.glob("*/result.json")
    return file.parent


def weights(run: Path) -> str:
    """A digest of names, types, shapes and bits of what was trained."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(run / "adapter" / "adapter_model.safetensors").items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def learnt(run: Path) -> dict[str, Any]:
    return {"weights": weights(run), "scores": json.loads((run / "result.json").read_text())["scores"]}


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str, tmp_path: Path) -> None:
    check(f"task {task}", learnt(trained(tmp_path, "--task", task, "--strategy", "houlsby", "--m", "8")))


@pytest.mark.parametrize("strategy", REGISTRY)
def test_every_strategy(strategy: str, tmp_path: Path) -> None:
    check(f"strategy {strategy}", learnt(trained(tmp_path, "--task", "mrpc", "--strategy", strategy)))


def test_data_of_the_users_own(tmp_path: Path) -> None:
    subjects, verbs = (
        ("the dog", "a teacher", "my friend", "the old man", "a bird"),
        ("sleeps", "sings", "runs", "waits"),
    )
    rows = [f"{one} {two} {n},{'yes' if n % 3 else 'no'}" for n in range(6) for one in subjects for two in verbs]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows, ""]))
    words = ["--train-file", str(tmp_path / "rows.csv"), "--strategy", "houlsby", "--m", "8"]
    check("own data", learnt(trained(tmp_path / "runs", *words)))


def test_a_choice_of_a_sweep(tmp_path: Path) -> None:
    sweep = {
        "name": "two",
        "base": "demo",
        "demo": True,
        "set": {"task": "rte", "strategy.m": 8, **SHORT},
        "parameters": {"training.learning_rate": [1e-4, 3e-3]},
    }
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    main(["sweep", str(tmp_path / "sweep.yaml"), "--output", str(tmp_path)])
    (choice,) = json.loads((tmp_path / "two" / "selection.json").read_text())
    runs = [Path(run) for run in choice.pop("runs")]
    check("sweep", {**choice, "weights": [weights(run) for run in runs]})


def test_an_ablation_and_a_file_of_predictions(tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", "--task", "mrpc", "--strategy", "houlsby", "--m", "8")
    main(["ablate", str(run), "--output", str(tmp_path / "ablation")])
    check("ablation", {"csv": (tmp_path / "ablation" / "ablation.csv").read_text().splitlines()})
    main(["predict", str(run), "--split", "validation", "--output", str(tmp_path / "predictions.csv")])
    check("predictions", {"sha256": hashlib.sha256((tmp_path / "predictions.csv").read_bytes()).hexdigest()})
