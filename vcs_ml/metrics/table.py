"""How values of params and metrics look: tables for people and Markdown, and what programs get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from vcs_ml import output
from vcs_ml.errors import UsageError
from vcs_ml.metrics import flat
from vcs_ml.metrics.compare import MISSING, Comparison, Kind, Row, Values

PRECISION: Final = 5  # significant digits

_WIDEST: Final = 60
_NAMED: Final = 5
_NOUN: Final[dict[Kind, str]] = {"params": "param", "metrics": "metric"}

Order = Literal["name", "change", "percent"]


def cell(value: Any, precision: int | None = PRECISION, *, markdown: bool = False) -> str:
    """A value in one line, cut where it is long; text as code in Markdown."""
    if value is MISSING:
        return "-"
    shown = output.one_line(flat.text(value, precision))
    shown = shown if len(shown) <= _WIDEST else f"{shown[: _WIDEST - 1]}…"
    return output.code(shown) if markdown and not flat.is_number(value) else shown


def change(row: Row, precision: int | None = PRECISION) -> str:
    """The difference of two numbers with its sign, "" for what is none."""
    if row.delta is None or not row.changed:
        return ""
    return f"{'+' if row.delta > 0 else ''}{flat.text(row.delta, precision)}"


def percent(row: Row) -> str:
    """The change in %, "" where there is none."""
    return f"{row.percent:+.1f} %" if row.percent is not None and row.changed else ""


def ordered(rows: Sequence[Row], by: Order) -> list[Row]:
    """The rows as they are, or the largest change first; what is no number comes last."""
    if by == "name":
        return list(rows)

    def size(row: Row) -> float:
        found = row.delta if by == "change" else row.percent
        return float("-inf") if found is None else abs(found)

    return sorted(rows, key=size, reverse=True)


def of_rows(found: Comparison, kind: Kind, *, by: Order = "name", precision: int, markdown: bool = False) -> str:
    """A table of the rows of a comparison; numbers stand to the right."""
    rows = ordered(found.rows, by)
    labels = (_label(each.label, markdown=markdown) for each in (found.old, found.new))
    heads = ["file", _NOUN[kind], *labels, "change", "%"]
    cells = [
        (
            *_name(row.file, row.key, markdown=markdown),
            *pair(row, precision, markdown=markdown),
            change(row, precision),
            percent(row),
        )
        for row in rows
    ]
    return output.table(cells, heads, markdown=markdown, align="llrrrr")


def pair(row: Row, precision: int, *, markdown: bool = False) -> tuple[str, str]:
    """Both values; with all their digits where fewer would make them look the same."""
    old, new = (cell(each, precision, markdown=markdown) for each in (row.old, row.new))
    if not row.changed or old != new:
        return old, new
    return cell(row.old, None, markdown=markdown), cell(row.new, None, markdown=markdown)


def _name(file: str, key: str, *, markdown: bool) -> tuple[str, str]:
    return (output.code(file), output.code(key)) if markdown else (output.quote(file), output.one_line(key))


def _label(text: str, *, markdown: bool) -> str:
    return output.code(text) if markdown else output.one_line(text)


def of_values(found: Sequence[Values], kind: Kind, *, precision: int, markdown: bool) -> str:
    """The values of revisions side by side; where these are more than the values, a revision is a line."""
    names = list(dict.fromkeys((file, key) for each in found for file, values in each.files.items() for key in values))
    if len(found) > max(len(names), 3):
        files = {file for file, _ in names}
        keys = (key if len(files) == 1 else f"{file}:{key}" for file, key in names)
        heads = ["revision", *(_label(key, markdown=markdown) for key in keys)]
        lines = [
            [
                _label(each.label, markdown=markdown),
                *(cell(each.get(*name), precision, markdown=markdown) for name in names),
            ]
            for each in found
        ]
        return output.table(lines, heads, markdown=markdown, align="l" + "r" * len(names))
    heads = ["file", _NOUN[kind], *(_label(each.label, markdown=markdown) for each in found)]
    rows = [
        (
            *_name(*name, markdown=markdown),
            *(cell(each.get(*name), precision, markdown=markdown) for each in found),
        )
        for name in names
    ]
    return output.table(rows, heads, markdown=markdown, align="ll" + "r" * len(found))


def by_value(found: Sequence[Values], wanted: str, *, descending: bool) -> list[Values]:
    """Revisions in the order of one value, `key` or `file:key`; those without such a number come last.

    UsageError if none has it, or several files have it.
    """
    known = dict.fromkeys((file, key) for each in found for file, values in each.files.items() for key in values)
    names = [(file, key) for file, key in known if wanted in (key, f"{file}:{key}")]
    if len(names) != 1:
        what = "several files have" if names else "no revision has"
        hint = f"name one: {names[0][0]}:{names[0][1]}" if names else "vml metrics show lists what there is"
        raise UsageError(f"{what} the value {wanted!r}", hint=hint)

    def number(each: Values) -> float | None:
        value = each.get(*names[0])
        return float(value) if flat.is_number(value) and value == value else None  # noqa: PLR0124 - NaN is not

    with_one = [each for each in found if number(each) is not None]
    without = [each for each in found if number(each) is None]
    return sorted(with_one, key=lambda each: number(each) or 0.0, reverse=descending) + without


def as_json(found: Comparison, by: Order = "name") -> dict[str, Any]:
    """{"a", "b", "files": {file: {key: {"old", "new", "diff", "percent"}}}, "errors": {"a", "b"}}.

    A side that has no value has no such key.
    """
    files: dict[str, dict[str, dict[str, Any]]] = {}
    for row in ordered(found.rows, by):
        sides = {"old": row.old, "new": row.new}
        each = {side: flat.json_value(value) for side, value in sides.items() if value is not MISSING}
        if row.delta is not None:
            each |= {"diff": flat.json_value(row.delta), "percent": flat.json_value(row.percent)}
        files.setdefault(row.file, {})[row.key] = each
    errors = {"a": messages(found.old), "b": messages(found.new)}
    return {"a": found.old.label, "b": found.new.label, "files": files, "errors": errors}


def values_json(found: Values) -> dict[str, Any]:
    """One revision: {"rev", "files": {file: {key: value}}, "errors": {file: message}}."""
    files = {file: {key: flat.json_value(each) for key, each in some.items()} for file, some in found.files.items()}
    return {"rev": found.label, "files": files, "errors": messages(found)}


def problems(found: Sequence[Values]) -> list[tuple[str, str | None]]:
    """What could not be read, with a hint: the message, and at which revisions."""
    where: dict[tuple[str, str | None], list[str]] = {}
    for each in found:
        for error in each.errors.values():
            where.setdefault((error.message, error.hint), []).append(each.label)
    return [
        (f"{message} (at {', '.join(labels[:_NAMED])}{', ...' if len(labels) > _NAMED else ''})", hint)
        for (message, hint), labels in where.items()
    ]


def messages(found: Values) -> dict[str, str]:
    """Why a file could not be read, by file."""
    return {file: error.message for file, error in found.errors.items()}
