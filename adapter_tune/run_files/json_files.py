"""JSON files with a format number, read with every check: present, undamaged, not too new, of the right schema."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.foundation.validation_messages import first_problem

Model = TypeVar("Model", bound=BaseModel)

_ANY_VERSION = 10**9
"""Other libraries' files have no format number."""


def read_json(path: Path, schema: type[Model], newest: int, fix: str) -> Model:
    """Read a JSON file into an object of the schema.

    Args:
        path: the file.
        schema: the pydantic class of the content.
        newest: the highest ``format`` that this version reads.
        fix: what to do if the file is damaged, for messages.

    Raises:
        UsageError: the file is missing, so this is not a folder of the expected kind.
        RunError: the file is damaged, or was written by a newer version.
    """
    if not path.is_file():
        above = path.parent.absolute().parent
        if (above / path.name).is_file():
            raise UsageError(f"{path.parent}: no {path.name} in it; give the run folder, which is {above}")
        raise UsageError(f"{path.parent}: no {path.name} in it; give a folder that 'adapter-tune train' wrote")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.get("format") if isinstance(values, dict) else None
        if isinstance(version, int) and version > newest:
            raise RunError(f"{path}: format {version} is too new for this version of adapter-tune; update it")
        problem = _not_finite(values)
        if problem is not None:
            raise RunError(f"{path}: {problem}; the file is damaged, {fix}")
        return schema.model_validate(values)
    except ValidationError as error:
        loc, problem = first_problem(error, schema)
        raise RunError(f"{path}: {'.'.join(loc)} {problem}; the file is damaged, {fix}") from None
    except FieldError as error:
        raise RunError(f"{path}: {'.'.join(error.loc)} {error.problem}; the file is damaged, {fix}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not valid JSON ({error}); the file is damaged, {fix}") from None


def read_foreign_json(path: Path, schema: type[Model]) -> Model:
    """A JSON file of another library.

    Raises:
        UsageError: the file is missing.
        RunError: it is damaged.
    """
    return read_json(path, schema, _ANY_VERSION, "copy it again")


def _not_finite(value: Any, loc: tuple[str, ...] = ()) -> str | None:
    """A message about the first NaN or infinity, or None. Python reads them, but they are no JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{'.'.join(loc)} should be a finite number, got {value}"
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    else:
        return None
    for key, child in children:
        problem = _not_finite(child, (*loc, str(key)))
        if problem is not None:
            return problem
    return None
