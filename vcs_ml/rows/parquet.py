"""Parquet files as tables, through pyarrow, which is an extra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vcs_ml.errors import UserError
from vcs_ml.output import quote, size
from vcs_ml.rows.table import CELLS_MAX, ROW_MAX, Cell, Opener, Row, Table, length, nested, unique

_BATCH: Final = 8192  # rows
_BUFFER: Final = 1 << 20  # bytes of a column that are read at once, instead of all it has in a row group
_FIXED_MAX: Final = 1 << 26  # bytes of a batch in columns whose values all have one length


def read(opener: Opener, path: str) -> Table:
    """The table in a file, with Arrow's types. UserError without pyarrow, and for what is no Parquet file.

    Dates, times and decimals are text here, lists and structs are JSON. A text that a file has once and its rows name
    many times is held once, too. UserError, from `batches`, for a row longer than 4 MB.
    """
    with _opened(opener, path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        names = unique(schema.names, path)
        texts, at_once = _texts(file.schema), _at_once(file.schema)
        groups = [metadata.row_group(each).total_byte_size for each in range(metadata.num_row_groups)]

    def pieces() -> Iterator[tuple[Any, int]]:
        first = 1
        with _opened(opener, path, texts) as file:
            for batch in file.iter_batches(batch_size=at_once, use_threads=False):
                for piece, unfolded in _pieces(batch, _arrow(path)):
                    if unfolded > ROW_MAX:
                        raise UserError(
                            f"{quote(path)}: row {first:,} is longer than {size(ROW_MAX)}",
                            hint=f"rows of up to {size(ROW_MAX)} are compared",
                        )
                    yield piece, unfolded
                    first += piece.num_rows

    def batches() -> Iterator[list[Row]]:
        for piece, _ in pieces():
            columns = [_cells(column, _arrow(path)) for column in piece.columns]
            yield list(zip(*columns, strict=True)) if columns else [()] * piece.num_rows

    return Table(
        names=names,
        types=tuple(map(str, schema.types)),
        typed=True,
        dialect=None,
        bytes=max(length(opener), sum(groups)),
        most=metadata.num_rows,
        batches=batches,
        rows=lambda units: (list(units), 0),
        unfolded=lambda: (unfolded for _, unfolded in pieces()),
        numbers=[_numbers(each, _arrow(path).types) for each in schema.types],
    )


@contextlib.contextmanager
def _opened(opener: Opener, path: str, texts: Sequence[str] = ()) -> Iterator[Any]:
    arrow = _arrow(path)
    with opener() as stream:
        try:
            with arrow.parquet.ParquetFile(
                stream, buffer_size=_BUFFER, pre_buffer=False, read_dictionary=list(texts)
            ) as file:
                yield file
        except (arrow.ArrowException, OSError, ValueError) as error:  # the latter are what it calls damage, too
            raise UserError(
                f"{quote(path)} cannot be read as Parquet: {error}", hint="the suffix says that it is Parquet"
            ) from None


def _numbers(kind: Any, kinds: Any) -> set[type]:
    if kinds.is_dictionary(kind):
        return _numbers(kind.value_type, kinds)
    return {int} if kinds.is_integer(kind) else {float} if kinds.is_floating(kind) else set()


def _texts(schema: Any) -> list[str]:
    """The columns of texts, by their paths: read as dictionaries they cannot unfold before we know how far."""
    columns = map(schema.column, range(len(schema)))
    return [each.path for each in columns if each.physical_type == "BYTE_ARRAY" and each.logical_type.type != "DECIMAL"]


def _at_once(schema: Any) -> int:
    """Rows that Arrow may decode at a time."""
    fixed = sum(max(schema.column(each).length or 0, 0) for each in range(len(schema)))
    return max(min(_BATCH, CELLS_MAX // max(len(schema), 1), _FIXED_MAX // max(fixed, 1)), 1)


def _pieces(batch: Any, arrow: Any) -> Iterator[tuple[Any, int]]:
    """A batch in parts of at most `ROW_MAX` bytes, or of one row, with the bytes that each takes as plain values."""
    unfolded = sum(_unfolded(column, arrow) for column in batch.columns)
    if unfolded <= ROW_MAX or batch.num_rows == 1:
        yield batch, unfolded
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half), arrow)
    yield from _pieces(batch.slice(half), arrow)


def _unfolded(column: Any, arrow: Any) -> int:
    kind, kinds = column.type, arrow.types
    if isinstance(column, arrow.ExtensionArray):
        return _unfolded(column.storage, arrow)
    if kinds.is_dictionary(kind):
        values = column.dictionary
        if kinds.is_primitive(values.type) or kinds.is_decimal(values.type) or kinds.is_boolean(values.type):
            return int(column.nbytes)
        lengths = arrow.compute.binary_length(values).cast(arrow.int64())
        return arrow.compute.sum(lengths.take(column.indices)).as_py() or 0
    if kinds.is_map(kind):
        # Its keys and items know nothing of a slice.
        start, stop = column.offsets[0].as_py(), column.offsets[len(column)].as_py()
        return sum(_unfolded(each.slice(start, stop - start), arrow) for each in (column.keys, column.items))
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        return _unfolded(column.flatten(), arrow)
    if kinds.is_struct(kind):
        return sum(_unfolded(each, arrow) for each in column.flatten())
    return int(column.nbytes)


def _arrow(path: str) -> Any:
    try:
        import pyarrow.compute  # noqa: PLC0415 - an extra of 250 ms, only for those who have such files
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise UserError(f"{quote(path)} cannot be read without pyarrow", hint="pip install 'vcs-ml[parquet]'") from None
    return pyarrow


def _cells(column: Any, arrow: Any) -> Sequence[Cell]:
    kind, kinds = column.type, arrow.types
    if isinstance(column, arrow.ExtensionArray):
        return _cells(column.storage, arrow)
    if kinds.is_dictionary(kind):
        used = column.indices.drop_null().unique()
        values = dict(zip(used.to_pylist(), _cells(column.dictionary.take(used), arrow), strict=True))
        return list(map(values.get, column.indices.to_pylist()))  # none for none
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
    return [None if cell is None else nested(cell, ascii=True) for cell in cells]
