"""What many tasks cost a server: requests per second with one task and with all of them, and cold loads.

Random weights of BERT-base's shape; wrk sends the requests on this machine (Debian: apt-get install wrk).

python scripts/bench_serve.py --tasks 64 --m 64
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from bench_many_tasks import adapters_on_disk, random_backbone
from transformers import AutoTokenizer

from adapter_tune.demo.location import BACKBONE

REQUESTS = """
local words = {}
for word in ("the a dog cat bird man woman child runs sleeps eats red big old house tree"):gmatch("%%S+") do
  words[#words + 1] = word
end
math.randomseed(1)
local function sentence(most)
  local text = {}
  for position = 1, math.random(4, most) do text[position] = words[math.random(#words)] end
  return table.concat(text, " ")
end
request = function()
  local body = '{"task":"task-%%d","text":"%%s","pair":"%%s"}'
  body = body:format(math.random(0, %d), sentence(20), sentence(12))
  return wrk.format("POST", "/v1/predict", {["Content-Type"] = "application/json"}, body)
end
"""


def main() -> None:
    """Write a random backbone and its adapters, serve them, measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=64, help="number of adapters")
    parser.add_argument("--m", type=int, default=64, help="bottleneck size")
    parser.add_argument("--layers", type=int, default=12, help="layers of the backbone, of BERT-base's width")
    parser.add_argument("--connections", type=int, default=32, help="clients that wait for their answers")
    parser.add_argument("--seconds", type=int, default=15, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements with one task and with all, in turns")
    parser.add_argument("--resident", type=int, default=8, help="adapters in memory, for the cold loads")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("error: wrk is not installed; on Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_runs(folder, options)
        _measure_mixing(folder, options)
        _measure_loads(folder, options)


def _write_runs(folder: Path, options: argparse.Namespace) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
    backbone = random_backbone(folder, options.layers)
    tokenizer.save_pretrained(backbone)
    strategy = {"name": "houlsby", "m": options.m}
    for adapter in adapters_on_disk(folder / "runs", backbone, strategy, options.tasks):
        tokenizer.save_pretrained(adapter)


def _measure_mixing(folder: Path, options: argparse.Namespace) -> None:
    rates: dict[int, list[float]] = {1: [], options.tasks: []}
    cpu: dict[int, list[float]] = {1: [], options.tasks: []}
    with _server(folder) as (address, process):
        _send(folder, address, options.tasks, options.connections, 5)  # warms up
        for _ in range(options.rounds):
            for tasks in (1, options.tasks):  # in turns
                before = process.cpu_times()
                rate, requests = _send(folder, address, tasks, options.connections, options.seconds)
                after = process.cpu_times()
                rates[tasks].append(rate)
                cpu[tasks].append((after.user + after.system - before.user - before.system) / requests)
        padding = _metric(address, "padding_tokens_total") / _metric(address, "batch_tokens_sum")
    ratios = [mixed / one for one, mixed in zip(*rates.values(), strict=True)]
    print(f"torch {torch.__version__}; {options.tasks} adapters of m = {options.m}; {options.connections} connections")
    for tasks, values in rates.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"{tasks:3} task(s)               {statistics.median(values):8.2f} requests/s ({shown})")
    print(
        f"all tasks against one     {statistics.median(ratios):8.3f} of the requests per second (median of the rounds)"
    )
    first, second = (statistics.median(cpu[tasks]) for tasks in cpu)
    print(f"                          {first / second:8.3f} of the requests per second of CPU time")
    print(f"padding                   {padding:8.3f} of the tokens")


def _measure_loads(folder: Path, options: argparse.Namespace) -> None:
    with _server(folder, "--resident", str(options.resident)) as (address, _):
        count, seconds = (_metric(address, f"adapter_load_seconds_{part}") for part in ("count", "sum"))
        _send(folder, address, options.tasks, options.connections, options.seconds)
        loads = _metric(address, "adapter_load_seconds_count") - count
        mean = (_metric(address, "adapter_load_seconds_sum") - seconds) / loads
        quick = _metric(address, 'adapter_load_seconds_bucket{le="0.05"}') / _metric(
            address, "adapter_load_seconds_count"
        )
    print(f"cold loads while serving  {1e3 * mean:8.1f} ms on average of {loads:.0f}; {quick:.2f} of all within 50 ms")


@contextmanager
def _server(folder: Path, *more: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server on a free port: its address and its process."""
    words = [sys.executable, "-m", "adapter_tune", "serve", str(folder / "runs"), "--port", "0", *more]
    words += ["--device", "cpu", "--precision", "float32"]
    errors = folder / "stderr"
    with errors.open("w") as stderr:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        while not (address := re.search(r"on (http://\S+)", errors.read_text())):
            if process.poll() is not None:
                sys.exit(errors.read_text())
            time.sleep(0.1)
        yield address[1], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _send(folder: Path, address: str, tasks: int, connections: int, seconds: int) -> tuple[float, float]:
    """Requests for some tasks: how many per second, and how many in all."""
    script = folder / "requests.lua"
    script.write_text(REQUESTS % (tasks - 1))
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script), address]
    before = _metric(address, "batch_rows_sum")
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"error: some requests failed:\n{out}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert rate is not None
    return float(rate[1]), _metric(address, "batch_rows_sum") - before


def _metric(address: str, name: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return next(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"adapter_tune_{name} ")
    )


if __name__ == "__main__":
    main()
