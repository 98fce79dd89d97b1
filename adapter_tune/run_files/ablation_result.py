"""Scores of a trained model without the adapters of each layer range, and their files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import FieldError
from adapter_tune.run_files.json_files import read_json

FORMAT = 1
FILE = "ablation.json"
_MOST_LAYERS = 1000


class RangeScores(BaseModel):
    """Scores without the adapters of the layers ``first`` to ``last``, counted from 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int
    last: int
    scores: dict[str, float]


class Ablation(BaseModel):
    """Scores of a trained model without the adapters of each layer range. ``ablation.json`` has the same keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    run: str
    """The run folder."""
    task: str
    split: str
    layers: int = Field(ge=1, le=_MOST_LAYERS)
    sub_layer: str | None
    """The sub-layer whose adapters were removed; null if the adapters of both were."""
    metric: str
    """The metric of the matrix and the heatmap: accuracy if the task has it."""
    metrics: list[str]
    whole: dict[str, float]
    """Scores with all adapters."""
    majority: dict[str, float] | None
    """Scores of predicting the most frequent class of the split; null for a regression."""
    spans: list[RangeScores]
    """Each layer range once."""
    config: dict[str, Any]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _check_complete(self) -> Ablation:
        all_ranges = [(first, last) for first in range(self.layers) for last in range(first, self.layers)]
        if sorted((layer_range.first, layer_range.last) for layer_range in self.spans) != all_ranges:
            raise FieldError(("spans",), f"should contain every range of {self.layers} layers once")
        self._check_metrics("whole", self.whole)
        for layer_range in self.spans:
            self._check_metrics("spans", layer_range.scores)
        if self.majority is not None:
            self._check_metrics("majority", self.majority)
        return self

    def _check_metrics(self, key: str, scores: dict[str, float]) -> None:
        missing = {self.metric, *self.metrics} - scores.keys()
        if missing:
            raise FieldError((key,), f"has no {min(missing)}")

    def matrix(self, metric: str | None = None) -> list[list[float | None]]:
        """Scores by first (row) and last (column) removed layer; None where first > last."""
        rows: list[list[float | None]] = [[None] * self.layers for _ in range(self.layers)]
        for layer_range in self.spans:
            rows[layer_range.first][layer_range.last] = layer_range.scores[metric or self.metric]
        return rows

    def to_csv(self) -> str:
        """The matrix as CSV with a header row and column; a cell is empty where first > last."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow([f"{self.metric}: first\\last", *range(self.layers)])
        for first, row in enumerate(self.matrix()):
            writer.writerow([first, *("" if value is None else value for value in row)])
        return file.getvalue()

    def save(self, folder: Path) -> None:
        """Write ``ablation.json`` and ``ablation.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic_files.write_text(folder / FILE, json.dumps(self.model_dump(), indent=2, allow_nan=False) + "\n")
        atomic_files.write_text(folder / "ablation.csv", self.to_csv())


def read_ablation(folder: Path) -> Ablation:
    """The ablation in a folder; it raises the same errors as ``read_json``."""
    return read_json(folder / FILE, Ablation, FORMAT, "run adapter-tune ablate again")
