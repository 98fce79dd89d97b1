"""A request's body, from bytes to a schema; whatever is wrong with it becomes one line."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from adapter_tune.foundation.errors import first_line
from adapter_tune.serving.refusals import RefusedRequest

Model = TypeVar("Model", bound=BaseModel)


def parse(body: bytes, schema: type[Model]) -> Model:
    """The object in a JSON body.

    Raises:
        RefusedRequest: it is not UTF-8 (400), not JSON (400), or not what the schema says (422).
    """
    try:
        text = body.decode("utf-8")
        values = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if "\\u" in text:
            _check_characters(values)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise RefusedRequest(400, f"the body is not UTF-8 (byte 0x{byte:02x} at position {error.start})") from None
    except RecursionError:
        raise RefusedRequest(400, "the body is nested too deeply; see /docs for what it should be") from None
    except ValueError as error:
        raise RefusedRequest(400, f"the body is not JSON ({first_line(error)}); see /docs for an example") from None
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise RefusedRequest(422, _problem(error, schema)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key!r} is in it twice")
        values[key] = value
    return values


def _check_characters(values: Any) -> None:
    """Refuse half characters, which JSON can write as an escape (a lone surrogate), and UTF-8 cannot."""
    try:
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise RefusedRequest(400, "a string contains half of a character (a lone surrogate); remove it") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _problem(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first problem as one line; the value is not repeated."""
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if detail["type"] == "extra_forbidden":
        known = f"known keys: {', '.join(schema.model_fields)} (see /docs)" if len(detail["loc"]) == 1 else "see /docs"
        return f"unknown key {path!r}; {known}"
    if detail["type"] == "missing":
        return f"{path} is missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{path or 'the body'}: {message}" if detail["type"] != "value_error" else message
