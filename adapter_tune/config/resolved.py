"""A configuration with nothing left open: what training, scoring and prediction take, and what a run stores."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field

from adapter_tune.config.schema import CustomDataConfig, RunConfig
from adapter_tune.foundation.errors import FieldError
from adapter_tune.strategies import Strategy
from adapter_tune.tasks.glue import CUSTOM, Task, get_task, of_class

_WITHOUT_EFFECT: Any = {
    "output": True,
    "init_from": {"run"},
    "model": {"language_adapter"},
    "training": {"report_to"},
}
"""Values that change no result: where something is, and not what it is, and what is logged."""


class ResolvedConfig(RunConfig):
    """A configuration in which every value that decides the run is known; made by ``resolved``."""

    task_spec: Task = Field(exclude=True)
    """The task's columns, labels and metrics; for the user's own data made from ``data.custom``."""

    @property
    def learning_rate(self) -> float:
        """The peak learning rate."""
        return learning_rate(self)

    def hash(self) -> str:
        """Eight hex digits over the values that differ from the defaults, without those that change no result.

        These are the output folder and the loggers. The run that training starts from and the language adapter count by
        their digests, wherever their folders are.
        """
        default = flat(resolved_defaults(self.task, type(self.strategy)()))
        values = flat(self.model_dump(exclude=_WITHOUT_EFFECT))
        changed = {key: value for key, value in values.items() if value != default[key]}
        key = {"task": self.task, "strategy": self.strategy.name, "changed": changed}
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        """The run folder: ``<output>/<task>-<strategy>-m<M>-<hash>``."""
        parts = [self.task, self.strategy.name, self.strategy.tag(), self.hash()]
        return Path(self.output) / "-".join(part for part in parts if part)


def resolved(config: RunConfig) -> ResolvedConfig:
    """The configuration with its learning rate and its task; ``data.custom.resolve_config`` also reads the user's data.

    Raises:
        FieldError: with task custom, a value is missing that depends on the data.
    """
    task = _custom_task(config.data.custom) if config.task == CUSTOM else get_task(config.task)
    config = config.with_values({"training.learning_rate": learning_rate(config)})
    return ResolvedConfig.model_construct(**{**dict(config), "task_spec": task})


def resolved_defaults(task: str, strategy: Strategy) -> dict[str, Any]:
    """The values of a configuration that names a task and a strategy only, without the output folder."""
    config = RunConfig(task=task, strategy=strategy)
    config = config.with_values({"training.learning_rate": learning_rate(config)})
    return config.model_dump(exclude={"output"})


def learning_rate(config: RunConfig) -> float:
    """The peak learning rate: the configured one, or the strategy's default times the factor."""
    training = config.training
    if training.learning_rate is not None:
        return training.learning_rate
    return float(f"{config.strategy.learning_rate * training.learning_rate_factor:.6g}")


def _custom_task(data: CustomDataConfig) -> Task:
    if data.text_column is None:
        raise FieldError(("data", "custom", "text_column"), "is missing")
    if data.metric is None:
        raise FieldError(("data", "custom", "metric"), "is missing")
    is_multi_label = data.problem == "multi_label"
    labels = tuple(data.labels or ())
    usual: tuple[str, ...] = ("pearson", "spearmanr")
    positive = None
    if is_multi_label:
        usual = ("f1_micro", "f1_macro")
    elif labels:
        usual = ("accuracy", "f1_macro", "f1") if data.positive is not None else ("accuracy", "f1_macro")
        # Runs of earlier versions have stored no positive class; theirs was class 1.
        positive = data.positive or (labels[1] if len(labels) == 2 else None)
    metrics = [of_class(name, positive) for name in (data.metric, *usual)]
    return Task(
        CUSTOM,
        "your own data",
        text=(data.text_column,) if data.text_pair_column is None else (data.text_column, data.text_pair_column),
        labels=labels,
        metrics=tuple(dict.fromkeys(metrics)),
        headline=metrics[0],
        is_multi_label=is_multi_label,
        bounds=(-1e30, 1e30),
        positive=positive,
    )


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one dictionary with dotted keys."""
    values_by_path: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            values_by_path.update(flat(value, f"{prefix}{key}."))
        else:
            values_by_path[f"{prefix}{key}"] = value
    return values_by_path
