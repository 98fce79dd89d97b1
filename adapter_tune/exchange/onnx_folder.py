"""What a folder of an ONNX export contains beside its models: the task of the run, its labels, its maximum length."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError, unknown_name
from adapter_tune.run_files.json_files import read_json
from adapter_tune.runs.run_config import parse_task

FILE = "adapter_tune.json"
MODEL = "model.onnx"
INT8 = "model-int8.onnx"
MODEL_NAMES = {MODEL: "ONNX float32", INT8: "ONNX int8"}
"""What the models are called, by their files."""
FORMAT = 1
"""Version of the folder; a reader refuses a newer one."""


class OnnxRun(BaseModel):
    """``adapter_tune.json``: everything that is needed to predict with the model, without its backbone."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    format: int = FORMAT
    task: str
    labels: list[str]
    """Class names by id; empty for regression."""
    text: list[str]
    """The columns that the task reads."""
    max_length: int
    """Maximum number of tokens in a row."""
    inputs: list[str]
    """The model's inputs; each is (rows, tokens), of 64-bit integers."""
    data: dict[str, Any] = {}
    """With task custom: columns, class names, metric, as in an adapter's configuration."""
    model: dict[str, Any] = {}
    """The backbone, as in an adapter's configuration; only to build the same model in torch."""
    strategy: dict[str, Any] = {}
    """The strategy of the run, likewise."""
    sha256: dict[str, str]
    """SHA-256 of the models' files by name."""

    def config(self, file: Path) -> ResolvedConfig:
        """The configuration of the run, as far as predictions need it.

        Raises:
            RunError: a value is wrong, or the labels are not those of the task.
        """
        return parse_task({"task": self.task}, self.labels, self.max_length, self.data, file)

    def torch_config(self, file: Path, model: str | None = None) -> ResolvedConfig:
        """The configuration of the run, as far as a model of the same shape in torch needs it.

        Args:
            file: this file, for messages.
            model: path or id of the backbone, if it has moved since the export.

        Raises:
            RunError: a value is wrong, or the labels are not those of the task.
        """
        backbone = {**self.model, "id": model, "revision": None} if model else self.model
        sections = {"task": self.task, "model": backbone, "strategy": self.strategy}
        return parse_task(sections, self.labels, self.max_length, self.data, file)


def write_onnx_run(folder: Path, run: OnnxRun) -> None:
    """Write ``adapter_tune.json`` with the SHA-256 of every model file in the folder."""
    models = sorted(file for file in folder.iterdir() if file.name.startswith("model"))
    run = run.model_copy(update={"sha256": {file.name: atomic_files.sha256(file) for file in models}})
    (folder / FILE).write_text(json.dumps(run.model_dump(), indent=2) + "\n", encoding="utf-8")


def read_onnx_run(path: Path) -> tuple[OnnxRun, Path]:
    """What ``adapter_tune.json`` says, and the model's file.

    Args:
        path: the folder of an export, or one of the models in it.

    Raises:
        UsageError: this is no such folder, or there is no such model.
        RunError: a file is damaged, or was written by a newer version.
    """
    folder = path.parent if path.suffix == ".onnx" else path
    if not (folder / FILE).is_file():
        raise UsageError(
            f"{path}: no {FILE} in {folder}; give a folder that 'adapter-tune export --format onnx' wrote, or a model "
            "in it"
        )
    run = read_json(folder / FILE, OnnxRun, FORMAT, "export the run again")
    model = path.name if path.suffix == ".onnx" else MODEL
    if model not in run.sha256:
        names = [name for name in run.sha256 if name.endswith(".onnx")]
        raise UsageError(f"{folder}: {unknown_name('model', model, names)}")
    for name, digest in run.sha256.items():
        if name.startswith(model):  # the model, and its weights if they are in another file
            _check_file(folder / name, digest)
    return run, folder / model


def _check_file(file: Path, digest: str) -> None:
    if not file.is_file() or atomic_files.sha256(file) != digest:
        raise RunError(f"{file}: is missing or has changed since it was exported; copy the whole folder again")


def onnx_package(name: str) -> Any:
    """Import a package of the extra ``onnx``.

    Raises:
        RunError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise RunError(
            f"ONNX needs the packages onnx, onnxruntime and onnxscript ({error}): pip install 'adapter-tune[onnx]'"
        ) from None
