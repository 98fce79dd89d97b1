"""Which columns hold texts and labels, and what is to be learnt: guessed by usual names, and else by the values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.columns import LABEL_NAMES, TEXT_NAMES, usual_columns
from adapter_tune.data.labels import guess_problem, is_missing
from adapter_tune.data.rows import LABEL_SEPARATOR, LocatedRow, Row
from adapter_tune.foundation.errors import RunError, UsageError

Kind = Literal["empty", "words", "whole numbers", "decimals", "list", "date", "address", "other"]

_LOOKED_AT = 2000  # rows, evenly spread
_MOST_CLASSES = 200
_FEW_NUMBERS = 20  # more different whole numbers than this are taken for amounts
_FLAGS = ({"0", "1"}, {"false", "true"})
_ADDRESS = re.compile(r"(https?://|www\.)\S+", re.IGNORECASE)
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ]\S+)?")


@dataclass(frozen=True)
class Guess:
    """A guessed value, and why."""

    value: str
    reason: str
    is_open: bool = False
    """Whether something else would also fit, so that a person decides."""


@dataclass(frozen=True)
class Column:
    """What the values of a column look like."""

    name: str
    kind: Kind
    rows: int
    distinct: int
    words: float
    """Mean number of words of a value."""
    is_flag: bool = False
    """Whether the values are 0 and 1, or true and false."""

    @property
    def is_text(self) -> bool:
        """Whether the values are texts: of several words, and mostly different."""
        return self.kind == "words" and self.words >= 2 and self.distinct > min(self.rows / 5, _MOST_CLASSES)

    @property
    def is_label(self) -> bool:
        """Whether the values may be labels: lists, words or whole numbers that repeat, or numbers with decimals."""
        if self.kind in ("list", "decimals"):
            return True
        return self.kind in ("words", "whole numbers") and 2 <= self.distinct <= min(self.rows / 2, _MOST_CLASSES)


def describe_columns(rows: Sequence[Row]) -> list[Column]:
    """What every column looks like, from rows that are evenly spread.

    Args:
        rows: at least one; the first one has all columns.
    """
    looked_at = rows[:: max(1, len(rows) // _LOOKED_AT)]
    return [_described(name, [row.get(name) for row in looked_at]) for name in rows[0]]


def _described(name: str, values: list[Any]) -> Column:
    known = [value for value in values if not is_missing(value)]
    texts = [str(value).strip() for value in known]
    words = sum(len(text.split()) for text in texts) / max(len(texts), 1)
    is_flag = {text.lower() for text in texts} in _FLAGS
    return Column(name, _kind(known, texts), len(values), len(set(texts)), words, is_flag)


def _kind(values: list[Any], texts: list[str]) -> Kind:
    if not values:
        return "empty"
    if any(isinstance(value, list) for value in values):
        return "list"
    if not all(isinstance(value, str | bool | int | float) for value in values):
        return "other"
    if _mostly(_ADDRESS, texts):
        return "address"
    return "date" if _mostly(_DATE, texts) else _kind_of_numbers(values)


def _kind_of_numbers(values: list[Any]) -> Kind:
    """The kind of numbers, or words where a value is none; truth values are words."""
    try:
        numbers = [float(value) for value in values if not isinstance(value, bool)]
    except ValueError:
        return "words"
    if not numbers:
        return "words"
    return "whole numbers" if all(number.is_integer() for number in numbers) else "decimals"


def _mostly(pattern: re.Pattern[str], texts: list[str]) -> bool:
    return sum(pattern.fullmatch(text) is not None for text in texts) > 0.9 * len(texts)


def check_header(source: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Refuse a CSV or TSV file whose first line looks like a row: with a label or a number, and without a usual name.

    Raises:
        RunError: it does.
    """
    if any(column.name.strip().lower() in (*TEXT_NAMES, *LABEL_NAMES) for column in columns):
        return
    for column in columns:
        name = column.name.strip()
        count = sum(str(row.get(column.name)).strip() == name for row in rows)
        is_label = count > 1 and column.distinct <= column.rows / 2
        is_number = column.kind in ("whole numbers", "decimals") and name.replace(".", "", 1).isdecimal()
        if is_label or is_number:
            raise RunError(
                f"{source}: the first line looks like a row ('{name[:40]}'), not like names of columns; add a first "
                "line such as text,label, or give --text-column and --label-column if these are names"
            )


def guess_label(data: DataConfig, columns: Sequence[Column], source: str) -> Guess:
    """The label column; for labels in several columns of 0 and 1, their names with commas.

    Raises:
        UsageError: no column may hold labels.
    """
    texts = (data.custom.text_column, data.custom.text_pair_column)
    others = [column for column in columns if column.name not in texts]
    usual = [column.name for column in others if column.name.strip().lower() in LABEL_NAMES and column.kind != "empty"]
    name = usual_columns(data, [column.name for column in others])["label_column"]
    if name in usual:
        also = _listed(other for other in usual if other != name)
        return Guess(name, f"a usual name{f'; so is {also}' if also else ''}", is_open=bool(also))
    labels = sorted((column for column in others if column.is_label), key=_label_rank)
    if not labels:
        raise UsageError(
            f"{source}: no column looks like labels; name it with --label-column; the columns are "
            f"{', '.join(column.name for column in columns)}"
        )
    flags = [column.name for column in others if column.is_flag]
    if len(flags) > 1 and len(flags) == len(labels):
        return Guess(",".join(flags), "columns of 0 and 1, so several labels a row", is_open=True)
    also = _listed(column.name for column in labels[1:])
    what = "has decimals" if labels[0].kind == "decimals" else "its values repeat"
    return Guess(labels[0].name, f"{what}{f'; {also} may be labels, too' if also else ''}", is_open=bool(also))


def _label_rank(column: Column) -> tuple[int, int]:
    """The order in which columns are taken for labels: words, whole numbers, decimals; few values first."""
    return (["list", "words", "whole numbers", "decimals"].index(column.kind), column.distinct)


def guess_texts(data: DataConfig, columns: Sequence[Column], source: str) -> Guess:
    """The text column, or two of them with a comma, in the order in which the model reads them.

    Raises:
        UsageError: no column may hold texts.
    """
    labels = (data.custom.label_column or "").split(",")
    words = [column for column in columns if column.name not in labels and column.kind == "words"]
    texts = [column.name for column in words if column.is_text]
    usual = usual_columns(data, [column.name for column in words])
    first, second = usual["text_column"], usual["text_pair_column"]
    if first is not None and first in (texts or [first]):
        chosen = [first, second] if second is not None and second in texts else [first]
        also = _listed(name for name in texts if name not in chosen)
        reason = f"usual name{'s' * (len(chosen) > 1)} of texts" if len(words) > 1 else "the only column with words"
        return Guess(",".join(chosen), f"{reason}{f'; {also} may be texts, too' if also else ''}", bool(also))
    if not words:
        raise UsageError(
            f"{source}: no column looks like texts; name it with --text-column; the columns are "
            f"{', '.join(column.name for column in columns)}"
        )
    if len(texts) == 2 and _are_similar(*(column.words for column in words if column.is_text)):
        return Guess(",".join(texts), "two columns with texts of similar length, so a pair", is_open=True)
    longest = max(words, key=lambda column: (column.is_text, column.words, column.distinct))
    also = _listed(name for name in texts if name != longest.name)
    reason = f"the longest texts, {longest.words:.0f} words on average"
    return Guess(longest.name, f"{reason}{f'; {also} may be texts, too' if also else ''}", bool(also) or not texts)


def _are_similar(first: float, second: float) -> bool:
    """Whether two mean lengths are so similar that the texts may be a pair, and not a title and its text."""
    return max(first, second) <= 1.5 * min(first, second)


def guess_kind(rows: list[LocatedRow], data: DataConfig, source: str) -> Guess:
    """What is to be learnt: classification, multi_label or regression.

    Raises:
        RunError: the labels are numbers with decimal commas.
    """
    column = data.custom.label_column or ""
    if "," in column:
        return Guess("multi_label", "labels in several columns")
    values = [row.get(column) for _, row in rows]
    names = {value.strip() for value in values if isinstance(value, str)}
    several = [name for name in names if LABEL_SEPARATOR in name]
    parts = set(chain.from_iterable(name.split(LABEL_SEPARATOR) for name in several))
    if several and len(parts) < len(names) and all(part.strip() for part in parts):
        return Guess("multi_label", f"labels separated by {LABEL_SEPARATOR}, as in '{min(several)}'", is_open=True)
    numbers = _whole_numbers(values)
    if numbers is None:
        return _guess_from_others(rows, data, source)
    if len(numbers) > _FEW_NUMBERS:
        return Guess("regression", f"{len(numbers)} different whole numbers", is_open=True)
    return Guess("classification", f"{len(numbers)} different whole numbers", is_open=len(numbers) > 2)


def _guess_from_others(rows: list[LocatedRow], data: DataConfig, source: str) -> Guess:
    problem = guess_problem(rows, data, source)
    reasons = {"multi_label": "lists", "regression": "numbers with decimals", "classification": "words"}
    return Guess(problem, f"the labels are {reasons[problem]}")


def _whole_numbers(values: list[Any]) -> set[float] | None:
    """The different numbers, or None if one of the values is none, or has decimals."""
    known = [value for value in values if not is_missing(value)]
    try:
        numbers = {float(value) for value in known if not isinstance(value, bool | list)}
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers and all(number.is_integer() for number in numbers) else None


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)
