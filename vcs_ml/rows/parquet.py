"""Parquet files as tables, through pyarrow, which is an extra."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.rows.table import Cell, Opener, Row, Table, length, unique

_BATCH: Final = 8192  # rows
_BUFFER: Final = 1 << 20  # bytes of a column that are read at once, instead of all it has in a row group


def read(opener: Opener, path: str) -> Table:
    """The table in a file, with Arrow's types. UserError without pyarrow, and for what is no Parquet file.

    Dates, times and decimals are text here, lists and structs are JSON.
    """
    with _opened(opener, path) as file:
        schema, most = file.schema_arrow, file.metadata.num_rows

    def batches() -> Iterator[list[Row]]:
        with _opened(opener, path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                columns = [_cells(column, _arrow(path)) for column in batch.columns]
                yield list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows

    return Table(
        names=unique(schema.names, path),
        types=tuple(map(str, schema.types)),
        typed=True,
        dialect=None,
        bytes=length(opener),
        most=most,
        batches=batches,
        rows=lambda units: (list(units), 0),
    )


@contextlib.contextmanager
def _opened(opener: Opener, path: str) -> Iterator[Any]:
    arrow = _arrow(path)
    with opener() as stream:
        try:
            with arrow.parquet.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False) as file:
                yield file
        except (arrow.ArrowException, OSError, ValueError) as error:  # the latter are what it calls damage, too
            raise UserError(
                f"{quote(path)} cannot be read as Parquet: {error}", hint="the suffix says that it is Parquet"
            ) from None


def _arrow(path: str) -> Any:
    try:
        import pyarrow.parquet  # noqa: PLC0415 - an extra of 250 ms, only for those who have such files
    except ImportError:
        raise UserError(f"{quote(path)} cannot be read without pyarrow", hint="pip install 'vcs-ml[parquet]'") from None
    return pyarrow


def _cells(column: Any, arrow: Any) -> Sequence[Cell]:
    kind, kinds = column.type, arrow.types
    if isinstance(column, arrow.ExtensionArray):
        return _cells(column.storage, arrow)
    if kinds.is_dictionary(kind):
        return _cells(column.dictionary_decode(), arrow)
    if kinds.is_timestamp(kind):
        column = column.cast(arrow.timestamp(kind.unit))  # in UTC: not every machine knows every time zone
    if kinds.is_temporal(kind) or kinds.is_decimal(kind):
        column = column.cast(arrow.string())  # Python's dates have no nanoseconds
    if kinds.is_string(column.type) or kinds.is_large_string(kind):
        column = column.cast(arrow.large_binary())  # what Parquet calls UTF-8 need not be
        return [None if raw is None else raw.decode("utf-8", "surrogateescape") for raw in column.to_pylist()]
    cells: list[Any] = column.to_pylist()
    if kinds.is_primitive(kind) or kinds.is_boolean(kind) or kinds.is_binary(kind) or kinds.is_null(kind):
        return cells
    return [None if cell is None else (json.dumps(cell, default=str, sort_keys=True),) for cell in cells]
