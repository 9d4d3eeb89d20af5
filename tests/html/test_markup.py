"""HTML out of a stranger's words: they stay words."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.html import document, table
from vcs_ml.html.document import Needs, Section
from vcs_ml.html.markup import Html, join, new_id, tag, text
from vcs_ml.html.table import Cell, Column

WORDS = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]))


class Reader(HTMLParser):
    """What a page is made of: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


@given(WORDS, WORDS)
def test_words_stay_words(inside: str, attribute: str) -> None:
    found = Reader(tag("p", inside, title=attribute))

    assert found.elements == [("p", {"title": attribute})]
    assert found.words == inside


def test_what_hides_or_turns_text_is_replaced() -> None:
    assert text("a\u202eb\0c\udc80d\n") == "a\ufffdb\ufffdc\ufffdd\n"


def test_elements_are_not_escaped_again() -> None:
    assert tag("ul", tag("li", "a & b"), "<") == "<ul><li>a &amp; b</li>&lt;</ul>"
    assert join("<", Html("<br>"), by="&") == "&lt;&amp;<br>"
    assert tag("input", type="text", disabled=True, hidden=False, aria_label=None) == '<input type="text" disabled>'


@given(st.lists(st.text(), max_size=6))
def test_ids_are_plain_and_different(titles: list[str]) -> None:
    ids: list[str] = []
    for title in titles:
        ids.append(new_id(title, ids))

    assert len(set(ids)) == len(ids)
    assert all(each.replace("-", "").isalnum() and each.isascii() for each in ids)


def page(**needs: Any) -> Reader:
    sections = [Section(title, tag("p", title)) for title in ("One", "Two & more", "One")]
    return Reader(document.write("A <title>", sections, about="About", needs=Needs(**needs)))


def test_page_has_contents_that_lead_to_its_sections() -> None:
    found = page()

    targets = [attributes["href"] for name, attributes in found.elements if name == "a"]
    ids = [f"#{attributes['id']}" for name, attributes in found.elements if name == "section"]
    assert targets == ids == ["#one", "#two-more", "#one-2"]
    assert "A <title>" in found.words


def test_page_of_few_sections_has_no_contents() -> None:
    assert "<nav" not in document.write("T", [Section("One", text("x"))])


def test_page_allows_only_what_it_carries() -> None:
    policy = next(each["content"] for _, each in page().elements if each.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "script-src 'none'" in policy
    assert "unsafe" not in policy

    more = next(each["content"] for _, each in page(scripts=["1"], allowed=["2"]).elements if each.get("http-equiv"))
    assert more is not None
    assert more.count("'sha256-") == 3


def test_table_is_plain_and_says_what_it_shows() -> None:
    columns = [Column("name"), Column("size", number=True)]
    found = Reader(table.write(columns, [["<a>", Cell("1 kB", 1000)], ["b", Cell("-", None)]], caption="Files"))

    assert [name for name, _ in found.elements].count("tr") == 3
    assert {"class": "number", "data-by": "1000"} in [each for name, each in found.elements if name == "td"]
    assert "<a>" in found.words


def test_what_stands_inside_a_page_does_not_end_its_element() -> None:
    body = table.write([Column("name")], [["a"], ["b"]], caption="Files")
    found = Reader(document.write("T", [Section("S", body)]))

    names = [name for name, _ in found.elements]
    assert (names.count("script"), names.count("style")) == (1, 1)
    assert names.index("style") < names.index("body") < names.index("table") < names.index("script")
