"""What a report reads of a run's stored configuration, with its types.

Everything else may be as it likes, so that runs of other versions and strategies that are not here are reported too.
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
    """Base of its sections: exact types, other keys passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class StoredStrategy(StoredSection):
    """The rest of its options stands in names as it is."""

    name: str


class StoredData(StoredSection):
    """What tells data apart."""

    source: str = DataConfig.model_fields["source"].default
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    train_file: str | None = None
    validation_file: str | None = None
    subset: str | None = None
    label_column: str | None = None
    problem: Any = None
    labels: Any = None
    holdout: Any = None
    metric: Any = None
    digest: str | None = None


class StoredTraining(StoredSection):
    """What stands in the list of every run."""

    epochs: float
    max_steps: int | None = None
    early_stopping: int | None = None
    learning_rate: float
    seed: int


class Stored(StoredSection):
    """The configuration."""

    strategy: StoredStrategy
    data: StoredData
    training: StoredTraining


def stored(result: Result) -> Stored:
    """What a report reads of a result's configuration.

    Raises:
        FieldError: the first value that it cannot use, or a task that nobody knows.
    """
    if result.task not in (*TASKS, CUSTOM):
        raise FieldError(("task",), unknown_name("task", result.task, (*TASKS, CUSTOM)))
    try:
        return Stored.model_validate(result.config)
    except ValidationError as error:
        loc, problem = first_problem(error, Stored)
        raise FieldError(("config", *loc), problem) from None
