"""What many tasks on one backbone cost: switching, memory, loading, and batches that mix them. Random weights.

python scripts/bench_many_tasks.py --tasks 64 --m 64
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import BertConfig, BertForPreTraining

from adapter_tune import MultiTask
from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.modeling.build import build_model
from adapter_tune.run_files.adapter_files import AdapterConfig, save_adapter

MIB = 2**20


def main() -> None:
    """Write a random backbone and its adapters, measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=64, help="number of adapters")
    parser.add_argument("--m", type=int, default=64, help="bottleneck size")
    parser.add_argument("--layers", type=int, default=12, help="layers of the backbone, of BERT-base's width")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of each row")
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each figure; the median is printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options)
        _measure_shared_layers(Path(folder), options)


def _measure(folder: Path, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    BertForPreTraining(BertConfig(num_hidden_layers=options.layers)).save_pretrained(folder / "backbone")
    run = run_config(folder, {"name": "houlsby", "m": options.m})
    adapters = write_adapters(folder, run, options.tasks)
    files = sum(file.stat().st_size for file in folder.glob("task-*/*.safetensors"))
    gc.collect()
    model = MultiTask(str(folder / "backbone"), precision="float32", device="cpu")
    model.add("first", adapters[0])  # what is set up once is not part of a load
    gc.collect()
    before = _memory()
    loads = [_seconds(partial(model.add, path.name, path)) for path in adapters[1:]]
    gc.collect()
    used = _memory() - before
    share = (len(adapters) - 1) / len(adapters)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {options.tasks} adapters of m = {options.m}")
    print(f"loading one adapter           {1e3 * statistics.median(loads):8.1f} ms (median)")
    print(
        f"memory of {len(loads)} adapters          {used / MIB:8.1f} MiB, {used / (files * share):.3f} of their files"
    )
    names = list(model.tasks)
    switches = [_seconds(partial(setattr, model, "active", name)) for name in names]
    print(f"switching the active task     {1e3 * statistics.median(switches):8.4f} ms")
    ids = torch.randint(1000, 20_000, (32, options.tokens))
    mask = torch.ones_like(ids)
    cases: dict[str, list[str | None]] = {
        "one task": [names[0]] * 32,
        "8 tasks": [names[row % 8] for row in range(32)],
        "32 tasks": [names[row % len(names)] for row in range(32)],
        "the bare encoder": [None] * 32,
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(options.repeats + 2):
        for name, tasks in cases.items():  # in turns
            elapsed = _seconds(partial(model, ids, mask, tasks=tasks))
            if repeat > 1:  # the first ones warm up
                times[name].append(elapsed)
    one = statistics.median(times["one task"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"32 rows of {name:18} {1e3 * median:8.1f} ms, {median / one:.3f} of one task")


def _measure_shared_layers(folder: Path, options: argparse.Namespace) -> None:
    """Eight tasks on the same rows, with adapters in the top quarter of the layers, against eight passes."""
    top = max(1, options.layers // 4)
    run = run_config(folder, {"name": "houlsby", "m": options.m, "layers": f"top-{top}"})
    model = MultiTask(str(folder / "backbone"), precision="float32", device="cpu")
    for path in write_adapters(folder / "top", run, 8):
        model.add(path.name, path)
    ids = torch.randint(1000, 20_000, (8, options.tokens))
    mask = torch.ones_like(ids)
    together = []
    apart = []
    for repeat in range(options.repeats + 2):
        seconds = _seconds(partial(model.all_tasks, ids, mask))
        passes = sum(_seconds(partial(model, ids, mask, tasks=[name] * 8)) for name in model.tasks)
        if repeat > 1:  # the first ones warm up
            together.append(seconds)
            apart.append(passes)
    share = (options.layers - top + 8 * top) / (8 * options.layers)
    ratio = statistics.median(together) / statistics.median(apart)
    print(f"8 tasks on 8 rows             {ratio:.3f} of eight passes; layers computed: {share:.3f} of theirs")


def run_config(folder: Path, strategy: dict[str, Any]) -> ResolvedConfig:
    """The configuration of a run on the backbone in a folder."""
    return resolved(parse_config({"task": "rte", "model": str(folder / "backbone"), "strategy": strategy}))


def write_adapters(folder: Path, run: ResolvedConfig, count: int) -> list[Path]:
    """Adapter folders with random weights, without tokenizers."""
    prepared = build_model(run)
    config = AdapterConfig(
        task=run.task,
        labels=list(run.task_spec.labels),
        model=prepared.config.model_dump(),
        fingerprint=prepared.fingerprint,
        strategy=run.strategy.to_dict(),
        max_length=run.data.max_length,
    )
    folders = []
    for number in range(count):
        folders.append(folder / f"task-{number}")
        save_adapter(folders[-1], prepared.model, prepared.newly_initialized, config)
    return folders


def _seconds(do: Callable[[], Any]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _memory() -> int:
    """Resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
