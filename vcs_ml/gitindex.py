"""Git's index: the files in it, which of them differ from HEAD, and how large they are there."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from vcs_ml.git import GitRoot, raw_records, run

# What `Index` and `changes` read. A rename is a file that went and one that came, whatever diff.renames says.
FILES: Final = ("ls-files", "-s", "-v", "-z", "--full-name")
CHANGES: Final = ("diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff")

REGULAR: Final = (0o100644, 0o100755)
LINK: Final = 0o120000


class Entry(NamedTuple):
    """A file, symbolic link (LINK) or submodule in the index, with Git's mode and object id."""

    mode: int
    oid: str


class Change(NamedTuple):
    """A path whose entry is not that of HEAD: what it is (None: it is gone) and what it was (None: it is new)."""

    path: str
    now: Entry | None
    before: Entry | None


class Index:
    """Everything in the index by its path from the top of the worktree, out of what git writes for FILES."""

    def __init__(self, out: bytes) -> None:
        self._lines = out.split(b"\0")[:-1]
        # Tag, mode, id and stage are as wide in each line ("H 100644 ID 0"), and Git sorts by the bytes of the path.
        self._width = self._lines[0].index(b"\t") + 1 if self._lines else 0
        self._id_size = self._width - 12
        self._paths = [line[self._width :] for line in self._lines]

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def get(self, path: str) -> Entry | None:
        """What is at a path; None where nothing is, and of a conflict."""
        raw = os.fsencode(path)
        at = bisect_left(self._paths, raw)
        if at == len(self._paths) or self._paths[at] != raw:
            return None
        _, mode, oid, stage = self._lines[at].partition(b"\t")[0].split(b" ")
        return Entry(int(mode, 8), oid.decode()) if stage == b"0" else None

    def blobs(self, suffixes: tuple[bytes, ...]) -> dict[str, str]:
        """The ids of all regular files whose paths end in one of these."""
        pairs = zip(self._lines, self._paths, strict=True)
        lines = [line for line, path in pairs if path.endswith(suffixes) and line.startswith(b"100", 2)]
        if not lines:
            return {}
        # Joined, and split again: to decode them one by one takes five times as long.
        ids = b" ".join([line[9 : 9 + self._id_size] for line in lines]).decode().split(" ")
        paths = os.fsdecode(b"\0".join([line[self._width :] for line in lines])).split("\0")
        return dict(zip(paths, ids, strict=True))

    def unwatched(self, suffixes: tuple[bytes, ...]) -> dict[str, str]:
        """Of the files whose paths end in one of these, those that Git was told not to look at: the option of
        `git update-index` that ends it.
        """
        found = [(line[:1].decode(), line[self._width :]) for line in self._lines if not line.startswith(b"H")]
        return unwatched((tag, os.fsdecode(path)) for tag, path in found if path.endswith(suffixes))

    def below(self, folder: str) -> list[str]:
        """The paths that lie in a directory, sorted; "" is the top."""
        if not folder:
            return os.fsdecode(b"\0".join(self._paths)).split("\0") if self._paths else []
        raw = os.fsencode(folder)
        # "0" is the character after "/"
        start, end = bisect_left(self._paths, raw + b"/"), bisect_left(self._paths, raw + b"0")
        return [os.fsdecode(path) for path in self._paths[start:end]]

    def named(self, name: str) -> list[str]:
        """The paths that end in this name, or in this way, sorted."""
        raw, inner = os.fsencode(name), os.fsencode(f"/{name}")
        return [
            os.fsdecode(path) for path in self._paths if path.endswith(raw) and (path == raw or path.endswith(inner))
        ]


def unwatched(tagged: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The same of paths with what `git ls-files -v` puts before them."""
    skipped, assumed = "--no-skip-worktree", "--no-assume-unchanged"
    return {path: skipped if tag in "Ss" else assumed for tag, path in tagged if tag == "S" or tag.islower()}


def changes(out: bytes) -> list[Change]:
    """What differs from HEAD, out of what git writes for CHANGES; without what is in conflict."""
    found = []
    for (old_mode, mode, old, new, letter), path in raw_records(out):
        if letter != b"U":
            found.append(Change(os.fsdecode(path), _entry(mode, new), _entry(old_mode, old)))
    return found


def _entry(mode: bytes, oid: bytes) -> Entry | None:
    return Entry(int(mode, 8), oid.decode()) if mode.strip(b"0") else None


def sizes(root: GitRoot, ids: Iterable[str]) -> dict[str, int]:
    """How many bytes these blobs have, through one git; those that the repository lacks are left out."""
    asked = "".join(f"{oid}\n" for oid in ids)
    if not asked:
        return {}
    out = run(["cat-file", "--batch-check=%(objectname) %(objectsize)"], root.cwd, input=asked.encode())
    rows = (line.split(" ") for line in out.decode().splitlines())
    return {row[0]: int(row[1]) for row in rows if row[-1].isdecimal()}
