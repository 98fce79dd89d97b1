"""Labels of the user's own rows: the kind of problem, and the label of each row."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from adapter_tune.config.schema import DataConfig, class_name
from adapter_tune.data.rows import LABEL_SEPARATOR, LocatedRow, Row, missing_column
from adapter_tune.foundation.errors import RunError

_MOST_CLASSES = 200  # more distinct whole numbers than this are hardly classes
_FIX = "fix or remove the row"
_NUMBER_WITH_COMMA = re.compile(r"[+-]?\d+([.,]\d+)*", re.ASCII)
_MISSING = frozenset(("", "nan", "<na>", "na", "n/a", "none", "null"))
"""What programs write for a missing value, in lower case."""


def guess_problem(
    rows: list[LocatedRow], data: DataConfig, source: str
) -> Literal["classification", "multi_label", "regression"]:
    """The kind of problem, guessed from the labels.

    Raises:
        RunError: the labels are so many whole numbers that they could be classes or a regression, or are numbers with
            decimal commas.
    """
    values = [row.get(data.custom.label_column or "") for _, row in rows]
    if any(isinstance(value, list) for value in values):
        return "multi_label"
    numbers = _numbers(values) if data.custom.labels is None else None
    if numbers is None:
        if data.custom.labels is None:
            _check_no_commas(values, f"{source}: column '{data.custom.label_column}'")
        return "classification"
    if any(not number.is_integer() for number in numbers if math.isfinite(number)):
        return "regression"
    distinct = len(set(numbers))
    if distinct > _MOST_CLASSES:
        raise RunError(
            f"{source}: column '{data.custom.label_column}' has {distinct} different whole numbers; "
            "give --problem regression or --problem classification"
        )
    return "classification"


def _numbers(values: list[Any]) -> list[float] | None:
    """All values that are not missing as numbers, or None if one is not a number."""
    values = [value for value in values if not is_missing(value)]
    if any(isinstance(value, bool) for value in values):
        return None
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None


def _check_no_commas(values: list[Any], where: str) -> None:
    texts = [value.strip() for value in values if isinstance(value, str) and not is_missing(value)]
    with_comma = next((text for text in texts if "," in text), None)
    if with_comma is not None and all(map(_NUMBER_WITH_COMMA.fullmatch, texts)):
        fix = "write them with a decimal point, or give --problem classification if they are classes"
        raise RunError(f"{where} contains numbers with commas ('{with_comma}'); {fix}")


def is_missing(value: Any) -> bool:
    """Whether a value is empty, NaN, or a text that programs write for a missing value."""
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def has_label(row: Row, data: DataConfig) -> bool:
    """Whether a label column of the row has a value."""
    return any(not _is_empty(row.get(column)) for column in label_columns(data))


def _is_empty(value: Any) -> bool:
    """Whether a value is no label, whatever the other labels are."""
    return is_missing(value) and (not isinstance(value, str) or not value.strip())


def label_columns(data: DataConfig) -> list[str]:
    """The label column, or with problem multi_label the columns of 0 and 1."""
    name = data.custom.label_column or ""
    return name.split(",") if data.custom.problem == "multi_label" else [name]


def _value(row: Row, column: str, where: str) -> Any:
    if column not in row:
        raise RunError(f"{where}: {missing_column(column, row)}")
    return row[column]


def multi_label_of(row: Row, data: DataConfig, where: str) -> list[str]:
    """The labels of a row: a list, words separated by ``;``, or the names of the columns that hold 1.

    Raises:
        RunError: the column is missing or contains something else. The message begins with ``where``.
    """
    column = data.custom.label_column or ""
    if "," in column:
        return [name for name in column.split(",") if _is_one(row, name, where)]
    value = _value(row, column, where)
    if isinstance(value, str):
        names = [name.strip() for name in value.split(LABEL_SEPARATOR)]
        return [name for name in names if name]
    if isinstance(value, list) and all(isinstance(name, str | int) for name in value):
        return [str(name) for name in value]
    raise RunError(f"{where}: column '{column}' contains {value!r}, not a list of labels; {_FIX}")


def _is_one(row: Row, column: str, where: str) -> bool:
    value = _value(row, column, where)
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    raise RunError(f"{where}: column '{column}' contains {value!r}, not 0 or 1; {_FIX}")


def class_of(row: Row, data: DataConfig, where: str) -> str:
    """The label of a row as a class name.

    Raises:
        RunError: the column is missing or contains something else. The message begins with ``where``.
    """
    value = _value(row, data.custom.label_column or "", where)
    name = class_name(value)
    if name is not None:
        return name
    problem = "is empty" if _is_empty(value) else f"contains {value!r}, which is not a class name"
    raise RunError(f"{where}: column '{data.custom.label_column}' {problem}; {_FIX}")


def number_of(row: Row, data: DataConfig, where: str, bounds: tuple[float, float]) -> float:
    """The label of a row as a finite number within bounds.

    Raises:
        RunError: the column is missing or contains something else. The message begins with ``where``.
    """
    value = _value(row, data.custom.label_column or "", where)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        problem = "is empty" if _is_empty(value) else f"contains {value!r}, not a number"
        fix = "write a decimal point" if isinstance(value, str) and "," in value else _FIX
        raise RunError(f"{where}: column '{data.custom.label_column}' {problem}; {fix}")
    low, high = bounds
    if not low <= number <= high:
        problem = f"contains {value!r}; labels must be between {low:g} and {high:g}"
        raise RunError(f"{where}: column '{data.custom.label_column}' {problem}; {_FIX}")
    return number
