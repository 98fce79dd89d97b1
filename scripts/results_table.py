"""A Markdown table of scores and trained parameters, from run folders: one row per task, one column per strategy.

python scripts/results_table.py runs/*/
"""

from __future__ import annotations

import sys
from pathlib import Path

from adapter_tune.run_files.result import Result, read_result
from adapter_tune.tasks.glue import TASKS

SHORT = {"matthews_correlation": "Matthews", "pearson": "Pearson", "spearmanr": "Spearman", "f1": "F1"}


def scores(result: Result) -> str:
    """Every score but the mean of the others, in percent; MNLI's second split with the suffix ``_mm``."""
    cells = []
    for split, row in result.scores.items():
        suffix = "_mm" if split.endswith("mismatched") else ""
        cells += [f"{SHORT.get(m, m)}{suffix} {100 * v:.1f}" for m, v in row.items() if m != "combined_score"]
    return ", ".join(cells)


def trained(result: Result) -> str:
    """Trained parameters and their share of the model without adapters."""
    return f"{result.parameters.trained:,} ({result.parameters.trained_percent:.1f} %)"


def table(results: list[Result]) -> str:
    """The whole table; a strategy's cells stand side by side."""
    strategies = sorted({r.strategy for r in results}, key=lambda name: (name != "houlsby", name))
    tasks = [task for task in TASKS if any(r.task == task for r in results)]
    found = {(r.task, r.strategy): r for r in results}
    if len(found) < len(results):
        sys.exit("two runs of one task and strategy; give only one of them")
    head = ["task", *(f"{name}: {what}" for name in strategies for what in ("scores", "trained"))]
    lines = [head, ["---"] * len(head)]
    for task in tasks:
        line = [task]
        for name in strategies:
            r = found.get((task, name))
            line += [scores(r), trained(r)] if r else ["", ""]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table([read_result(Path(folder)) for folder in sys.argv[1:]]))
