"""A report as a page: one file that runs offline, in which no stranger's word is markup."""

from __future__ import annotations

from vcs_ml.html import document, table
from vcs_ml.html.markup import Html, join, tag, text
from vcs_ml.output import count
from vcs_ml.pipeline import drawing
from vcs_ml.plots import page as plots
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images
from vcs_ml.report import sections
from vcs_ml.report.blocks import Block, Cell, Code, Figure, Figures, Graph, Section, Table, Text
from vcs_ml.report.model import Report

ROWS_MAX = 2_000
_WIDTH = 100  # columns of the drawing of the stages
_CLASSES = {"✅ passed": "good", "❌ failed": "bad", "better": "good", "worse": "bad"}
_SIGNS = str.maketrans({"✅": "✓", "❌": "✗"})  # which every font has


def write(report: Report, *, precision: int) -> str:
    """The whole report; the same report always gives the same text."""
    found = sections.sections(report, precision=precision, rows_max=ROWS_MAX)
    kind = "bad" if not report.passed else "good" if report.gates else None
    verdict = tag("p", tag("strong", sections.verdict(report).translate(_SIGNS)), class_=kind)
    about = tag("p", sections.sentence(report))
    top = document.Section("Summary", join(verdict, about, _block(sections.compared(report))))
    return document.write(report.title, [top, *map(_section, found)], needs=plots.needs(report.figures))


def _section(section: Section) -> document.Section:
    body = join(*map(_block, section.blocks))
    # A chart in what is closed would be drawn without width.
    if section.folded and not any(isinstance(each, Figures) for each in section.blocks):
        body = tag("details", tag("summary", "Show"), body)
    return document.Section(section.title, body)


def _block(block: Block) -> Html:
    match block:
        case Table():
            return _table(block)
        case Text():
            return tag("p", _parts(block.parts))
        case Figures():
            return join(*(_figure(each, number) for number, each in enumerate(block.figures)))
        case Graph():
            lines = tag("pre", "\n".join(drawing.text(block.drawing, _WIDTH)))
            return tag("div", lines, class_="scroll", tabindex="0", role="region", aria_label="stages")


def _figure(figure: Chart | Images, number: int) -> Html:
    return join(tag("h3", figure.title), plots.body(figure, number))


def _table(found: Table) -> Html:
    columns = [table.Column(_words(each.title), each.number) for each in found.columns]
    rows = [[_cell(each) for each in row] for row in found.rows]
    rest = tag("p", f"… and {count(found.rest, 'more row')}", class_="note") if found.rest else ""
    return join(table.write(columns, rows, caption=found.caption), rest)


def _cell(cell: Cell) -> Html | table.Cell:
    match cell:
        case Figure():
            return table.Cell(cell.shown, cell.by)
        case str():
            return _words(cell)
    return _parts(cell)


def _parts(parts: tuple[str | Code, ...]) -> Html:
    return join(*map(_words, parts))


def _words(words: str | Code) -> Html:
    if isinstance(words, Code):
        return tag("code", str(words)) if words else Html("")
    return tag("span", words.translate(_SIGNS), class_=_CLASSES[words]) if words in _CLASSES else text(words)
