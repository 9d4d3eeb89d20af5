"""How values of params and metrics look: tables for people and Markdown, and what programs get."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, partial
from itertools import islice
from typing import Any, Final, Literal

from vcs_ml import output
from vcs_ml.errors import UsageError
from vcs_ml.metrics import flat
from vcs_ml.metrics.compare import MISSING, Comparison, Kind, Row, Values
from vcs_ml.values import nearest

PRECISION: Final = 5  # significant digits

_WIDEST: Final = 60
_NAME_WIDEST: Final = 120
_BEFORE: Final = 10  # letters shown before the first one that differs
_NAMED: Final = 5  # revisions at which something could not be read
_PROBLEMS: Final = 20
_MESSAGE_WIDEST: Final = 500
_PERCENT_MAX: Final = 1_000_000
_NOUN: Final[dict[Kind, str]] = {"params": "param", "metrics": "metric"}

Order = Literal["name", "change", "percent"]


def cell(value: Any, precision: int | None = PRECISION, *, markdown: bool = False) -> str:
    """A value in one line, cut where it is long; text as code in Markdown."""
    if type(value) is float:  # as most are
        return flat.text(value, precision)
    return _marked(value, _shown(value, precision), markdown=markdown)


def pair(row: Row, precision: int, *, markdown: bool = False) -> tuple[str, str]:
    """Both values, in a form in which they do not look the same if they are not, nor text like a number."""
    is_either = type(row.old) is not type(row.new) or type(row.old) is list
    exact = is_either and MISSING not in (row.old, row.new) and _has_text(row.old) is not _has_text(row.new)
    old, new = (_shown(each, precision, exact=exact) for each in (row.old, row.new))
    if old == new and row.changed:
        old, new = _apart(row.old, row.new)
    return _marked(row.old, old, markdown=markdown), _marked(row.new, new, markdown=markdown)


def _has_text(value: Any) -> bool:
    """Whether this is text, or a list with some."""
    return type(value) is str or (type(value) is list and any(type(each) is str for each in value))


def _shown(value: Any, precision: int | None, *, exact: bool = False) -> str:
    return "-" if value is MISSING else _line(flat.text(value, precision, exact=exact))


def _apart(*both: Any) -> list[str]:
    """Two values with all their digits and quotes around text; of long ones, what stands around the difference."""
    exact = ["-" if each is MISSING else flat.text(each, exact=True) for each in both]
    if max(map(len, exact)) > _WIDEST:
        start = len(os.path.commonprefix(exact)) - _BEFORE  # noqa: RUF071 - of letters, not of directories
        exact = [f"…{each[start:]}" if start > 0 else each for each in exact]
    return [_line(each) for each in exact]


def _marked(value: Any, shown: str, *, markdown: bool) -> str:
    return output.code(shown) if markdown and value is not MISSING and not flat.is_number(value) else shown


def _line(text: str, widest: int = _WIDEST) -> str:
    """A stranger's text in one line, cut where it is long."""
    if len(text) <= widest and text.isprintable():
        return text
    shown = output.one_line(text[: widest + 1])
    return shown if len(shown) <= widest else f"{shown[: widest - 1]}…"


def _named(text: str, *, markdown: bool) -> str:
    """A file, key or revision."""
    shown = _line(text, _NAME_WIDEST)
    return output.code(shown) if markdown else shown


def change(row: Row, precision: int | None = PRECISION) -> str:
    """The difference of two numbers with its sign, "" for what is none."""
    if not (delta := row.delta):
        return ""
    return _line(f"{'+' if delta > 0 else ''}{flat.text(delta, precision)}")


def percent(row: Row) -> str:
    """The change in %, "" where there is none."""
    if not (found := row.percent):
        return ""
    return f"{found:+.1f} %" if abs(found) < _PERCENT_MAX else f"{found:+.1e} %"


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
    named = cache(partial(_named, markdown=markdown))  # keys are often those of many files
    heads = ["file", _NOUN[kind], named(found.old.label), named(found.new.label), "change", "%"]
    cells = [
        (
            named(row.file),
            named(row.key),
            *(
                _floats(row.old, row.new, precision)
                or (*pair(row, precision, markdown=markdown), change(row, precision), percent(row))
            ),
        )
        for row in ordered(found.rows, by)
    ]
    return output.table(cells, heads, markdown=markdown, align="llrrrr")


def _floats(old: Any, new: Any, precision: int) -> tuple[str, str, str, str] | None:
    """What `pair`, `change` and `percent` say of two floats, as most values are, in a third of the time; None where
    more has to be thought of.
    """
    if type(old) is float and type(new) is float and old and old != new:
        change = new - old
        percent = 100 * change / abs(old)
        shown = f"{old:.{precision}g}", f"{new:.{precision}g}"
        if shown[0] != shown[1] and 0 < abs(percent) < _PERCENT_MAX:  # not of NaN and infinity
            return (*shown, f"{change:+.{precision}g}", f"{percent:+.1f} %")
    return None


def of_values(found: Sequence[Values], kind: Kind, *, precision: int, markdown: bool) -> str:
    """The values of revisions side by side; where these are more than the values, a revision is a line."""
    named = cache(partial(_named, markdown=markdown))
    files = sorted({file for each in found for file in each.files})
    rows: list[list[str]] = []  # file, key, a value of each revision
    for file in files:
        held = [each.files.get(file, {}) for each in found]
        keys: dict[str, None] = {}
        for values in held:
            keys |= dict.fromkeys(values)
        for key in keys:
            cells = [cell(values.get(key, MISSING), precision, markdown=markdown) for values in held]
            rows.append([file, key, *cells])
    labels = [named(each.label) for each in found]
    if len(found) <= max(len(rows), 3):
        shown = ([named(file), named(key), *cells] for file, key, *cells in rows)
        return output.table(shown, ["file", _NOUN[kind], *labels], markdown=markdown, align="ll" + "r" * len(found))
    heads = [named(key if len(files) == 1 else f"{file}:{key}") for file, key, *_ in rows]
    columns = [labels, *(cells for _, _, *cells in rows)]
    return output.table(
        zip(*columns, strict=True), ["revision", *heads], markdown=markdown, align="l" + "r" * len(heads)
    )


def by_value(found: Sequence[Values], wanted: str, *, descending: bool) -> list[Values]:
    """Revisions in the order of one value, `key` or `file:key`; those without such a number come last.

    UsageError if none has it, or several files have it.
    """
    known = dict.fromkeys((file, key) for each in found for file, values in each.files.items() for key in values)
    names = [(file, key) for file, key in known if wanted in (key, f"{file}:{key}")]
    if len(names) != 1:
        what = "several files have" if names else "no revision has"
        hint = f"name one: {names[0][0]}:{names[0][1]}" if names else "vml metrics show lists what there is"
        near = nearest({each: None for file, key in known for each in (key, f"{file}:{key}")}, wanted)
        if near is not None and not names:
            hint = f"did you mean {output.quote(near)}?"
        raise UsageError(f"{what} the value {wanted!r}", hint=hint)

    def value(each: Values) -> Any:
        return each.get(*names[0])

    def is_one(each: Values) -> bool:
        return flat.is_number(value(each)) and value(each) == value(each)

    return sorted(filter(is_one, found), key=value, reverse=descending) + [each for each in found if not is_one(each)]


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
    return {"a": _rev(found.old), "b": _rev(found.new), "files": files, "errors": errors}


def values_json(found: Values) -> dict[str, Any]:
    """One revision: {"rev", "commit", "files": {file: {key: value}}, "errors": {file: message}}."""
    files = {file: flat.json_values(values) for file, values in found.files.items()}
    return {"rev": _rev(found), "commit": found.commit, "files": files, "errors": messages(found)}


def _rev(found: Values) -> str | None:
    """What a revision was called; None for the workspace, as `vml diff` has it."""
    return found.label if found.commit is not None else None


def problems(found: Sequence[Values]) -> list[tuple[str, str | None]]:
    """What could not be read, with a hint: the message, and at which revisions. Of many, only how many more."""
    where: dict[tuple[str, str | None], list[str]] = {}
    for each in found:
        for error in each.errors.values():
            where.setdefault((error.message, error.hint), []).append(each.label)
    shown: list[tuple[str, str | None]] = []
    for (message, hint), labels in islice(where.items(), _PROBLEMS):
        at = ", ".join([*labels[:_NAMED], *(["..."] if len(labels) > _NAMED else [])])
        shown.append((f"{_line(message, _MESSAGE_WIDEST)} (at {at})", hint))
    if more := len(where) - len(shown):
        shown.append((f"{output.count(more, 'more problem')} of this kind", "--json has all of them"))
    return shown


def with_problems(shown: str, found: Sequence[Values]) -> str:
    """A table in Markdown, with what could not be read below it."""
    lines = (f"- {output.code(message)}" for message, _ in problems(found))
    return "\n".join([shown, *(["", *lines] if problems(found) else [])])


def messages(found: Values) -> dict[str, str]:
    """Why a file could not be read, by file."""
    return {file: error.message for file, error in found.errors.items()}
