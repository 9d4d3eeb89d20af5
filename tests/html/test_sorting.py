"""Tables in a browser: a click sorts, rows fit a phone, and without a script they are tables."""

from __future__ import annotations

from pathlib import Path

from tests.browser import Browser
from vcs_ml.html import document, table
from vcs_ml.html.document import Section
from vcs_ml.html.table import Cell, Column

COLUMNS = [Column("file"), Column("change", number=True)]
ROWS = [["f10", Cell("+5", 5)], ["f9", Cell("-", None)], ["F1", Cell("-20", -20)]]
NAMES = "[...document.querySelectorAll('tbody th')].map((each) => each.textContent).join(' ')"


def test_click_sorts_by_a_column_and_the_other_way(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(document.write("T", [Section("S", table.write(COLUMNS, ROWS, caption="Changes"))]))
    page = chromium.open(path, 390)
    click = "document.querySelectorAll('th button')[{}].click()"

    page.run(click.format(0))
    assert page.run(NAMES) == "F1 f9 f10"
    page.run(click.format(0))
    assert page.run(NAMES) == "f10 f9 F1"
    page.run(click.format(1))
    assert page.run(NAMES) == "F1 f10 f9"
    page.run(click.format(1))
    assert page.run(NAMES) == "f10 F1 f9"
    assert page.run("[...document.querySelectorAll('th')].map((each) => each.ariaSort).join()") == ",descending,,,"
    assert page.problems == page.requests == []


def test_on_a_phone_a_row_has_all_its_cells_with_their_headings(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    columns = [*COLUMNS, *(Column(f"<b>{at}", number=True) for at in range(9))]
    rows = [[*row, *(Cell("12345.67", 1) for _ in range(8)), ""] for row in ROWS]
    text = document.write("T", [Section("S", table.write(columns, rows, caption="Changes"))])
    path.write_text(text)
    page = chromium.open(path, 360)
    fits = "(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.scroll'))"

    assert page.run(fits)
    assert page.run(
        "Array.from(document.querySelector('tbody tr').cells, (each) => getComputedStyle(each, '::before').content)"
    ) == ["none", *(f'"{each.title} "' for each in columns[1:])]
    assert page.run("document.querySelector('tbody td:last-child').offsetHeight") == 0
    page.size(1280)
    assert page.run("getComputedStyle(document.querySelector('td'), '::before').content") == "none"

    path.write_text(text.replace("<script>", '<script type="text/plain">'))
    page = chromium.open(path, 360)
    assert page.run("getComputedStyle(document.querySelector('tr')).display") == "table-row"
    assert not page.run(fits)
