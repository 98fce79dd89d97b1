"""The main use on the embedded demo: scores and trained parameters of several strategies, in one table.

python scripts/demo.py                                # what "make demo" runs: three tasks, one seed
python scripts/demo.py --all --seeds 3 --controls     # the table of docs/demo.md
python scripts/demo.py --all --seeds 3 --methods houlsby,paper/extensions/parallel,top_n:n=2     # any others
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ["HF_HUB_OFFLINE"] = "1"  # the Hub is not used

import typer
from rich.progress import track

from adapter_tune.adapters.formula import ParameterCount
from adapter_tune.config.compose import compose
from adapter_tune.config.shipped import shipped_configs
from adapter_tune.foundation.console import limit_library_output
from adapter_tune.report.terminal import show
from adapter_tune.run_files.result import Result
from adapter_tune.tasks.glue import TASKS, Task

STRATEGIES = "houlsby,full,top_n"  # top_n: the top layer alone, by default
RANDOM = "houlsby, random backbone"
WORDS = "bag of words"
NEXT = """
Scores are of the validation split, times 100: {headlines}.
Next:
  .venv/bin/adapter-tune eval --output {output}               evaluate the newest run again, from disk
  .venv/bin/adapter-tune train --task rte --m 8 --demo        another task, another size
  .venv/bin/adapter-tune train --task rte --model DIR         your own backbone, or one from the Hub
  .venv/bin/adapter-tune list                                 tasks, strategies, configurations
docs/demo.md describes the demo data and what the table shows."""


def train(cell: tuple[str, str, int], output: Path, sets: list[str]) -> Result:
    """One run; a finished one is read from its folder."""
    import torch

    from adapter_tune.runs.run import run

    task, name, seed = cell
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)
    limit_library_output(quiet=True)
    logging.getLogger("adapter_tune").setLevel(logging.WARNING)
    model = str(random_backbone(output)) if name == RANDOM else None
    word, _, option = name.split(",")[0].partition(":")
    file = word if word in shipped_configs() else None
    flags = {
        "--task task": task,
        "--strategy strategy.name": None if file else word,
        "--seed training.seed": seed,
        "--output output": str(output),
        "--model model.id": model,
    }
    if option:
        sets = [*sets, f"strategy.{option}"]
    return run(compose(file, flags, sets, demo=True))


def random_backbone(output: Path) -> Path:
    """The demo backbone's shape and tokenizer with random weights."""
    folder = output / "random-backbone"
    if not (folder / "model.safetensors").is_file():
        import torch
        from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

        from adapter_tune.demo.location import BACKBONE

        torch.manual_seed(0)
        AutoTokenizer.from_pretrained(BACKBONE).save_pretrained(folder)
        AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(BACKBONE)).save_pretrained(folder)
    return folder


def bag_of_words(task: Task) -> float:
    """Headline score of a logistic (for STS-B ridge) regression on word counts, one bag a text column."""
    import numpy as np
    from datasets import load_dataset
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    from adapter_tune.demo.dataset import located_data
    from adapter_tune.demo.location import DEMO
    from adapter_tune.tasks.metrics import glue_scores

    rows = load_dataset(located_data(DEMO), task.name)
    bags = {column: CountVectorizer(token_pattern=r"\w+").fit(rows["train"][column]) for column in task.text}

    def word_counts(split: str) -> Any:
        return hstack([bag.transform(rows[split][column]) for column, bag in bags.items()])

    model = Ridge() if task.is_regression else LogisticRegression(max_iter=2000)
    model.fit(word_counts("train"), np.array(rows["train"]["label"]))
    validation = task.validation[0]
    truth = np.array(rows[validation]["label"])
    return glue_scores(task, truth, model.predict(word_counts(validation)))[task.headline]


def spread(values: list[float]) -> str:
    """Mean, and the standard deviation where there are several."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.1f}"


def mean_row(tasks: list[str], columns: list[str], scores: dict[tuple[str, str], list[float]]) -> list[str]:
    """The mean over the tasks for each column."""
    row = ["mean"]
    for column in columns:
        mean = statistics.mean(statistics.mean(scores[task, column]) for task in tasks)
        row.append(f"{100 * mean:.1f}")
    return row


def parameter_rows(columns: list[str], parameters: dict[str, ParameterCount]) -> list[list[str]]:
    """The number of trained parameters, and its share; empty for a column without a model."""
    counts = ["trained parameters"]
    shares = ["  of the model without adapters"]
    for column in columns:
        count = parameters.get(column)
        counts.append("" if count is None else f"{count.trained:,}")
        shares.append("" if count is None else f"{count.trained_percent:.1f} %")
    return [counts, shares]


def runs_of(cells: list[tuple[str, str, int]], output: Path, sets: list[str], workers: int) -> Iterator[Result]:
    """The results in the order of the cells."""
    if workers == 1:
        yield from (train(cell, output, sets) for cell in cells)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(partial(train, output=output, sets=sets), cells)


def main(
    tasks: Annotated[str, typer.Option("--task", help="Tasks, separated by commas.")] = "cola,mnli,wnli",
    every: Annotated[bool, typer.Option("--all", help="All nine tasks.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, for each task and strategy.")] = 1,
    methods: Annotated[
        str, typer.Option(help="Strategies or shipped configurations, separated by commas.")
    ] = STRATEGIES,
    controls: Annotated[
        bool, typer.Option("--controls", help="Add the controls: head, random backbone, bag of words.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder in which the run folders are created.")] = Path("runs/demo"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Set any option, as in train: training.epochs=2. Can be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of runs at the same time, one thread each.")] = 1,
) -> None:
    """Train every strategy on every task and print one table."""
    names = list(TASKS) if every else tasks.split(",")
    columns = [*methods.split(","), *(["head", RANDOM] if controls else [])]
    output.mkdir(parents=True, exist_ok=True)
    if controls:
        random_backbone(output)
    cells = [(task, name, 42 + seed) for task in names for name in columns for seed in range(seeds)]
    results = list(track(runs_of(cells, output, set_ or [], workers), "training", len(cells)))
    groups: dict[tuple[str, str], list[Result]] = {}
    for (task, name, _), result in zip(cells, results, strict=True):
        groups.setdefault((task, name), []).append(result)
    scores = {key: [result.headline.value for result in group] for key, group in groups.items()}
    if controls:
        scores.update({(task, WORDS): [bag_of_words(TASKS[task])] for task in names})
        columns.append(WORDS)
    rows = []
    for task in names:
        rows.append([f"{task}, {TASKS[task].headline}", *(spread(scores[task, column]) for column in columns)])
    parameters = {column: groups[names[0], column][0].parameters for column in columns if column != WORDS}
    rows += [mean_row(names, columns, scores), *parameter_rows(columns, parameters)]
    show("the embedded demo", ["task, score", *columns], rows)
    print(NEXT.format(output=output, headlines="each task's headline metric (Matthews and Spearman from -100)"))


if __name__ == "__main__":
    typer.run(main)
