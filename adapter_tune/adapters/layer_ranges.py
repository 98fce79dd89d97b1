"""Which layers an option names: ``all``, ``6-11``, ``top-6``, or a list. Layers are counted from 0, the lowest."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from adapter_tune.foundation.errors import UsageError

LayerRange = str | Sequence[int]

_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")
_TOP = re.compile(r"top-(\d{1,6})")
_SYNTAX = "write all, a range such as 6-11, top-6, or a list such as [0, 11]"


def check_layer_range(value: object) -> object:
    """Return the value if it is a layer range for some backbone (a list for a sequence); a pydantic validator.

    Raises:
        ValueError: it is none; the message says how to write one.
    """
    if isinstance(value, str) and _is_named_range(value):
        return value
    if isinstance(value, list | tuple) and _are_distinct_layers(value):
        return list(value)
    raise ValueError(_SYNTAX)


def _is_named_range(text: str) -> bool:
    if top := _TOP.fullmatch(text):
        return int(top[1]) > 0
    if bounds := _RANGE.fullmatch(text):
        return int(bounds[1]) <= int(bounds[2])
    return text == "all"


def _are_distinct_layers(values: Sequence[object]) -> bool:
    are_layers = all(type(value) is int and value >= 0 for value in values)
    return are_layers and 0 < len(set(values)) == len(values)


_JSON_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^(all|top-0*[1-9]\d*|\d{1,6}-\d{1,6})$"},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True},
    ]
}

LayerRangeOption = Annotated[str | list[int], BeforeValidator(check_layer_range), WithJsonSchema(_JSON_SCHEMA)]


def layers_in(layer_range: LayerRange, count: int, name: str = "strategy.layers") -> tuple[int, ...]:
    """Return the layers that a range names, in order.

    Args:
        layer_range: ``all``, ``FIRST-LAST`` (both included), ``top-N``, or numbers.
        count: number of layers of the backbone.
        name: of the range, for error messages.

    Raises:
        UsageError: it is no layer range, or names a layer that the backbone does not have.
    """
    try:
        value = check_layer_range(layer_range)
    except ValueError as error:
        raise UsageError(f"{name}: {error}, got {reprlib.repr(layer_range)}") from None
    if isinstance(value, list):
        layers = tuple(sorted(value))
    else:
        first, last = _bounds(str(value), count)
        if first < 0:
            raise UsageError(f"{name}: {value} is more than the backbone's {count} layers")
        last = max(first, min(last, count))  # a long list of layers that do not exist is not needed
        layers = tuple(range(first, last + 1))
    if layers[-1] >= count:
        raise UsageError(f"{name}: there is no layer {layers[-1]}; the backbone has layers 0 to {count - 1}")
    return layers


def _bounds(text: str, count: int) -> tuple[int, int]:
    """Return the first and the last layer of a checked range; the first is negative if ``top-N`` is too many."""
    if top := _TOP.fullmatch(text):
        return count - int(top[1]), count - 1
    if bounds := _RANGE.fullmatch(text):
        return int(bounds[1]), int(bounds[2])
    return 0, count - 1
