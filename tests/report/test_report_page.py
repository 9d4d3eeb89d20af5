"""Reports as pages: what a stranger writes is never markup, and the page is whole."""

from __future__ import annotations

import itertools
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reports
from tests.browser import Browser
from tests.report.test_markdown import HOSTILE
from vcs_ml.metrics.compare import Row
from vcs_ml.report import page


class Reader(HTMLParser):
    """Every tag with its attributes but for those that hold words, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[object] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attributes]))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.words += data


def full(words: list[str]) -> str:
    return page.write(reports.full(itertools.cycle(words)), precision=5)


HARMLESS = Reader(full(["x"])).tags


@pytest.mark.parametrize("words", [each for each in HOSTILE if each])
def test_hostile_words_are_words(words: str) -> None:
    text = full([words])
    assert Reader(text).tags == HARMLESS
    text.encode()


@given(st.lists(st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE[:-4]), min_size=1, max_size=20))
def test_any_words_are_words(words: list[str]) -> None:
    assert Reader(full(words)).tags == HARMLESS


def test_it_says_what_the_markdown_says() -> None:
    words = Reader(full(["name"])).words
    for each in ("1 of 2 gates failed", "Not reproduced", "rerun", "What could not", "columns whose values changed"):
        assert each.lower() in words.lower()
    assert full(["name"]) == full(["name"])


def test_nothing_changed() -> None:
    words = Reader(page.write(reports.empty(), precision=5)).words
    assert "Nothing changed." in words
    assert "No gates" in words


# ---------------------------------------------------------------------- in a browser


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(chromium: Browser, tmp_path: Path, width: int) -> None:
    place = tmp_path / "report.html"
    place.write_text(full(["<img src=x onerror=alert(1)>", "a" * 200, "name"]), "utf-8")
    tab = chromium.open(place, width)
    tab.wait("document.documentElement.dataset.charts === 'drawn'")
    assert tab.problems == []
    assert tab.requests == []
    assert tab.run("document.documentElement.scrollWidth") == width
    assert tab.run("document.querySelector('.chart svg, .chart canvas') !== null")
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    tab.picture(shots / f"report-{width}.png")
    tab.size(width, dark=True)
    tab.picture(shots / f"report-{width}-dark.png")


def test_tables_are_sorted_by_size(chromium: Browser, tmp_path: Path) -> None:
    rows = [Row("m", str(n), 1, 1 + n) for n in (5, 100, -20, 7)]
    place = tmp_path / "report.html"
    place.write_text(page.write(reports.empty(metrics=rows), precision=5), "utf-8")
    tab = chromium.open(place, 1280)
    keys = "[...document.querySelectorAll('#metrics tbody tr')].map((row) => row.cells[1].textContent)"
    assert tab.run(keys) == ["5", "100", "-20", "7"]
    tab.run("[...document.querySelectorAll('#metrics th button')].at(4).click()")
    assert tab.run(keys) == ["-20", "5", "7", "100"]


@pytest.mark.parametrize("width", [360, 1000])
def test_long_values_push_nothing_out_of_sight(chromium: Browser, tmp_path: Path, width: int) -> None:
    lists = [[at + part / 7 for part in range(40)] for at in range(2)]
    rows = [Row("results/metrics.json", "per_class", *lists), Row("results/metrics.json", "f1.macro", 0.1, 0.9)]
    place = tmp_path / "report.html"
    place.write_text(page.write(reports.empty(metrics=rows), precision=5), "utf-8")
    tab = chromium.open(place, width)
    assert tab.run("[...document.querySelectorAll('.scroll')].every((each) => each.scrollWidth <= each.clientWidth)")
