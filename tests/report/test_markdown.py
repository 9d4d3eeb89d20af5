"""Reports as Markdown: what they look like, and that no stranger's word gets out of its place."""

from __future__ import annotations

import html
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests import reports
from vcs_ml.metrics.compare import Row
from vcs_ml.report import data, markdown
from vcs_ml.report.data import Data
from vcs_ml.report.model import Report
from vcs_ml.report.stages import Rerun
from vcs_ml.store.page import FILE, Entry
from vcs_ml.workspace.status import Change

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "a|b",
    "a\\|b",
    "a\\",
    "`",
    "``x```",
    "<script>alert(1)</script>",
    "</details>",
    "<!-- vml-report -->",
    "-->",
    "&lt;b&gt;",
    "@somebody",
    "#123 GH-123 !5 owner/repo#1",
    "[x](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "www.evil.example https://evil.example",
    "**bold** _it_ ~~gone~~ $x$ :smile:",
    "line\nbreak",
    "\n\n# heading",
    "\r\n| a | b |",
    "```\nfence",
    "\x1b[31mred\u202egnp.exe",
    "\udcff",
    " lead and trail ",
    "-",
    "---",
    "",
    "x" * 5000,
    "%d {} \x00",
]


def write(report: Report) -> str:
    return markdown.write(report, precision=5)


def shape(text: str) -> list[str]:
    """What the text is for a reader of Markdown: its blocks, and what is in them but for words."""
    return [each.type + each.tag for each in PARSER.parse(text)]


def inline(text: str) -> list[Token]:
    return [child for each in PARSER.parse(text) for child in each.children or ()]


def check(text: str, wanted: list[str]) -> None:
    """Nothing but words differs from the report with harmless ones."""
    assert shape(text) == wanted
    for each in inline(text):
        assert each.type in ("text", "code_inline", "strong_open", "strong_close", "html_inline"), each
        if each.type == "html_inline":
            assert each.content in ("<code>", "</code>")
    assert "<!--" not in text
    outside = re.sub(r"<code>.*?</code>|`[^`]*`|^#+ ", "", text, flags=re.MULTILINE)
    assert not re.search(r"[@#!~%$&]\w", html.unescape(outside))


def full(words: list[str]) -> str:
    return write(reports.full(itertools.cycle(words)))


@pytest.fixture(scope="module")
def harmless() -> list[str]:
    return shape(full(["x"]))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_in_their_place(words: str, harmless: list[str]) -> None:
    check(full([words]), harmless)


HARMLESS = shape(full(["x"]))


@given(st.lists(st.text(max_size=30) | st.sampled_from(HOSTILE), min_size=1, max_size=20))
def test_any_words_stay_in_their_place(words: list[str]) -> None:
    check(full(words), HARMLESS)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50))
def test_code_shows_what_it_was_given(words: str) -> None:
    (token,) = PARSER.parseInline(f"a {markdown.code(words)} b")
    inside = "".join(each.content for each in token.children or () if each.type in ("code_inline", "text"))
    assert inside == f"a {words} b"


@given(st.text(max_size=30))
def test_in_a_table_it_stays_one_cell(words: str) -> None:
    text = write(reports.empty(metrics=[Row("m", words, 1, 2)]))
    row = next(line for line in text.splitlines() if line.startswith("| `m`"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


def test_the_same_report_is_the_same_text() -> None:
    assert full(HOSTILE) == full(HOSTILE)


def test_nothing_changed() -> None:
    assert write(reports.empty()) == "## vml report\n\n**No gates.** Nothing changed.\n\n`main` → `workspace`\n"


def test_long_tables_are_cut() -> None:
    rows = [Row("m.json", str(n), n, n + 1) for n in range(500)]
    text = write(reports.empty(metrics=rows))
    assert "500 metrics changed" in text
    assert text.count("`m.json`") == markdown.ROWS_MAX
    assert "… and 440 more rows" in text


def test_small_changes_show_all_digits() -> None:
    text = write(reports.empty(metrics=[Row("m", "a", 0.1234567, 0.1234568), Row("m", "b", 1, "1")]))
    assert "| `m` | `a` | 0.1234567 | 0.1234568 | ▲ +1e-07 | +0.0 % |" in text
    assert '| `m` | `b` | 1 | `"1"` |  |  |' in text


def change(path: str, old: int | None, new: int | None) -> Change:
    entries = [Entry(b"x", FILE, n, b"d" * 16) if n is not None else None for n in (old, new)]
    return Change(path, "added" if old is None else "deleted" if new is None else "modified", *entries)


def test_many_files_are_counted_by_folder() -> None:
    changes = [change(f"digits/train/{n % 3}/{n}.png", None, 100) for n in range(30)]
    changes += [change("digits/train/2/x.png", 50, None), change("table.csv", 10, 20)]
    found = data.lines(Data(changes, (), frozenset(["digits", "table.csv"])))
    assert [(each.path, dict(each.counts), each.growth) for each in found] == [
        ("digits/train/0/", {"added": 10}, 1000),
        ("digits/train/1/", {"added": 10}, 1000),
        ("digits/train/2/", {"added": 10, "deleted": 1}, 950),
        ("table.csv", {"modified": 1}, 10),
    ]
    text = write(reports.empty(data=Data(changes, (), frozenset(["digits", "table.csv"]))))
    assert "| `digits/train/2/` | 10 added, 1 deleted | - | - | +950 B |" in text
    assert "Data: 30 added, 1 modified, 1 deleted (+3.0 kB)" in text


def test_of_many_folders_the_largest_have_a_line() -> None:
    changes = [change(f"d/{n:02}/{m}", None, 1) for n in range(30) for m in range(1 + (n == 29))]
    changes += [change("d/top", None, 1)]
    found = data.lines(Data(changes, (), frozenset(["d"])))
    assert len(found) == data.FOLDERS_MAX + 1
    assert [each.path for each in found][-2:] == ["d/29/", "d/…/"]
    assert sum(each.counts["added"] for each in found) == len(changes)


PATHS = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), max_size=60, unique=True)


@given(PATHS, st.sets(st.sampled_from("abc")))
def test_no_file_is_lost_in_folders(paths: list[str], tracked: set[str]) -> None:
    found = Data([change(path, None, 1) for path in sorted(paths)], (), frozenset(tracked))
    lines = data.lines(found)
    assert sum(sum(each.counts.values()) for each in lines) == len(paths)
    assert sum(each.growth for each in lines) == found.growth == len(paths)
    for each in lines:
        if each.path.endswith("/") and "…" not in each.path:
            assert any(path.startswith(each.path) for path in paths)


def test_the_graph_says_which_stages_ran() -> None:
    report = reports.full(itertools.cycle(["x"]))
    text = write(report._replace(reruns=[Rerun("x", "reran")], stale=[]))
    assert "    classDef reran stroke-width:4px\n    class n1 reran\n```" in text
