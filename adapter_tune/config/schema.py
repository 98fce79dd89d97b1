"""The configuration of a run: one schema, and how it is composed.

Precedence: defaults < YAML file < flags < ``--set key=value``. Unknown keys are refused at every level.
"""

from __future__ import annotations

import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from adapter_tune.foundation.errors import FieldError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.strategies import Houlsby, Strategy, parse_strategy
from adapter_tune.tasks.glue import CUSTOM, TASKS

_MANY = 10**6  # more than anyone means; past it libraries overflow instead of saying so


class Section(BaseModel):
    """Base of the configuration's parts: frozen, exact types, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The backbone."""

    id: str = "google-bert/bert-base-uncased"
    """A model on the Hub, or a local folder; "demo" is the embedded one."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the newest."""
    pooler: Literal["auto", "frozen", "train"] = "auto"
    """auto freezes the pooler only where the checkpoint holds the objective it was pretrained with."""


class InitConfig(Section):
    """The trained run that training starts from, on the same backbone and with the same strategy."""

    run: str | None = None
    """Its folder: adapters, LayerNorms and pooler are taken from it, the head is new; null starts from the backbone."""
    digest: str | None = None
    """Of its weights; written down by the run, so that other weights make another run."""


class CustomDataConfig(Section):
    """The user's own data; goes with task custom."""

    train_file: str | None = None
    """A CSV, TSV, JSONL or Parquet file to train on."""
    validation_file: str | None = None
    """A file to evaluate on; null holds out a share of the training rows."""
    test_file: str | None = None
    """A file for predict --split test, which needs no labels, and for eval --split test."""
    subset: str | None = None
    """Without files: the configuration of the data set that source names."""
    text_column: str | None = None
    """The column with the text; null guesses."""
    text_pair_column: str | None = None
    """The column with the second text; null guesses from the usual pairs of names, or takes none."""
    label_column: str | None = None
    """The column with the label; for multi_label also several, separated by commas."""
    problem: Literal["auto", "classification", "multi_label", "regression"] = "auto"
    """Kind of task; auto takes regression where a label has decimals, multi_label where it is a list."""
    labels: list[str] | None = None
    """Names of the classes in the order of their ids; null sorts those of the training rows."""
    holdout: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training rows held out, by class, where there are no validation rows."""
    metric: str | None = None
    """The headline score, any of scikit-learn's on predicted labels; null takes accuracy or r2."""
    digest: str | None = None
    """Of the rows; written down by the run, so that changed data make another run."""


class DataConfig(Section):
    """The data and how it is cut."""

    source: str = "nyu-mll/glue"
    """The data set on the Hub, or a local copy of it; "demo" is the embedded one."""
    max_length: int = Field(default=128, ge=2, le=_MANY)
    """Maximum number of tokens in a row; longer rows are truncated."""
    padding: Literal["batch", "max_length"] = "batch"
    """Pad rows to the longest row of their batch, or always to max_length (slow)."""
    max_train_samples: int | None = Field(default=None, ge=1)
    """Train on this many rows, drawn at random, the same ones for every seed; null takes all."""
    max_eval_samples: int | None = Field(default=None, ge=1)
    """Evaluate on this many rows of each split, drawn in the same way; null takes all."""
    custom: CustomDataConfig = CustomDataConfig()
    """With task custom: where the user's own rows are, and what their columns mean."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key in CustomDataConfig.model_fields:
                raise FieldError(("data", str(key)), f"is called data.custom.{key}")
        return values

    def with_custom(self, **values: Any) -> DataConfig:
        """A copy with other values in the ``custom`` section; they are not checked."""
        return self.model_copy(update={"custom": self.custom.model_copy(update=values)})


class TrainingConfig(Section):
    """Optimisation, as in the paper where nothing else is said."""

    epochs: float = Field(default=3.0, gt=0, le=_MANY)
    """Passes over the training rows."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimiser steps; overrides epochs."""
    learning_rate: float | None = Field(default=None, gt=0, le=1000)
    """Peak learning rate; null takes the strategy's own."""
    learning_rate_factor: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the strategy's own learning rate; small backbones need larger steps."""
    batch_size: int = Field(default=32, ge=1, le=_MANY)
    """Training batch size: rows of one forward pass, over all processes together."""
    eval_batch_size: int = Field(default=32, ge=1, le=_MANY)
    """Evaluation batch size: rows of one forward pass in each process."""
    gradient_accumulation: int = Field(default=1, ge=1, le=_MANY)
    """Batches whose gradients are added up for one optimiser step."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced weights each class in the loss by the inverse of its share of the training rows."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly from 0; then it falls linearly to 0."""
    weight_decay: float = Field(default=0.01, ge=0, le=1000)
    """Decoupled; none on LayerNorm and biases."""
    adam_epsilon: float = Field(default=1e-6, gt=0)
    """AdamW's epsilon."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradient norm is clipped at this; 0 does not clip."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better headline score; null never stops early."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Number type of matrix products and of the frozen weights; auto takes bf16 where that is faster."""
    fast: bool = True
    """Faster dropout and attention, unused token positions skipped, CUDA graphs; false keeps transformers' layers."""
    backbone_dropout: Literal["on", "frozen-off", "off"] = "on"
    """The backbone's own dropout; frozen-off turns it off below the first trained tensor; off keeps only the head's."""
    cache_frozen_prefix: Literal["auto", "on", "off"] = "auto"
    """Store the outputs of the frozen lowest layers on disk; auto does so where no dropout acts in them."""
    cache_limit: float = Field(default=8.0, gt=0, le=_MANY)
    """GiB of such stored outputs in the output folder; the least recently used ones are deleted first."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes the best there is."""
    threads: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """CPU threads to compute with; auto takes the cores that no other program keeps busy when the run starts."""
    deterministic: bool = False
    """Use only operations that give the same bits every time: slower on a GPU; on a CPU all of them do."""
    checkpoint_minutes: float = Field(default=10.0, gt=0, le=_MANY)
    """Also write a checkpoint within an epoch after this many minutes without one."""
    shard_backbone: bool = False
    """With several processes: each holds a shard of the frozen backbone, gathered layer by layer."""
    logging_steps: int = Field(default=20, ge=1)
    """Log the training loss every so many steps."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Random seed (new weights, row order, dropout)."""


def _task_name(value: object) -> str:
    if not isinstance(value, str):
        raise FieldError(("task",), f"should be the name of a task, got {reprlib.repr(value)}")
    if value not in (*TASKS, CUSTOM):
        raise FieldError(("task",), unknown_name("task", value, (*TASKS, CUSTOM)))
    return value


def _model_section(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


def _init_section(value: object) -> object:
    return {"run": value} if isinstance(value, str) else value


class RunConfig(Section):
    """All that decides a run. ``run(config)`` is a pure function of it."""

    task: Annotated[str, BeforeValidator(_task_name)]
    """A GLUE task, or custom for data of your own."""
    model: Annotated[ModelConfig, BeforeValidator(_model_section)] = ModelConfig()
    """The backbone; a plain string is taken as its id."""
    strategy: Annotated[Strategy, BeforeValidator(parse_strategy), PlainSerializer(Strategy.to_dict)] = Houlsby()
    """What is attached and trained; a plain string is taken as its name."""
    init_from: Annotated[InitConfig, BeforeValidator(_init_section)] = InitConfig()
    """The trained run that training starts from; a plain string is taken as its folder."""
    data: DataConfig = DataConfig()
    """The data."""
    training: TrainingConfig = TrainingConfig()
    """The optimisation."""
    output: str = "runs"
    """The folder that holds the run folders."""

    @model_validator(mode="after")
    def _check_combinations(self) -> RunConfig:
        if self.strategy.trains_pooler and self.model.pooler == "frozen":
            raise FieldError(
                ("model", "pooler"), f"strategy {self.strategy.name} trains the pooler too; leave model.pooler out"
            )
        if self.training.cache_frozen_prefix == "on" and self.training.backbone_dropout == "on":
            problem = (
                "needs training.backbone_dropout=frozen-off (or off): states with dropout in them are new at every step"
            )
            raise FieldError(("training", "cache_frozen_prefix"), problem)
        custom = self.data.custom
        defaults = {name: field.default for name, field in CustomDataConfig.model_fields.items()}
        changed = [name for name, default in defaults.items() if getattr(custom, name) != default]
        if self.task != CUSTOM and changed:
            raise FieldError(("data", "custom", changed[0]), f"goes with task custom only, and the task is {self.task}")
        if custom.labels is not None and custom.problem == "regression":
            raise FieldError(
                ("data", "custom", "labels"), "are names of classes, and a regression has none; leave them out"
            )
        if self.init_from.digest is not None and self.init_from.run is None:
            raise FieldError(("init_from", "digest"), "goes with init_from.run, which is not set; remove it")
        return self

    def with_values(self, values: dict[str, Any]) -> Self:
        """A copy with other values at dotted paths, as in ``{"training.precision": "bf16"}``; they are not checked."""
        changes: dict[str, Any] = {}
        for path, value in values.items():
            section, _, key = path.partition(".")
            if key:
                before = changes.get(section, getattr(self, section))
                changes[section] = before.model_copy(update={key: value})
            else:
                changes[section] = value
        return self.model_copy(update=changes)

    @property
    def m(self) -> int | list[int] | None:
        """The bottleneck size (a list where layers differ), or None where the strategy has none."""
        return getattr(self.strategy, "m", None)


def parse_config(values: dict[str, Any]) -> RunConfig:
    """A checked configuration from plain nested values.

    Raises:
        FieldError: the first wrong value, with its path.
    """
    try:
        return RunConfig(**{str(key): value for key, value in values.items() if value is not None})
    except ValidationError as error:
        loc, problem = first_problem(error, RunConfig)
        if loc == ("task",) and problem == "is missing":
            problem = f"is missing: give --task, or task: in a YAML file. Known: {', '.join((*TASKS, CUSTOM))}"
        raise FieldError(loc, problem) from None
