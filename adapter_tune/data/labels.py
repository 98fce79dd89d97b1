"""Labels of the user's own rows: the kind of problem, the names of the classes, and the label of each row."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.rows import LABEL_SEPARATOR, LocatedRow, Row, missing_column
from adapter_tune.foundation.errors import RunError, UsageError

_MOST_CLASSES = 200  # more distinct whole numbers than this are hardly classes
_FIX = "fix or remove the row"


def guess_problem(
    rows: list[LocatedRow], data: DataConfig, source: str
) -> Literal["classification", "multi_label", "regression"]:
    """The kind of problem, guessed from the labels.

    Raises:
        RunError: the labels are so many whole numbers that they could be classes or a regression.
    """
    values = [row.get(data.custom.label_column or "") for _, row in rows]
    if any(isinstance(value, list) for value in values):
        return "multi_label"
    numbers = _numbers(values) if data.custom.labels is None else None
    if numbers is None:
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
    """All values as numbers, or None if one is not a number."""
    if any(isinstance(value, bool) for value in values):
        return None
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None


def check_class_names(names: list[str]) -> None:
    """Check the class names that the user gave.

    Raises:
        UsageError: a name appears twice, or there are fewer than two names.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"data.custom.labels: '{name}' appears twice; name every class once")
    if len(names) < 2:
        raise UsageError(f"data.custom.labels: {len(names)} classes; name two or more, or leave it out")


def class_names(rows: list[LocatedRow], data: DataConfig, source: str) -> list[str]:
    """The names of the classes: whole numbers in numerical order, or words in alphabetical order.

    Args:
        rows: the rows of the training split.
        data: the configuration with its columns and its problem resolved.
        source: the name of the file or data set, for messages.

    Raises:
        RunError: a label cannot be used, or there are fewer than two classes.
    """
    columns = label_columns(data)
    if len(columns) > 1:
        return columns
    names: set[str] = set()
    for location, row in rows:
        if data.custom.problem == "multi_label":
            names.update(multi_label_of(row, data, f"{source}, {location}"))
        else:
            names.add(class_of(row, data, f"{source}, {location}"))
    if not names:
        raise RunError(f"{source}: no row has a label in column '{data.custom.label_column}'")
    if len(names) < 2:
        raise RunError(
            f"{source}: only one class ('{names.pop()}') in column '{data.custom.label_column}'; "
            "at least two are needed"
        )
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def has_label(row: Row, data: DataConfig) -> bool:
    """Whether a label column of the row has a value."""
    return any(row.get(column) not in (None, "") for column in label_columns(data))


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
        RunError: the column is missing or holds something else. The message begins with ``where``.
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
    raise RunError(f"{where}: column '{column}' holds {value!r}, not a list of labels; {_FIX}")


def _is_one(row: Row, column: str, where: str) -> bool:
    value = _value(row, column, where)
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    raise RunError(f"{where}: column '{column}' holds {value!r}, not 0 or 1; {_FIX}")


def class_of(row: Row, data: DataConfig, where: str) -> str:
    """The label of a row as a class name.

    Raises:
        RunError: the column is missing or holds something else. The message begins with ``where``.
    """
    value = _value(row, data.custom.label_column or "", where)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    problem = "is empty" if value in (None, "") else f"holds {value!r}, which is not a class name"
    raise RunError(f"{where}: column '{data.custom.label_column}' {problem}; {_FIX}")


def number_of(row: Row, data: DataConfig, where: str, bounds: tuple[float, float]) -> float:
    """The label of a row as a finite number within bounds.

    Raises:
        RunError: the column is missing or holds something else. The message begins with ``where``.
    """
    value = _value(row, data.custom.label_column or "", where)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise RunError(f"{where}: column '{data.custom.label_column}' holds {value!r}, not a number; {_FIX}")
    low, high = bounds
    if not low <= number <= high:
        problem = f"holds {value!r}; labels must be between {low:g} and {high:g}"
        raise RunError(f"{where}: column '{data.custom.label_column}' {problem}; {_FIX}")
    return number
