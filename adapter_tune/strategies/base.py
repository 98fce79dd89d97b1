"""The base class of strategies: what is attached to a frozen backbone, and what is trained."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from adapter_tune.adapters.family_shapes import bert_shape
from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.adapters.published_sizes import published_size
from adapter_tune.foundation.errors import FieldError, UsageError, unknown_name
from adapter_tune.foundation.validation_messages import first_problem
from adapter_tune.strategies.registry import Registry

if TYPE_CHECKING:
    from torch import nn


class Strategy(BaseModel):
    """Base of all strategies. The fields of a subclass are its YAML options.

    A subclass has two methods. ``apply`` gets a model in which only the head is trained; it may attach and unfreeze,
    never freeze. ``formula`` counts what ``apply`` trains. Torch is imported inside ``apply``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: ClassVar[str]
    paper: ClassVar[str]
    """The paper it was published in."""
    learning_rate: ClassVar[float]
    """The default peak learning rate."""
    trains_pooler: ClassVar[bool] = False
    """True where ``apply`` trains the pooler whatever ``model.pooler`` says."""
    drawing: ClassVar[str] = ""
    """A few lines of text that show where it is in the model."""

    def apply(self, model: nn.Module) -> None:
        """Attach modules to a model and unfreeze parameters, in place."""
        raise NotImplementedError

    def formula(self, shape: Shape) -> Formula:
        """Return what ``apply`` trains in a backbone of this shape, by plain arithmetic."""
        raise NotImplementedError

    def tag(self) -> str:
        """Return the size for the name of a run folder: ``m64``."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return the ``strategy`` section of a configuration."""
        return {"name": self.name, **self.model_dump()}

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the docstring: what the strategy is."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def check_class(cls: type[Strategy]) -> None:
    """Check what every command relies on: a class with a summary and defaults, and a formula that can be computed.

    Raises:
        UsageError: something is missing; the message says what to add.
    """
    place = f"{cls.__module__}.{cls.__qualname__}"
    if not (cls.__doc__ or "").strip():
        raise UsageError(f"{place}: it has no docstring; say in its first line what is trained")
    for attribute, example in (("paper", 'str] = "Author et al. 2026"'), ("learning_rate", "float] = 1e-3")):
        if not hasattr(cls, attribute):
            raise UsageError(f"{place}: it has no {attribute}; add {attribute}: ClassVar[{example}")
    for name, field in cls.model_fields.items():
        if field.is_required():
            raise UsageError(f"{place}: option {name} has no default; give it one")
    cls().formula(bert_shape(published_size("google-bert/bert-base-uncased")))


REGISTRY: Registry[Strategy] = Registry(check_class)
SIZES = ("m", "n")
"""Options that are a size; they are named first in a description."""

S = TypeVar("S", bound=Strategy)


def strategy(name: str) -> Callable[[type[S]], type[S]]:
    """Class decorator: register a strategy under the name used in YAML and on the command line.

    Raises:
        UsageError: the name is taken, or cannot be a name.
    """

    def register(cls: type[S]) -> type[S]:
        REGISTRY.register(name, cls)
        cls.name = name
        return cls

    return register


def parse_strategy(value: object) -> Strategy:
    """Return a strategy from its YAML section or its name; a strategy is returned as it is.

    Raises:
        FieldError: unknown name or option, or wrong value; its ``loc`` begins with ``strategy``.
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
    """Return a ``strategy`` section in a few words: its name, its size (m or n), and options that are not the default.

    Args:
        section: as ``to_dict`` returns it; every option of an unregistered strategy is named.
        without: options that are left out.
    """
    name = str(section["name"])
    fields = REGISTRY[name].model_fields if name in REGISTRY else {}
    words = [name]
    for key in sorted(section, key=lambda key: (key not in SIZES, key)):
        if key == "name" or key in without:
            continue
        value = section[key]
        default = fields[key].get_default() if key in fields else None
        if key in SIZES or value != default:
            words.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return " ".join(words)
