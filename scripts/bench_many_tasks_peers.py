"""Batches that mix the tasks of one backbone: MultiTask, peft's ``adapter_names`` and AdapterHub's ``BatchSplit``.

Each library has a process and an environment of its own (made once, in --envs). All have a random backbone of
BERT-base's shape, the same number of threads, float32, and a batch in which all tasks have equally many rows. They
take turns; each turn is a few batches of one of them. Each first checks that a mixed batch gives every row the logits
of its task alone. Example:

    python scripts/bench_many_tasks_peers.py --tokens 32 --threads 1
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "default": torch.float32}
"""What the peers compute in; "default" is float32 for them, and ``auto`` for MultiTask."""
TOLERANCE = {"float32": 1e-4, "bf16": 0.1, "default": 0.1}
"""Largest difference of logits between a mixed batch and a batch of one task."""
ENVIRONMENTS = {"AdapterHub": "adapterhub", "peft": "peft_lora"}
R = 8
M = 64
Batch = Callable[[list[int]], list[torch.Tensor]]
"""Computes the logits of the rows, given the task of each row."""


def main() -> None:
    """Start a process for each library, let them take turns, and print a table."""
    args = _arguments().parse_args()
    if args.worker:
        _serve(args)
        return
    workers = {name: _start(name, args) for name in SIDES}
    times: dict[str, list[list[float]]] = {name: [] for name in workers}
    for turn in range(args.turns + 1):
        for name, worker in workers.items():
            seconds = _measure(worker, args.batches)
            if turn:  # the first one warms up
                times[name].append(seconds)
    for worker in workers.values():
        worker.communicate()
    print(f"{_processor()}, {args.threads} threads, torch {torch.__version__}, {args.precision}")
    print(f"{args.rows} rows of {args.tokens} tokens, {args.tasks} tasks; medians of {args.turns} turns\n")
    print(_table(times))


def _table(times: dict[str, list[list[float]]]) -> str:
    """Markdown: the time of a batch, and how many times as fast each MultiTask is as each peer."""
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    ours = [name for name in medians if name.startswith("MultiTask")]
    lines = [f"| | ms a batch | CPU ms a batch |{''.join(f' {name} is faster by |' for name in ours)}"]
    lines.append(f"| --- | --: | --: |{' --: |' * len(ours)}")
    for name, (wall, cpu) in medians.items():
        cells = [f"{1e3 * wall:,.0f}", f"{1e3 * cpu:,.0f}"]
        cells += ["" if name in ours else f"{cpu / medians[mine][1]:.2f}" for mine in ours]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _start(name: str, args: argparse.Namespace) -> subprocess.Popen[str]:
    """The process of one library, ready to be measured."""
    words = [str(_python(name, args.envs.resolve())), __file__, "--worker", name]
    for option in ("tasks", "rows", "tokens", "layers", "threads", "precision"):
        words += [f"--{option}", str(getattr(args, option))]
    variables = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    worker = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables)
    assert worker.stdout is not None
    print(worker.stdout.readline().strip(), file=sys.stderr)
    return worker


def _python(name: str, environments: Path) -> Path:
    from bench_peers import environment

    library = name.partition(",")[0]
    if library not in ENVIRONMENTS:
        return Path(sys.executable)
    return environment(environments, ENVIRONMENTS[library])


def _measure(worker: subprocess.Popen[str], batches: int) -> list[float]:
    """Seconds and CPU seconds of a batch."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{batches}\n")
    worker.stdin.flush()
    return [seconds / batches for seconds in json.loads(worker.stdout.readline())]


def _serve(args: argparse.Namespace) -> None:
    """In a worker: compute as many batches as each line of the standard input says, and print their seconds."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    ids = torch.randint(1000, 20_000, (args.rows, args.tokens))
    mixed = sorted(row % args.tasks for row in range(args.rows))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        compute = SIDES[args.worker](args, ids, Path(folder))
        difference = _check(compute, mixed, TOLERANCE[args.precision])
        print(f"{args.worker}: {_versions()}; mixed and single batches differ by {difference:.1e}", flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            cpu = time.process_time()
            for _ in range(int(line)):
                compute(mixed)
            print(json.dumps([time.perf_counter() - start, time.process_time() - cpu]), flush=True)


def _check(compute: Batch, tasks: list[int], tolerance: float) -> float:
    """The largest difference to batches of one task.

    Raises:
        AssertionError: the logits are not those of the single tasks, or the tasks do not differ.
    """
    mixed = compute(tasks)
    single = {task: compute([task] * len(tasks)) for task in set(tasks)}
    difference = max(float((mixed[row] - single[task][row]).abs().max()) for row, task in enumerate(tasks))
    spread = min(float((single[task][0] - single[task + 1][0]).abs().max()) for task in range(max(tasks)))
    assert difference < tolerance < spread, (difference, spread)
    return difference


def _multi_task(strategy: dict[str, Any], args: argparse.Namespace, ids: torch.Tensor, folder: Path) -> Batch:
    """Ours: one ``MultiTask`` with the adapters read from their folders."""
    from bench_many_tasks import adapters_on_disk, random_backbone

    from adapter_tune import MultiTask

    backbone = random_backbone(folder, args.layers)
    precision = "auto" if args.precision == "default" else args.precision
    model = MultiTask(backbone, precision=precision, device="cpu")
    for task, path in enumerate(adapters_on_disk(folder, backbone, strategy, args.tasks, std=0.1)):
        model.add(str(task), path)
    return lambda tasks: model(ids, tasks=[str(task) for task in tasks])


def _peft(args: argparse.Namespace, ids: torch.Tensor, folder: Path) -> Batch:
    """peft: LoRA adapters with heads of their own, by ``adapter_names``."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification

    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=R, target_modules=["query", "value"])
    backbone = BertForSequenceClassification(BertConfig(num_hidden_layers=args.layers))
    model: Any = get_peft_model(backbone, config, adapter_name="0")
    for task in range(1, args.tasks):
        model.add_adapter(str(task), config)
    _make_different(model, ("lora_B", "modules_to_save"))
    model.eval().to(TYPES[args.precision])
    return lambda tasks: list(model(input_ids=ids, adapter_names=[str(task) for task in tasks]).logits)


def _adapter_hub(args: argparse.Namespace, ids: torch.Tensor, folder: Path) -> Batch:
    """AdapterHub: Houlsby adapters with its default heads, by ``BatchSplit``, which wants the rows sorted by task."""
    from adapters import BertAdapterModel, DoubleSeqBnConfig
    from adapters.composition import BatchSplit
    from transformers import BertConfig

    model: Any = BertAdapterModel(BertConfig(num_hidden_layers=args.layers))
    for task in range(args.tasks):
        model.add_adapter(str(task), config=DoubleSeqBnConfig(reduction_factor=768 / M))
        model.add_classification_head(str(task), num_labels=2)  # BatchSplit is wrong with use_pooler
    _make_different(model, ("adapter_up", "heads"))
    model.eval().to(TYPES[args.precision])

    def compute(tasks: list[int]) -> list[torch.Tensor]:
        names = list(dict.fromkeys(tasks))
        if len(names) > 1:
            setup: Any = BatchSplit(*map(str, names), batch_sizes=[tasks.count(name) for name in names])
        else:
            setup = str(names[0])
        if model.active_adapters != setup:
            model.set_active_adapters(setup)
        return list(model(input_ids=ids).logits)

    return compute


def _make_different(model: torch.nn.Module, parts: tuple[str, ...]) -> None:
    """Random values, so that the tasks give different logits."""
    for name, parameter in model.named_parameters():
        if any(part in name for part in parts):
            parameter.data.normal_(std=0.1)


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for name in ("adapter-tune", "adapters", "peft", "transformers"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(versions)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({torch.backends.cpu.get_cpu_capability()})" if names else "unknown processor"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--layers", type=int, default=12, help="layers of the backbone, of BERT-base's width")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each library")
    parser.add_argument(
        "--precision",
        choices=list(TYPES),
        default="float32",
        help="of all libraries; default: each library's own default, which is auto for MultiTask and else float32",
    )
    parser.add_argument("--turns", type=int, default=9, help="measured turns; one more warms up")
    parser.add_argument("--batches", type=int, default=2, help="batches in a turn")
    parser.add_argument("--envs", type=Path, default=Path("peer-environments"))
    parser.add_argument("--worker", choices=list(SIDES), help=argparse.SUPPRESS)
    return parser


SIDES: dict[str, Callable[[argparse.Namespace, torch.Tensor, Path], Batch]] = {
    "MultiTask, LoRA": partial(_multi_task, {"name": "lora", "r": R}),
    "MultiTask, Houlsby": partial(_multi_task, {"name": "houlsby", "m": M}),
    "peft, LoRA": _peft,
    "AdapterHub, Houlsby": _adapter_hub,
}

if __name__ == "__main__":
    main()
