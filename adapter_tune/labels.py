"""Labels of the user's own rows: what kind they are, names of the classes, and each row's own."""

from __future__ import annotations

import math
from typing import Any, Literal

from adapter_tune.config import DataConfig
from adapter_tune.errors import RunError
from adapter_tune.rowfiles import SEVERAL, Row

_MANY = 200  # distinct integers that are hardly classes

Placed = tuple[str, Row]
"""Where a row stands, and the row."""


def kind_of(rows: list[Placed], data: DataConfig) -> Literal["classification", "multi_label", "regression"]:
    """What the labels are, where nothing was said."""
    if any(isinstance(row.get(data.label_column or ""), list) for _, row in rows):
        return "multi_label"
    return "regression" if _has_decimals(rows, data) else "classification"


def _has_decimals(rows: list[Placed], data: DataConfig) -> bool:
    """Whether every label is a number, and one of them not whole."""
    values = []
    for _, row in rows:
        value: Any = row.get(data.label_column or "")
        if isinstance(value, bool):
            return False
        try:
            values.append(float(value))
        except (TypeError, ValueError, OverflowError):
            return False
    return any(not value.is_integer() for value in values if math.isfinite(value))


def classes(rows: list[Placed], data: DataConfig, where: str) -> list[str]:
    """Names of the classes, numbers in their order and words in the alphabet's.

    Args:
        rows: of the training split.
        data: settled but for the names.
        where: the rows are from, for messages.

    Raises:
        RunError: a label is none, there are fewer than two, or too many to be classes.
    """
    if data.problem == "multi_label":
        if "," in (data.label_column or ""):
            return (data.label_column or "").split(",")
        names = {name for place, row in rows for name in several(row, data, f"{where}, {place}")}
    else:
        names = {class_of(row, data, f"{where}, {place}") for place, row in rows}
    if not names:
        raise RunError(f"{where}: no row has a label in column '{data.label_column}'")
    if len(names) < 2:
        raise RunError(f"{where}: one class only ('{names.pop()}') in column '{data.label_column}'; two are needed")
    try:
        ordered = sorted(names, key=int)
        if len(names) > _MANY:
            raise RunError(f"{where}: column '{data.label_column}' has {len(names)} whole numbers; for regression give "
                           "--problem regression, for classes --problem classification and data.labels")  # fmt: skip
        return ordered
    except ValueError:
        return sorted(names)


def several(row: Row, data: DataConfig, where: str) -> list[str]:
    """The labels of a row: a list, words with ; between, or the names of the columns that hold 1."""
    column = data.label_column or ""
    if "," in column:
        held = []
        for name in column.split(","):
            given = str(row.get(name)).strip().lower()
            if given not in ("0", "1", "0.0", "1.0", "true", "false"):
                raise RunError(f"{where}: column '{name}' holds {row.get(name)!r}, not 0 or 1; mend or drop the row")
            held += [name] if given in ("1", "1.0", "true") else []
        return held
    value: Any = row.get(column)
    if isinstance(value, str):
        return [name.strip() for name in value.split(SEVERAL) if name.strip()]
    if isinstance(value, list) and all(isinstance(name, str | int) for name in value):
        return [str(name) for name in value]
    raise RunError(f"{where}: column '{column}' holds {value!r}, not a list of labels; mend or drop the row")


def class_of(row: Row, data: DataConfig, where: str) -> str:
    """The label of a row as the name of a class."""
    value = row.get(data.label_column or "")
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
    value: Any = row.get(data.label_column or "")
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
