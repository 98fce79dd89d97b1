"""The classes of the user's own data: their names, their ids, and the positive one of two.

Numbers that are equal are one class, however they are written: ``1``, ``1.0`` and ``+1``.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.labels import class_of, is_missing, label_columns, multi_label_of
from adapter_tune.data.rows import LABEL_SEPARATOR, LocatedRow
from adapter_tune.foundation.errors import RunError, UsageError, unknown_name

log = logging.getLogger("adapter_tune")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_LEADING_ZERO = re.compile(r"[+-]?0\d")
_FEW_ROWS = 10  # below this, rows that all have different labels may still be classes
_USUAL_PAIRS = frozenset(
    (("0", "1"), ("-1", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("neg", "pos"), ("negative", "positive"))
)
"""Names of two classes whose second one everybody takes as the positive class."""


def check_class_names(names: Sequence[str]) -> None:
    """Check the class names that the user gave.

    Raises:
        UsageError: a name appears twice, two names are the same number, or there are fewer than two names.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"data.custom.labels: '{name}' appears twice; list every class once")
    for first, second in _equal_numbers(names):
        raise UsageError(f"data.custom.labels: '{first}' and '{second}' are the same number; name every class once")
    if len(names) < 2:
        raise UsageError(f"data.custom.labels: {len(names)} classes; list at least two, or remove the option")


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
    locations = _first_locations(rows, data, source)
    column = f"column '{data.custom.label_column}'"
    if not locations:
        raise RunError(f"{source}: no row has a label in {column}")
    _check_missing(locations, source, column)
    names = _without_equal_numbers(locations, source)
    if len(names) < 2:
        raise RunError(f"{source}: only one class ('{names.pop()}') in {column}; at least two are needed")
    _log_similar(names, source)
    _log_separators(names, data, source)
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def check_classes_repeat(names: Sequence[str], rows: int, data: DataConfig, source: str) -> None:
    """Refuse a guess that labels are classes if no two rows have the same label.

    Raises:
        RunError: there are as many classes as rows.
    """
    if len(names) == rows >= _FEW_ROWS:
        raise RunError(
            f"{source}: column '{data.custom.label_column}' has another value in each of the {rows} rows, so it has "
            "no classes; name the label's column with --label-column, or give --problem regression or classification"
        )


def _first_locations(rows: list[LocatedRow], data: DataConfig, source: str) -> dict[str, str]:
    """Every label as it is written, and the location of its first row."""
    locations: dict[str, str] = {}
    for location, row in rows:
        where = f"{source}, {location}"
        is_multi_label = data.custom.problem == "multi_label"
        for name in multi_label_of(row, data, where) if is_multi_label else [class_of(row, data, where)]:
            locations.setdefault(name, location)
    return locations


def _check_missing(locations: dict[str, str], source: str, column: str) -> None:
    """Refuse NaN among numbers: it is an empty label. Among words it may be a class, but that is logged."""
    missing = [name for name in locations if is_missing(name)]
    others = locations.keys() - set(missing)
    for name in missing:
        if others and all(_number(other) is not None for other in others):
            raise RunError(
                f"{source}, {locations[name]}: {column} contains '{name}', which is no label among numbers; fix or "
                "remove the row"
            )
        if name.lower() != "none":
            log.warning(
                "%s, %s: a class is called '%s'; remove the row if its label is missing", source, locations[name], name
            )


def _without_equal_numbers(locations: dict[str, str], source: str) -> set[str]:
    """The labels, with one name for numbers that are equal; what is merged is logged.

    Raises:
        RunError: one of the equal numbers has leading zeros, so they may be codes.
    """
    names = set(locations)
    for first, second in _equal_numbers(locations):
        if _LEADING_ZERO.match(first) or _LEADING_ZERO.match(second):
            where = f"{source}, {locations[second]}"
            raise RunError(f"{where}: labels '{first}' and '{second}' are the same number; write it in one way")
        log.info("%s: labels '%s' and '%s' are the same number, so they are one class", source, first, second)
        names.discard(second)
    return names


def _equal_numbers(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that are the same number; the first one is the shortest for this number."""
    names_by_number: dict[Decimal, list[str]] = defaultdict(list)
    for name in names:
        number = _number(name)
        if number is not None:
            names_by_number[number].append(name)
    pairs = []
    for equal in names_by_number.values():
        shortest = min(equal, key=lambda name: (len(name), name))
        pairs += [(shortest, name) for name in equal if name != shortest]
    return pairs


def _number(name: str) -> Decimal | None:
    return Decimal(name) if _NUMBER.fullmatch(name) else None


def _log_similar(names: set[str], source: str) -> None:
    """Log classes that look the same to a person: they differ only in case, spaces or the form of Unicode."""
    by_look: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_look[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    for similar in by_look.values():
        if len(similar) > 1:
            log.warning("%s: %s are different classes; write them in one way if they are one", source, similar)


def _log_separators(names: set[str], data: DataConfig, source: str) -> None:
    """Log classes that look like several labels of a row, which are separated by another character or not split."""
    is_multi_label = data.custom.problem == "multi_label"
    for separator in ",|" if is_multi_label else LABEL_SEPARATOR:
        several = [name for name in names if separator in name and names.issuperset(_parts(name, separator))]
        if several:
            fix = f"separate them by {LABEL_SEPARATOR}" if is_multi_label else "give --problem multi_label"
            log.warning("%s: '%s' is one class; if it is several labels, %s", source, min(several), fix)


def _parts(name: str, separator: str) -> list[str]:
    return [part.strip() for part in name.split(separator)]


class ClassIds:
    """The id of each class, by its name or by a number that is equal to it.

    Args:
        names: the names of the classes, in the order of their ids.
        accepts_ids: whether a class may also be named by its id.
    """

    def __init__(self, names: Sequence[str], *, accepts_ids: bool = False) -> None:
        self.names = names
        self._ids = {name: number for number, name in enumerate(names)}
        numbers = {_number(name): id_ for name, id_ in self._ids.items() if not _LEADING_ZERO.match(name)}
        self._ids_by_number = {number: id_ for number, id_ in numbers.items() if number is not None}
        for id_ in range(len(names) if accepts_ids else 0):
            self._ids_by_number.setdefault(Decimal(id_), id_)

    def find(self, name: str) -> int | None:
        """The id of the class of a label, or None if it is not a class."""
        if name in self._ids or _LEADING_ZERO.match(name):
            return self._ids.get(name)
        number = _number(name)
        return None if number is None else self._ids_by_number.get(number)


def positive_class(rows: list[LocatedRow], data: DataConfig, labels: Sequence[str], source: str) -> str | None:
    """The class whose f1, precision or recall is reported; the choice is logged.

    The user's own choice; else, in this order, the second of the classes that the user named, the second of a usual
    pair such as no and yes, and the rarer class of the training rows: a score of the frequent class is high for a model
    that never finds the rare one.

    Args:
        rows: the rows of the training split.
        data: the configuration with its columns and its metric.
        labels: the names of the classes.
        source: the name of the file or data set, for messages.

    Raises:
        UsageError: the user named a class that does not exist, or there are more than two classes.
    """
    ids = ClassIds(labels)
    if data.custom.positive is not None:
        return _named_positive(data.custom.positive, ids)
    if data.custom.labels is not None:
        positive, reason = labels[1], "the second in data.custom.labels"
    elif tuple(name.lower() for name in labels) in _USUAL_PAIRS:
        positive, reason = labels[1], "the usual one of these two"
    else:
        counts = Counter(ids.find(class_of(row, data, source)) for _, row in rows)
        rarer = 0 if counts[0] < counts[1] else 1
        positive, reason = labels[rarer], f"the rarer one, in {counts[rarer]} of {len(rows)} training rows"
    log.info(
        "%s: %s is that of class '%s' (%s; change with data.custom.positive)",
        source,
        data.custom.metric,
        positive,
        reason,
    )
    return positive


def _named_positive(name: str, ids: ClassIds) -> str:
    if len(ids.names) != 2:
        raise UsageError(f"data.custom.positive: is one of two classes, and there are {len(ids.names)}; remove it")
    found = ids.find(name)
    if found is None:
        raise UsageError(f"data.custom.positive: {unknown_name('class', name, ids.names)}")
    return ids.names[found]
