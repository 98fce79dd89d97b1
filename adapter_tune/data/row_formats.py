"""The formats of rows in files: a reader and a writer for each of CSV, TSV, JSONL and Parquet; standard input."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_tune.data.parquet_writer import BATCH, write_parquet
from adapter_tune.foundation.errors import RunError, first_line

_Row = dict[str, Any]

LocatedRow = tuple[str, _Row]
"""The location of a row in its file, such as ``line 7``, and the row."""

_Reader = Callable[[Path], Iterator[LocatedRow]]
_Writer = Callable[[Path, Iterator[_Row], list[str], Path | None], int]

LABEL_SEPARATOR = ";"
"""Separates the labels of a row in a CSV or TSV file."""

_SURROGATE = "\\ud"
"""The beginning of a surrogate (half a character) in JSON. UTF-8 has no surrogates."""

csv.field_size_limit(2**30)


def _decode(lines: Iterable[bytes], where: str) -> Iterator[tuple[int, str]]:
    """Yield the line numbers and lines of UTF-8 text, with or without a byte order mark."""
    for number, line in enumerate(lines, 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise RunError(f"{where}, line {number}: {_not_utf8(error)}") from None


def read_standard_input(columns: Sequence[str]) -> Iterator[_Row]:
    """Yield the rows of standard input: one text per line, or two texts separated by a tab.

    Args:
        columns: the names of the texts.

    Raises:
        RunError: a line is not UTF-8, or has another number of texts.
    """
    binary = getattr(sys.stdin, "buffer", None)
    lines = (line.encode() for line in sys.stdin) if binary is None else binary
    for number, line in _decode(lines, "standard input"):
        texts = line.rstrip("\r\n").split("\t")
        if len(texts) != len(columns):
            expected = "one text" if len(columns) == 1 else "two texts separated by a tab"
            raise RunError(f"standard input, line {number}: {len(texts)} fields; the task reads {expected} per line")
        yield dict(zip(columns, texts, strict=True))


def _read_csv(path: Path, delimiter: str = ",") -> Iterator[LocatedRow]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            lines = filter(None, reader)  # empty lines are skipped
            header = next(lines, None)
            if not header:
                raise RunError(f"{path}: the file is empty; its first line should contain the column names")
            _check_header(path, header)
            for cells in lines:
                location = f"line {reader.line_num}"
                if len(cells) != len(header):
                    problem = f"{len(cells)} fields, but the header has {len(header)}"
                    raise RunError(f"{path}, {location}: {problem}; quote texts that contain a delimiter")
                yield location, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise RunError(f"{path}, line {reader.line_num}: {error}; check the quotes") from None
        except UnicodeDecodeError as error:
            raise RunError(f"{path}, line {_first_bad_line(path)}: {_not_utf8(error)}") from None


def _read_tsv(path: Path) -> Iterator[LocatedRow]:
    return _read_csv(path, "\t")


def _check_header(path: Path, columns: list[str]) -> None:
    for column, count in Counter(columns).items():
        if count > 1 and column:
            raise RunError(f"{path}: two columns are called '{column}'; rename or remove one")


def _read_jsonl(path: Path) -> Iterator[LocatedRow]:
    with path.open("rb") as file:
        for number, line in _decode(file, str(path)):
            if line.strip():
                yield f"line {number}", _parse_json_row(line, f"{path}, line {number}")


def _parse_json_row(line: str, where: str) -> _Row:
    try:
        row = json.loads(line)
        if _SURROGATE in line.lower():
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        surrogate = f"\\u{ord(error.object[error.start]):04x}"
        raise RunError(f"{where}: {surrogate} is an incomplete character; fix or remove the row") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: not JSON ({error}); write one object per line") from None
    if not isinstance(row, dict):
        raise RunError(f"{where}: {type(row).__name__}, not an object; write one object per line")
    return row


def _read_parquet(path: Path) -> Iterator[LocatedRow]:
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
        raise RunError(f"{path}, after row {number}: {_not_utf8(error)}") from None


def _first_bad_line(path: Path) -> int:
    """The number of the first line that is not UTF-8. An open text file does not tell, since it decodes in blocks."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x}); save the file as UTF-8"


def _write_csv(path: Path, rows: Iterator[_Row], columns: list[str], like: Path | None, delimiter: str = ",") -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({column: _csv_value(value) for column, value in row.items()})
            count += 1
    return count


def _write_tsv(path: Path, rows: Iterator[_Row], columns: list[str], like: Path | None) -> int:
    return _write_csv(path, rows, columns, like, "\t")


def _csv_value(value: Any) -> Any:
    return LABEL_SEPARATOR.join(map(str, value)) if isinstance(value, list) else value


def _write_jsonl(path: Path, rows: Iterator[_Row], columns: list[str], like: Path | None) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            count += 1
    return count


READERS: dict[str, _Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""Yields the located rows of a file, by file extension."""

WRITERS: dict[str, _Writer] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": write_parquet,
}
"""Writes rows to a file and returns their number, by file extension.

Arguments: the file, the rows, the columns of the first row, and a Parquet file whose column types are kept, or None.
"""
