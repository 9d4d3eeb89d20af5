"""HTML out of values: whatever is not HTML already is escaped."""

from __future__ import annotations

import re
from collections.abc import Container
from html import escape
from typing import Final

_VOID: Final = frozenset(("br", "col", "hr", "img", "input", "meta"))
_NOT_IN_IDS: Final = re.compile(r"[^a-z0-9]+")
_ID_MAX: Final = 60
# Signs that turn the order of letters round, and controls that no page may hold.
_HIDDEN: Final = dict.fromkeys(
    (
        *(code for code in range(32) if code not in (9, 10)),
        *range(127, 160),
        *(0x061C, 0x200E, 0x200F),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),  # half a surrogate pair, which a file name may hold, has no bytes
    ),
    "\ufffd",
)


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any text, escaped for content and for quoted attributes; what would change how a page reads is replaced."""
    return value if isinstance(value, Html) else Html(escape(str(value).translate(_HIDDEN)))


def join(*parts: str, by: str = "") -> Html:
    """All parts behind each other, each escaped unless it is Html."""
    return Html(text(by).join(map(text, parts)))


def tag(name: str, *children: str, **attributes: str | int | bool | None) -> Html:
    """One element. The attribute `class_` is class, `aria_label` aria-label; True stands bare, False and None not."""
    words = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            shown = key.rstrip("_").replace("_", "-")
            words.append(shown if value is True else f'{shown}="{text(value)}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in _VOID else f"{opening}{join(*children)}</{name}>")


def new_id(title: str, taken: Container[str]) -> str:
    """An id for an element about `title` that is not `taken`: small letters, digits and hyphens."""
    stem = _NOT_IN_IDS.sub("-", title[:_ID_MAX].lower()).strip("-") or "part"
    found, count = stem, 1
    while found in taken:
        count += 1
        found = f"{stem}-{count}"
    return found
