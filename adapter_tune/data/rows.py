"""What a row is, where it is located in its file, and the lines of UTF-8 text that rows are read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from adapter_tune.foundation.errors import RunError

Row = dict[str, Any]

LocatedRow = tuple[str, Row]
"""The location of a row in its file, such as ``line 7``, and the row."""

LABEL_SEPARATOR = ";"
"""Separates the labels of a row in a CSV or TSV file."""


def missing_column(column: str, row: Row) -> str:
    """The message for a row that lacks a column."""
    return f"column '{column}' is missing; the columns are {', '.join(row) or 'none'}"


def check_header(source: object, columns: Sequence[str]) -> None:
    """Refuse a file with two columns of one name; columns without a name are ignored.

    Raises:
        RunError: two columns have the same name; the message begins with ``source``.
    """
    for column, count in Counter(columns).items():
        if count > 1 and column:
            raise RunError(f"{source}: two columns are called '{column}'; rename or remove one")


def decoded_lines(lines: Iterable[bytes], where: str) -> Iterator[tuple[int, str]]:
    """Yield the line numbers and lines of UTF-8 text, with or without a byte order mark.

    Raises:
        RunError: a line is not UTF-8; the message begins with ``where`` and the number of the line.
    """
    for number, line in enumerate(lines, 1):
        yield number, decoded_line(line, number, where)


def decoded_line(line: bytes, number: int, where: str) -> str:
    """One line of UTF-8 text, given its number from 1; the errors are those of ``decoded_lines``."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{where}, line {number}: {not_utf8(error)}") from None


def not_utf8(error: UnicodeDecodeError) -> str:
    """The message for bytes that are not UTF-8."""
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x}); save the file as UTF-8"
