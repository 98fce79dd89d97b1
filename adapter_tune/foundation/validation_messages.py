"""Pydantic classes in plain words: what each option means, and a validation error as one sentence."""

from __future__ import annotations

import ast
import inspect
import reprlib
from datetime import date
from itertools import pairwise
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adapter_tune.foundation.errors import unknown_name

Loc = tuple[str, ...]


def first_problem(error: ValidationError, schema: type[BaseModel]) -> tuple[Loc, str]:
    """The path of the first wrong value, and one line that says what is wrong with it."""
    details = error.errors(include_url=False)
    detail = details[0]
    loc = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return loc, unknown_name("option", loc[-1], _fields(schema, loc[:-1]))
    if detail["type"] == "missing":
        return loc, "is missing"
    if detail["type"] == "string_too_short":
        return loc, "is empty; give a value, or remove the option"
    if detail["type"] in ("model_type", "model_attributes_type"):
        return loc, f"should be a section of options with their values, got {reprlib.repr(detail['input'])}"
    union_loc = _union_option(schema, loc)
    if union_loc is None:
        details = details[:1]
    else:
        loc = union_loc
        details = [each for each in details if tuple(each["loc"][: len(union_loc)]) == union_loc]
    messages = [each["msg"].removeprefix("Value error, ").removeprefix("Input ") for each in details]
    alternatives = [text.removeprefix("should be ") for text in messages[1:]]
    message = " or ".join([messages[0], *alternatives])
    is_unquoted = detail["type"] == "string_type" and isinstance(detail["input"], int | float | date)
    hint = f"; quote it: '{detail['input']}'" if is_unquoted else ""
    return loc, f"{message}, got {reprlib.repr(detail['input'])}{hint}"


def _union_option(schema: type[BaseModel], loc: Loc) -> Loc | None:
    """The path of the option on the way to ``loc`` that takes several types, or None.

    Pydantic reports one error per type of such an option, and appends the name of the type to the path.
    """
    section: Any = schema
    for depth, part in enumerate(loc, 1):
        if not (inspect.isclass(section) and issubclass(section, BaseModel)):
            return None
        field = section.model_fields.get(part)
        if field is None:
            return None
        section = field.annotation
        members = [member for member in get_args(section) if member is not type(None)]
        if get_origin(section) in (Union, UnionType) and len(members) > 1:
            return loc[:depth]
    return None


def meanings(schema: type[BaseModel]) -> dict[str, str]:
    """The docstring of each option by name, or the ``description`` of its field; an option without either is left out.

    Docstrings are read from the source when they are needed. Pydantic would read them at every start.
    """
    texts = {name: field.description or "" for name, field in schema.model_fields.items()}
    for cls in reversed(schema.__mro__):
        if cls is BaseModel or not issubclass(cls, BaseModel):
            continue
        for statement, following in pairwise(_body(cls)):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                docstring = str(ast.literal_eval(following.value))
                texts[ast.unparse(statement.target)] = " ".join(docstring.split())
    return {name: texts[name] for name in schema.model_fields if texts[name]}


def _body(cls: type[BaseModel]) -> list[ast.stmt]:
    """The statements of a class; none where its source is not available, as of a class that was typed in."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return []
    if source[0].isspace():  # a class inside a function
        source = f"if True:\n{source}"
    statements = ast.walk(ast.parse(source))
    return next(each for each in statements if isinstance(each, ast.ClassDef)).body


def _fields(schema: type[BaseModel], loc: Loc) -> list[str]:
    """The names of the options in the section at ``loc``."""
    section = schema
    for part in loc:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    return list(section.model_fields)
