"""Cutting a report: within the limit, still whole Markdown, and with a word on what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vcs_ml.report import cut

LINK = "https://ci.example.org/runs/1"
VOID = {"br", "hr", "img", "input"}


class Elements(HTMLParser):
    """Which elements of a page are open at its end, or were closed without being the innermost one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.text: list[tuple[str, ...]] = []  # the elements around each piece of text that says what is missing
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if data.startswith("… cut: "):
            self.text.append(tuple(self.open))


def page(text: str) -> Elements:
    return Elements(MarkdownIt("commonmark").enable("table").render(text))


def missing(text: str) -> int:
    """How many lines the last line says are missing."""
    found = re.search(r"\n\n?… cut: ([\d,]+) more lines?; the full report: (\S+)\n\Z", "\n" + text)
    assert found and found[2] == LINK, text[-200:]
    return int(found[1].replace(",", ""))


words = st.lists(
    st.sampled_from(["a", "`<b>`", "[x](https://example.org/a)", "*é*", "&lt;", "<sub>1</sub>", "| ", "\\`", "日本"])
)
line = words.map(" ".join).filter(lambda text: text.strip(" |") != "")
rows = st.lists(line, max_size=40)
leaf = st.one_of(
    line.map(lambda text: f"## {text}\n"),
    st.lists(line, min_size=1, max_size=4).map(lambda lines: "".join(f"{each}\n" for each in lines)),
    rows.map(lambda found: "| x |\n| - |\n" + "".join(f"| {each.replace('|', chr(92) + '|')} |\n" for each in found)),
    st.tuples(st.sampled_from(["```", "~~~~", "```mermaid"]), rows).map(
        lambda both: (
            f"{both[0]}\n" + "".join(f"<b> {each}\n" for each in both[1]) + both[0].removesuffix("mermaid") + "\n"
        )
    ),
    rows.map(lambda found: "".join(f"- {each}\n  - {each}\n" for each in found) or "- a\n"),
    rows.map(lambda found: "".join(f"> {each}\n" for each in found) or "> a\n"),
    rows.map(lambda found: "<table>\n" + "".join(f"<tr><td>{len(each)}</td></tr>\n" for each in found) + "</table>\n"),
    st.just("<!-- <details> -->\n"),
)
block = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=6).map(
        lambda blocks: "<details>\n<summary>more</summary>\n\n" + "\n".join(blocks) + "\n</details>\n"
    ),
    max_leaves=8,
)
report = st.lists(block, max_size=12).map("\n".join)


@settings(max_examples=60)
@given(report, st.integers(1000, 3000))
def test_report_that_is_cut_is_whole_markdown(text: str, limit: int) -> None:
    found = cut.fit(text, limit, LINK)

    assert len(found.encode()) <= limit
    if len(text.encode()) <= limit:
        assert found == text
        return
    shown = page(found)
    assert (shown.open, shown.crossed) == ([], [])
    assert shown.text == [("p",)]
    kept = text.count("\n") - missing(found)
    assert found.startswith("".join(text.splitlines(keepends=True)[:kept]))


hostile = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "```",
                "~~~",
                "<details>",
                "</details>",
                "<!--",
                "-->",
                "<b",
                "|",
                "|-|",
                "- ",
                "> ",
                "    ",
                "[",
                "](",
                "`",
            ]
        ),
        st.sampled_from(["\n", "\n\n", "\r\n", "\r", "\0", "\u2028", "\ud800", "é", "😀", "# ", "<script>", "x" * 400]),
        st.text(max_size=20),
    ),
    max_size=200,
).map("".join)


@given(hostile, st.integers(1000, 1500))
def test_any_text_stays_within_the_limit(text: str, limit: int) -> None:
    found = cut.fit(text, limit, LINK)

    assert len(found.encode()) <= limit
    whole = text.encode(errors="replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    if found != whole:
        assert len(whole.encode()) > limit
        kept = whole.removesuffix("\n").split("\n")
        kept = kept[: len(kept) - missing(found)]
        assert found.startswith("".join(f"{each}\n" for each in kept))
        assert page(found).text == [("p",)]  # nothing that was left open swallows it


def test_table_keeps_its_header_and_whole_rows() -> None:
    row = "| `data/file.csv` | 1.2 kB |\n"
    text = "# Data\n\n| path | size |\n| --- | --- |\n" + row * 100

    found = cut.fit(text, 1000, LINK)

    assert found.startswith("# Data\n\n| path | size |\n| --- | --- |\n" + row)
    assert found.count(row) == 104 - missing(found) - 4


@pytest.mark.parametrize("before", ["## Files\n\n", "<details>\n<summary>Files</summary>\n\n"])
def test_heading_does_not_stay_without_what_is_below(before: str) -> None:
    found = cut.fit("text\n\n" + before + "long " * 300 + "\n", 1000, LINK)

    assert found.startswith("text\n\n… cut: ")


def test_code_and_fold_are_closed() -> None:
    found = cut.fit("<details>\n\n````py\n" + "x = 1\n" * 300 + "````\n\n</details>\n", 1000, LINK)

    assert "x = 1\n````\n\n</details>\n\n… cut: " in found


def test_drawing_is_whole_or_not_there() -> None:
    text = "text\n\n```mermaid\nflowchart TD\n" + "a --> b\n" * 300 + "```\n"

    assert cut.fit(text, 1000, LINK).startswith("text\n\n… cut: ")


def test_line_without_end_is_left_out() -> None:
    assert cut.fit("x" * 2_000_000, 60_000, LINK) == f"\n… cut: 1 more line; the full report: {LINK}\n"


def test_elements_without_end_take_no_memory() -> None:
    found = cut.fit("text\n\n" + "<b>\n\n" * 9000 + "| a |\n| - |\n" + "| 1 |\n" * 9000, 60_000, LINK)

    assert found.count("</b>") <= 51


def test_link_that_is_not_known_or_too_long_is_not_named() -> None:
    for link in ("", "https://example.org/" + "x" * 500):
        assert cut.fit("a\n\n" * 600, 1000, link).endswith(" more lines\n")
