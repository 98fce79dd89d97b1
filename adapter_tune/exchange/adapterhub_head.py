"""Classification heads of AdapterHub, and the heads of the backbone families here that compute the same.

AdapterHub has two kinds: heads of its own model classes (``BertAdapterModel``), of any number of layers, and those of
the classes of transformers (``BertForSequenceClassification``), which are ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from adapter_tune.adapters.model_parts import head_modules
from adapter_tune.exchange.formats import Head
from adapter_tune.exchange.stored_run import StoredRun, is_stored
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.tensor_files import copy_tensors
from adapter_tune.foundation.validation_messages import first_problem

_LEGACY_SUFFIX = "ModelWithHeads"
_SUFFIX = "AdapterModel"


@dataclass(frozen=True)
class HeadLayout:
    """The head of a family's sequence classifier: two linear layers on the first token."""

    dense: str
    """Path from the classifier to the first one."""
    activation: str
    """AdapterHub's name of the activation between them."""
    out: str
    """Path from the classifier to the second one."""
    model_class: str
    """The family's name in the classes of both libraries: ``Bert`` in ``BertAdapterModel``."""
    is_pooler: bool = False
    """The first one is the backbone's pooler, which AdapterHub's heads can read (``use_pooler``)."""


LAYOUTS = {
    "bert": HeadLayout("bert.pooler.dense", "tanh", "classifier", "Bert", is_pooler=True),
    "roberta": HeadLayout("classifier.dense", "tanh", "classifier.out_proj", "Roberta"),
    "xlm-roberta": HeadLayout("classifier.dense", "tanh", "classifier.out_proj", "XLMRoberta"),
    "distilbert": HeadLayout("pre_classifier", "relu", "classifier", "DistilBert"),
    "electra": HeadLayout("classifier.dense", "gelu", "classifier.out_proj", "Electra"),
    "deberta-v2": HeadLayout("pooler.dense", "gelu", "classifier", "DebertaV2"),
}
"""By type of backbone; the other families have no adapters in AdapterHub, or none with such a head."""


class HeadSettings(BaseModel):
    """``head_config.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, protected_namespaces=())

    model_class: str
    name: str | None = None
    config: dict[str, Any] | None = None
    """Only for heads of AdapterHub's own."""
    label2id: dict[str, int] | None = None
    num_labels: int | None = None


class FlexHead(BaseModel):
    """The ``config`` section of a head of AdapterHub's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    head_type: str
    num_labels: int
    layers: int
    activation_function: str | None
    label2id: dict[str, int] | None = None
    use_pooler: bool = False
    bias: bool = True
    dropout_prob: float | None = None


@dataclass(frozen=True)
class HeadPlan:
    """How a head of AdapterHub becomes one here."""

    head: Head
    pooler: Literal["auto", "frozen", "train"]
    prefixes: dict[str, str]
    """The path of each of our modules, and the beginning of its tensors' names in the file; the last gives logits."""

    def shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor in the file, by its name, given the hidden size."""
        *dense, out = self.prefixes.values()
        shapes: dict[str, tuple[int, ...]] = {}
        for prefix, rows in [*((prefix, d) for prefix in dense), (out, self.head.num_labels)]:
            shapes[f"{prefix}.weight"] = (rows, d)
            shapes[f"{prefix}.bias"] = (rows,)
        return shapes


def read_head(settings: HeadSettings, name: str, model_type: str, file: Path) -> HeadPlan:
    """The head that ``head_config.json`` describes.

    Args:
        settings: the file's content.
        name: of the adapter.
        model_type: of the backbone.
        file: for messages.

    Raises:
        RunError: the head has no counterpart here; the message says why.
    """
    layout = LAYOUTS[model_type]
    if settings.model_class == f"{layout.model_class}ForSequenceClassification":
        return _static_head(settings, layout)
    if settings.model_class not in (f"{layout.model_class}{_SUFFIX}", f"{layout.model_class}{_LEGACY_SUFFIX}"):
        raise RunError(f"{file}: a head of {settings.model_class}; only heads of classifiers can be imported")
    try:
        flex = FlexHead(**(settings.config or {}))
    except ValidationError as error:
        loc, problem = first_problem(error, FlexHead)
        raise RunError(f"{file}: config.{'.'.join(loc)} {problem}; it has no counterpart here") from None
    return _flex_head(flex, f"heads.{settings.name or name}", layout, file)


def _static_head(settings: HeadSettings, layout: HeadLayout) -> HeadPlan:
    labels = _labels(settings.label2id)
    num_labels = settings.num_labels or len(settings.label2id or ()) or 1
    head = Head("regression" if num_labels == 1 else "classification", labels, num_labels)
    paths = (layout.out,) if layout.is_pooler else (layout.dense, layout.out)
    return HeadPlan(head, "frozen" if layout.is_pooler else "auto", {path: path for path in paths})


def _flex_head(flex: FlexHead, prefix: str, layout: HeadLayout, file: Path) -> HeadPlan:
    problems = {"classification": "classification", "multilabel_classification": "multi_label"}
    if flex.head_type not in problems:
        raise RunError(f"{file}: head_type is {flex.head_type!r}; only heads of classifiers can be imported")
    problem: Any = problems[flex.head_type]
    if flex.num_labels == 1 and problem == "classification":
        problem = "regression"
    head = Head(problem, _labels(flex.label2id), flex.num_labels)
    if flex.bias and flex.use_pooler and layout.is_pooler and flex.layers == 1:
        return HeadPlan(head, "frozen", {layout.out: f"{prefix}.1"})
    is_ours = flex.bias and not flex.use_pooler and flex.layers == 2 and flex.activation_function == layout.activation
    if not is_ours:
        shown = {key: getattr(flex, key) for key in ("layers", "activation_function", "use_pooler", "bias")}
        pooler = ", or layers=1 and use_pooler=true" if layout.is_pooler else ""
        raise RunError(
            f"{file}: a head with {', '.join(f'{key}={json.dumps(value)}' for key, value in shown.items())} has no "
            f'counterpart on this backbone; its heads have layers=2, activation_function="{layout.activation}", '
            f"use_pooler=false, bias=true{pooler}"
        )
    prefixes = {layout.dense: f"{prefix}.1", layout.out: f"{prefix}.4"}
    return HeadPlan(head, "train" if layout.is_pooler else "auto", prefixes)


def _labels(label2id: dict[str, int] | None) -> tuple[str, ...] | None:
    """The names by id; None if they are those that transformers makes up."""
    if not label2id:
        return None
    names = tuple(sorted(label2id, key=lambda name: label2id[name]))
    is_made_up = all(name == f"LABEL_{label2id[name]}" for name in names)
    is_whole = sorted(label2id.values()) == list(range(len(names)))
    return names if is_whole and not is_made_up else None


def fill_head(model: Any, plan: HeadPlan, tensors: dict[str, Tensor], file: Path) -> None:
    """Copy the tensors of a head into a classifier.

    Raises:
        RunError: a tensor is missing, surplus, or has another shape.
    """
    expected = {}
    for path, prefix in plan.prefixes.items():
        for part, parameter in model.get_submodule(path).named_parameters():
            expected[f"{prefix}.{part}"] = parameter
    copy_tensors(expected, tensors, file)


def written_head(run: StoredRun, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """AdapterHub's options for the head of a run, and its tensors by AdapterHub's names.

    A pooler that the run has is the head's first layer; a frozen one that was pretrained is read by the head.
    """
    task = run.config.task_spec
    layout = LAYOUTS[str(run.model.config.model_type)]
    dense = run.model.get_submodule(layout.dense)
    uses_pooler = layout.is_pooler and not is_stored(dense)
    names = task.labels or ("score",)
    options = {
        "head_type": "multilabel_classification" if task.is_multi_label else "classification",
        "num_labels": task.num_labels,
        "layers": 1 if uses_pooler else 2,
        "activation_function": None if uses_pooler else layout.activation,
        "label2id": {label: number for number, label in enumerate(names)},
        "use_pooler": uses_pooler,
        "bias": True,
        "dropout_prob": None,
    }
    out = run.model.get_submodule(layout.out)
    modules = {1: out} if uses_pooler else {1: dense, 4: out}
    written = {id(module) for module in modules.values()}
    assert all(id(module) in written for module in head_modules(run.model))
    tensors = {}
    for number, module in modules.items():
        for part, parameter in module.named_parameters():
            tensors[f"heads.{name}.{number}.{part}"] = parameter.detach()
    return options, tensors
