"""JSON records with a format number, read with every check: there, whole, not newer, of the right shape."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.foundation.validation_messages import first_problem

R = TypeVar("R", bound=BaseModel)


def read_json(path: Path, schema: type[R], newest: int, fix: str) -> R:
    """The record in a JSON file.

    Args:
        path: the file.
        schema: what it should hold.
        newest: the highest ``format`` that this version reads.
        fix: what helps where the file is damaged.

    Raises:
        UsageError: the file is not there, so the folder is not what it was taken for.
        RunError: it is damaged, or was written by a newer version.
    """
    if not path.is_file():
        raise UsageError(f"{path.parent}: no {path.name} in it; give a folder that 'adapter-tune train' wrote")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.get("format") if isinstance(values, dict) else None
        if isinstance(found, int) and found > newest:
            raise RunError(f"{path}: format {found} is newer than this version reads; update adapter-tune")
        if endless := _endless(values):
            raise RunError(f"{path}: {endless}; the file is damaged, {fix}")
        return schema.model_validate(values)
    except ValidationError as error:
        loc, problem = first_problem(error, schema)
        raise RunError(f"{path}: {'.'.join(loc)} {problem}; the file is damaged, {fix}") from None
    except FieldError as error:
        raise RunError(f"{path}: {'.'.join(error.loc)} {error.problem}; the file is damaged, {fix}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not valid JSON ({error}); the file is damaged, {fix}") from None


def _endless(value: Any, loc: tuple[str, ...] = ()) -> str | None:
    """What is wrong with the first number that JSON does not have, though Python reads it: NaN, an infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{'.'.join(loc)} should be a finite number, got {value}"
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, part in parts if (found := _endless(part, (*loc, str(key))))), None)
