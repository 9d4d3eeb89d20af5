"""Tables out of files: CSV, TSV, JSON, YAML."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from vcs_ml import values, yaml
from vcs_ml.errors import UserError
from vcs_ml.output import quote

# Columns by their names, in the order of the file, all of one length; None is a gap.
Table = dict[str, Sequence[Any]]

TABLES: Final = (".csv", ".tsv")
SUFFIXES: Final = (*TABLES, ".json", ".yaml", ".yml")
CELLS_MAX: Final = 5_000_000
_NAME_MAX: Final = 1_000
_WHOLE_MAX: Final = 2**63 - 1  # what draws charts knows no larger whole numbers

_NO_SHAPE: Final = {each: bytes({*range(256)}.difference(f"{each}\n".encode())) for each in ",\t"}
_BINARY: Final = "plots are CSV, TSV, JSON or YAML files, or pictures"


def read(raw: bytes, source: str, *, header: bool = True, columns: Collection[str] = ()) -> Table:
    """The table in a file; the suffix of `source` says which format, and in CSV and TSV numbers become numbers.

    A JSON or YAML file holds a list of mappings at any depth; of several the first that has all `columns`, or simply
    the first. Without `header` the columns of a CSV or TSV file are called 0, 1, 2 and so on. UserError naming the
    file for what is binary, not of its format, has no list in it, or more than 5,000,000 cells.
    """
    if b"\0" in raw:
        raise UserError(f"{quote(source)} is no plot: it is binary", hint=_BINARY)
    if source.endswith(TABLES):
        return _separated(raw, source, "\t" if source.endswith(".tsv") else ",", header=header)
    found = list(_lists(_document(raw, source)))
    if not found:
        raise UserError(
            f"{quote(source)} is no plot: there is no list of mappings in it",
            hint="write the points as a list: [{step: 0, loss: 0.5}, {step: 1, loss: 0.4}]",
        )
    fitting = (each for each in found if all(any(name in row for row in each) for name in columns))
    return _of_rows(next(fitting, found[0]), source)


def _document(raw: bytes, source: str) -> Any:
    if source.endswith(".json"):
        try:
            return json.loads(raw, object_pairs_hook=values.unique)
        except (ValueError, RecursionError):
            return values.parse(raw, source)  # which says what is wrong with it
    return yaml.parse(raw, source).value


def _lists(value: Any) -> Iterator[list[dict[str, Any]]]:
    """Every list of mappings, from the first line to the last."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(reversed(value.values()))
        elif isinstance(value, list) and value:
            if all(isinstance(each, dict) for each in value):
                yield value
            else:
                stack.extend(each for each in reversed(value) if isinstance(each, dict | list))


def _of_rows(rows: list[dict[str, Any]], source: str) -> Table:
    names = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    _check_size(len(rows), len(names), source)
    _check_names(names, source)
    table = {name: [_scalar(row.get(name)) for row in rows] for name in names}
    return {name: cells for name, cells in table.items() if any(each is not None for each in cells)}


def _scalar(value: Any) -> Any:
    if type(value) is int and not -_WHOLE_MAX <= value <= _WHOLE_MAX:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return None if isinstance(value, dict | list) else value


def _separated(raw: bytes, source: str, delimiter: str, *, header: bool) -> Table:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{quote(source)} is no plot: it is not UTF-8 text", hint=_BINARY) from None
    _check_size(text.count(delimiter) + text.count("\n") + text.count("\r"), 1, source)  # before they have objects
    columns = _even(text, delimiter) or _uneven(text, delimiter, source)
    if header and columns:
        names = [each[0] for each in columns]
        columns = [each[1:] for each in columns]
    else:
        names = [str(at) for at in range(len(columns))]
    _check_names(names, source)
    return dict(zip(names, map(_numbers, columns), strict=True))


def _even(text: str, delimiter: str) -> list[Sequence[str]]:
    """The columns of a table without quotes, gaps and empty lines, as most are; [] of others.

    Takes half of the time of the csv module.
    """
    text = text.replace("\r\n", "\n").removesuffix("\n") + "\n"
    if '"' in text or "\r" in text or "\n\n" in text or text.startswith("\n"):
        return []
    width, rows = text.count(delimiter, 0, text.index("\n")) + 1, text.count("\n")
    shape = text.encode().translate(None, _NO_SHAPE[delimiter])
    if len(shape) != width * rows or shape != f"{delimiter * (width - 1)}\n".encode() * rows:
        return []
    cells = text.replace("\n", delimiter).split(delimiter)[:-1]
    return [cells[at::width] for at in range(width)]


def _uneven(text: str, delimiter: str, source: str) -> list[Sequence[str]]:
    """The columns that the first row has, filled up with empty cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(filter(None, reader))  # an empty line is no row
    except csv.Error as error:
        raise UserError(
            f"{quote(source)}:{reader.line_num}: this is not CSV: {error}", hint="open and close quotes in pairs"
        ) from None
    width = len(rows[0]) if rows else 0
    _check_size(len(rows), width, source)
    return list(itertools.islice(itertools.zip_longest(*rows, fillvalue=""), width))


def _check_size(rows: int, columns: int, source: str) -> None:
    if rows * columns > CELLS_MAX:
        raise UserError(f"{quote(source)} has more than {CELLS_MAX:,} cells", hint="plot a file with fewer rows")


def _check_names(names: Sequence[str], source: str) -> None:
    """Every point has them, and they stand where nothing but text can be."""
    for at, name in enumerate(names, 1):
        if len(name) > _NAME_MAX:
            raise UserError(
                f"{quote(source)} has a column with a name of {len(name):,} letters, the {at}.",
                hint=f"names have up to {_NAME_MAX:,} letters; header: false says that there are none",
            )
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"{quote(source)} has a column whose name is no text: {quote(name)}", hint="rename it")


def _numbers(cells: Sequence[str]) -> list[Any]:
    """Whole columns are converted at once, which costs a tenth of converting cell by cell."""
    for kind in (int, float):
        try:
            numbers: list[Any] = list(map(kind, cells))
        except ValueError:
            continue
        if kind is float or not numbers or (min(numbers) >= -_WHOLE_MAX and max(numbers) <= _WHOLE_MAX):
            return numbers
    return [_number(each) for each in cells]


def _number(cell: str) -> Any:
    for kind in (int, float):
        try:
            return _scalar(kind(cell))
        except ValueError:
            continue
    return cell or None
