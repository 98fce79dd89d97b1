"""Write rows to a Parquet file. Every column has one type for all rows."""

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
"""How many rows are held in memory."""

_FIX = "give its values one type, or write a .jsonl file"
_CONVERSION_ERRORS = (pa.ArrowException, OverflowError)


def write_parquet(path: Path, rows: Iterator[dict[str, Any]], columns: list[str], like: Path | None) -> int:
    """Write rows in batches.

    Args:
        path: the file to write.
        rows: the rows; they have no columns but ``columns``.
        columns: the names of the columns.
        like: a Parquet file; columns that it has get its types, the others the types of the first batch.

    Returns:
        The number of rows.

    Raises:
        RunError: the values of a column have several types.
    """
    count = 0
    batch = list(islice(rows, BATCH))
    source_schema = pq.read_schema(like) if like is not None else pa.schema([])
    schema = _schema(batch, columns, source_schema)
    with pq.ParquetWriter(path, schema) as writer:
        while batch:
            arrays = []
            for field in schema:
                values = [row.get(field.name) for row in batch]
                arrays.append(_array(values, field, is_type_given=field.name in source_schema.names))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
            batch = list(islice(rows, BATCH))
    return count


def _schema(rows: list[dict[str, Any]], columns: list[str], source_schema: pa.Schema) -> pa.Schema:
    schema = source_schema
    for name in columns:
        if name in source_schema.names:
            continue
        try:
            column_type = pa.array([row.get(name) for row in rows]).type
        except _CONVERSION_ERRORS as error:
            raise RunError(f"column '{name}' contains several types ({first_line(error)}); {_FIX}") from None
        schema = schema.append(pa.field(name, _without_null_type(column_type)))
    return schema


def _without_null_type(column_type: pa.DataType) -> pa.DataType:
    """The same type with text in place of the null type, which a column without any value has."""
    if pa.types.is_null(column_type):
        return pa.string()
    if pa.types.is_list(column_type):
        return pa.list_(_without_null_type(column_type.value_type))
    return column_type


def _array(values: list[Any], field: pa.Field, is_type_given: bool) -> pa.Array:
    if is_type_given or _fits(values, field.type):
        return pa.array(values, field.type)
    misfit = next((value for value in values if not _fits([value], field.type)), None)
    problem = f"contains {reprlib.repr(misfit)}, but the first rows contain {field.type}"
    raise RunError(f"column '{field.name}' {problem}; {_FIX}")


def _fits(values: list[Any], target: pa.DataType) -> bool:
    """Whether values can be converted to a type without loss. Pyarrow itself would round 2.5 down to an integer."""
    try:
        natural = pa.array(values).type
        pa.array(values, target)
    except _CONVERSION_ERRORS:
        return False
    return _is_lossless(natural, target)


def _is_lossless(source: pa.DataType, target: pa.DataType) -> bool:
    if pa.types.is_list(source) and pa.types.is_list(target):
        return _is_lossless(source.value_type, target.value_type)
    if pa.types.is_struct(source) and pa.types.is_struct(target):
        target_types = {field.name: field.type for field in target}
        return all(
            field.name in target_types and _is_lossless(field.type, target_types[field.name]) for field in source
        )
    is_integer_to_float = pa.types.is_integer(source) and pa.types.is_floating(target)
    return bool(source == target or pa.types.is_null(source) or is_integer_to_float)
