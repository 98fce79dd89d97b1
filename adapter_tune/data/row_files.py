"""Read and write rows in files, one row at a time, so that a file may exceed the memory; columns are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_tune.data.row_formats import READERS, WRITERS, read_standard_input
from adapter_tune.data.rows import LocatedRow, Row, missing_column
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError, first_line, unknown_name


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
        yield from read_standard_input(columns)
        return
    for _, row in located_rows(source, columns):
        yield row


def located_rows(source: str, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """Yield the rows of a file, each with its location; the arguments and errors are those of ``read_rows``."""
    path = existing_file(source)
    read = READERS[_extension(path)]
    is_first = True
    for location, row in read(path):
        for column in columns:
            if column not in row and is_first:
                raise UsageError(f"{path}: {unknown_name('column', column, list(row))}")
            _check_text(row, column, f"{path}, {location}")
        is_first = False
        yield location, row


def _check_text(row: Row, column: str, where: str) -> None:
    if column not in row:
        raise RunError(f"{where}: {missing_column(column, row)}")
    value = row[column]
    if not isinstance(value, str):
        problem = "is empty" if value is None else f"contains {type(value).__name__}, not text"
        raise RunError(f"{where}: column '{column}' {problem}; fix or remove the row")


def existing_file(source: str) -> Path:
    """The path of a file that exists and has a known extension.

    Raises:
        UsageError: the file does not exist or has another extension.
    """
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a CSV, TSV, JSONL or Parquet file")
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
            return WRITERS[extension](temporary, rows, columns, typed_source)
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
                f"cannot write {target}: row {number} has a column '{unknown[0]}' that the first row does not have; "
                "add it to the first row too, or write a .jsonl file"
            )
        yield row


def check_target(target: Path) -> str:
    """The extension of a file that can be written.

    Raises:
        UsageError: the extension is unknown, the folder does not exist, or the target is a folder.
    """
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{target}: cannot be written; choose a file in an existing folder")
    return _extension(target)


def _extension(path: Path) -> str:
    extension = path.suffix.lower()
    if extension not in READERS:
        raise UsageError(f"{path}: unknown file extension '{extension}'; known: {', '.join(READERS)}")
    return extension
