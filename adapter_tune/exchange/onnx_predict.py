"""Predictions of an exported ONNX model: the batches, columns and files of a run's predictions, computed elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapter_tune.exchange.onnx_folder import FILE, onnx_package, read_onnx_run
from adapter_tune.foundation.errors import RunError, first_line
from adapter_tune.modeling.backbone import load_tokenizer_folder
from adapter_tune.runs.predict import TextPredictor


@dataclass(frozen=True)
class OnnxPredictor(TextPredictor):
    """An ONNX model that scores texts on the CPU."""

    session: Any
    """An ``onnxruntime.InferenceSession``."""
    inputs: tuple[str, ...]
    """The names of the model's inputs."""

    @property
    def device(self) -> str:
        """The device that computes."""
        return "cpu"

    def batch_logits(self, batches: Iterator[dict[str, Tensor]]) -> np.ndarray[Any, Any]:
        """Logits (rows, labels) in float32 of all batches, one after the other."""
        return np.concatenate([self.run(batch) for batch in batches])

    def run(self, batch: dict[str, Tensor]) -> np.ndarray[Any, Any]:
        """Logits (rows, labels) in float32 of a batch."""
        logits: np.ndarray[Any, Any]
        (logits,) = self.session.run(None, {name: batch[name].numpy() for name in self.inputs})
        return logits


def open_session(model: Path) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, with as many threads as torch has.

    Raises:
        RunError: onnxruntime is not installed, or cannot read the model.
    """
    onnxruntime = onnx_package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no base class
        raise RunError(f"{model}: onnxruntime cannot read it ({first_line(error)}); export the run again") from None


def onnx_predictor(path: Path, batch_size: int | None = None) -> OnnxPredictor:
    """An exported model, ready to predict.

    Args:
        path: the folder of an export, or one of the models in it.
        batch_size: rows of a forward pass; None takes the default of a run.

    Raises:
        UsageError: this is no such folder.
        RunError: a file is damaged, or onnxruntime is not installed.
    """
    onnx_package("onnxruntime")
    run, model = read_onnx_run(path)
    config = run.config(model.parent / FILE)
    if batch_size is not None:
        config = config.with_values({"training.eval_batch_size": batch_size})
    return OnnxPredictor(config, load_tokenizer_folder(model.parent), open_session(model), tuple(run.inputs))
