"""The configuration of a run: one schema, and how it is composed.

Precedence: defaults < YAML file < flags < ``--set key=value``. Unknown keys are refused at every level.
"""

from __future__ import annotations

import math
import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from adapter_tune.foundation.errors import FieldError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.strategies import Houlsby, Strategy, parse_strategy
from adapter_tune.tasks.glue import CUSTOM, TASKS

LOGGERS = ("comet_ml", "mlflow", "tensorboard", "trackio", "wandb")
"""The experiment loggers that a run can write to, as the HF Trainer names them."""

_MANY = 10**6  # more than anyone means; past it libraries overflow instead of saying so


def class_name(value: object) -> str | None:
    """The name of the class that a text, a finite number or a truth value labels, or None for anything else.

    >>> class_name(1.0), class_name(True), class_name(" spam ")
    ('1', 'true', 'spam')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


ClassName = Annotated[
    str,
    BeforeValidator(lambda value: class_name(value) or value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class Section(BaseModel):
    """Base of the configuration's parts: frozen, exact types, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The backbone."""

    id: str = "google-bert/bert-base-uncased"
    """A model on the Hub, or a local folder; "demo" is the embedded one."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null uses the newest."""
    pooler: Literal["auto", "frozen", "train"] = "auto"
    """auto freezes the pooler only if the checkpoint contains its pretraining objective; otherwise it is trained."""
    language_adapter: str | None = Field(default=None, min_length=1)
    """A language adapter of AdapterHub (MAD-X), frozen beneath what is trained: a folder, or ORG/NAME; null: none."""
    language_digest: str | None = None
    """Of the language adapter; written down by the run, so that another one makes another run."""


class InitConfig(Section):
    """The trained run that training starts from, on the same backbone and with the same strategy."""

    run: str | None = Field(default=None, min_length=1)
    """A folder, or ORG/NAME[@revision] on the Hub. All but its head is taken; null starts from the backbone."""
    digest: str | None = None
    """Of its weights; written down by the run, so that other weights make another run."""


class CustomDataConfig(Section):
    """The user's own data; only for task custom."""

    train_file: str | None = None
    """A CSV, TSV, JSONL or Parquet file to train on."""
    validation_file: str | None = None
    """Validation file; null holds out a share of the training rows."""
    test_file: str | None = None
    """Test file for predict --split test, which needs no labels, and for eval --split test."""
    subset: str | None = None
    """Configuration of the data set in data.source, if that is used instead of files."""
    text_column: str | None = None
    """The column with the text; null guesses it from the column names."""
    text_pair_column: str | None = None
    """The column with the second text; null guesses it from usual pairs of names, or there is none."""
    label_column: str | None = None
    """The column with the label; for multi_label also several, separated by commas."""
    problem: Literal["auto", "classification", "multi_label", "regression"] = "auto"
    """Kind of problem; auto means regression if a label has decimals, multi_label if it is a list."""
    labels: list[ClassName] | None = None
    """Names of the classes in the order of their ids; null uses the sorted classes of the training rows."""
    positive: ClassName | None = None
    """With two classes: the class whose f1, precision or recall is reported; null: the rarer one."""
    holdout: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training rows that is held out, stratified by class, if there are no validation rows."""
    metric: str | None = None
    """Headline metric: a scikit-learn scorer that needs only predicted labels; null means accuracy, or r2."""
    digest: str | None = None
    """Hash of the rows; set by the run, so that changed data start a new run."""


class DataConfig(Section):
    """The data, and how rows are truncated and padded."""

    source: str = "nyu-mll/glue"
    """The data set on the Hub, or a local copy of it; "demo" is the embedded one."""
    max_length: int = Field(default=128, ge=2, le=_MANY)
    """Maximum number of tokens in a row; longer rows are truncated."""
    padding: Literal["batch", "max_length"] = "batch"
    """Pad rows to the longest row of their batch, or always to max_length (slow)."""
    max_train_samples: int | None = Field(default=None, ge=1)
    """Train on this many rows, drawn at random, the same ones for every seed; null uses all."""
    max_eval_samples: int | None = Field(default=None, ge=1)
    """Evaluate on this many rows of each split, drawn in the same way; null uses all."""
    custom: CustomDataConfig = CustomDataConfig()
    """For task custom: where the user's own rows are, and what their columns mean."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key in CustomDataConfig.model_fields:
                raise FieldError(("data", str(key)), f"has moved to data.custom.{key}")
        return values

    def with_custom(self, **values: Any) -> DataConfig:
        """A copy with other values in the ``custom`` section; they are not checked."""
        return self.model_copy(update={"custom": self.custom.model_copy(update=values)})


def _loggers(value: object) -> object:
    names = [] if value == "none" else [value] if isinstance(value, str) else value
    for name in names if isinstance(names, list) else ():
        if name not in LOGGERS:
            raise FieldError(("training", "report_to"), unknown_name("logger", name, LOGGERS))
    return list(dict.fromkeys(names)) if isinstance(names, list) else names


Loggers = Annotated[
    list[str],
    BeforeValidator(_loggers),
    WithJsonSchema({"anyOf": [{"enum": ["none", *LOGGERS]}, {"type": "array", "items": {"enum": list(LOGGERS)}}]}),
]


class TrainingConfig(Section):
    """Optimisation; the defaults are those of the paper unless stated otherwise."""

    epochs: float = Field(default=3.0, gt=0, le=_MANY)
    """Number of training epochs."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimiser steps; overrides epochs."""
    learning_rate: float | None = Field(default=None, gt=0, le=1000)
    """Peak learning rate; null uses the strategy's default."""
    learning_rate_factor: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the strategy's default learning rate; small backbones need higher rates."""
    batch_size: int = Field(default=32, ge=1, le=_MANY)
    """Training batch size: rows of one forward pass, over all processes together."""
    eval_batch_size: int = Field(default=32, ge=1, le=_MANY)
    """Evaluation batch size: rows of one forward pass in each process."""
    gradient_accumulation: int = Field(default=1, ge=1, le=_MANY)
    """Batches whose gradients are added up for one optimiser step."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced weights rare classes more in the loss: by the inverse of their share of the training rows."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly from 0; then it falls linearly to 0."""
    weight_decay: float = Field(default=0.01, ge=0, le=1000)
    """Decoupled weight decay (AdamW); not applied to LayerNorms and biases."""
    adam_epsilon: float = Field(default=1e-6, gt=0)
    """AdamW's epsilon."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Maximum gradient norm; larger gradients are clipped. 0 turns clipping off."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better headline score; null never stops early."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Number type of matrix products and of the frozen weights; auto uses bf16 if that is faster on this machine."""
    fast: bool = True
    """Faster dropout and attention, unused token positions skipped, CUDA graphs; false uses transformers' layers."""
    compile: bool = False
    """Use torch.compile: about a minute at the start, then fewer kernels per step; for long runs on a GPU."""
    backbone_dropout: Literal["on", "frozen-off", "off"] = "on"
    """The backbone's dropout; frozen-off turns it off below the first trained tensor; off: outside the head."""
    cache_frozen_prefix: Literal["auto", "on", "off"] = "auto"
    """Store the outputs of the frozen lowest layers on disk; auto: if they have no dropout and epochs > 1."""
    cache_limit: float = Field(default=8.0, gt=0, le=_MANY)
    """Maximum size of these outputs in the output folder, in GiB; the least recently used ones are deleted first."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto uses a GPU if there is one."""
    threads: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Number of CPU threads; auto uses the cores that are idle when the run starts."""
    deterministic: bool = False
    """Use only deterministic operations; slower on a GPU, no difference on a CPU."""
    checkpoint_minutes: float = Field(default=10.0, gt=0, le=_MANY)
    """Also write a checkpoint within an epoch after this many minutes without one."""
    shard_backbone: bool = False
    """With several processes: each stores a shard of the frozen backbone; shards are gathered layer by layer."""
    logging_steps: int = Field(default=20, ge=1)
    """Number of steps between two log lines with the training loss."""
    report_to: Loggers = []
    """Experiment loggers that the run is also written to; no other package or variable turns one on."""
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
    """The configuration of a run. ``run(config)`` is a pure function of it."""

    task: Annotated[str, BeforeValidator(_task_name), WithJsonSchema({"enum": [*TASKS, CUSTOM]})]
    """A GLUE task, or custom for your own data."""
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
    """Folder in which the run folders are created."""

    @model_validator(mode="after")
    def _check_combinations(self) -> RunConfig:
        if self.strategy.trains_pooler and self.model.pooler == "frozen":
            raise FieldError(
                ("model", "pooler"), f"strategy {self.strategy.name} also trains the pooler; remove model.pooler"
            )
        if self.training.cache_frozen_prefix == "on" and self.training.backbone_dropout == "on":
            problem = (
                "needs training.backbone_dropout=frozen-off (or off): outputs that dropout acts on differ at every step"
            )
            raise FieldError(("training", "cache_frozen_prefix"), problem)
        custom = self.data.custom
        defaults = {name: field.default for name, field in CustomDataConfig.model_fields.items()}
        changed = [name for name, default in defaults.items() if getattr(custom, name) != default]
        if self.task != CUSTOM and changed:
            raise FieldError(("data", "custom", changed[0]), f"is only for task custom, and the task is {self.task}")
        if custom.labels is not None and custom.problem == "regression":
            raise FieldError(
                ("data", "custom", "labels"), "are names of classes, and a regression has none; remove them"
            )
        if custom.positive is not None and custom.problem in ("regression", "multi_label"):
            problem = f"is one of two classes, and problem {custom.problem} has no such classes; remove it"
            raise FieldError(("data", "custom", "positive"), problem)
        if self.model.language_digest is not None and self.model.language_adapter is None:
            problem = "goes with model.language_adapter, which is not set; remove it"
            raise FieldError(("model", "language_digest"), problem)
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


def without_nulls(values: dict[str, Any], schema: type[BaseModel]) -> dict[str, Any]:
    """The values without null options, which have their default. Unknown keys stay, so that they are refused."""
    named = {str(key): value for key, value in values.items()}
    return {key: value for key, value in named.items() if value is not None or key not in schema.model_fields}


def parse_config(values: dict[str, Any]) -> RunConfig:
    """A checked configuration from plain nested values.

    Raises:
        FieldError: the first wrong value, with its path.
    """
    try:
        return RunConfig(**without_nulls(values, RunConfig))
    except ValidationError as error:
        loc, problem = first_problem(error, RunConfig)
        if loc == ("task",) and problem == "is missing":
            problem = f"is missing: give --task, or task: in a YAML file. Known: {', '.join((*TASKS, CUSTOM))}"
        raise FieldError(loc, problem) from None
