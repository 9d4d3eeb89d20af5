"""A report as Markdown for a pull request, as GitHub and GitLab read it; no stranger's word gets out of its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from vcs_ml.output import count, one_line
from vcs_ml.pipeline import drawing
from vcs_ml.plots.figures import Chart
from vcs_ml.report import cells, sections
from vcs_ml.report.blocks import Block, Cell, Code, Column, Figure, Figures, Graph, Section, Table, Text
from vcs_ml.report.model import Report

ROWS_MAX: Final = 60
_GRAPH_MAX: Final = 40_000  # characters: GitHub draws no chart above 50,000

# What a code span shows as it stands. Not so a backtick, a pipe, which ends a cell, and a backslash before one; and
# what could be taken for HTML, or for the hidden mark of a comment, does not even stand in the source.
_PLAIN: Final = re.compile(r"[^`|\\<>&\s](?:[^`|\\<>&]*[^`|\\<>&\s])?")
_ASCII: Final = re.compile(r"[!-/:-@\[-`{-~]")
# Before names and numbers, these are links to people, issues, commits, labels and the like.
_REFERENCE: Final = re.compile(r"([@#!~%$&^:*])(?=\S)")
_JOINER: Final = "\u2060"  # a character without width


def write(report: Report, *, precision: int) -> str:
    """The whole report; the same report always gives the same text."""
    parts = [
        f"## {plain(report.title)}",
        f"**{sections.verdict(report)}.** {sections.sentence(report)}",
        _text(sections.compared(report)),
        *(_section(each) for each in sections.sections(report, precision=precision, rows_max=ROWS_MAX)),
    ]
    # Half a surrogate pair, which a file name may hold, has no bytes.
    return "\n\n".join(parts).encode("utf-8", "replace").decode() + "\n"


def plain(text: str) -> str:
    """A stranger's text that is shown as text: no markup, mention or reference comes of it."""
    shown = _REFERENCE.sub(rf"\1{_JOINER}", one_line(text))
    return _ASCII.sub(_entity, shown)


def code(text: str) -> str:
    """A stranger's words as code, which forges look for neither markup nor names in; nothing for nothing."""
    if not text:
        return ""
    return f"`{text}`" if _PLAIN.fullmatch(text) else f"<code>{_ASCII.sub(_entity, text)}</code>"


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"


def _section(section: Section) -> str:
    body = "\n\n".join(_block(each) for each in section.blocks)
    if section.folded:
        # Behind an empty line, what is inside is Markdown again (CommonMark 4.6).
        return f"<details><summary>{section.title}</summary>\n\n{body}\n\n</details>"
    return f"### {section.title}\n\n{body}"


def _block(block: Block) -> str:
    match block:
        case Table():
            return "\n".join(_table(block))
        case Text():
            return _text(block)
        case Graph():
            return "\n".join(_graph(block))
        case Figures():
            return "\n".join(_figures(block))


def _text(block: Text) -> str:
    return "".join(map(_cell, block.parts))


def _table(table: Table) -> Iterator[str]:
    yield _row([_cell(each.title) for each in table.columns])
    yield _row(["--:" if each.number else "---" for each in table.columns])
    for row in table.rows:
        yield _row([_cell(each) for each in row])
    if table.rest:
        yield ""
        yield f"… and {count(table.rest, 'more row')}"


def _figures(block: Figures) -> Iterator[str]:
    """Charts in numbers: what a comment can show of them."""
    charts = [each for each in block.figures if isinstance(each, Chart)]
    rows: list[Sequence[Cell]] = [
        (cells.name(chart.title), cells.words(line.series), cells.count(line.points), *map(cells.number, line[2:]))
        for chart in charts
        for line in chart.summaries
    ]
    titles = ("points", "last", "lowest", "highest")
    columns = [Column("plot"), Column("series"), *(Column(title, number=True) for title in titles)]
    if rows:
        yield from _table(Table("plots", columns, rows[:ROWS_MAX], max(len(rows) - ROWS_MAX, 0)))
        yield ""
    rest = [each.title for each in block.figures if not (isinstance(each, Chart) and each.summaries)]
    also = f", also {_text(Text(tuple(cells.names(rest, ROWS_MAX))))}" if rest else ""
    yield f"`vml report --format html` draws {count(len(block.figures), 'plot')}{also}."


def _row(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _cell(cell: Cell) -> str:
    match cell:
        case Code():
            return code(cell)
        case Figure():
            return cell.shown
        case str():
            return cell
    return "".join(map(_cell, cell))


def _graph(graph: Graph) -> Iterator[str]:
    lines = [*drawing.mermaid(graph.drawing), *_marks(graph)]
    if sum(map(len, lines)) > _GRAPH_MAX:
        yield "Too large to be drawn here."
        return
    yield from ("```mermaid", *lines, "```")
    legend = [
        *["Thick borders: rerun."] * bool(graph.reran - graph.stale),
        *["Dashed: not reproduced."] * bool(graph.stale),
    ]
    if legend:
        yield ""
        yield " ".join(legend)


def _marks(graph: Graph) -> Iterator[str]:
    """Classes of nodes. Their borders differ in more than colour."""
    nodes = graph.drawing.nodes
    for name, style, chosen in (
        ("reran", "stroke-width:4px", graph.reran - graph.stale),
        ("stale", "stroke-width:2px,stroke-dasharray:6 4", graph.stale),
    ):
        numbers = [f"n{number}" for number, node in enumerate(nodes) if node.kind == "stage" and node.name in chosen]
        if numbers:
            yield f"    classDef {name} {style}"
            yield f"    class {','.join(numbers)} {name}"
