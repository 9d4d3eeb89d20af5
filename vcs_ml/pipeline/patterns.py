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
                if entry.name not in (".git", ".vml"):
                    pending.append(path)
            elif not (entry.name[0] == "." and lockfile.problem(entry.name)) and matches(path, pattern):
                found.append(path)
    return sorted(found)


def _matches(path: list[str], pattern: list[str], above: bool) -> bool:
    """Whether `path` or a directory above it matches. A pattern has at most one `**`, so this takes few steps."""
    for index, part in enumerate(pattern):
        if part == "**":
            return any(_matches(path[skip:], pattern[index + 1 :], above) for skip in range(index, len(path) + 1))
        if index >= len(path):
            return above
        if not fnmatchcase(path[index], part):
            return False
    return True
