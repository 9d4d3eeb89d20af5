"""The shell of a page: head, contents, sections, and the rule that nothing is loaded and no other script runs."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml.html.markup import Html, join, new_id, tag

_FILES: Final = Path(__file__).parent
_NONE: Final = "'none'"
_LISTED_FROM: Final = 3  # fewer sections than this need no table of contents


class Section(NamedTuple):
    """A part of a page under its title."""

    title: str
    body: Html


class Needs(NamedTuple):
    """What sections need beside their HTML.

    `style` is added to that of all pages. `scripts` run at the end; one of them may add a script whose text stands in
    `allowed`. `blocks` is HTML at the end that is not seen: the data of the scripts.
    """

    style: str = ""
    scripts: Sequence[str] = ()
    allowed: Sequence[str] = ()
    blocks: Html = Html("")


def write(
    title: str,
    sections: Sequence[Section],
    *,
    about: str = "",
    gallery: bool = False,
    needs: Needs = Needs(),  # noqa: B008 - it never changes
) -> str:
    """A whole page as one file; `about` is a paragraph below the title. A `gallery` has sections side by side.

    Nothing is loaded, and no other script or style runs: the content security policy names each by its hash
    (https://www.w3.org/TR/CSP3/#match-element-to-source-list).
    """
    style = _file("style.css") + needs.style
    has_table = any("<table>" in each.body for each in sections)
    scripts = [*([_file("table.js")] if has_table else ()), *needs.scripts]
    head = join(
        Html('<meta charset="utf-8">'),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, [*scripts, *needs.allowed])),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", Html(style)),
        by="\n",
    )
    ids: dict[str, Section] = {}
    for each in sections:
        ids[new_id(each.title, ids)] = each
    body = join(
        tag("header", tag("h1", title), tag("p", about, class_="about") if about else ""),
        _contents(ids),
        tag("main", *(_section(*each) for each in ids.items()), class_="gallery" if gallery else None),
        needs.blocks,
        *(tag("script", Html(each)) for each in scripts),
        by="\n",
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n{tag("head", head)}\n{tag("body", body)}\n</html>\n'


def _section(name: str, section: Section) -> Html:
    return tag("section", tag("h2", section.title), section.body, id=name, aria_label=section.title)


def _contents(ids: dict[str, Section]) -> Html:
    if len(ids) < _LISTED_FROM:
        return Html("")
    links = [tag("li", tag("a", each.title, href=f"#{name}")) for name, each in ids.items()]
    return tag("nav", tag("ul", *links), aria_label="On this page")


def _policy(style: str, scripts: Sequence[str]) -> str:
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts)) or _NONE}"
    )


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


@functools.cache
def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
