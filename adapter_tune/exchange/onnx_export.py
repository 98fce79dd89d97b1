"""A run as an ONNX model: backbone, adapter and head in one file that onnxruntime computes, compared with the run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adapter_tune.exchange.cards import write_card
from adapter_tune.exchange.formats import Export, Exported, Format
from adapter_tune.exchange.loaded_run import LoadedRun, load_run, save_tokenizer
from adapter_tune.exchange.onnx_compare import compare
from adapter_tune.exchange.onnx_folder import INT8, MODEL, MODEL_NAMES, OnnxRun, onnx_package, write_onnx_run
from adapter_tune.exchange.onnx_int8 import quantize
from adapter_tune.exchange.onnx_predict import OnnxPredictor, open_session
from adapter_tune.exchange.stored_run import read_run_config
from adapter_tune.foundation.errors import RunError, first_line
from adapter_tune.run_files.data_paths import LANGUAGE

TOLERANCE = 1e-4
"""Largest difference of a logit from the run's."""

_ABOUT = """
`model.onnx` contains the backbone, what was trained, and the head, in float32; its inputs have any number of rows and
tokens, and its output is the logits. {}It was compared with the run when it was exported.
"""
_ABOUT_INT8 = "`model-int8.onnx` is the same with 8-bit weights. "
_EXAMPLE = """
import json
import onnxruntime
from transformers import AutoTokenizer

folder = "path/to/this/folder"
run = json.load(open(f"{{folder}}/adapter_tune.json"))
session = onnxruntime.InferenceSession(f"{{folder}}/model.onnx")
rows = AutoTokenizer.from_pretrained(folder)(
    {}, truncation=True, max_length=run["max_length"], padding=True, return_tensors="np"
)
(logits,) = session.run(None, {{name: rows[name].astype("int64") for name in run["inputs"]}})
print({})
"""
_TEXTS = ('["A text.", "Another text."]', '["A first text."], ["A second text."]')
_LOGGERS = ("torch.onnx", "torch.export", "torch.__trace", "onnxscript", "onnx_ir")


def write_onnx(export: Export, folder: Path) -> Exported:
    """Write a run as an ONNX model, with everything that is needed to predict with it.

    Args:
        export: the run; with ``int8`` a model with 8-bit weights is written, too, and compared.
        folder: an empty folder.

    Returns:
        The largest difference of a logit and, with ``int8``, the speed and the scores of all models.

    Raises:
        UsageError: the run has no adapter folder.
        RunError: a package is missing, the backbone is not the run's, a file is damaged, the model cannot be exported,
            or computes something else than the run.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        onnx_package(package)
    place, adapter, config = read_run_config(export.run, export.model)
    run = load_run(place, adapter, config, export.model, export.moved.get(LANGUAGE))
    expected = [run.logits(batch).numpy() for batch in run.batches()]
    _export(run, folder / MODEL)
    predictors = {MODEL_NAMES[MODEL]: _predictor(run, folder / MODEL)}
    difference = _difference(predictors[MODEL_NAMES[MODEL]], run, expected)
    if not difference <= TOLERANCE:
        raise RunError(
            f"{export.run}: the ONNX model computes other logits (difference {difference:.1e}, {TOLERANCE:g} is "
            "allowed); nothing was written; the backbone may have an operation that ONNX computes otherwise"
        )
    if export.int8:
        quantize(folder / MODEL, folder / INT8)
        predictors[MODEL_NAMES[INT8]] = _predictor(run, folder / INT8)
    _write_other_files(run, folder)
    facts = [f"largest difference of a logit from the run's, in onnxruntime: {difference:.1e}"]
    if not export.int8:
        return Exported(facts=facts)
    compared, notes = compare(export, run, predictors, folder)
    return Exported(notes, facts, compared)


class _Logits(nn.Module):
    """A classifier with positional inputs, whose only output is the logits."""

    def __init__(self, model: nn.Module, inputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs

    def forward(self, *tensors: Tensor) -> Tensor:
        """Each tensor is (rows, tokens); the result is (rows, labels)."""
        logits: Tensor = self.model(**dict(zip(self.inputs, tensors, strict=True))).logits
        return logits


def _export(run: LoadedRun, path: Path) -> None:
    """Write the model with any number of rows and tokens; weights above 2 GB go to a file of their own beside it."""
    attention = run.model.config._attn_implementation
    run.model.set_attn_implementation("eager")  # fewer operations than ``sdpa``, which has none of its own in ONNX
    batch = run.batches()[2]
    axes = {0: "rows", 1: "tokens"}
    try:
        with torch.no_grad(), _quiet():
            torch.onnx.export(
                _Logits(run.model, run.inputs).eval(),
                tuple(batch.values()),
                path,
                input_names=run.inputs,
                output_names=["logits"],
                dynamic_shapes=((axes,) * len(batch),),
                dynamo=True,
                external_data=False,  # unless the file would be too large
                verbose=False,
            )
    except Exception as error:  # of torch.export, of the conversion, of strategies that cannot be traced
        raise RunError(
            f"{run.folder}: torch cannot export the model to ONNX ({first_line(error)}); nothing was written"
        ) from error
    finally:
        run.model.set_attn_implementation(attention)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from printing which optional packages and optimisations it skips."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _predictor(run: LoadedRun, model: Path) -> OnnxPredictor:
    return OnnxPredictor(run.config, run.tokenizer, open_session(model), tuple(run.inputs))


def _difference(predictor: OnnxPredictor, run: LoadedRun, expected: list[Any]) -> float:
    """The largest difference of a logit from the run's; NaN if there is one."""
    computed = [predictor.run(batch) for batch in run.batches()]
    return float(np.max([np.abs(a - b).max() for a, b in zip(computed, expected, strict=True)]))


def _write_other_files(run: LoadedRun, folder: Path) -> None:
    """Write the tokenizer, what predictions need to know of the run, and a README.md with an example."""
    task = run.config.task_spec
    save_tokenizer(run, folder)
    write_onnx_run(
        folder,
        OnnxRun(
            task=task.name,
            labels=list(task.labels),
            text=list(task.text),
            max_length=run.config.data.max_length,
            inputs=run.inputs,
            data=run.adapter.data,
            model=run.adapter.model,
            strategy=run.adapter.strategy,
            sha256={},
        ),
    )
    answer = '[run["labels"][row.argmax()] for row in logits]'
    if task.is_regression:
        answer = "logits[:, 0]"
    elif task.is_multi_label:
        answer = '[[run["labels"][i] for i in range(len(row)) if row[i] > 0] for row in logits]'
    about = _ABOUT.format(_ABOUT_INT8 if (folder / INT8).is_file() else "").strip()
    example = _EXAMPLE.format(_TEXTS[len(task.text) - 1], answer)
    write_card(run, folder, library="onnx", about=about, example=example)


FORMAT = Format(name="onnx", title="ONNX", write=write_onnx, options=frozenset({"int8"}))
