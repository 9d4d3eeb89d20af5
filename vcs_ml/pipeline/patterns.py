"""Outputs that are patterns: which paths they may stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from vcs_ml.workspace import lockfile

_MAGIC: Final = re.compile(r"[*?[]")


class Patterns:
    """Patterns by the text before their first `*`, `?` or `[`, so that a path meets few of them."""

    def __init__(self, patterns: Iterable[tuple[str, int]]) -> None:
        self._by_text: dict[str, list[tuple[str, int]]] = {}
        for pattern, number in patterns:
            self._by_text.setdefault(fixed_text(pattern), []).append((pattern, number))
        self._lengths = sorted({len(text) for text in self._by_text})

    def matching(self, path: str, *, above: bool = False) -> Iterator[tuple[str, int]]:
        """The patterns, with their numbers, that match `path` or a directory it lies in.

        With `above` also those that can match something inside `path`, as long as they name directories above it.
        """
        for length in self._lengths:
            if length > len(path):
                break
            for pattern, number in self._by_text.get(path[:length], ()):
                if _matches(path.split("/"), pattern.split("/"), above):
                    yield pattern, number


def is_pattern(path: str) -> bool:
    """Whether a path stands for others."""
    return _MAGIC.search(path) is not None


def fixed_text(pattern: str) -> str:
    """What every match begins with."""
    found = _MAGIC.search(pattern)
    return pattern[: found.start()] if found else pattern


def directory(pattern: str) -> str:
    """The directory that every match lies in; "" is the project's top."""
    return fixed_text(pattern).rpartition("/")[0]


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern stands for `path`, or for a directory that it lies in."""
    return path.startswith(fixed_text(pattern)) and _matches(path.split("/"), pattern.split("/"), above=False)


def may_hold(folder: str, pattern: str) -> bool:
    """Whether a pattern stands for `folder`, a directory that it lies in, or something that may lie in it."""
    return _matches(folder.split("/"), pattern.split("/"), above=True)


def files(root: Path, pattern: str) -> list[str]:
    """The files below `root` that a pattern stands for, sorted; neither those of Git and vml, nor what is in there."""
    top = directory(pattern)
    found = []
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                listed = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in listed:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in (".git", ".vml") and may_hold(path, pattern):
                    pending.append(path)
            elif not (entry.name[0] == "." and lockfile.problem(entry.name)) and matches(path, pattern):
                found.append(path)
    return sorted(found)


def _matches(path: list[str], pattern: list[str], above: bool) -> bool:
    """Whether `path` or a directory above it matches; with `above` also whether something in it can."""
    taken = {0}  # how many parts of the pattern the names so far may stand for
    for name in [*path, None]:
        for count, part in enumerate(pattern):
            if count in taken and part == "**":  # which may stand for nothing
                taken.add(count + 1)
        if len(pattern) in taken:
            return True
        if name is None:
            return above
        taken = {
            count if pattern[count] == "**" else count + 1
            for count in taken
            if pattern[count] == "**" or fnmatchcase(name, pattern[count])
        }
        if not taken:
            return False
    return False
