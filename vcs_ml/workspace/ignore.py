"""`.vmlignore`: which files below tracked directories are left alone, in the syntax of gitignore."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vcs_ml import regular
from vcs_ml.errors import UserError
from vcs_ml.output import quote

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NAME: Final = ".vmlignore"
_SIZE_MAX: Final = 10_000_000
_STARS_MAX: Final = 3  # with five, one name of 255 letters took 43 s
_ESCAPED: Final = re.compile(r"\\.")

# (name, is it a directory) -> is it ignored
Filter = Callable[[str, bool], bool]
# The rules that hold in a directory: each with the length of its own directory's prefix, outermost first.
_Rules = tuple[tuple[int, "GitIgnoreSpec"], ...]


class Ignore:
    """The ignore files of a project, each read when a walk first comes to its directory."""

    __slots__ = ("_root", "_rules")

    def __init__(self, project_root: Path) -> None:
        self._root = str(project_root)
        self._rules: dict[str, _Rules] = {}

    def at(self, rel_dir: str) -> Filter | None:
        """What to ask of the entries of this project-relative directory ("" is the top); None: keep them all.

        Costs one failed stat() per directory where there is no ignore file, and nothing per entry. A walk
        must not go into what is ignored: as with Git, nothing below can be taken back.
        """
        rules = self._rules_at(rel_dir)
        if not rules:
            return None
        prefix = f"{rel_dir}/" if rel_dir else ""

        def ignored(name: str, is_dir: bool) -> bool:
            path = f"{prefix}{name}/" if is_dir else prefix + name
            for start, spec in reversed(rules):
                verdict = spec.check_file(path[start:]).include
                if verdict is not None:
                    return verdict
            return False

        return ignored

    def _rules_at(self, rel_dir: str) -> _Rules:
        known = self._rules.get(rel_dir)
        if known is None:
            above = self._rules_at(rel_dir.rpartition("/")[0]) if rel_dir else ()
            spec = _read(f"{self._root}/{rel_dir}/{NAME}" if rel_dir else f"{self._root}/{NAME}")
            known = above if spec is None else (*above, (len(rel_dir) + 1 if rel_dir else 0, spec))
            self._rules[rel_dir] = known
        return known


def _read(path: str) -> GitIgnoreSpec | None:
    # A Path is only made where there is a file: this is asked of every directory.
    if not os.path.lexists(path):
        return None
    raw = regular.read(Path(path), _SIZE_MAX, hint="a pattern may stand for many names: git help ignore")
    if raw is None:
        return None
    lines = raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line.count("*") > _STARS_MAX and _has_many_stars(line):
            raise UserError(
                f"{quote(path)}, line {number}: more than {_STARS_MAX} * in one name, which could take for ever",
                hint="a single * stands for any number of characters",
            )
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - few projects have the file, and it costs 20 ms

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # [[:alpha:]], which would be taken for something else
            spec = GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error, FutureWarning) as error:
        hint = "the syntax is that of gitignore (git help ignore), without classes as [[:alpha:]]"
        raise UserError(f"{path}: {error}", hint=hint) from None
    return spec if any(pattern.include is not None for pattern in spec.patterns) else None


def _has_many_stars(line: str) -> bool:
    """Whether matching a name with this pattern could go back and forth without end."""
    parts = _ESCAPED.sub("", line).split("/")
    return not line.startswith("#") and any(part.count("*") > _STARS_MAX for part in parts)
