"""Tables in a browser: a click sorts, and without a script they are tables."""

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
