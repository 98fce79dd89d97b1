"""Which layers an option names: ``all``, ``6-11``, ``top-6``, or a list. Layers are counted from 0, the lowest."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator

from adapter_tune.foundation.errors import UsageError

LayerRange = str | Sequence[int]

_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")
_TOP = re.compile(r"top-(\d{1,6})")
_HOW = "write all, a range such as 6-11, top-6, or a list such as [0, 11]"


def check_layer_range(value: object) -> object:
    """A span as it is, if it is one whatever the backbone; pydantic's validator."""
    if isinstance(value, str):
        bounds, top = _RANGE.fullmatch(value), _TOP.fullmatch(value)
        if value == "all" or (top and int(top[1]) > 0) or (bounds and int(bounds[1]) <= int(bounds[2])):
            return value
    elif isinstance(value, list | tuple) and 0 < len(set(map(str, value))) == len(value):
        layers = list(value)
        if all(type(layer) is int and layer >= 0 for layer in layers):
            return layers
    raise ValueError(_HOW)


LayerRangeOption = Annotated[str | list[int], BeforeValidator(check_layer_range)]


def layers_in(span: LayerRange, count: int, what: str = "strategy.layers") -> tuple[int, ...]:
    """The layers that a span names, in order.

    Args:
        span: ``all``, ``FIRST-LAST`` (both included), ``top-N``, or numbers.
        count: layers of the backbone.
        what: how a message calls the span.

    Raises:
        UsageError: it is no span, or names a layer that is not there.
    """
    try:
        value = check_layer_range(span)
    except ValueError as error:
        raise UsageError(f"{what}: {error}, got {reprlib.repr(span)}") from None
    if isinstance(value, list):
        layers = tuple(sorted(value))
    elif value == "all":
        layers = tuple(range(count))
    else:
        numbers = [int(number) for number in re.findall(r"\d+", str(value))]
        first, last = numbers if len(numbers) == 2 else (count - numbers[0], count - 1)
        if first < 0:
            raise UsageError(f"{what}: {value} is more than the backbone's {count} layers")
        layers = tuple(range(first, max(first, min(last, count)) + 1))  # no more than one that is not there
    if layers[-1] >= count:
        raise UsageError(f"{what}: there is no layer {layers[-1]}; the backbone has layers 0 to {count - 1}")
    return layers
