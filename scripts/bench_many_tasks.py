"""What many tasks on one backbone cost: switching, memory, loading, mixed batches, one file for all. Random weights.

python scripts/bench_many_tasks.py --tasks 64 --m 64
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoTokenizer, BertConfig, BertForPreTraining

from adapter_tune import MultiTask
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.data.row_files import write_rows
from adapter_tune.demo.glue import rows
from adapter_tune.demo.location import BACKBONE
from adapter_tune.modeling.build import build_model
from adapter_tune.multitask.open_runs import open_runs
from adapter_tune.multitask.predict import MultiTaskPredictor
from adapter_tune.multitask.predict import predict_file as predict_file_together
from adapter_tune.run_files.adapter_files import AdapterConfig, save_adapter
from adapter_tune.runs.predict import Predictor, predict_file

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
        _measure_file(Path(folder), options)


def random_backbone(folder: Path, layers: int) -> str:
    """The path of a backbone of BERT-base's width with random weights."""
    torch.manual_seed(0)
    path = folder / "backbone"
    BertForPreTraining(BertConfig(num_hidden_layers=layers)).save_pretrained(path)
    return str(path)


def _measure(folder: Path, options: argparse.Namespace) -> None:
    backbone = random_backbone(folder, options.layers)
    adapters = adapters_on_disk(folder, backbone, {"name": "houlsby", "m": options.m}, options.tasks)
    files = sum(file.stat().st_size for file in folder.glob("task-*/*.safetensors"))
    gc.collect()
    model = MultiTask(backbone, precision="float32", device="cpu")
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
    cold = [_cold_load(model, path) for path in adapters[: options.repeats]]
    print(f"the same, file not cached     {1e3 * statistics.median(cold):8.1f} ms (median)")
    print(_many(files / len(adapters), used / (len(adapters) - 1), statistics.median(cold)))
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


def _cold_load(model: MultiTask, adapter: Path) -> float:
    """Seconds to load an adapter whose files the system has to read from the disk."""
    for file in adapter.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)  # only pages that are on the disk can be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    seconds = _seconds(partial(model.add, "cold", adapter))
    model.remove("cold")
    return seconds


def _many(disk: float, memory: float, cold: float) -> str:
    """Markdown: what more adapters take, in proportion to the bytes of one on disk and in memory."""
    lines = ["| adapters | disk | memory if all are loaded | cold load of one |", "| --: | --: | --: | --: |"]
    for count in (64, 1_000, 10_000, 100_000):
        sizes = [f"{count * size / 2**30:,.1f} GiB" for size in (disk, memory)]
        lines.append(f"| {count:,} | {' | '.join(sizes)} | {1e3 * cold:.0f} ms |")
    return "\n".join(lines)


def _measure_shared_layers(folder: Path, options: argparse.Namespace) -> None:
    """Eight tasks on the same rows, with adapters in the top quarter of the layers, against eight passes."""
    top = max(1, options.layers // 4)
    backbone = str(folder / "backbone")
    strategy = {"name": "houlsby", "m": options.m, "layers": f"top-{top}"}
    model = MultiTask(backbone, precision="float32", device="cpu")
    for path in adapters_on_disk(folder / "top", backbone, strategy, 8):
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


def _measure_file(folder: Path, options: argparse.Namespace) -> None:
    """A file of 256 pairs predicted by eight tasks with adapters in the top quarter, against eight single runs."""
    top = max(1, options.layers // 4)
    strategy = {"name": "houlsby", "m": options.m, "layers": f"top-{top}"}
    backbone = str(folder / "backbone")
    training = {"precision": "float32", "device": "cpu"}
    run = resolved(parse_config({"task": "rte", "model": backbone, "strategy": strategy, "training": training}))
    tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
    adapters = adapters_on_disk(folder / "file", backbone, strategy, 8)
    for path in adapters:
        tokenizer.save_pretrained(path)
    names = ["sentence1", "sentence2"]
    file = folder / "rows.csv"
    write_rows(file, ({name: row[name] for name in names} for row in rows("rte", "train", 256)))
    tasks = MultiTaskPredictor(open_runs(adapters, precision="float32", device="cpu"), run.training)
    alone = Predictor(run, tokenizer, build_model(run))
    together = []
    apart = []
    for repeat in range(options.repeats + 1):
        passes = 0.0
        for _ in adapters:  # the same run eight times: others would take as long
            passes += _seconds(partial(predict_file, alone, str(file), folder / "alone.csv"))
        seconds = _seconds(partial(predict_file_together, tasks, str(file), folder / "together.csv", names))
        if repeat > 0:  # the first ones warm up
            together.append(seconds)
            apart.append(passes)
    share = (options.layers - top + 8 * top) / (8 * options.layers)
    ratios = [one / eight for one, eight in zip(together, apart, strict=True)]
    seconds, passes = statistics.median(together), statistics.median(apart)
    print(
        f"8 tasks on a file             {seconds:8.2f} s, against {passes:.2f} s of eight single runs: "
        f"{statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f}); layers computed: {share:.3f}"
    )


def adapters_on_disk(
    folder: Path, backbone: str, strategy: dict[str, Any], count: int, std: float | None = None
) -> list[Path]:
    """Adapter folders of tasks with two labels, all of one strategy.

    Args:
        folder: where they are written.
        backbone: the path of the backbone.
        strategy: its section in a configuration.
        count: number of folders.
        std: standard deviation of new random values for each folder; without it, all have the same values.
    """
    run = resolved(parse_config({"task": "rte", "model": backbone, "strategy": strategy}))
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
        if std is not None:
            for parameter in prepared.model.parameters():
                if parameter.requires_grad:
                    parameter.data.normal_(std=std)
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
