"""Data that was brought while Git was in the middle of something: it is of neither of the commits between which Git's
hooks compare afterwards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import fs, regular
from vcs_ml.errors import UserError
from vcs_ml.git import GitRoot, Unmerged
from vcs_ml.workspace import sources
from vcs_ml.workspace.project import Project

NAME: Final = "vml-brought"  # in the git directory of the worktree: docs/formats.md
_NONE: Final = "-"


class _Record(NamedTuple):
    """What a file said when its data was brought, and which version was `theirs` of a conflict that this settled."""

    digest: str
    theirs: str


def remember(project: Project, brought: Collection[str], settled: Mapping[str, Unmerged] | None = None) -> None:
    """Remember that the data here is what these files (project-relative) say now, and what they have settled."""
    if not brought:
        return
    theirs = {source: each.theirs or _NONE for source, each in (settled or {}).items()}
    known = _known(project.git) | {
        project.in_git(each): _Record(_digest(project.root / each), theirs.get(each, _NONE)) for each in brought
    }
    raw = b"".join(os.fsencode(f"{each.digest} {each.theirs} {path}\0") for path, each in sorted(known.items()))
    fs.write_atomic(project.git.git_dir / NAME, raw, sync=False, scratch=project.tmp_dir)


def replaced(root: GitRoot) -> list[str]:
    """The remembered files (from the top of the worktree) that say something else by now, or are gone."""
    return sorted(path for path, each in _known(root).items() if _digest(root.cwd / path) != each.digest)


def settled(project: Project, unmerged: Mapping[str, Unmerged]) -> set[str]:
    """Those of these unmerged files (project-relative) that say what has settled just this conflict."""
    known = _known(project.git)
    return {
        source
        for source, each in unmerged.items()
        if each.theirs is not None
        if known.get(project.in_git(source)) == _Record(_digest(project.root / source), each.theirs)
    }


def forget(root: GitRoot) -> None:
    (root.git_dir / NAME).unlink(missing_ok=True)


def _known(root: GitRoot) -> dict[str, _Record]:
    """What is remembered, by the path from the top."""
    try:
        raw = (root.git_dir / NAME).read_bytes()
    except OSError:
        return {}
    records = (os.fsdecode(each).split(" ", 2) for each in raw.split(b"\0")[:-1])
    return {fields[2]: _Record(*fields[:2]) for fields in records if len(fields) == 3}


def _digest(path: Path) -> str:
    """The SHA-256 of a file in hex, _NONE where none can be read."""
    try:
        raw = regular.read(path, sources.MAX_SIZE)
    except UserError:
        raw = None
    return hashlib.sha256(raw).hexdigest() if raw is not None else _NONE
