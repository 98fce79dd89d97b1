"""Read and write rows in CSV, TSV, JSONL and Parquet files, one row at a time, so that a file may exceed the memory.

Standard input holds one text per line, or two texts separated by a tab.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_tune.data.delimited_files import read_csv, read_tsv, write_csv, write_tsv
from adapter_tune.data.parquet_writer import BATCH, write_parquet
from adapter_tune.data.rows import LocatedRow, Row, check_header, decoded_lines, missing_column, not_utf8
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError, first_line, unknown_name

_Reader = Callable[[Path], Iterator[LocatedRow]]
_Writer = Callable[[Path, Iterator[Row], list[str], Path | None], int]

_SURROGATE = "\\ud"
"""The beginning of a surrogate (half a character) in JSON. UTF-8 has no surrogates."""


def read_rows(source: str, columns: Sequence[str]) -> Iterator[Row]:
    """Yield every row of a file with all its columns.

    Args:
        source: a path, or ``-`` for standard input. The file extension decides the format.
        columns: columns that every row must have, with text; for standard input, the names of its one or two texts.

    Raises:
        UsageError: the file or a column is missing, or the file extension is unknown.
        RunError: a row cannot be read; the message has the file, the line and the column.
    """
    if source == "-":
        binary = getattr(sys.stdin, "buffer", None)
        lines = (line.encode() for line in sys.stdin) if binary is None else binary
        yield from _read_standard_input(lines, columns)
        return
    for _, row in located_rows(source, columns):
        yield row


def located_rows(source: str, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """Yield the rows of a file, each with its location; the arguments and errors are those of ``read_rows``."""
    path = existing_file(source)
    read = _READERS[_extension(path)]
    for number, (location, row) in enumerate(read(path)):
        for column in columns:
            if column not in row and number == 0:
                raise UsageError(f"{path}: {unknown_name('column', column, list(row))}")
            if column not in row:
                raise RunError(f"{path}, {location}: {missing_column(column, row)}")
            if not isinstance(row[column], str):
                problem = "is empty" if row[column] is None else f"holds {type(row[column]).__name__}, not text"
                raise RunError(f"{path}, {location}: column '{column}' {problem}; fix or remove the row")
        yield location, row


def existing_file(source: str) -> Path:
    """The path of a file that exists and has a known extension.

    Raises:
        UsageError: the file does not exist or has another extension.
    """
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name a CSV, TSV, JSONL or Parquet file")
    _extension(path)
    return path


def row_count(source: str) -> int | None:
    """The approximate number of rows of a file (its lines); None for standard input and for unreadable files."""
    path = Path(source)
    try:
        if path.suffix.lower() == ".parquet":
            return int(pq.ParquetFile(path).metadata.num_rows)
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
    except (OSError, pa.ArrowException):
        return None


def write_rows(target: Path, rows: Iterator[Row], like: str = "-") -> int:
    """Write rows to a file, completely or not at all.

    Args:
        target: the file; its extension decides the format.
        rows: the rows. Except in JSONL, they have no columns that the first row lacks.
        like: the file that the rows come from. If both files are Parquet, its columns keep their types.

    Returns:
        The number of rows.

    Raises:
        UsageError: the extension is unknown or the folder does not exist.
        RunError: there are no rows, the format cannot hold them, or the disk is full.
    """
    extension = check_target(target)
    first = next(rows, None)
    if first is None:
        raise RunError("there are no rows to write; the input is empty")
    columns = list(first)
    rows = chain([first], rows)
    if extension != ".jsonl":
        rows = _with_known_columns(rows, columns, target)
    typed_source = Path(like) if Path(like).suffix.lower() == ".parquet" else None
    try:
        with atomic_files.new_file(target) as temporary:
            return _WRITERS[extension](temporary, rows, columns, typed_source)
    except pa.ArrowException as error:
        raise RunError(f"cannot write {target}: {first_line(error)}; write a .jsonl file") from None
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; free some space") from error


def _with_known_columns(rows: Iterator[Row], columns: list[str], target: Path) -> Iterator[Row]:
    known = frozenset(columns)
    for number, row in enumerate(rows, 1):
        unknown = [column for column in row if column not in known]
        if unknown:
            raise RunError(
                f"cannot write {target}: row {number} has a column '{unknown[0]}' that the first row lacks; "
                "add it to the first row too, or write a .jsonl file"
            )
        yield row


def check_target(target: Path) -> str:
    """The extension of a file that can be written.

    Raises:
        UsageError: the extension is unknown, the folder does not exist, or the target is a folder.
    """
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{target}: cannot be written; name a file in an existing folder")
    return _extension(target)


def _extension(path: Path) -> str:
    extension = path.suffix.lower()
    if extension not in _READERS:
        raise UsageError(f"{path}: unknown file extension '{extension}'; known: {', '.join(_READERS)}")
    return extension


def _read_standard_input(lines: Iterable[bytes], columns: Sequence[str]) -> Iterator[Row]:
    for number, line in decoded_lines(lines, "standard input"):
        texts = line.rstrip("\r\n").split("\t")
        if len(texts) != len(columns):
            expected = "one text" if len(columns) == 1 else "two texts separated by a tab"
            raise RunError(f"standard input, line {number}: {len(texts)} fields; the task reads {expected} per line")
        yield dict(zip(columns, texts, strict=True))


def _read_jsonl(path: Path) -> Iterator[LocatedRow]:
    with path.open("rb") as file:
        for number, line in decoded_lines(file, str(path)):
            if line.strip():
                yield f"line {number}", _parse_json_row(line, f"{path}, line {number}")


def _unique_keys(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is there twice")
    return row


def _parse_json_row(line: str, where: str) -> Row:
    try:
        row = json.loads(line, object_pairs_hook=_unique_keys)
        if _SURROGATE in line.lower():
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        surrogate = f"\\u{ord(error.object[error.start]):04x}"
        raise RunError(f"{where}: {surrogate} is half a character; fix or remove the row") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: not JSON ({error}); write one object per line") from None
    if not isinstance(row, dict):
        raise RunError(f"{where}: {type(row).__name__}, not an object; write one object per line")
    return row


def _read_parquet(path: Path) -> Iterator[LocatedRow]:
    try:
        number = 0
        file = pq.ParquetFile(path)
        check_header(path, file.schema_arrow.names)
        for batch in file.iter_batches(BATCH):
            for row in batch.to_pylist():
                yield f"row {number}", row
                number += 1
    except pa.ArrowException as error:
        raise RunError(f"{path}: cannot be read ({first_line(error)}); the file is damaged") from None
    except UnicodeDecodeError as error:
        raise RunError(f"{path}, after row {number}: {not_utf8(error)}") from None


def _write_jsonl(path: Path, rows: Iterator[Row], columns: list[str], like: Path | None) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            count += 1
    return count


_READERS: dict[str, _Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
_WRITERS: dict[str, _Writer] = {
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": write_parquet,
}
