"""What a format is: how a folder of another library is written and, if runs are made of it, recognised and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapter_tune.strategies import Strategy


class Own(BaseModel):
    """What we write into a folder of another library, which has no place for it and does not read it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    task: str
    """The task's name here."""
    fingerprint: str
    """Of the backbone."""
    max_length: int = Field(ge=2)
    """Maximum number of tokens in a row."""


@dataclass(frozen=True)
class Head:
    """What a classification head says about its task."""

    problem: Literal["classification", "multi_label", "regression"]
    labels: tuple[str, ...] | None
    """Class names by id; None if the head does not name them, or for regression."""
    num_labels: int
    """Number of outputs."""


@dataclass(frozen=True)
class Foreign:
    """An adapter of another library, read and checked, with everything that makes it a run here."""

    strategy: Strategy
    pooler: Literal["auto", "frozen", "train"]
    """As in ``model.pooler``."""
    head: Head
    fill: Callable[[Any], None]
    """Copies the tensors into a classifier with the strategy applied; raises RunError if one does not fit."""
    notes: list[str] = field(default_factory=list)
    """What a user should know of the conversion."""
    own: Own | None = None
    """What we have added to the folder; None if another library has written it."""


@dataclass(frozen=True)
class Export:
    """What is exported, and how."""

    run: Path
    """A run folder, or the adapter folder in it; for ``export_run`` also ``ORG/NAME[@revision]`` on the Hub."""
    model: str | None = None
    """Path or id of the backbone, if it has moved since training."""
    safetensors: bool = False
    """Write safetensors files only."""
    int8: bool = False
    """Also write the model with 8-bit weights."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Paths of the run's data that have moved since training, by option."""


@dataclass(frozen=True)
class Compared:
    """One of several models that compute the same."""

    name: str
    bytes: int
    """Size of its file."""
    rows_per_second: float
    scores: dict[str, dict[str, float]]
    """By split and metric; empty if the run's data cannot be read."""


@dataclass(frozen=True)
class Exported:
    """What a user should know of an export."""

    notes: list[str] = field(default_factory=list)
    """What does not carry over."""
    facts: list[str] = field(default_factory=list)
    """What was checked."""
    compared: list[Compared] = field(default_factory=list)
    """The models in the folder beside the run's own, if they were compared."""


@dataclass(frozen=True)
class Reader:
    """How the folders of a format become runs."""

    is_in: Callable[[Path], bool]
    """Whether a folder contains an adapter of this format."""
    backbone: Callable[[Path], str | None]
    """The backbone's id in a folder, if it has one."""
    read: Callable[[Path, Any], Foreign]
    """Reads a folder, given the transformers configuration of the backbone."""
    check: Callable[[Path], None] = lambda folder: None
    """Refuses, before a backbone is looked up, a folder of this format of which no run can be made."""


@dataclass(frozen=True)
class Format:
    """A format of folders with one run each."""

    name: str
    """On the command line."""
    title: str
    write: Callable[[Export, Path], Exported]
    """Writes a run into an empty folder."""
    options: frozenset[str] = frozenset()
    """The options of an export that it takes: ``safetensors``, ``int8``."""
    reader: Reader | None = None
    """None if runs cannot be made of such folders."""


def has_adapter(folder: Path, config: str, weights: tuple[str, ...]) -> bool:
    """Whether a folder contains a configuration and one of the files with weights."""
    return (folder / config).is_file() and any((folder / name).is_file() for name in weights)


def write_foreign_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file as other libraries do: indented, with sorted keys."""
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
