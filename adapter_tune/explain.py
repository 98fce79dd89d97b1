"""A pydantic error as one plain sentence: where, what, and the nearest thing that would have been right."""

from __future__ import annotations

import reprlib

from pydantic import BaseModel, ValidationError

from adapter_tune.errors import unknown

Loc = tuple[str, ...]


def first_problem(error: ValidationError, schema: type[BaseModel]) -> tuple[Loc, str]:
    """The path of the first wrong value, and what is wrong with it in one line."""
    detail = error.errors(include_url=False)[0]
    loc = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return loc, unknown("option", loc[-1], _fields(schema, loc[:-1]))
    if detail["type"] == "missing":
        return loc, "is missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return loc, f"{message}, got {reprlib.repr(detail['input'])}"


def _fields(schema: type[BaseModel], loc: Loc) -> list[str]:
    """Names of the options in the section that ``loc`` leads to."""
    section = schema
    for part in loc:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    return list(section.model_fields)
