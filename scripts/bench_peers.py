"""Train the same tasks with adapter-tune and with other libraries (peers) in alternation; compare speed and scores.

Each peer has its own environment (created once, in --envs), its documented trainer, and its defaults: float32, rows
padded to 128 tokens. adapter-tune runs twice: with its defaults, and at the peers' settings (float32, padded to 128,
PyTorch's dropout). Example:

    python scripts/bench_peers.py --model sentence-transformers/all-MiniLM-L6-v2 --seeds 3

With --scores, only the scores are compared: adapter-tune with its defaults, once more without training the LayerNorms,
and AdapterHub's Houlsby adapter, which never trains them; in bf16, with batches as long as their longest row, all
seeds. Example:

    python scripts/bench_peers.py --scores --model sentence-transformers/all-mpnet-base-v2 --tasks mrpc,cola --seeds 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

HERE = Path(__file__).parent
PEERS = {
    "adapterhub": ["adapters==1.3.0", "transformers==4.57.6"],
    "peft_lora": ["peft>=0.17", "transformers>=5,<6"],
}
COMMON = ["accelerate", "datasets", "scikit-learn", "scipy"]
PADDED = ["training.precision=float32", "data.padding=max_length"]
METRICS = {"cola": "matthews_correlation", "mrpc": "f1", "stsb": "pearson"}
"""Those of other tasks is accuracy."""


def environment(folder: Path, name: str) -> Path:
    """The python of a peer's environment, made on the first call with this project's own torch."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        import torch

        venv.create(folder / name, with_pip=True)
        wanted = [f"torch=={torch.__version__.partition('+')[0]}", *PEERS[name], *COMMON]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def shared_values(task: str, seed: int, folder: str, args: argparse.Namespace) -> dict[str, Any]:
    """The options that adapter-tune and its peers share, by name."""
    return {
        "task": task,
        "model": args.model,
        "m": args.m,
        "epochs": args.epochs,
        "batch-size": args.batch_size,
        "lr": args.lr,
        "seed": seed,
        "output": folder,
    }


def flags(values: dict[str, Any]) -> list[str]:
    """Options as words of a command line."""
    words = []
    for name, value in values.items():
        words += [f"--{name}", str(value)]
    return words


def peer(python: Path, name: str, task: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run of a peer."""
    with tempfile.TemporaryDirectory() as folder:
        values = {**shared_values(task, seed, folder, args), "rows": args.rows}
        command = [str(python), str(HERE / "peers" / f"{name}.py"), *flags(values)]
        if args.scores:
            command.append("--fast")
        out = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(out.stdout.strip().splitlines()[-1]))


def ours(sets: list[str], task: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run of adapter-tune, by its own command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "adapter_tune", "train", *flags(shared_values(task, seed, folder, args))]
        rows = args.rows or "null"
        for value in (f"data.max_train_samples={rows}", *sets):
            command += ["--set", value]
        subprocess.run(command, check=True, capture_output=True)
        result = json.loads(next(Path(folder).glob("*/result.json")).read_text())
    metric = METRICS.get(task, "accuracy")
    speed = {key: result["speed"][key] for key in ("train_examples_per_second", "eval_examples_per_second")}
    return {
        **speed,
        "score": result["scores"]["validation"][metric],
        "trained": result["parameters"]["trained"],
        "peak_memory_bytes": result["speed"]["peak_memory_bytes"],
    }


def main() -> None:
    """Run everything in turns and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", default="rte,stsb,sst2")
    parser.add_argument("--m", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1000, help="training rows per task; 0: all")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--scores", action="store_true", help="compare scores, with the fastest settings of each")
    parser.add_argument("--who", help="only these libraries, separated by commas; default: all")
    parser.add_argument(
        "--once", default="peft_lora,at equal settings", help="libraries that run with the first seed only"
    )
    parser.add_argument("--envs", type=Path, default=Path("peer-environments"))
    parser.add_argument("--json", type=Path, help="also write every run to this file")
    args = parser.parse_args()
    peers = ["adapterhub"] if args.scores else list(PEERS)
    pythons = {name: environment(args.envs.resolve(), name) for name in peers}
    runs: dict[str, Callable[[str, int], dict[str, Any]]] = {
        "adapter-tune": partial(ours, [], args=args),
        "at equal settings": partial(ours, PADDED, args=args),
        **{name: partial(peer, pythons[name], name, args=args) for name in peers},
    }
    if args.scores:
        runs["without LayerNorms"] = partial(ours, ["strategy.layer_norm=none"], args=args)
        runs = {name: runs[name] for name in ("adapter-tune", "without LayerNorms", "adapterhub")}
        args.once = ""
    if args.who:
        runs = {name: runs[name] for name in args.who.split(",")}
    results: list[dict[str, Any]] = []
    for task in args.tasks.split(","):
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for name, run in runs.items():
                if seed == args.first_seed or name not in args.once.split(","):
                    results.append({"task": task, "seed": seed, "name": name, **run(task, seed)})
                    print(json.dumps(results[-1]), file=sys.stderr, flush=True)
                    if args.json:
                        args.json.write_text(json.dumps(results, indent=2) + "\n")
    print((score_table if args.scores else table)(results, list(runs)))


def score_table(results: list[dict[str, Any]], names: list[str]) -> str:
    """Markdown: the score of every seed times 100, and their mean with the standard error."""
    lines = ["| task | who | trained | scores | mean |", "| --- | --- | --: | --- | --: |"]
    for task in dict.fromkeys(run["task"] for run in results):
        for name in names:
            mine = [run for run in results if (run["task"], run["name"]) == (task, name)]
            scores = [100 * run["score"] for run in mine]
            if not scores:
                continue
            error = f" ± {stdev(scores) / len(scores) ** 0.5:.1f}" if len(scores) > 1 else ""
            cells = [task, name, f"{mine[0]['trained']:,}", ", ".join(f"{score:.1f}" for score in scores)]
            lines.append(f"| {' | '.join([*cells, f'{mean(scores):.1f}{error}'])} |")
    return "\n".join(lines)


def table(results: list[dict[str, Any]], names: list[str]) -> str:
    """Markdown: means over the seeds, and the speed of each row as a multiple of AdapterHub's."""
    lines = [
        "| task | who | seeds | training, examples/s | to AdapterHub | evaluating | to AdapterHub | score | memory |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for task in dict.fromkeys(run["task"] for run in results):
        for name in names:
            mine = [run for run in results if (run["task"], run["name"]) == (task, name)]
            seeds = {run["seed"] for run in mine}
            base = [r for r in results if (r["task"], r["name"]) == (task, "adapterhub") and r["seed"] in seeds]
            if not mine or not base:
                continue
            cells = [task, name, str(len(mine))]
            for key in ("train_examples_per_second", "eval_examples_per_second"):
                rate = mean(run[key] for run in mine)
                base_rate = mean(run[key] for run in base)
                cells += [f"{rate:,.1f}", f"{rate / base_rate:.2f}"]
            cells.append(f"{100 * mean(run['score'] for run in mine):.1f}")
            cells.append(f"{mean(run['peak_memory_bytes'] for run in mine) / 2**20:,.0f} MiB")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
