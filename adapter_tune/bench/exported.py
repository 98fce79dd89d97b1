"""Exported ONNX models timed beside the same model in torch, on random tokens; the models take turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapter_tune.bench.row_lengths import sample_lengths
from adapter_tune.bench.worker import random_model
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.exchange.onnx_compare import ON_CPU, random_rows, rows_per_second, sizes_of
from adapter_tune.exchange.onnx_folder import FILE, MODEL_NAMES, onnx_package, read_onnx_run
from adapter_tune.exchange.onnx_predict import OnnxPredictor, onnx_predictor
from adapter_tune.foundation.errors import UsageError
from adapter_tune.runs.predict import Predictor

TORCH = "torch float32"
_ROWS = 64
"""Rows that are timed, unless one batch has more."""


@dataclass(frozen=True)
class ExportedMeasurement:
    """The speed of one model in evaluation; ``--json`` prints these names."""

    name: str
    model_bytes: int
    """Size of its file; of its parameters in torch."""
    batch_ms: float
    row_ms: float
    rows_per_second: float
    tokens_per_second: float
    """Tokens without padding."""
    speed: float
    """Rows per second divided by those of torch."""


def bench_exported(
    path: Path, lengths: str, turns: int, batch_size: int | None = None, model: str | None = None
) -> tuple[list[ExportedMeasurement], dict[str, Any]]:
    """Time the models in a folder beside the same model in torch, with random weights; all on the CPU in float32.

    Args:
        path: the folder of an export, or one of the models in it.
        lengths: a task or a number of tokens, as in ``sample_lengths``.
        turns: how often all rows are computed by each model, after one turn of warm-up.
        batch_size: rows of a batch; None takes the default of a run.
        model: path or id of the backbone, if it has moved since the export; only its configuration is read.

    Returns:
        A measurement of each model, that in torch first, and what the numbers depend on.

    Raises:
        UsageError: this is no such folder, it does not say what the run was, or ``lengths`` is wrong.
        RunError: a file is damaged, the backbone's configuration cannot be loaded, or onnxruntime is not installed.
    """
    run, file = read_onnx_run(path)
    if not run.strategy or not run.model:
        raise UsageError(f"{file.parent / FILE}: does not name the run's backbone and strategy; export the run again")
    sample_lengths(lengths, 1, run.max_length)
    names = [file.name] if path.suffix == ".onnx" else [name for name in MODEL_NAMES if name in run.sha256]
    exported = {MODEL_NAMES[name]: onnx_predictor(file.parent / name, batch_size) for name in names}
    config = run.torch_config(file.parent / FILE, model).with_values(ON_CPU)
    size = batch_size or config.training.eval_batch_size
    in_torch = _torch_predictor(config.with_values({"training.eval_batch_size": size}), exported)
    row_lengths = sample_lengths(lengths, max(_ROWS, size), run.max_length)
    rows = random_rows(run.inputs, row_lengths, in_torch.prepared.model.config.vocab_size)
    speeds = rows_per_second({TORCH: in_torch, **exported}, rows, turns)
    parameters = sum(p.numel() for p in in_torch.prepared.model.parameters())
    sizes = {TORCH: 4 * parameters, **sizes_of(exported, file.parent)}
    about = {
        "onnx": str(path),
        "model": config.model.id,
        "strategy": config.strategy.to_dict(),
        "lengths": lengths,
        "batch_size": size,
        "rows": len(rows),
        "turns": turns,
        "device": "cpu",
        "precision": "float32",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "onnxruntime": onnx_package("onnxruntime").__version__,
    }
    return _measurements(speeds, sizes, row_lengths, size), about


def _torch_predictor(config: ResolvedConfig, exported: Mapping[str, OnnxPredictor]) -> Predictor:
    """A model of the run's shape with random weights, and the tokenizer of the exported ones."""
    tokenizer = next(iter(exported.values())).tokenizer
    return Predictor(config, tokenizer, random_model(config))


def _measurements(
    speeds: dict[str, float], sizes: dict[str, int], row_lengths: Any, batch_size: int
) -> list[ExportedMeasurement]:
    """Every unit of the same speeds, given in rows per second by model."""
    rows = len(row_lengths)
    batches = -(-rows // batch_size)
    return [
        ExportedMeasurement(
            name=name,
            model_bytes=sizes[name],
            batch_ms=1e3 * rows / batches / speed,
            row_ms=1e3 / speed,
            rows_per_second=speed,
            tokens_per_second=float(row_lengths.mean()) * speed,
            speed=speed / speeds[TORCH],
        )
        for name, speed in speeds.items()
    ]
