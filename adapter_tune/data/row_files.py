"""Rows of tables in files, one after the other, so that a file may be larger than memory: CSV, TSV, JSONL, Parquet.

Standard input is a text a line, or two with a tab between them.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_tune.data.parquet_writer import BATCH, write_parquet
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError, first_line, unknown_name

Row = dict[str, Any]
_Writer = Callable[[Path, Iterator[Row], list[str], Path | None], int]

SEVERAL = ";"
"""Between the labels of a row in a CSV or TSV file."""

_SURROGATE = "\\ud"
"""How half a character is written in JSON, which UTF-8 does not have."""

csv.field_size_limit(2**30)


def read_rows(source: str, columns: Sequence[str]) -> Iterator[Row]:
    """Every row of a file, all of its columns; the named ones hold text, or it is an error with file, line and column.

    Args:
        source: a path whose ending says the format, or ``-`` for standard input.
        columns: that must be there and hold text; for standard input, what its one or two texts are called.

    Raises:
        UsageError: no such file, an unknown ending, a missing column.
        RunError: a row that cannot be read.
    """
    if source == "-":
        given = getattr(sys.stdin, "buffer", None) or (line.encode() for line in sys.stdin)
        yield from _lines(given, columns)
        return
    yield from (row for _, row in located_rows(source, columns))


def located_rows(source: str, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """The rows of a file as of ``read_rows``, each with its place: ``line 7``."""
    path = existing(source)
    for number, (place, row) in enumerate(_READERS[_ending(path)](path)):
        for column in columns:
            if column not in row and number == 0:
                raise UsageError(f"{path}: {unknown_name('column', column, list(row))}")
            if column not in row:
                raise RunError(f"{path}, {place}: {absent(column, row)}")
            if not isinstance(row[column], str):
                kind = "is empty" if row[column] is None else f"holds {type(row[column]).__name__}, not text"
                raise RunError(f"{path}, {place}: column '{column}' {kind}; mend or drop the row")
        yield place, row


def absent(column: str, row: Row) -> str:
    """What is said of a row without a column."""
    return f"column '{column}' is missing; there is {', '.join(row) or 'none'}"


def existing(source: str) -> Path:
    """The path of a file that is there and of a format that is read.

    Raises:
        UsageError: it is not.
    """
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name a CSV, TSV, JSONL or Parquet file")
    _ending(path)
    return path


def row_count(source: str) -> int | None:
    """How many rows a file has, nearly (by its lines); None for standard input and what cannot be read."""
    path = Path(source)
    try:
        if path.suffix.lower() == ".parquet":
            return int(pq.ParquetFile(path).metadata.num_rows)
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
    except (OSError, pa.ArrowException):
        return None


def write_rows(target: Path, rows: Iterator[Row], like: str = "-") -> int:
    """Write rows to a file, whole or not at all; the ending says the format.

    Args:
        target: the file.
        rows: all with the columns of the first, but for JSONL.
        like: the file that the rows are from; if it is Parquet, its columns keep their types in a Parquet file.

    Returns:
        How many there were.

    Raises:
        UsageError: an unknown ending, or a folder that is not there.
        RunError: no rows, rows that the format cannot hold, or the disk is full.
    """
    ending = check_target(target)
    first = next(rows, None)
    if first is None:
        raise RunError("there are no rows to write; the input is empty")
    columns, rows = list(first), chain([first], rows)
    if ending != ".jsonl":
        rows = _same_columns(rows, columns, target)
    source = Path(like) if Path(like).suffix.lower() == ".parquet" else None
    try:
        with atomic_files.new_file(target) as aside:
            return _WRITERS[ending](aside, rows, columns, source)
    except pa.ArrowException as error:
        raise RunError(f"cannot write {target}: {first_line(error)}; write a .jsonl file") from None
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; free some space") from error


def _same_columns(rows: Iterator[Row], columns: list[str], target: Path) -> Iterator[Row]:
    known = frozenset(columns)
    for number, row in enumerate(rows, 1):
        if not row.keys() <= known:
            strange = next(column for column in row if column not in known)
            raise RunError(f"cannot write {target}: row {number} has a column '{strange}' that the first row lacks; "
                           "give it to the first row too, or write a .jsonl file")  # fmt: skip
        yield row


def check_target(target: Path) -> str:
    """The ending of a file that can be written.

    Raises:
        UsageError: it cannot.
    """
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{target}: cannot be written; name a file in a folder that is there")
    return _ending(target)


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise UsageError(f"{path}: unknown ending '{ending}'; known: {', '.join(_READERS)}")
    return ending


def _decoded(lines: Iterable[bytes], where: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, in UTF-8 with or without a byte order mark."""
    for number, line in enumerate(lines, 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise RunError(f"{where}, line {number}: {_encoding(error)}") from None


def _lines(file: Iterable[bytes], columns: Sequence[str]) -> Iterator[Row]:
    for number, line in _decoded(file, "standard input"):
        texts = line.rstrip("\r\n").split("\t")
        if len(texts) != len(columns):
            needed = "one text" if len(columns) == 1 else "two texts with a tab between them"
            raise RunError(f"standard input, line {number}: {len(texts)} fields; the task reads {needed} a line")
        yield dict(zip(columns, texts, strict=True))


def _read_csv(delimiter: str) -> Callable[[Path], Iterator[tuple[str, Row]]]:
    def read(path: Path) -> Iterator[tuple[str, Row]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                lines = filter(None, reader)  # an empty line is no row
                header = next(lines, None)
                if not header:
                    raise RunError(f"{path}: the file is empty; its first line should name the columns")
                _check_header(path, header)
                for cells in lines:
                    if len(cells) != len(header):
                        problem = f"{len(cells)} fields, but the header has {len(header)}"
                        raise RunError(f"{path}, line {reader.line_num}: {problem}; quote texts that hold a delimiter")
                    yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
            except csv.Error as error:
                raise RunError(f"{path}, line {reader.line_num}: {error}; check the quotes") from None
            except UnicodeDecodeError as error:
                raise RunError(f"{path}, line {_first_bad_line(path)}: {_encoding(error)}") from None

    return read


def _check_header(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise RunError(f"{path}: two columns are called '{twice[0]}'; rename or drop one")


def _read_jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open("rb") as file:
        for number, line in _decoded(file, str(path)):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if _SURROGATE in line.lower():
                    json.dumps(row, ensure_ascii=False).encode()
            except UnicodeEncodeError as error:
                half = f"\\u{ord(error.object[error.start]):04x}"
                raise RunError(f"{path}, line {number}: {half} is half a character; mend or drop the row") from None
            except (ValueError, RecursionError) as error:
                raise RunError(f"{path}, line {number}: not JSON ({error}); one object a line is read") from None
            if not isinstance(row, dict):
                raise RunError(f"{path}, line {number}: {type(row).__name__}, not an object; one object a line is read")
            yield f"line {number}", row


def _read_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        number = 0
        file = pq.ParquetFile(path)
        _check_header(path, file.schema_arrow.names)
        for batch in file.iter_batches(BATCH):
            for row in batch.to_pylist():
                yield f"row {number}", row
                number += 1
    except pa.ArrowException as error:
        raise RunError(f"{path}: cannot be read ({first_line(error)}); the file is damaged") from None
    except UnicodeDecodeError as error:
        raise RunError(f"{path}, after row {number}: {_encoding(error)}") from None


def _first_bad_line(path: Path) -> int:
    """The number of the first line that is not UTF-8; text files are decoded a block at a time."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _encoding(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x}); save the file as UTF-8"


def _write_csv(delimiter: str) -> _Writer:
    def write(path: Path, rows: Iterator[Row], columns: list[str], like: Path | None) -> int:
        count = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator="\n")
            writer.writeheader()
            for count, row in enumerate(rows, 1):  # noqa: B007  (how many there were is returned)
                writer.writerow({k: SEVERAL.join(map(str, v)) if isinstance(v, list) else v for k, v in row.items()})
        return count

    return write


def _write_jsonl(path: Path, rows: Iterator[Row], columns: list[str], like: Path | None) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    return count


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".csv": _read_csv(","),
    ".tsv": _read_csv("\t"),
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
_WRITERS: dict[str, _Writer] = {
    ".csv": _write_csv(","),
    ".tsv": _write_csv("\t"),
    ".jsonl": _write_jsonl,
    ".parquet": write_parquet,
}
