"""What a report says, in its order: the same for Markdown and for a page, which only write it down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from vcs_ml.metrics import flat, table
from vcs_ml.metrics.compare import MISSING, Row
from vcs_ml.output import count, one_line, quote, size
from vcs_ml.report import data
from vcs_ml.report.blocks import Block, Cell, Code, Column, Figure, Graph, Section, Table, Text
from vcs_ml.report.data import KINDS, Line
from vcs_ml.report.model import Report
from vcs_ml.report.sides import Side

_TEXT_MAX: Final = 300  # characters of a message or of reasons
_REASONS_MAX: Final = 5


def verdict(report: Report) -> str:
    """Whether the gates hold, in a few words."""
    failed = sum(not each.passed for each in report.gates)
    if failed:
        return f"❌ {failed:,} of {count(len(report.gates), 'gate')} failed"
    if report.gates:
        return f"✅ {count(len(report.gates), 'gate')} passed"
    return "No gates"


def summary(report: Report) -> str:
    """What changed, in one sentence."""
    changed = [each for each in report.metrics if each.changed]
    words = []
    if changed:
        trends = [trend(report, each) for each in changed]
        known = [f"{trends.count(word):,} {word}" for word in ("better", "worse") if word in trends]
        more = f" ({', '.join(known)})" if known else ""
        words.append(f"{count(len(changed), 'metric')} changed{more}")
    if report.params:
        words.append(f"{count(len(report.params), 'param')} changed")
    if report.data.changes or report.data.unlisted:
        words.append(_data_words(report.data))
    if removed := sum(each.what == "removed" for each in report.reruns):
        words.append(f"{count(removed, 'stage')} removed")
    if len(report.reruns) > removed:
        words.append(f"{count(len(report.reruns) - removed, 'stage')} rerun")
    if report.stale:
        words.append(f"{count(len(report.stale), 'stage')} not reproduced")
    if report.problems:
        words.append(f"{count(len(report.problems), 'problem')}")
    return f"{', '.join(words) or 'nothing changed'}."


def trend(report: Report, row: Row) -> str:
    """better or worse, where a gate says which way that is, else nothing."""
    better = report.better(row)
    if better is None or not row.delta:
        return ""
    return "better" if (row.delta > 0) == (better == "higher") else "worse"


def sections(report: Report, *, precision: int, rows_max: int) -> list[Section]:
    """Everything below the verdict. A table has at most `rows_max` rows; sections with nothing to say are left out."""
    changed = [each for each in report.metrics if each.changed]
    same = [each for each in report.metrics if not each.changed]
    found = (
        Section("Gates", _gates(report, precision)),
        Section("Metrics", _values(report, changed, "metrics that changed", precision)),
        Section("Params", _values(report, report.params, "params that changed", precision)),
        Section("Data", _data(report)),
        Section("Stages", _stages(report)),
        Section("Not reproduced", _stale(report)),
        Section("Problems", _problems(report)),
        Section("Unchanged metrics", _same(same, precision), folded=True),
        Section("Pipeline", _pipeline(report), folded=True),
    )
    return [
        each._replace(blocks=[_cut(block, rows_max) if isinstance(block, Table) else block for block in each.blocks])
        for each in found
        if each.blocks
    ]


def compared(report: Report) -> Text:
    """Which revisions these are."""
    return Text((*_side(report.base), " → ", *_side(report.head)))


def _side(side: Side) -> tuple[str | Code, ...]:
    return (_cell(side.label), " (", _cell(side.about), ")") if side.about else (_cell(side.label),)


def _sides(report: Report) -> tuple[Column, Column]:
    return Column(_cell(report.base.label), number=True), Column(_cell(report.head.label), number=True)


def _cut(found: Table, rows_max: int) -> Table:
    rest = max(len(found.rows) - rows_max, 0)
    return found._replace(rows=found.rows[:rows_max], rest=found.rest + rest)


# ---------------------------------------------------------------------- gates, metrics, params


def _gates(report: Report, precision: int) -> list[Block]:
    columns = [
        Column("result"),
        Column("metric"),
        Column("must be"),
        *_sides(report),
        Column("why"),
    ]
    rows = [
        (
            "✅ passed" if each.passed else "❌ failed",
            _cell(each.gate.name),
            _cell(str(each.gate)),
            _value(each.old, precision),
            _value(each.new, precision),
            _cell("; ".join((*each.faults, *each.notes))),
        )
        for each in report.gates
    ]
    blocks: list[Block] = [Table("gates", columns, rows)] if rows else []
    if report.removed:
        blocks.append(
            Text(("Gates that are gone: ", _several((f"{each.name} ({each})" for each in report.removed), ", ")))
        )
    return blocks


def _values(report: Report, rows: Sequence[Row], caption: str, precision: int) -> list[Block]:
    if not rows:
        return []
    trends = [trend(report, row) for row in rows]
    columns = [
        Column("file"),
        Column("key"),
        *_sides(report),
        Column("change", number=True),
        Column("%", number=True),
    ]
    cells = [
        (
            _cell(quote(row.file)),
            _cell(row.key),
            *(_shown(value, text) for value, text in zip((row.old, row.new), table.pair(row, precision), strict=True)),
            _change(row, precision),
            Figure(table.percent(row), row.percent),
        )
        for row in rows
    ]
    if not any(trends):
        return [Table(caption, columns, cells)]
    return [Table(caption, [*columns, Column("")], [(*row, word) for row, word in zip(cells, trends, strict=True)])]


def _same(rows: Sequence[Row], precision: int) -> list[Block]:
    columns = [Column("file"), Column("key"), Column("value", number=True)]
    cells = [(_cell(quote(row.file)), _cell(row.key), _value(row.new, precision)) for row in rows]
    return [Table("metrics that did not change", columns, cells)] if rows else []


def _change(row: Row, precision: int) -> Cell:
    if not row.delta:
        return "" if row.old is not MISSING and row.new is not MISSING else "new" if row.old is MISSING else "gone"
    return Figure(f"{'▲' if row.delta > 0 else '▼'} {table.change(row, precision)}", _float(row.delta))


def _value(value: object, precision: int) -> Cell:
    return _shown(value, table.cell(value, precision))


def _shown(value: object, text: str) -> Cell:
    """A value whose text is this: numbers as they are, and all else as a stranger's words."""
    if value is MISSING:
        return Figure(text, None)
    return Figure(text, _float(value)) if isinstance(value, int | float) and flat.is_number(value) else _cell(text)


def _float(value: float) -> float | None:
    try:
        return None if math.isnan(value) else float(value)
    except OverflowError:
        return None


# ---------------------------------------------------------------------- data


def _data_words(found: data.Data) -> str:
    kinds = [f"{found.counts[kind]:,} {kind}" for kind in KINDS if found.counts.get(kind)]
    if found.unlisted:
        kinds.append(f"{count(len(found.unlisted), 'directory')} changed")
    return f"data: {', '.join(kinds)} ({_signed(found.growth)})"


def _data(report: Report) -> list[Block]:
    rows = [
        (_path(each), _kinds(each), _size(each.old), _size(each.new), Figure(_signed(each.growth), each.growth))
        for each in data.lines(report.data)
    ]
    if not rows:
        return []
    columns = [
        Column("path"),
        Column("change"),
        *_sides(report),
        Column("difference", number=True),
    ]
    blocks: list[Block] = [Table("data that changed", columns, rows)]
    if report.data.unlisted:
        blocks.append(Text(("Of some directories, no list of files is here: ", Code("--fetch"), " gets it.")))
    return blocks


def _path(each: Line) -> Cell:
    path = _cell(quote(each.path))
    return (_cell(quote(each.source)), " → ", path) if each.source is not None else path


def _kinds(each: Line) -> str:
    if len(each.counts) > 1 or sum(each.counts.values()) > 1:
        return ", ".join(f"{each.counts[kind]:,} {kind}" for kind in KINDS if each.counts.get(kind))
    return next(iter(each.counts))


def _size(n: int | None) -> Figure:
    return Figure("-" if n is None else size(n), n)


def _signed(n: int) -> str:
    return f"{'+' if n >= 0 else '-'}{size(abs(n))}"


# ---------------------------------------------------------------------- stages, problems


def _stages(report: Report) -> list[Block]:
    rows = [
        (
            _cell(quote(each.name)),
            {"added": "new", "removed": "removed", "reran": "rerun"}[each.what],
            _several(map(str, each.reasons), "; ")
            or ("the same inputs made something else" if each.what == "reran" else ""),
            _several(map(quote, each.outs), ", "),
        )
        for each in report.reruns
    ]
    columns = [Column("stage"), Column("what"), Column("why"), Column("outputs that changed")]
    return [Table("stages whose lock file changed", columns, rows)] if rows else []


def _stale(report: Report) -> list[Block]:
    if not report.stale:
        return []
    rows = [
        (_cell(quote(each.name)), _several(map(str, each.reasons), "; ") or "it needs one that is not")
        for each in report.stale
    ]
    about = Text(("These stages are not what they would make now: ", Code("vml repro"), " runs them."))
    return [about, Table("stages that do not fit their lock file", [Column("stage"), Column("why")], rows)]


def _problems(report: Report) -> list[Block]:
    columns = [Column("what"), Column("where"), Column("why")]
    rows = [(_cell(quote(each.what)), _cell(each.where), _cell(each.message)) for each in report.problems]
    return [Table("what could not be looked at", columns, rows)] if rows else []


def _pipeline(report: Report) -> list[Block]:
    if report.drawing is None:
        return []
    reran = frozenset(each.name for each in report.reruns)
    return [Graph(report.drawing, reran, frozenset(each.name for each in report.stale))]


def _several(words: Iterable[str], between: str) -> Code:
    found = list(words)
    more = f"{between}and {len(found) - _REASONS_MAX:,} more" if len(found) > _REASONS_MAX else ""
    return _cell(between.join(found[:_REASONS_MAX]) + more)


def _cell(text: str) -> Code:
    """A stranger's words in one line, cut where they are long."""
    shown = one_line(text)
    return Code(shown if len(shown) <= _TEXT_MAX else f"{shown[: _TEXT_MAX - 1]}…")
