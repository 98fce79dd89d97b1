"""A pydantic class in plain words: what each option is, and an error as one sentence."""

from __future__ import annotations

import ast
import inspect
import reprlib
from itertools import pairwise
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adapter_tune.foundation.errors import unknown_name

Loc = tuple[str, ...]


def first_problem(error: ValidationError, schema: type[BaseModel]) -> tuple[Loc, str]:
    """The path of the first wrong value, and what is wrong with it in one line."""
    details = error.errors(include_url=False)
    detail = details[0]
    loc = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return loc, unknown_name("option", loc[-1], _fields(schema, loc[:-1]))
    if detail["type"] == "missing":
        return loc, "is missing"
    if detail["type"] in ("model_type", "model_attributes_type"):
        return loc, f"should be a section of options with their values, got {reprlib.repr(detail['input'])}"
    if choice := _choice(schema, loc):
        loc, details = choice, [other for other in details if tuple(other["loc"][: len(choice)]) == choice]
    else:
        details = details[:1]
    messages = [other["msg"].removeprefix("Value error, ").removeprefix("Input ") for other in details]
    message = " or ".join([messages[0], *(text.removeprefix("should be ") for text in messages[1:])])
    return loc, f"{message}, got {reprlib.repr(detail['input'])}"


def _choice(schema: type[BaseModel], loc: Loc) -> Loc | None:
    """The path of the option around ``loc`` that takes several types; pydantic adds the name of each to it."""
    section: Any = schema
    for depth, part in enumerate(loc, 1):
        field = section.model_fields.get(part) if inspect.isclass(section) and issubclass(section, BaseModel) else None
        if field is None:
            return None
        section = field.annotation
        members = [member for member in get_args(section) if member is not type(None)]
        if get_origin(section) in (Union, UnionType) and len(members) > 1:
            return loc[:depth]
    return None


def meanings(schema: type[BaseModel]) -> dict[str, str]:
    """What stands under each option in the source, read when it is asked for: pydantic would read it at every start."""
    out: dict[str, str] = {}
    for cls in reversed(schema.__mro__):
        if cls is BaseModel or not issubclass(cls, BaseModel):
            continue
        body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
        for option, text in pairwise(body):
            if isinstance(option, ast.AnnAssign) and isinstance(text, ast.Expr):
                out[ast.unparse(option.target)] = " ".join(str(ast.literal_eval(text.value)).split())
    return {name: out[name] for name in schema.model_fields if name in out}


def _fields(schema: type[BaseModel], loc: Loc) -> list[str]:
    """Names of the options in the section that ``loc`` leads to."""
    section = schema
    for part in loc:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    return list(section.model_fields)
