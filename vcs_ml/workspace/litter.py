"""What killed commands leave in a working tree: scratch that nobody will finish."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from vcs_ml import fs
from vcs_ml.rows import spill
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


def clean_scratch(project: Project) -> None:
    """Empty `.vml/tmp` of all that is written under the worktree's lock, which the caller holds; comparisons of tables
    do without it, and theirs stays.
    """
    for left in fs.scratch_in(project.tmp_dir):
        fs.remove(left)


def found(project: Project, pointers: Iterable[Pointer]) -> Iterator[str]:
    """The paths of all scratch of this working tree, also beside and in tracked data."""
    tracked = list(pointers)
    beside = {os.path.dirname(each.path) for each in tracked}
    indexes = (project.index_dir, project.read_index_dir, project.read_index_dir / "outside")
    own = (project.tmp_dir, project.state_dir, *indexes, project.lock_dir, project.state_dir / "saved")
    for place in (*own, *(project.root / path for path in sorted(beside))):
        yield from fs.scratch_in(place)
    yield from spill.litter(project.tmp_dir)
    for each in tracked:
        if each.kind == "tree":
            for folder, _, names in os.walk(project.root / each.path):
                yield from (os.path.join(folder, name) for name in names if fs.is_tmp(name))


def clean(project: Project, pointers: Iterable[Pointer]) -> None:
    """Remove all of it; the caller holds the worktree's lock."""
    clean_scratch(project)
    for left in found(project, pointers):
        fs.discard(left)
