"""Rows into a Parquet file, whose columns keep one type from the first row to the last."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_tune.foundation.errors import RunError, first_line

BATCH = 4096
"""Rows that are held in memory."""

_FIX = "give its values one type, or write a .jsonl file"
_CANNOT = (pa.ArrowException, OverflowError)


def write_parquet(path: Path, rows: Iterator[dict[str, Any]], columns: list[str], like: Path | None) -> int:
    """Write rows a batch at a time.

    Args:
        path: the file.
        rows: with no other columns.
        columns: their names.
        like: a Parquet file whose types its columns keep; the other types are those of the first batch.

    Returns:
        How many rows there were.

    Raises:
        RunError: a column's values are not of one type.
    """
    count, batch = 0, list(islice(rows, BATCH))
    known = pq.read_schema(like) if like is not None else pa.schema([])
    schema = _schema(batch, columns, known)
    with pq.ParquetWriter(path, schema) as writer:
        while batch:
            arrays = [_array([row.get(field.name) for row in batch], field, field.name in known.names)
                      for field in schema]  # fmt: skip
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
            batch = list(islice(rows, BATCH))
    return count


def _schema(rows: list[dict[str, Any]], columns: list[str], known: pa.Schema) -> pa.Schema:
    schema = known
    for name in columns:
        if name not in known.names:
            try:
                kind = pa.array([row.get(name) for row in rows]).type
            except _CANNOT as error:
                raise RunError(f"column '{name}' holds several types ({first_line(error)}); {_FIX}") from None
            schema = schema.append(pa.field(name, _certain(kind)))
    return schema


def _certain(kind: pa.DataType) -> pa.DataType:
    """A type that says what the values are: text, where none of them was there."""
    if pa.types.is_null(kind):
        return pa.string()
    return pa.list_(_certain(kind.value_type)) if pa.types.is_list(kind) else kind


def _array(values: list[Any], field: pa.Field, known: bool) -> pa.Array:
    if known or _fits(values, field.type):
        return pa.array(values, field.type)
    strange = next((value for value in values if not _fits([value], field.type)), None)
    problem = f"holds {reprlib.repr(strange)} where the first rows hold {field.type}"
    raise RunError(f"column '{field.name}' {problem}; {_FIX}")


def _fits(values: list[Any], kind: pa.DataType) -> bool:
    """Whether values can have a type and lose nothing: pyarrow itself would cut 2.5 to an integer."""
    try:
        found = pa.array(values).type
        pa.array(values, kind)
    except _CANNOT:
        return False
    return _within(found, kind)


def _within(found: pa.DataType, kind: pa.DataType) -> bool:
    if pa.types.is_list(found) and pa.types.is_list(kind):
        return _within(found.value_type, kind.value_type)
    if pa.types.is_struct(found) and pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return all(field.name in fields and _within(field.type, fields[field.name]) for field in found)
    number = pa.types.is_integer(found) and pa.types.is_floating(kind)
    return bool(found == kind or pa.types.is_null(found) or number)
