"""Labels of the user's own rows: what kind they are, names of the classes, and each row's own."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.row_files import SEVERAL, Row, absent
from adapter_tune.foundation.errors import RunError, UsageError

_MANY = 200  # distinct integers that are hardly classes

LocatedRow = tuple[str, Row]
"""Where a row stands, and the row."""


def kind_of(
    rows: list[LocatedRow], data: DataConfig, where: str
) -> Literal["classification", "multi_label", "regression"]:
    """What the labels are, where nothing was said.

    Raises:
        RunError: they are so many whole numbers that they may be either, and no names were given.
    """
    values = [row.get(data.label_column or "") for _, row in rows]
    if any(isinstance(value, list) for value in values):
        return "multi_label"
    numbers = _numbers(values) if data.labels is None else None
    if numbers is None:
        return "classification"
    if any(not number.is_integer() for number in numbers if math.isfinite(number)):
        return "regression"
    if (count := len(set(numbers))) > _MANY:
        raise RunError(f"{where}: column '{data.label_column}' has {count} whole numbers; say --problem regression or "
                       "--problem classification")  # fmt: skip
    return "classification"


def _numbers(values: list[Any]) -> list[float] | None:
    """All values as numbers, or None where one is not."""
    if any(isinstance(value, bool) for value in values):
        return None
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None


def check_names(names: list[str]) -> None:
    """Refuse names of classes that a user gave and that cannot be.

    Raises:
        UsageError: one stands there twice, or there are fewer than two.
    """
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise UsageError(f"data.labels: '{twice}' is there twice; name every class once")
    if len(names) < 2:
        raise UsageError(f"data.labels: {len(names)} classes; name two or more, or leave it out")


def classes(rows: list[LocatedRow], data: DataConfig, where: str) -> list[str]:
    """Names of the classes, numbers in their order and words in the alphabet's.

    Args:
        rows: of the training split.
        data: settled but for the names.
        where: the rows are from, for messages.

    Raises:
        RunError: a label is none, or there are fewer than two.
    """
    if data.problem == "multi_label":
        if "," in (data.label_column or ""):
            return (data.label_column or "").split(",")
        names = {name for place, row in rows for name in multi_label_of(row, data, f"{where}, {place}")}
    else:
        names = {class_of(row, data, f"{where}, {place}") for place, row in rows}
    if not names:
        raise RunError(f"{where}: no row has a label in column '{data.label_column}'")
    if len(names) < 2:
        raise RunError(f"{where}: one class only ('{names.pop()}') in column '{data.label_column}'; two are needed")
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def has_label(row: Row, data: DataConfig) -> bool:
    """Whether anything stands where a row's label should be."""
    columns = label_columns(data)
    return any(row.get(column) not in (None, "") for column in columns)


def label_columns(data: DataConfig) -> list[str]:
    """The column with the label, or with problem multi_label the columns of 0 and 1."""
    name = data.label_column or ""
    return name.split(",") if data.problem == "multi_label" else [name]


def _cell(row: Row, column: str, where: str) -> Any:
    if column not in row:
        raise RunError(f"{where}: {absent(column, row)}")
    return row[column]


def multi_label_of(row: Row, data: DataConfig, where: str) -> list[str]:
    """The labels of a row: a list, words with ; between, or the names of the columns that hold 1."""
    column = data.label_column or ""
    if "," in column:
        held = []
        for name in column.split(","):
            value = _cell(row, name, where)
            given = str(value).strip().lower()
            if given not in ("0", "1", "0.0", "1.0", "true", "false"):
                raise RunError(f"{where}: column '{name}' holds {value!r}, not 0 or 1; mend or drop the row")
            held += [name] if given in ("1", "1.0", "true") else []
        return held
    value = _cell(row, column, where)
    if isinstance(value, str):
        return [name.strip() for name in value.split(SEVERAL) if name.strip()]
    if isinstance(value, list) and all(isinstance(name, str | int) for name in value):
        return [str(name) for name in value]
    raise RunError(f"{where}: column '{column}' holds {value!r}, not a list of labels; mend or drop the row")


def class_of(row: Row, data: DataConfig, where: str) -> str:
    """The label of a row as the name of a class."""
    value = _cell(row, data.label_column or "", where)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    what = "is empty" if value in (None, "") else f"holds {value!r}, which is no name of a class"
    raise RunError(f"{where}: column '{data.label_column}' {what}; mend or drop the row")


def number_of(row: Row, data: DataConfig, where: str, bounds: tuple[float, float]) -> float:
    """The label of a row as a finite number within bounds."""
    value = _cell(row, data.label_column or "", where)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise RunError(f"{where}: column '{data.label_column}' holds {value!r}, not a number; mend or drop the row")
    low, high = bounds
    if not low <= number <= high:
        range_ = f"labels are {low:g} to {high:g}"
        raise RunError(f"{where}: column '{data.label_column}' holds {value!r}; {range_}, mend or drop the row")
    return number
