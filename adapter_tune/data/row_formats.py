"""A reader and a writer of rows for each file format, and the reader of standard input; one row at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_tune.data.delimited_files import read_csv, read_tsv, write_csv, write_tsv
from adapter_tune.data.parquet_writer import BATCH, write_parquet
from adapter_tune.data.rows import LocatedRow, Row, check_header, decoded_line, decoded_lines, not_utf8
from adapter_tune.foundation.errors import RunError, first_line

_Reader = Callable[[Path], Iterator[LocatedRow]]
_Writer = Callable[[Path, Iterator[Row], list[str], Path | None], int]

_STANDARD_INPUT = "standard input"

_SURROGATE = "\\ud"
"""The beginning of a surrogate (half a character) in JSON. UTF-8 has no surrogates."""


def read_standard_input(columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of standard input: one text per line, or two texts separated by a tab.

    Args:
        columns: the names of the texts.

    Raises:
        RunError: a line is not UTF-8, or has another number of texts.
    """
    for number, line in enumerate(standard_input_lines(), 1):
        yield dict(zip(columns, texts_in_line(line, number, len(columns)), strict=True))


def standard_input_lines() -> Iterator[bytes]:
    """Yield the lines of standard input as soon as they are there."""
    binary = getattr(sys.stdin, "buffer", None)
    yield from (line.encode() for line in sys.stdin) if binary is None else binary


def texts_in_line(line: bytes, number: int, count: int) -> list[str]:
    """The texts in a line of standard input.

    Args:
        line: as it was read.
        number: of the line, from 1, for messages.
        count: the number of texts, one or two.

    Raises:
        RunError: the line is not UTF-8, or has another number of texts.
    """
    texts = decoded_line(line, number, _STANDARD_INPUT).rstrip("\r\n").split("\t")
    if len(texts) != count:
        expected = "one text" if count == 1 else "two texts separated by a tab"
        raise RunError(f"{_STANDARD_INPUT}, line {number}: {len(texts)} fields; the task reads {expected} per line")
    return texts


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


READERS: dict[str, _Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
WRITERS: dict[str, _Writer] = {
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": write_parquet,
}
