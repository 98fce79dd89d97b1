"""Scores of a trained model without the adapters of each span of its layers, and their files."""

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


class Without(BaseModel):
    """Scores without the adapters of the layers ``first`` to ``last``, counted from 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int
    last: int
    scores: dict[str, float]


class Ablation(BaseModel):
    """Scores of a trained model without the adapters of each span; ``ablation.json`` holds the same keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    run: str
    """The run folder."""
    task: str
    split: str
    layers: int = Field(ge=1, le=_MOST_LAYERS)
    sub_layer: str | None
    """Only adapters of this kind were taken out; null for both."""
    metric: str
    """What the matrix and the picture show: accuracy where the task has it."""
    metrics: list[str]
    whole: dict[str, float]
    """Scores with every adapter in its place."""
    majority: dict[str, float] | None
    """Scores of the most frequent class of the split; null for a regression."""
    spans: list[Without]
    """Each span once."""
    config: dict[str, Any]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _whole(self) -> Ablation:
        every = [(first, last) for first in range(self.layers) for last in range(first, self.layers)]
        if sorted((span.first, span.last) for span in self.spans) != every:
            raise FieldError(("spans",), f"should hold every span of {self.layers} layers once")
        held = [("whole", self.whole), *(("spans", span.scores) for span in self.spans)]
        held += [] if self.majority is None else [("majority", self.majority)]
        for key, scores in held:
            if missing := {self.metric, *self.metrics} - scores.keys():
                raise FieldError((key,), f"has no {min(missing)}")
        return self

    def matrix(self, metric: str | None = None) -> list[list[float | None]]:
        """Scores by first (row) and last layer (column) taken out; None where first > last."""
        out: list[list[float | None]] = [[None] * self.layers for _ in range(self.layers)]
        for span in self.spans:
            out[span.first][span.last] = span.scores[metric or self.metric]
        return out

    def to_csv(self) -> str:
        """The matrix with headers; empty where first > last."""
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
    """The ablation in a folder; errors as of ``read_record``."""
    return read_json(folder / FILE, Ablation, FORMAT, "run adapter-tune ablate again")
