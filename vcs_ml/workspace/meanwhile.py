"""Data that was brought while Git was in the middle of something: it is of neither of the commits between which Git's
hooks compare afterwards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from vcs_ml import fs, regular
from vcs_ml.errors import UserError
from vcs_ml.git import GitRoot
from vcs_ml.workspace import sources
from vcs_ml.workspace.project import Project

NAME: Final = "vml-brought"  # in the git directory of the worktree: docs/formats.md


def remember(project: Project, brought: Collection[str]) -> None:
    """Remember that the data here is what these files (project-relative) say now."""
    if not brought:
        return
    known = _known(project.git) | {project.in_git(each): _digest(project.root / each) for each in brought}
    raw = b"".join(b"%s %s\0" % (digest.encode(), os.fsencode(path)) for path, digest in sorted(known.items()))
    fs.write_atomic(project.git.git_dir / NAME, raw, sync=False)


def replaced(root: GitRoot) -> list[str]:
    """The remembered files (from the top of the worktree) that say something else by now, or are gone."""
    return sorted(path for path, digest in _known(root).items() if _digest(root.cwd / path) != digest)


def forget(root: GitRoot) -> None:
    (root.git_dir / NAME).unlink(missing_ok=True)


def _known(root: GitRoot) -> dict[str, str]:
    """What is remembered: the digest of each file by its path from the top."""
    try:
        raw = (root.git_dir / NAME).read_bytes()
    except OSError:
        return {}
    records = (os.fsdecode(each).partition(" ") for each in raw.split(b"\0")[:-1])
    return {path: digest for digest, _, path in records}


def _digest(path: Path) -> str:
    """The SHA-256 of a file in hex, "-" where none can be read."""
    try:
        raw = regular.read(path, sources.MAX_SIZE)
    except UserError:
        raw = None
    return hashlib.sha256(raw).hexdigest() if raw is not None else "-"
