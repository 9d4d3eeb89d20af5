"""What a report says, in its order: the same for Markdown and for a page, which only write it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vcs_ml.metrics import table
from vcs_ml.metrics.compare import Row
from vcs_ml.output import count, quote
from vcs_ml.pipeline.signature import Reason
from vcs_ml.pipeline.staleness import StageState
from vcs_ml.report import cells, data_sections
from vcs_ml.report.blocks import Block, Code, Column, Figure, Figures, Graph, Section, Table, Text
from vcs_ml.report.model import Report
from vcs_ml.report.sides import Side


def verdict(report: Report) -> str:
    """Whether the gates hold, in a few words."""
    failed = sum(not each.passed for each in report.gates)
    text = "No gates"
    if failed:
        text = f"❌ {failed:,} of {count(len(report.gates), 'gate')} failed"
    elif report.gates:
        text = f"✅ {count(len(report.gates), 'gate')} passed"
    return ", ".join(filter(None, (text, gates_changed(report))))


def gates_changed(report: Report) -> str:
    """How many gates are gone or are not what they were, in a few words; nothing for nothing."""
    changed = sum(each.changed for each in report.gates)
    words = {"removed": len(report.removed), "changed": changed}
    return ", ".join(f"{count(number, 'gate')} {what}" for what, number in words.items() if number)


def sentence(report: Report) -> str:
    """What changed, in one sentence."""
    changed = [each for each in report.metrics if each.changed]
    words = []
    if changed:
        better = report.better
        trends = [trend(better, each) for each in changed]
        known = [f"{trends.count(word):,} {word}" for word in ("better", "worse") if word in trends]
        more = f" ({', '.join(known)})" if known else ""
        words.append(f"{count(len(changed), 'metric')} changed{more}")
    if report.params:
        words.append(f"{count(len(report.params), 'param')} changed")
    words.append(data_sections.sentence(report.data))
    if report.changed_plots:
        words.append(f"{count(len(report.changed_plots), 'plot')} changed")
    if removed := sum(each.what == "removed" for each in report.reruns):
        words.append(f"{count(removed, 'stage')} removed")
    if len(report.reruns) > removed:
        words.append(f"{count(len(report.reruns) - removed, 'stage')} rerun")
    if report.stale:
        words.append(f"{count(len(report.stale), 'stage')} not reproduced")
    if report.problems:
        words.append(f"{count(len(report.problems), 'problem')}")
    text = ", ".join(filter(None, words)) or "nothing changed"
    return f"{text[0].upper()}{text[1:]}."


def trend(better: Mapping[tuple[str, str], str], row: Row) -> str:
    """better or worse, where it is known which way that is (see Report.better), else nothing."""
    way = better.get((row.file, row.key))
    if way is None or not row.delta:
        return ""
    return "better" if (row.delta > 0) == (way == "higher") else "worse"


def sections(report: Report, *, precision: int, rows_max: int) -> list[Section]:
    """Everything below the verdict. A table has at most `rows_max` rows; sections with nothing to say are left out."""
    changed = [each for each in report.metrics if each.changed]
    same = [each for each in report.metrics if not each.changed]
    found = (
        Section("Gates", _gates(report, precision)),
        Section("Metrics", _values(report, changed, "metrics that changed", precision, rows_max)),
        Section("Params", _values(report, report.params, "params that changed", precision, rows_max)),
        Section("Data", data_sections.files(report)),
        Section("Tables", data_sections.tables(report)),
        Section("Stages", _stages(report)),
        Section("Not reproduced", _stale(report)),
        Section("Problems", _problems(report)),
        Section("Unchanged metrics", _same(same, precision, rows_max), folded=True),
        Section("Plots", _plots(report, rows_max), folded=True),
        Section("Columns of tables", data_sections.statistics(report), folded=True),
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
    label = cells.words(side.label)
    return (label, " (", cells.words(side.about), ")") if side.about else (label,)


def _cut(found: Table, rows_max: int) -> Table:
    rest = max(len(found.rows) - rows_max, 0)
    return found._replace(rows=found.rows[:rows_max], rest=found.rest + rest)


# ---------------------------------------------------------------------- gates, metrics, params


def _gates(report: Report, precision: int) -> list[Block]:
    old, new = cells.sides(report)
    # On a phone, the first few columns are seen.
    columns = [Column("result"), Column("metric"), new, Column("why"), Column("must be"), old]
    rows = [
        (
            "✅ passed" if each.passed else "❌ failed",
            cells.words(each.gate.name),
            cells.value(each.new, precision),
            cells.words("; ".join((*each.faults, *each.notes))),
            cells.words(str(each.gate)),
            cells.value(each.old, precision),
        )
        for each in sorted(report.gates, key=lambda each: each.passed)
    ]
    blocks: list[Block] = [Table("gates", columns, rows)] if rows else []
    if report.removed:
        gone = (f"{each.name} ({each})" for each in report.removed)
        blocks.append(Text(("Gates that are gone: ", cells.several(gone, ", "))))
    return blocks


def _values(report: Report, every: Sequence[Row], caption: str, precision: int, rows_max: int) -> list[Block]:
    """A table of values that changed; where it is known of some, it says which became better."""
    rows = every[:rows_max]  # of many, most are never shown
    if not rows:
        return []
    better = report.better
    trends = [trend(better, row) for row in rows]
    numbers = (Column(title, number=True) for title in ("change", "%"))
    columns = [Column("file"), Column("key"), *cells.sides(report), *numbers]
    found = [
        (
            cells.name(row.file),
            cells.words(row.key),
            *cells.pair(row, precision),
            cells.change(row, precision),
            Figure(table.percent(row), row.percent),
        )
        for row in rows
    ]
    rest = len(every) - len(rows)
    if not any(trends):
        return [Table(caption, columns, found, rest)]
    with_trends = [(*row, word) for row, word in zip(found, trends, strict=True)]
    return [Table(caption, [*columns, Column("trend")], with_trends, rest)]


def _same(rows: Sequence[Row], precision: int, rows_max: int) -> list[Block]:
    columns = [Column("file"), Column("key"), Column("value", number=True)]
    found = [(cells.name(row.file), cells.words(row.key), cells.value(row.new, precision)) for row in rows[:rows_max]]
    return [Table("metrics that did not change", columns, found, len(rows) - len(found))] if rows else []


# ---------------------------------------------------------------------- stages, problems


def _stages(report: Report) -> list[Block]:
    rows = [
        (
            cells.name(each.name),
            {"added": "new", "removed": "removed", "reran": "rerun"}[each.what],
            _why(each.reasons) or ("the same inputs made something else" if each.what == "reran" else ""),
            cells.several(map(quote, each.outs), ", "),
        )
        for each in report.reruns
    ]
    columns = [Column("stage"), Column("what"), Column("why"), Column("outputs that changed")]
    return [Table("stages whose lock file changed", columns, rows)] if rows else []


def _why(reasons: Sequence[Reason]) -> Code:
    return cells.several((str(each).replace(" -> ", " → ") for each in reasons), "; ")


def _stale(report: Report) -> list[Block]:
    if not report.stale:
        return []
    rows = [(cells.name(each.name), cells.words(why_stale(report, each))) for each in report.stale]
    about = Text(("These stages are not what they would make now: ", Code("vml repro"), " runs them."))
    return [about, Table("stages that do not fit their lock file", [Column("stage"), Column("why")], rows)]


def why_stale(report: Report, each: StageState) -> str:
    """Why a stage would run now."""
    if each.reasons:
        return _why(each.reasons)
    needs = cells.several(map(quote, report.upstream.get(each.name, ())), ", ")
    return f"it needs {needs}" if needs else f"it is {each.state}"


def _problems(report: Report) -> list[Block]:
    columns = [Column("what"), Column("where"), Column("why")]
    rows = [(cells.name(each.what), cells.words(each.where), cells.words(each.message)) for each in report.problems]
    return [Table("what could not be looked at", columns, rows)] if rows else []


def _plots(report: Report, rows_max: int) -> list[Block]:
    if not report.figures:
        return []
    changed = [each.title for each in report.figures if each.id in report.changed_plots]
    said = [Text(("Changed: ", *cells.names(changed, rows_max)))] if changed else []
    return [*said, Figures(report.figures)]


def _pipeline(report: Report) -> list[Block]:
    if report.drawing is None:
        return []
    reran = frozenset(each.name for each in report.reruns)
    return [Graph(report.drawing, reran, frozenset(each.name for each in report.stale))]
