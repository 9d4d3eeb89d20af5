"""Data between two revisions: how much changed, and long lists of files as a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from vcs_ml.store.page import Entry
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.status import Change

FILES_MAX: Final = 10  # of one tracked thing, that have a line each
FOLDERS_MAX: Final = 20  # of one directory
KINDS: Final = ("added", "modified", "deleted", "renamed")


class Unlisted(NamedTuple):
    """A tracked directory that changed, and whose list of files is not here for one side at least."""

    path: str
    old: Pointer | None
    new: Pointer | None


class Data(NamedTuple):
    """All that changed: files, sorted by path; directories of which only the size is known; `tracked` has the paths of
    all that is tracked on either side.
    """

    changes: Sequence[Change] = ()
    unlisted: Sequence[Unlisted] = ()
    tracked: frozenset[str] = frozenset()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many files changed, by the kind of change."""
        return Counter(each.change for each in self.changes)

    @property
    def growth(self) -> int:
        """Bytes that there are more now."""
        return sum(map(_growth, self.changes)) + sum(map(_growth, self.unlisted))


class Line(NamedTuple):
    """A file, or the files of a folder (its path ends in `/`): what happened to how many, sizes in bytes.

    `old` and `new` are None where a file is not, and of folders: these have `growth`. `source` as in `Change`.
    """

    path: str
    counts: Mapping[str, int]
    growth: int
    old: int | None = None
    new: int | None = None
    source: str | None = None


def lines(data: Data) -> list[Line]:
    """The changed files, at most FILES_MAX of one tracked thing by themselves: more are counted by folder. Then the
    directories of which only sizes are known, as `changed`.
    """
    owned: dict[str, list[Change]] = {}
    for each in data.changes:
        owned.setdefault(_owner(each.path, data.tracked), []).append(each)
    found: list[Line] = []
    for owner, changes in sorted(owned.items()):
        found += map(_file, changes) if len(changes) <= FILES_MAX else _folders(owner, changes)
    return [*found, *map(_unlisted, data.unlisted)]


def _unlisted(each: Unlisted) -> Line:
    what = "added" if each.old is None else "deleted" if each.new is None else "changed"
    return _line(f"{each.path}/", what, each.old, each.new)


def _owner(path: str, tracked: frozenset[str]) -> str:
    """The tracked thing that a file lies in."""
    above = path
    while above and above not in tracked:
        above = above.rpartition("/")[0]
    return above or path


def _file(each: Change) -> Line:
    return _line(each.path, each.change, each.old, each.new)._replace(source=each.source)


def _line(path: str, what: str, old: Entry | Pointer | None, new: Entry | Pointer | None) -> Line:
    sizes = (old.size if old is not None else None, new.size if new is not None else None)
    return Line(path, {what: 1}, (sizes[1] or 0) - (sizes[0] or 0), sizes[0], sizes[1])


def _folders(top: str, changes: Sequence[Change]) -> Iterator[Line]:
    """The changes by the folders directly below the last one that all of them lie in; the smallest together."""
    parts = [each.path.split("/") for each in changes]
    depth = len(top.split("/"))
    while all(len(each) > depth + 1 and each[depth] == parts[0][depth] for each in parts):
        depth += 1
    by_folder: dict[str, list[Change]] = {}
    for each, names in zip(changes, parts, strict=True):
        # The whole may itself have been a file.
        by_folder.setdefault("/".join(names[: min(depth + 1, len(names) - 1)]) or top, []).append(each)
    largest = sorted(by_folder, key=lambda folder: (-len(by_folder[folder]), folder))[:FOLDERS_MAX]
    for folder in sorted(largest):
        yield _together(f"{folder}/", by_folder[folder])
    rest = [each for folder, found in by_folder.items() if folder not in largest for each in found]
    if rest:
        yield _together(f"{'/'.join(parts[0][:depth])}/…/", rest)


def _together(path: str, changes: Iterable[Change]) -> Line:
    found = list(changes)
    return Line(path, Counter(each.change for each in found), sum(map(_growth, found)))


def _growth(each: Change | Unlisted) -> int:
    return (each.new.size if each.new is not None else 0) - (each.old.size if each.old is not None else 0)
