"""The requests and answers of the HTTP interface."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

MAX_NAME = 200
"""Characters of a task's name."""


class Schema(BaseModel):
    """Base class: unknown keys are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Input(Schema):
    """One text, or two for a task that reads pairs."""

    text: str = Field(description="The text, or the first of a pair, such as a premise.")
    pair: str | None = Field(None, description="The second text, for tasks that read two, such as a hypothesis.")


class PredictRequest(Schema):
    """One text (`text`, with `pair` for tasks that read two) or several (`inputs`), for one task or several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"task": "sst2", "text": "A warm, funny film."},
                {
                    "tasks": ["rte", "mrpc"],
                    "inputs": [{"text": "A man plays the guitar.", "pair": "A man plays music."}],
                },
            ]
        }
    )

    task: str | None = Field(None, description="The task's name, as in `GET /v1/tasks`.")
    tasks: list[str] | None = Field(
        None, min_length=1, fail_fast=True, description="Several tasks; each gets all texts."
    )
    text: str | None = Field(None, description="A single text.")
    pair: str | None = Field(None, description="The second text of a single pair.")
    inputs: list[Input] | None = Field(None, min_length=1, fail_fast=True, description="Several texts or pairs.")

    @model_validator(mode="after")
    def _check_one_of_each(self) -> Self:
        if (self.task is None) == (self.tasks is None):
            raise ValueError("give either task or tasks")
        if (self.text is None) == (self.inputs is None):
            raise ValueError("give either text or inputs")
        if self.pair is not None and self.text is None:
            raise ValueError("pair is only for text; with inputs, give each its own pair")
        return self

    @property
    def task_names(self) -> list[str]:
        """The tasks, one or several."""
        return [self.task] if self.task is not None else list(self.tasks or [])

    @property
    def all_inputs(self) -> list[Input]:
        """The texts or pairs, one or several."""
        return [Input(text=self.text, pair=self.pair)] if self.text is not None else list(self.inputs or [])


class Prediction(Schema):
    """What one task says of one text or pair."""

    input: int = Field(description="The position of the text in `inputs`, from 0.")
    task: str
    prediction: str | list[str] | float = Field(
        description="The label; all labels that apply if a text can have several; a number for a regression."
    )
    probabilities: dict[str, float] = Field(description="By label; empty for a regression.")
    truncated: bool = Field(description="Whether the text was longer than the task reads, so its end was ignored.")


class PredictResponse(Schema):
    """The predictions for the first text, one for each task, then those for the second text, and so on."""

    results: list[Prediction]


class TaskInfo(Schema):
    """A task that is served."""

    name: str
    kind: Literal["classification", "multi_label", "regression"]
    texts: list[str] = Field(description="What the task reads: one text or two.")
    labels: list[str] = Field(description="Empty for a regression.")
    max_length: int = Field(description="Tokens that the task reads of a text or pair; longer ones are truncated.")
    resident: bool = Field(description="Whether the adapter is in memory; others are loaded when they are needed.")


class TaskList(Schema):
    """The tasks that are served."""

    tasks: list[TaskInfo]


class AddTaskRequest(Schema):
    """A run that is loaded as a task while the server runs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"folder": "rte-houlsby-m64-0123abcd", "name": "rte"}]})

    folder: str = Field(min_length=1, description="A run folder, relative to the server's `--adapters` folder.")
    name: str | None = Field(
        None, min_length=1, max_length=MAX_NAME, description="What to call the task; by default the folder's name."
    )


class ErrorResponse(Schema):
    """Every answer with a status of 400 or more."""

    error: str = Field(description="One line: what is wrong, and what to do.")


class Status(Schema):
    """Whether the server works."""

    status: Literal["ok", "stopping", "failed"]


def error_answers(**meanings: str) -> dict[int | str, dict[str, Any]]:
    """The statuses of errors for the documentation of a path; keys are as in ``_404``."""
    return {
        int(status.lstrip("_")): {"model": ErrorResponse, "description": meaning}
        for status, meaning in meanings.items()
    }
