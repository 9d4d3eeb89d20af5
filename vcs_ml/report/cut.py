"""Markdown that is too long for where it goes: where it may be cut, and what has to be closed there."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from vcs_ml.output import count

if TYPE_CHECKING:
    from markdown_it.token import Token

_LINK_MAX: Final = 500
# The block structure and raw HTML of GitHub's dialect. Emphasis and links live inside a block, which is never cut.
_RULES: Final = (
    "table", "code", "fence", "blockquote", "hr", "list", "reference", "html_block", "heading", "lheading",
    "backticks", "escape", "html_inline", "autolink",
)  # fmt: skip
# A comment to its end, or a tag: its slash, its name, what is in it.
_TAG: Final = re.compile(r"<!--.*?(?:-->|\Z)|<(/?)([A-Za-z][A-Za-z0-9-]*)([^<>]*)>", re.DOTALL)
_VOID: Final = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
_DEEPEST: Final = 50  # elements in each other; a text with more of them is cut before


class _Place(NamedTuple):
    """A line before which the text may end, and the lines that close what is open there."""

    line: int
    closing: str


def fit(text: str, limit: int, link: str = "") -> str:
    """`text`, or its beginning and a line that says how much is missing, in at most `limit` bytes of UTF-8.

    `limit` is at least 1,000. The text ends behind a block, a row of a table, an item of a list or a line of code,
    never behind a heading or an opening tag. Code fences and HTML elements that are open there are closed. `link` says
    where the whole text is. What UTF-8 cannot hold becomes a question mark, and every line ends in a newline.
    """
    text = re.sub("\r\n?", "\n", text.encode(errors="replace").decode())
    if len(text.encode()) <= limit:
        return text
    lines = text.removesuffix("\n").split("\n")
    ends = [0, *accumulate(len(line.encode()) + 1 for line in lines)]  # in bytes; ends[n] is that of the first n lines
    within = bisect_right(ends, limit) - 1
    places = [_Place(0, ""), *_places("\n".join(lines[: within + 1]))]
    endings = ((line, closing + _missing(len(lines) - line, link)) for line, closing in reversed(places))
    line, ending = next(each for each in endings if ends[each[0]] + len(each[1].encode()) <= limit)
    return "".join(f"{each}\n" for each in lines[:line]) + ending


def _missing(n: int, link: str) -> str:
    where = f"; the full report: {link}" if link and len(link.encode()) <= _LINK_MAX else ""
    return f"\n… cut: {count(n, 'more line')}{where}\n"


def _places(text: str) -> Iterator[_Place]:
    """Where a text may end, from its beginning to its end, by the block structure of CommonMark with tables."""
    elements: list[str] = []  # HTML elements that are open
    opened: dict[int, Token] = {}  # by level: the last one
    for token in _parse(text):
        before = len(elements)
        for html in _raw_html(token):
            _follow(html, elements)
        if len(elements) > _DEEPEST:
            return
        if token.nesting >= 0:
            opened[token.level] = token
        block = opened[token.level]
        if block.type == "fence" and block.level == 0:
            yield from _inside_fence(block, elements)
        if block.map is not None and _ends_part(token, opened) and len(elements) <= before:
            yield _Place(block.map[1], _closed(elements))


def _parse(text: str) -> list[Token]:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - costs 45 ms, and few reports are too long

    return MarkdownIt("zero", {"html": True}).enable(_RULES).parse(text)


def _ends_part(token: Token, opened: Mapping[int, Token]) -> bool:
    """Whether a block ends with this token, or a row or an item of one, behind which the text may end."""
    if token.level == 0:
        return token.nesting <= 0 and token.type != "heading_close"
    if token.type == "tr_close":
        return token.level == 2 and opened[1].type == "tbody_open"
    return token.type == "list_item_close" and token.level == 1


def _inside_fence(fence: Token, elements: list[str]) -> Iterator[_Place]:
    """Behind each line of the code but the last; a drawing is whole or nothing."""
    assert fence.map is not None
    if not fence.info.startswith("mermaid"):
        for line in range(fence.map[0] + 2, fence.map[1] - 1):
            yield _Place(line, f"{fence.markup}\n{_closed(elements)}")


def _raw_html(token: Token) -> Iterator[str]:
    if token.type == "html_block":
        yield token.content
    yield from (child.content for child in token.children or () if child.type == "html_inline")


def _follow(html: str, elements: list[str]) -> None:
    """Bring the list of open elements behind this piece of HTML."""
    for tag in _TAG.finditer(html):
        name = (tag[2] or "").lower()
        if tag[1] and name in elements:
            while elements.pop() != name:
                pass
        elif name and not tag[1] and name not in _VOID and not tag[3].endswith("/") and len(elements) <= _DEEPEST:
            elements.append(name)


def _closed(elements: list[str]) -> str:
    return "".join(f"\n</{name}>" for name in reversed(elements)) + "\n" * bool(elements)
