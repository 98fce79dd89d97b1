"""What every strategy must do, one function per promise; each failure says what to change in the strategy."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from adapter_tune.adapters.families import shape_of
from adapter_tune.adapters.model_parts import (
    adapters_of,
    added_parameters,
    base_of,
    head_parameters,
    layer_norms,
)
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.adapters.surgery import detach
from adapter_tune.config.yaml_files import parse_value, to_yaml
from adapter_tune.conformance.tiny_models import backbones, batch_of, config_of, model_of
from adapter_tune.foundation.errors import AdapterTuneError, first_line
from adapter_tune.foundation.validation_messages import meanings
from adapter_tune.modeling.build import prepare
from adapter_tune.run_files.adapter_files import load_weights, save_weights
from adapter_tune.strategies import REGISTRY, Head, Strategy, parse_strategy
from adapter_tune.strategies.base import check_class

_HEAVY = ("torch", "transformers")
_NO_NAMES: frozenset[str] = frozenset()
_SEED = 5


class ConformanceError(AssertionError):
    """A strategy breaks a promise; the message is one line: the strategy, what is wrong, what to change."""


@dataclass(frozen=True)
class Case:
    """A strategy on one variant of a backbone family."""

    strategy: Strategy
    family: str
    own: dict[str, Any]

    def error(self, problem: str, fix: str) -> ConformanceError:
        """The error to raise, with the strategy and the family in its message."""
        return ConformanceError(f"strategy {self.strategy.name} on {self.family}: {problem}; {fix}")

    def prepared(self, strategy: Strategy, seed: int) -> Any:
        """The tiny model with a strategy applied, in evaluation mode; a seed gives the same head again."""
        model = copy.deepcopy(self.plain)
        torch.manual_seed(seed)
        prepare(model, strategy, train_pooler=strategy.trains_pooler)
        return model.eval()

    @cached_property
    def plain(self) -> Any:
        """The tiny model, to be copied; with larger weights than transformers draws, so that every layer matters."""
        model = model_of(self.family, self.own)
        _perturb(base_of(model).parameters())
        return model

    @cached_property
    def reference(self) -> Any:
        """The model in which only the head is trained; to be read."""
        return self.prepared(Head(), _SEED)

    @cached_property
    def adapted(self) -> Any:
        """The model with the strategy applied; to be copied before it is changed."""
        return self.prepared(self.strategy, _SEED)


def check_options(strategy: Strategy) -> None:
    """The class has what the commands show, and its options are read from YAML as they were written."""
    cls = type(strategy)
    name = getattr(cls, "name", None)
    if name is None or REGISTRY.get(name) is not cls:
        raise ConformanceError(f"{cls.__qualname__}: it is not registered; decorate the class with @strategy('NAME')")
    try:
        check_class(cls)
    except Exception as error:
        raise ConformanceError(f"strategy {name}: {first_line(error)}") from error
    if missing := sorted(cls.model_fields.keys() - meanings(cls).keys()):
        raise ConformanceError(f"strategy {name}: option {missing[0]} has no description; add a docstring below it")
    try:
        section = parse_value(to_yaml(strategy.to_dict()), "strategy")
        json.dumps(section, allow_nan=False)
        restored = parse_strategy(section)
    except Exception as error:
        problem = f"its options cannot be written as YAML and read again ({first_line(error)})"
        raise ConformanceError(f"strategy {name}: {problem}; use numbers, texts, lists and true or false") from error
    if restored != strategy:
        problem = f"its options come back from YAML as {restored!r}, not as {strategy!r}"
        raise ConformanceError(f"strategy {name}: {problem}; let a validator accept what to_dict returns")


def fits(case: Case) -> bool:
    """Whether the strategy accepts the backbone; ``formula`` and ``apply`` must refuse the same ones."""
    config = config_of(case.family, case.own)
    refusals = []
    for method in (lambda: case.strategy.formula(shape_of(config)), lambda: case.adapted):
        try:
            method()
        except AdapterTuneError as error:
            refusals.append(error)
        except Exception as error:
            fix = "raise a UsageError with cause and fix where it does not fit the backbone"
            raise case.error(f"{type(error).__name__}: {first_line(error)}", fix) from error
    if len(refusals) == 1:
        fix = "let both check the same, so that a run is refused before weights are loaded"
        raise case.error(f"only one of formula and apply refuses this backbone ({refusals[0]})", fix)
    return not refusals


def check_counts(case: Case) -> None:
    """The closed formula gives the numbers of the model, group by group."""
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config_of(case.family, case.own))
    prepare(model, case.strategy, train_pooler=case.strategy.trains_pooler)
    formula = case.strategy.formula(shape_of(model.config))
    try:
        count_parameters(model, formula)
    except AdapterTuneError as error:
        problem = str(error).removesuffix("; please report this bug")
        raise case.error(problem, "correct formula, or what apply attaches and unfreezes") from error


def check_start(case: Case, tolerance: float | None) -> None:
    """Right after ``apply``, the backbone's tensors are unchanged, and the logits nearly so."""
    model = copy.deepcopy(case.plain)
    tensors = dict(base_of(model).named_parameters())
    prepare(model, case.strategy, train_pooler=case.strategy.trains_pooler)
    present = {id(p) for p in model.parameters()}
    for name, before in base_of(case.plain).named_parameters():
        if id(tensors[name]) not in present or not torch.equal(before, tensors[name]):
            fix = "attach modules and unfreeze, and change nothing else"
            raise case.error(f"apply changes or removes the backbone's tensor {name}", fix)
    expected = _logits(case.reference)
    moved = ((_logits(case.adapted) - expected).abs().max() / expected.abs().max()).item()
    if tolerance is not None and not moved <= tolerance:
        fix = "initialise what is attached so that its output is nearly 0, or give start_tolerance"
        raise case.error(f"the logits change by {moved:.2%} at the start, more than {tolerance:.2%}", fix)


def check_gradients(case: Case) -> None:
    """The head is trained, gradients reach every trained tensor, and no frozen tensor gets one."""
    model = copy.deepcopy(case.adapted)
    if not all(p.requires_grad for p in head_parameters(model)):
        raise case.error("apply freezes the head", "never freeze in apply: everything else is frozen before")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    _perturb(p for p in model.parameters() if p.requires_grad)
    added = {id(p) for p in added_parameters(model)}
    torch.manual_seed(3)
    model.train()(**batch_of()).loss.backward()
    for name, parameter in model.named_parameters():
        if name not in trained and parameter.grad is not None:
            raise case.error(f"the frozen tensor {name} gets a gradient", "unfreeze it in apply, or not at all")
        if name in trained and (parameter.grad is None or (id(parameter) in added and not parameter.grad.any())):
            fix = "unfreeze only what the logits depend on, and use every attached tensor in forward"
            raise case.error(f"no gradient reaches the trained tensor {name}", fix)


def check_saving(case: Case) -> None:
    """A saved and loaded adapter gives the same logits to the bit."""
    first, second = copy.deepcopy(case.adapted), case.prepared(case.strategy, _SEED + 1)
    _perturb(p for p in first.parameters() if p.requires_grad)
    with torch.no_grad():
        first.train()(**batch_of())  # running statistics move, too
    first.eval()
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_weights(first, _NO_NAMES, Path(folder))
            load_weights(second, _NO_NAMES, Path(folder))
        except AdapterTuneError as error:
            raise case.error(str(error), "let apply attach the same tensors every time") from error
    if not torch.equal(_logits(first), _logits(second)):
        fix = "make everything that apply draws a trained parameter, or a buffer of the adapter"
        raise case.error("a saved and loaded adapter has other logits", fix)


def check_detach(case: Case) -> None:
    """Without its adapters, the backbone is the one that it was; only for strategies that attach to sites."""
    if not adapters_of(case.adapted):
        return
    adapted, reference = copy.deepcopy(case.adapted), case.reference
    _perturb([*added_parameters(adapted), *(p for m in layer_norms(base_of(adapted)) for p in m.parameters())])
    detach(adapted)
    fix = "attach with surgery.attach only, and let apply change nothing else in the model"
    if adapted.state_dict().keys() != reference.state_dict().keys():
        names = sorted(adapted.state_dict().keys() ^ reference.state_dict().keys())
        raise case.error(f"after detach, the names of tensors differ ({names[0]})", fix)
    if not torch.equal(_logits(adapted), _logits(reference)):
        raise case.error("after detach, the logits are not those of the backbone", fix)


_IMPORT = """
import json, sys
from importlib import import_module
from adapter_tune.adapters.family_shapes import bert_shape
from adapter_tune.adapters.published_sizes import published_size
module, name, options, heavy = json.loads(sys.argv[1])
cls = import_module(module)
for part in name.split("."):
    cls = getattr(cls, part)
cls(**options).formula(bert_shape(published_size("google-bert/bert-base-uncased")))
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def check_import(strategy: Strategy) -> None:
    """In a new process, the class is imported and its formula computed without torch."""
    cls = type(strategy)
    if "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        problem = f"a new process cannot import {cls.__module__}.{cls.__qualname__}"
        raise ConformanceError(f"strategy {cls.name}: {problem}; define the class at the top of a module of its own")
    request = json.dumps([cls.__module__, cls.__qualname__, strategy.model_dump(), _HEAVY])
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, request],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    if done.returncode:
        problem = f"a new process cannot import {cls.__module__} and compute the formula ({_last_line(done.stderr)})"
        raise ConformanceError(f"strategy {cls.name}: {problem}; make its module importable by its name")
    if heavy := json.loads(_last_line(done.stdout)):
        problem = f"importing {cls.__module__} and computing the formula imports {' and '.join(heavy)}"
        raise ConformanceError(f"strategy {cls.name}: {problem}; import inside apply, so that commands start at once")


def check_on_backbones(strategy: Strategy, families: list[str] | None, tolerance: float | None) -> None:
    """Every check that needs a model, on every variant of the families that the strategy fits."""
    cases = [Case(strategy, family, own) for family, own in backbones(families)]
    fitting = [case for case in cases if fits(case)]
    if not fitting:
        raise ConformanceError(f"strategy {strategy.name}: it refuses every backbone; check other options")
    for case in fitting:
        check_counts(case)
        check_gradients(case)  # before the model has computed anything, as what is trained might change then
        check_start(case, tolerance)
        check_saving(case)
        check_detach(case)


def _logits(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**batch_of()).logits
    return logits


def _perturb(parameters: Iterable[nn.Parameter]) -> None:
    """Add noise, as if the parameters had been trained."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn_like(parameter) * 0.3)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
