"""Speed and scores of an exported model beside those of the run, on the rows of its validation splits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from transformers import EvalPrediction

from adapter_tune.data.splits import load_rows
from adapter_tune.exchange.formats import Compared, Export
from adapter_tune.exchange.loaded_run import LoadedRun
from adapter_tune.exchange.onnx_folder import MODEL_NAMES
from adapter_tune.exchange.onnx_predict import OnnxPredictor
from adapter_tune.foundation.errors import AdapterTuneError
from adapter_tune.runs.predict import Predictor, TextPredictor
from adapter_tune.runs.run_config import config_with_data
from adapter_tune.training.scorer import DISTINCT, Scorer

SCORED_ROWS = 1000
"""Rows of each split that are scored at most."""
_TIMED_ROWS = 64
_TURNS = 5
ON_CPU = {"training.device": "cpu", "training.precision": "float32"}
"""How a run in torch computes beside exported models."""
Rows = list[dict[str, Any]]


def compare(
    export: Export,
    run: LoadedRun,
    models: dict[str, OnnxPredictor],
    folder: Path,
    limit: int | None = SCORED_ROWS,
) -> tuple[list[Compared], list[str]]:
    """Measure the run in torch and its exported models, all in float32 or int8, on the CPU with the same threads.

    The run gets its fast paths, so it cannot be exported afterwards.

    Args:
        export: where the run and its data are.
        run: the run.
        models: the exported ones by name.
        folder: where their files are.
        limit: rows of each split that are scored at most; None scores all.

    Returns:
        One entry for each model, that of the run first, and notes on what was not measured.
    """
    torch_model = Predictor(run.config.with_values(ON_CPU), run.tokenizer, run.prepared)
    predictors: dict[str, TextPredictor] = {"torch float32": torch_model, **models}
    splits, notes = _validation_rows(export, run, limit)
    rows = next(iter(splits.values()))[0] if splits else _random_rows(run)
    speeds = rows_per_second(predictors, rows[:_TIMED_ROWS])
    sizes = {"torch float32": sum(4 * p.numel() for p in run.model.parameters()), **sizes_of(models, folder)}
    compared = []
    for name, predictor in predictors.items():
        scores = {split: _scores(predictor, *labelled) for split, labelled in splits.items()}
        compared.append(Compared(name, sizes[name], speeds[name], scores))
    return compared, notes


def _validation_rows(
    export: Export, run: LoadedRun, limit: int | None
) -> tuple[dict[str, tuple[Rows, Any]], list[str]]:
    """Tokenised rows and labels of the run's validation splits, or none of them and a note that says why."""
    try:
        config = config_with_data(export.run, export.moved)
        if limit is not None:
            least = min(limit, config.data.max_eval_samples or limit)
            config = config.with_values({"data.max_eval_samples": least})
        splits = load_rows(config, run.tokenizer, config.task_spec.validation)
    except AdapterTuneError as error:
        return {}, [f"the scores were not compared, and speed was measured on random tokens: {error}"]
    labelled = {}
    for name, rows in splits.items():
        labelled[name] = (rows.select_columns(run.inputs).to_list(), np.asarray(rows["labels"][:]))
    return labelled, []


def _random_rows(run: LoadedRun) -> Rows:
    rng = np.random.default_rng(0)
    longest = run.config.data.max_length
    lengths = rng.integers(longest // 8 + 1, longest + 1, _TIMED_ROWS)
    return random_rows(run.inputs, lengths, run.model.config.vocab_size)


def random_rows(inputs: Sequence[str], lengths: Iterable[int], vocabulary: int) -> Rows:
    """Rows of random tokens.

    Args:
        inputs: the names of a model's inputs.
        lengths: the number of tokens of each row.
        vocabulary: the number of tokens that there are.
    """
    rng = np.random.default_rng(0)
    rows = []
    for length in map(int, lengths):
        values = {"input_ids": rng.integers(0, vocabulary, length).tolist(), "attention_mask": [1] * length}
        rows.append({name: values.get(name, [0] * length) for name in inputs})
    return rows


def sizes_of(models: Iterable[str], folder: Path) -> dict[str, int]:
    """The size of each model's files in a folder, in bytes, by the name of the model."""
    files = {name: file for file, name in MODEL_NAMES.items()}
    return {name: sum(path.stat().st_size for path in folder.glob(f"{files[name]}*")) for name in models}


def rows_per_second(predictors: dict[str, TextPredictor], rows: Rows, turns: int = _TURNS) -> dict[str, float]:
    """The median speed of each; they take turns, so that other load on the machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for turn in range(turns + 1):
        for name, predictor in predictors.items():
            start = time.perf_counter()
            predictor.logits(rows)
            if turn > 0:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: len(rows) / median(times) for name, times in seconds.items()}


def _scores(predictor: TextPredictor, rows: Rows, labels: Any) -> dict[str, float]:
    prediction = EvalPrediction(predictions=predictor.logits(rows), label_ids=labels)
    return {name: value for name, value in Scorer(predictor.task)(prediction).items() if name != DISTINCT}
