"""Every strategy of the package passes the checks; strategies that break a promise fail the check of that promise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.adapters.model_parts import base_of, head_modules, layers_of, unfreeze
from adapter_tune.adapters.surgery import attach, sites
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies import REGISTRY, Injection, Strategy, strategy
from adapter_tune.testing import ConformanceError, check_strategy
from tests.helpers import STRATEGY_MODULE

LAYOUTS = ["bert", "distilbert", "modernbert"]
"""Families that differ in what an adapter replaces and in their LayerNorms; the long suite has all."""


@pytest.mark.parametrize("families", [LAYOUTS, pytest.param(None, marks=pytest.mark.slow)], ids=["layouts", "all"])
@pytest.mark.parametrize("name", REGISTRY)
def test_every_strategy_passes(name: str, families: list[str] | None) -> None:
    tolerance = 0.02 if issubclass(REGISTRY[name], Injection) else 0.0
    check_strategy(name, families=families, start_tolerance=tolerance)


def test_a_strategy_is_named_or_given_in_each_form() -> None:
    for form in ("head", {"name": "head"}, REGISTRY["head"], REGISTRY["head"]()):
        check_strategy(form, families=["bert"])
    with pytest.raises(UsageError, match="families: unknown family 'birt'; did you mean 'bert'"):
        check_strategy("head", families=["birt"])
    with pytest.raises(UsageError, match="families: the list is empty"):
        check_strategy("head", families=[])


# One strategy for each promise that can be broken ---------------------------------------------------------------------


class Scaling(nn.Module):
    """A(x) = s * x."""

    def __init__(self, d: int, start: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((d,), start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


class Good(Strategy):
    """Every value of a sub-layer's output is scaled."""

    paper: ClassVar[str] = "none"
    learning_rate: ClassVar[float] = 1e-3

    def adapter(self, d: int) -> nn.Module:
        return Scaling(d)

    def apply(self, model: Any) -> None:
        for site in sites(model):
            attach(model, site, self.adapter(model.config.hidden_size))

    def formula(self, shape: Shape) -> Formula:
        count = 2 * shape.layers
        return Formula(adapters=count * shape.d, adapter_count=count, per_adapter=shape.d, text="d", filled="768")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(REGISTRY, "_classes", dict(REGISTRY))
    yield


def refused(cls: type[Strategy], message: str, family: str = "bert") -> None:
    with pytest.raises(ConformanceError, match=message):
        check_strategy(cls, families=[family])


def test_it_is_registered() -> None:
    class Unregistered(Good):
        """Good."""

    refused(Unregistered, "Unregistered: it is not registered; decorate the class with @strategy")


def test_it_has_what_commands_show() -> None:
    @strategy("broken")
    class Broken(Strategy):
        """Nothing."""

        paper: ClassVar[str] = "none"

    refused(Broken, "strategy broken: .*Broken: it has no learning_rate; add learning_rate")


def test_every_option_is_described() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        size: int = 3

    refused(Broken, "option size has no description; add a docstring below it")


def test_options_come_back_from_yaml() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        layers: tuple[int, ...] = (0, 1)
        """Layers."""

    refused(Broken, "strategy broken: its options cannot be written as YAML and read again .*; use numbers, texts")


def test_options_keep_their_values() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        size: int = 3
        """Size."""

        def to_dict(self) -> dict[str, Any]:
            return {"name": self.name}

    with pytest.raises(ConformanceError, match=r"come back from YAML as Broken\(size=3\), not as Broken\(size=4\)"):
        check_strategy(Broken(size=4), families=["bert"])


def test_formula_and_apply_refuse_the_same_backbones() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            raise UsageError("too small; choose another backbone")

    refused(Broken, r"on bert: only one of formula and apply refuses this backbone \(too small; choose another")


def test_a_refusal_says_what_to_do() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            raise ZeroDivisionError("division by zero")

    refused(Broken, "ZeroDivisionError: division by zero; raise a UsageError with cause and fix")


def test_it_accepts_one_backbone_at_least() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            raise UsageError("too small")

        def formula(self, shape: Shape) -> Formula:
            if shape.d < 768:
                raise UsageError("too small")
            return super().formula(shape)

    refused(Broken, "it refuses every backbone")


def test_counts_agree() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def formula(self, shape: Shape) -> Formula:
            return Formula(adapters=shape.layers * shape.d, adapter_count=2 * shape.layers, per_adapter=shape.d)

    refused(Broken, "on bert: adapters: the model has 96 but the formula says 48; correct formula, or what apply")


def test_the_backbone_is_unchanged_at_the_start() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            super().apply(model)
            nn.init.zeros_(layers_of(model)[0].get_parameter("output.dense.weight"))

    refused(Broken, r"apply changes or removes the backbone's tensor encoder\.layer\.0\.output\.dense\.weight; attach")


def test_logits_are_nearly_the_same_at_the_start() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def adapter(self, d: int) -> nn.Module:
            return Scaling(d, start=3.0)

    refused(Broken, r"the logits change by \d+.*% at the start, more than 2.00%; initialise what is attached")
    with pytest.raises(ConformanceError, match="a new process cannot import"):  # the last check: of the test itself
        check_strategy(Broken, families=["bert"], start_tolerance=None)


def test_the_head_is_trained() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            super().apply(model)
            for module in head_modules(model):
                module.requires_grad_(False)

    refused(Broken, "apply freezes the head; never freeze in apply")


def test_gradients_reach_what_is_attached() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def adapter(self, d: int) -> nn.Module:
            adapter = Scaling(d)
            adapter.unused = nn.Parameter(torch.zeros(d))
            return adapter

        def formula(self, shape: Shape) -> Formula:
            one = super().formula(shape)
            return Formula(adapters=2 * one.adapters, adapter_count=one.adapter_count, per_adapter=2 * shape.d)

    refused(Broken, r"no gradient reaches the trained tensor .*unused; unfreeze only what the logits depend on")


def test_frozen_tensors_get_no_gradient() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            super().apply(model)
            base_of(model).register_forward_pre_hook(lambda module, args: unfreeze(module.embeddings))

    refused(Broken, r"the frozen tensor bert\.embeddings\..* gets a gradient; unfreeze it in apply, or not at all")


def test_a_loaded_adapter_is_the_one_that_was_saved() -> None:
    class Drawn(Scaling):
        def __init__(self, d: int) -> None:
            super().__init__(d)
            self.direction = torch.randn(d)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * self.direction * x

    @strategy("broken")
    class Broken(Good):
        """Good."""

        def adapter(self, d: int) -> nn.Module:
            return Drawn(d)

    refused(Broken, "a saved and loaded adapter has other logits; make everything that apply draws a trained parameter")


def test_a_saved_adapter_can_be_loaded() -> None:
    class Named(nn.Module):
        def __init__(self, d: int) -> None:
            super().__init__()
            self.key = f"scale{torch.randint(1000, (1,)).item()}"
            self.register_parameter(self.key, nn.Parameter(torch.zeros(d)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.get_parameter(self.key) * x

    @strategy("broken")
    class Broken(Good):
        """Good."""

        def adapter(self, d: int) -> nn.Module:
            return Named(d)

    refused(Broken, r"adapter_model\.safetensors.*scale.*; let apply attach the same tensors every time")


def test_detach_gives_the_names_back() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            super().apply(model)
            base_of(model).register_buffer("extra", torch.zeros(1))

    refused(Broken, r"after detach, the names of tensors differ \(bert\.extra\); attach with surgery\.attach only")


def test_detach_gives_the_logits_back() -> None:
    @strategy("broken")
    class Broken(Good):
        """Good."""

        def apply(self, model: Any) -> None:
            super().apply(model)
            layers_of(model)[0].register_forward_hook(lambda module, args, output: output * 1.001)

    refused(Broken, "after detach, the logits are not those of the backbone; attach with surgery.attach only")


def test_a_new_process_can_import_it() -> None:
    """The last check: whatever is right fails here only because it is defined inside a test."""

    @strategy("broken")
    class Broken(Good):
        """Good."""

    refused(Broken, "cannot import tests.*Broken; define the class at the top of a module of its own")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import torch\n" + STRATEGY_MODULE, "computing the formula imports torch; import inside apply"),
        (
            "import sys\nassert 'pytest' in sys.modules\n" + STRATEGY_MODULE,
            r"a new process cannot import .* \(AssertionError\)",
        ),
    ],
)
def test_importing_it_needs_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (tmp_path / "a_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "a_module", raising=False)
    import a_module  # type: ignore[import-not-found]

    refused(a_module.Nothing, message)
