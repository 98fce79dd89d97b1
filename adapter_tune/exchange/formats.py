"""What a format is: how a folder of another library is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adapter_tune.exchange.stored_run import StoredRun
from adapter_tune.strategies import Strategy


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
    fingerprint: str | None = None
    """Of the backbone; None if the folder does not have it, as other libraries do not store it."""
    max_length: int | None = None
    """Maximum number of tokens in a row; None if the folder does not have it."""
    task: str | None = None
    """The task's name here; None if the folder does not have it."""


@dataclass(frozen=True)
class Format:
    """A format of folders with one adapter each."""

    name: str
    """On the command line."""
    title: str
    is_in: Callable[[Path], bool]
    """Whether a folder contains an adapter of this format."""
    backbone: Callable[[Path], str | None]
    """The backbone's id in a folder, if it has one."""
    read: Callable[[Path, Any], Foreign]
    """Reads a folder, given the transformers configuration of the backbone."""
    write: Callable[[StoredRun, Path, bool], list[str]]
    """Writes a run into an empty folder (the last argument: only as safetensors); returns notes."""
