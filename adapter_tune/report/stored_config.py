"""The part of a run's stored configuration that a report reads, with its types.

All other values are ignored, so that runs of other versions and of strategies that are not installed are reported too.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from adapter_tune.config.schema import DataConfig
from adapter_tune.foundation.errors import FieldError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.run_files.result import Result
from adapter_tune.tasks.glue import CUSTOM, TASKS


class StoredSection(BaseModel):
    """Base class of the sections: types are strict, unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class StoredStrategy(StoredSection):
    """The strategy; its other options are only printed, so they are not checked."""

    name: str


class StoredCustomData(StoredSection):
    """What decides whether two runs on the user's own data have the same data."""

    train_file: str | None = None
    validation_file: str | None = None
    subset: str | None = None
    label_column: str | None = None
    problem: Any = None
    labels: Any = None
    positive: Any = None
    holdout: Any = None
    metric: Any = None
    digest: str | None = None


class StoredData(StoredSection):
    """What decides whether two runs have the same data."""

    source: str = DataConfig.model_fields["source"].default
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    custom: StoredCustomData = StoredCustomData()


class StoredTraining(StoredSection):
    """What the table of every run shows."""

    epochs: float
    max_steps: int | None = None
    early_stopping: int | None = None
    learning_rate: float
    seed: int


class StoredConfig(StoredSection):
    """The stored configuration."""

    strategy: StoredStrategy
    data: StoredData
    training: StoredTraining


def parse_stored_config(result: Result) -> StoredConfig:
    """Return the part of a result's configuration that a report reads.

    Raises:
        FieldError: the task is unknown, or a value is missing or has the wrong type.
    """
    if result.task not in (*TASKS, CUSTOM):
        raise FieldError(("task",), unknown_name("task", result.task, (*TASKS, CUSTOM)))
    try:
        return StoredConfig.model_validate(result.config)
    except ValidationError as error:
        loc, problem = first_problem(error, StoredConfig)
        raise FieldError(("config", *loc), problem) from None
