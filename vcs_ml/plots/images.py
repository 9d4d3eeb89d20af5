"""Pictures of several revisions side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from vcs_ml.output import quote, size
from vcs_ml.plots import pictures, svg
from vcs_ml.plots.pictures import Picture

BYTES_MAX: Final = 10_000_000
PAGE_MAX: Final = 50_000_000
# A file of a few bytes may unfold to more pixels than a browser has memory for.
PIXELS_MAX: Final = 50_000_000


class Shown(NamedTuple):
    """A picture, and the revisions in which it is the same."""

    revs: Sequence[str]
    raw: bytes
    picture: Picture


class Images(NamedTuple):
    """The pictures of a plot, in the order of revisions. With `apart`, there are two whose difference can be seen."""

    id: str
    title: str
    shown: Sequence[Shown]
    notes: Sequence[str]
    apart: bool


def compare(id: str, files: Mapping[str, bytes | str | None], *, title: str = "") -> Images:
    """The pictures of one path at several revisions; None where there is none, words where it cannot be read.

    What cannot be shown is noted.
    """
    notes: list[str] = []
    same: dict[bytes, list[str]] = {}
    problems = {raw: _problem(id, raw) for raw in set(files.values())}
    for rev, raw in files.items():
        if isinstance(raw, bytes) and problems[raw] is None:
            same.setdefault(raw, []).append(rev)
        else:
            notes.append(f"{rev}: {problems[raw]}")
    shown = [Shown(revs, raw, found) for raw, revs in same.items() if (found := pictures.look(raw)) is not None]
    notes += [f"{', '.join(each.revs)}: the same picture" for each in shown if len(each.revs) > 1]
    sizes = {(each.picture.width, each.picture.height) for each in shown}
    if len(sizes) > 1:
        notes.append("the pictures differ in their size")
    return Images(id, title or id, shown, notes, apart=len(shown) == 2 and len(sizes) == 1)


def left_out(id: str, *, title: str = "") -> Images:
    """Pictures for which a page has no room."""
    note = f"{quote(id)} is not shown: the pictures of a page have up to {size(PAGE_MAX)} (-t {quote(id)} shows it)"
    return Images(id, title or id, (), [note], apart=False)


def _problem(id: str, raw: bytes | str | None) -> str | None:
    if raw is None:
        return f"there is no {quote(id)}"
    if isinstance(raw, str):
        return raw
    if len(raw) > BYTES_MAX:
        return f"{quote(id)} has {size(len(raw))}, and a page shows pictures up to {size(BYTES_MAX)}"
    found = pictures.look(raw)
    if found is None:
        return f"{quote(id)} is no picture of a kind that is shown ({', '.join(pictures.SUFFIXES)})"
    if found.width * found.height > PIXELS_MAX:
        return f"{quote(id)} has {found.width:,} x {found.height:,} pixels, which is too many to show"
    return _problem_of_svg(id, raw) if found.kind == pictures.SUFFIXES[".svg"] else None


def _problem_of_svg(id: str, raw: bytes) -> str | None:
    found = svg.look(raw)
    if found.problem:
        return f"{quote(id)} {found.problem}"
    inside = [pictures.look(each) for each in found.pictures]
    if sum(each.width * each.height if each is not None else 0 for each in inside) > PIXELS_MAX:
        return f"{quote(id)} has pictures of too many pixels to show"
    return None
