"""The registry of strategies: what is attached to a frozen backbone, and what of it is trained."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.foundation.errors import FieldError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem

if TYPE_CHECKING:
    from torch import nn


class Strategy(BaseModel):
    """Base of all strategies. The fields of a subclass are its YAML options.

    A subclass says what it does to a model whose every parameter is frozen but the head's (``apply``; it may
    attach and unfreeze, never freeze), and what that amounts to (``formula``). Torch is imported inside ``apply``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: ClassVar[str]
    paper: ClassVar[str]
    """Where it was published."""
    learning_rate: ClassVar[float]
    """The peak learning rate of a run that names none."""
    trains_pooler: ClassVar[bool] = False
    """True where ``apply`` trains the pooler whatever ``model.pooler`` says."""
    drawing: ClassVar[str] = ""
    """A few lines of text that show where it sits."""

    def apply(self, model: nn.Module) -> None:
        """Attach and unfreeze, in place."""
        raise NotImplementedError

    def formula(self, shape: Shape) -> Formula:
        """What ``apply`` trains in a backbone of this shape, by plain arithmetic."""
        raise NotImplementedError

    def tag(self) -> str:
        """What tells runs of it apart at a glance, in the name of a run folder: ``m64``."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """The ``strategy`` section of a configuration."""
        return {"name": self.name, **self.model_dump()}

    @classmethod
    def summary(cls) -> str:
        """One line: what the strategy is."""
        return (cls.__doc__ or "").strip().splitlines()[0]


REGISTRY: dict[str, type[Strategy]] = {}
SIZES = ("m", "n")
"""Options that are a size: what is varied first."""

S = TypeVar("S", bound=Strategy)


def strategy(name: str) -> Callable[[type[S]], type[S]]:
    """Class decorator: register a strategy under the name used in YAML and on the command line."""

    def register(cls: type[S]) -> type[S]:
        assert name not in REGISTRY, f"two strategies are called {name}"
        cls.name = name
        REGISTRY[name] = cls
        return cls

    return register


def parse_strategy(value: object) -> Strategy:
    """A strategy from its YAML section, from its bare name, or as it is.

    Raises:
        FieldError: unknown name or option, or a wrong value; ``loc`` begins with ``strategy``.
    """
    if isinstance(value, Strategy):
        return value
    section = {"name": value} if isinstance(value, str) else value
    if not isinstance(section, dict):
        raise FieldError(("strategy",), f"should be a name or a section with a name, got {reprlib.repr(value)}")
    options = dict(section)
    name = options.pop("name", "houlsby")
    if not isinstance(name, str):
        raise FieldError(("strategy", "name"), f"should be a name, got {reprlib.repr(name)}")
    if name not in REGISTRY:
        raise FieldError(("strategy", "name"), unknown_name("strategy", name, REGISTRY))
    try:
        return REGISTRY[name](**{str(key): value for key, value in options.items()})
    except ValidationError as error:
        loc, problem = first_problem(error, REGISTRY[name])
        raise FieldError(("strategy", *loc), f"{problem} (strategy {name})") from None


def described(section: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """A ``strategy`` section in a few words: its name, its size (m or n) first, and what differs from its defaults.

    Args:
        section: as ``to_dict`` gives it; of a strategy that is not registered here every option is named.
        without: options that are left out.
    """
    name = str(section["name"])
    fields = REGISTRY[name].model_fields if name in REGISTRY else {}
    words = [name]
    for key, value in sorted(section.items(), key=lambda item: (item[0] not in SIZES, item[0])):
        default = fields[key].get_default() if key in fields else None
        if key not in ("name", *without) and (key in SIZES or value != default):
            words.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return " ".join(words)
