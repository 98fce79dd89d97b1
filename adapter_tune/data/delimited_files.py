"""Rows of CSV and TSV files, read and written.

A CSV file may quote a field. A TSV file has no quoting, as in GLUE's own files and in IANA's definition of the type:
every line is a row, a tab ends a field, and a double quote is a character like any other.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from adapter_tune.data.rows import LABEL_SEPARATOR, LocatedRow, Row, check_header, decoded_lines, not_utf8
from adapter_tune.foundation.errors import RunError

csv.field_size_limit(2**30)

log = logging.getLogger("adapter_tune")

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
"""A field as a CSV writer would quote it."""
_OTHER_DELIMITER = re.compile(r"\w+([;,|\t])\w+(?:\1\w+)*")
"""A header whose columns are separated by another character than those of the format."""
_NO_QUOTING = "a TSV file has no quoting"
_OTHER_FORMAT = "save the rows as .csv or .jsonl"
_ENDS = {"\t": "tab", "\n": "line end", "\r": "line end"}
"""What a field of a TSV file cannot contain, by name."""


def read_csv(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a CSV file. Empty lines are skipped, except for a row whose only field is empty.

    Raises:
        RunError: a row has too few or too many fields, or the file is not UTF-8 or not CSV.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            lines = ((reader.line_num, cells) for cells in reader)
            yield from _rows(path, lines, "quote texts that contain a delimiter")
        except csv.Error as error:
            raise RunError(f"{path}, line {reader.line_num}: {error}; check the quotes") from None
        except UnicodeDecodeError as error:
            raise RunError(f"{path}, line {_first_bad_line(path)}: {not_utf8(error)}") from None


def read_tsv(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a TSV file, one for each line, with their double quotes as they are.

    Fields that look quoted are logged once.

    Raises:
        RunError: a row has too few or too many fields, or the file is not UTF-8, or its header is quoted.
    """
    said = False
    with path.open("rb") as file:
        lines = ((number, _fields(line)) for number, line in decoded_lines(file, str(path)))
        fix = f"{_NO_QUOTING}, so {_OTHER_FORMAT} if a text contains a tab or a line end"
        for location, row in _rows(path, lines, fix):
            quoted = None if said else next((name for name in row if _QUOTED.fullmatch(row[name])), None)
            if quoted is not None:
                _say_quoted(f"{path}, {location}: column '{quoted}'")
                said = True
            yield location, row


def may_be_quoted(path: Path) -> bool:
    """Whether a file is a TSV file with double quotes, whose rows depend on how quotes are read."""
    if path.suffix.lower() != ".tsv":
        return False
    with path.open("rb") as file:
        return any(b'"' in line for line in file)


def _fields(line: str) -> list[str]:
    """The fields of a line of a TSV file; none for an empty line."""
    line = line.removesuffix("\n").removesuffix("\r")
    return line.split("\t") if line else []


def _rows(path: Path, lines: Iterable[tuple[int, list[str]]], fix: str) -> Iterator[LocatedRow]:
    """Yield rows from numbered lists of fields, the header first.

    An empty line is skipped, but in a file with one column it is a row with an empty text. Empty lines at the end of
    the file are always skipped.
    """
    header: list[str] = []
    empty_lines: list[int] = []
    for number, cells in lines:
        if not cells:
            empty_lines.append(number)
            continue
        if not header:
            header = cells
            _check_header(path, header)
        else:
            if len(header) == 1:
                yield from ((f"line {empty}", {header[0]: ""}) for empty in empty_lines)
            if len(cells) != len(header):
                problem = f"{len(cells)} fields, but the header has {len(header)}"
                raise RunError(f"{path}, line {number}: {problem}; {fix}")
            yield f"line {number}", dict(zip(header, cells, strict=True))
        empty_lines.clear()
    if not header:
        raise RunError(f"{path}: the file is empty; its first line should contain the column names")


def _check_header(path: Path, header: list[str]) -> None:
    other = _OTHER_DELIMITER.fullmatch(header[0]) if len(header) == 1 else None
    if other is not None:
        raise RunError(
            f"{path}: its columns are separated by {other[1]!r}; save it with commas as .csv or with tabs as .tsv"
        )
    if path.suffix.lower() == ".tsv":
        if all(map(_QUOTED.fullmatch, header)):
            raise RunError(f"{path}: the header is in double quotes, and {_NO_QUOTING}; {_OTHER_FORMAT}")
        if "\r" in "".join(header):
            raise RunError(f"{path}: its lines end with \\r alone; save the file with line ends \\n or \\r\\n")
    check_header(path, header)


@cache
def _say_quoted(field: str) -> None:
    """Log a field that looks quoted, once in this process, although a run reads its files several times."""
    log.warning(
        "%s is in double quotes, which stay in the text: %s; %s if it is quoted", field, _NO_QUOTING, _OTHER_FORMAT
    )


def _first_bad_line(path: Path) -> int:
    """The number of the first line that is not UTF-8. An open text file does not tell, since it decodes in blocks."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def write_csv(path: Path, rows: Iterator[Row], columns: list[str], like: Path | None) -> int:
    """Write rows to a CSV file; fields are quoted where they need it.

    Returns:
        The number of rows.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        # A text with \r is quoted only if the line ends contain \r too, so they do until a line is written.
        writer = csv.DictWriter(_WithoutReturns(file), columns, lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({column: _field(value) for column, value in row.items()})
            count += 1
    return count


class _WithoutReturns:
    r"""A file in which lines that end with \r\n are written with \n."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        """Write one line."""
        return self._file.write(line.removesuffix("\r\n") + "\n")


def write_tsv(path: Path, rows: Iterator[Row], columns: list[str], like: Path | None) -> int:
    """Write rows to a TSV file, without quoting.

    Returns:
        The number of rows.

    Raises:
        RunError: a field contains a tab or a line end, or the only field of a row is empty.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_tsv_line(columns, columns, "the header"))
        for count, row in enumerate(rows, 1):
            file.write(_tsv_line([row.get(column) for column in columns], columns, f"row {count}"))
    return count


def _tsv_line(values: list[Any], columns: list[str], where: str) -> str:
    fields = ["" if value is None else str(_field(value)) for value in values]
    for column, field in zip(columns, fields, strict=True):
        for end, name in _ENDS.items():
            if end in field:
                problem = f"a TSV file cannot contain a {name} in a text"
                raise RunError(f"cannot write {where}, column '{column}': {problem}; write a .csv or .jsonl file")
    if fields == [""]:
        problem = "a TSV file with one column cannot contain an empty text"
        raise RunError(f"cannot write {where}: {problem}; write a .csv or .jsonl file")
    return "\t".join(fields) + "\n"


def _field(value: Any) -> Any:
    return LABEL_SEPARATOR.join(map(str, value)) if isinstance(value, list) else value
