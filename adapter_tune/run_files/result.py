"""The result of a run and its file: what was trained, how good and how fast it is, and how to repeat it."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapter_tune import __version__
from adapter_tune.adapters.formula import ParameterCount
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import UsageError
from adapter_tune.run_files.json_files import read_json

FORMAT = 1
"""Version of the result file; a reader refuses a newer one."""

FILE = "result.json"
_FIX = "run again with --force"

COLLAPSED = "collapsed"
"""The first word of a warning that the model predicts the same for every row."""

Scores = dict[str, dict[str, float]]
"""Metric values by split."""


class ResultSection(BaseModel):
    """Base class of a result's sections. Keys of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Backbone(ResultSection):
    """The backbone that was adapted."""

    id: str
    revision: str | None
    """The commit that was loaded; None for a local folder."""
    fingerprint: str
    """SHA-256 over the backbone's tensors as loaded; with a language adapter, over that and the adapter's digest."""
    language_adapter: str | None = None
    """The folder of the language adapter, which is a frozen part of the backbone."""


class Headline(ResultSection):
    """The score that is reported for the run."""

    split: str
    metric: str
    value: float


class Speed(ResultSection):
    """Speed and memory. Training time does not include evaluation and checkpoints."""

    device: str
    precision: str
    threads: int | None = None
    """CPU threads that computed; None on a GPU."""
    real_token_share: float | None
    """Share of the training batches' tokens that are not padding."""
    train_seconds: float | None
    train_examples_per_second: float | None
    train_tokens_per_second: float | None
    """Without padding."""
    eval_examples_per_second: float | None
    peak_memory_bytes: int | None
    """Peak memory: of the process on a CPU, of the allocator on a GPU."""


class Storage(ResultSection):
    """The run folder, and the size of the adapter in it."""

    folder: str
    adapter_bytes: int


class Result(ResultSection):
    """Everything that is known about a finished run. ``result.json`` has the same keys."""

    format: int = FORMAT
    task: str
    strategy: str
    model: Backbone
    seed: int
    config: dict[str, Any]
    """The resolved configuration."""
    scores: Scores
    headline: Headline
    parameters: ParameterCount
    speed: Speed
    storage: Storage
    history: list[dict[str, float]]
    """Training loss and validation scores by step."""
    warnings: list[str]
    versions: dict[str, str]
    config_hash: str
    data_paths: dict[str, str] = {}
    """Where the data's local files and folders are, by option: relative to the run folder if in it, or absolute."""
    examples: dict[str, list[str]] = {}
    """The texts of a training row of every class; only for public data."""

    def save(self, folder: Path) -> None:
        """Write ``result.json`` into a folder, completely or not at all."""
        save_record(self, folder)


class ImportedRun(ResultSection):
    """A run that was not trained here but made from an adapter of another library: ``result.json`` without scores."""

    format: int = FORMAT
    imported_from: str
    """Format and name of the folder that the adapter came from."""
    task: str
    strategy: str
    model: Backbone
    seed: int
    config: dict[str, Any]
    """The resolved configuration, of which training has used nothing."""
    parameters: ParameterCount
    speed: Speed
    storage: Storage
    warnings: list[str]
    versions: dict[str, str]
    config_hash: str
    data_paths: dict[str, str] = {}


RunRecord = Result | ImportedRun
"""What ``result.json`` contains: all that is needed to score a run and to predict with it."""


def save_record(record: RunRecord, folder: Path) -> None:
    """Write ``result.json`` into a folder, completely or not at all."""
    atomic_files.write_text(folder / FILE, json.dumps(record.model_dump(), indent=2, allow_nan=False) + "\n")


class _Origin(ResultSection):
    """The key that only an imported run has."""

    imported_from: str | None = None


def read_run(folder: Path) -> RunRecord:
    """The record of a run, trained or imported.

    Raises:
        UsageError: this is not the folder of a finished run.
        RunError: the file is damaged, or was written by a newer version.
    """
    file = folder / FILE
    if read_json(file, _Origin, FORMAT, _FIX).imported_from is not None:
        return read_json(file, ImportedRun, FORMAT, "import it again")
    return read_json(file, Result, FORMAT, _FIX)


def read_result(folder: Path) -> Result:
    """The result in the folder of a trained run.

    Raises:
        UsageError: this is not the folder of a finished run, or the run was imported, so nothing has scored it.
        RunError: the file is damaged, or was written by a newer version.
    """
    record = read_run(folder)
    if isinstance(record, ImportedRun):
        raise UsageError(f"{folder}: was imported ({record.imported_from}), so it has no scores; 'eval' computes them")
    return record


def finished_runs(output: Path) -> list[Path]:
    """The folders of all finished runs in an output folder, the newest first."""
    files = sorted(output.glob(f"*/{FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [file.parent for file in files]


def is_demo(folder: Path) -> bool:
    """True if the finished run in this folder used the embedded demo data."""
    return bool(read_run(folder).config.get("data", {}).get("source") == DEMO)


@cache
def versions() -> dict[str, str]:
    """The versions of everything that scores may depend on, by name."""
    names = ("torch", "transformers", "datasets", "evaluate", "accelerate", "numpy", "scikit-learn")
    by_name = {"adapter-tune": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            by_name[name] = metadata.version(name)
    return by_name
