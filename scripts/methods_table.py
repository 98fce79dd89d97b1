"""The table of docs/methods.md, from run folders: one row per method, one column per task; means over seeds.

python scripts/methods_table.py runs/methods/*/          # --cost adds seconds per epoch and peak memory
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated

import typer

from adapter_tune.run_files.result import Result, read_result
from adapter_tune.strategies import REGISTRY, parse_strategy
from adapter_tune.tasks.glue import TASKS


def method(result: Result) -> str:
    """The strategy, with the options that are not its defaults."""
    options = parse_strategy(result.config["strategy"])
    changed = {k: v for k, v in options.model_dump().items() if v != type(options).model_fields[k].default}
    return " ".join([options.name, *(f"{name}={value}" for name, value in changed.items())])


def spread(values: list[float]) -> str:
    """Mean, and the standard deviation where there are several."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.1f}"


def seconds(results: list[Result]) -> str:
    """Seconds of training an epoch, evaluation left out."""
    times = [r.speed.train_seconds / r.config["training"]["epochs"] for r in results if r.speed.train_seconds]
    return f"{statistics.mean(times):.1f}" if times else ""


def main(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    leave_out: Annotated[str, typer.Option(help="Task that is left out of the mean.")] = "",
    cost: Annotated[bool, typer.Option("--cost", help="Add seconds per epoch for each task, and peak memory.")] = False,
) -> None:
    """Print the table as Markdown."""
    results = [read_result(folder) for folder in folders if (folder / "result.json").is_file()]
    cells: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        cells.setdefault((method(result), result.task), []).append(result)
    tasks = [task for task in TASKS if any(key[1] == task for key in cells)]
    names = sorted({key[0] for key in cells}, key=lambda name: (list(REGISTRY).index(name.split()[0]), name))
    head = ["method", *tasks]
    if len(tasks) > 2:
        head.append(f"mean without {leave_out}" if leave_out else "mean")
    head.append("trained")
    if cost:
        head += [*(f"s an epoch, {task}" for task in tasks), "peak memory, GiB"]
    lines = [head, ["---"] * len(head)]
    for name in names:
        groups = [cells.get((name, task), []) for task in tasks]
        scores = [[r.headline.value for r in group] for group in groups]
        runs = [r for group in groups for r in group]
        line = [name, *(spread(values) if values else "" for values in scores)]
        if len(tasks) > 2:
            means = [statistics.mean(s) for task, s in zip(tasks, scores, strict=True) if s and task != leave_out]
            line.append(f"{100 * statistics.mean(means):.1f}" if all(scores) else "")
        trained = min(r.parameters.trained for r in runs)
        line.append(f"{trained:,} ({runs[0].parameters.trained_percent:.2f} %)")
        if cost:
            peak = max(r.speed.peak_memory_bytes or 0 for r in runs)
            line += [*(seconds(group) for group in groups), f"{peak / 2**30:.2f}"]
        lines.append(line)
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    typer.run(main)
