"""What killed commands leave in a working tree: scratch that nobody will finish."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from vcs_ml import fs
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


def clean_scratch(project: Project) -> None:
    """Empty `.vml/tmp`; the caller holds the worktree's lock, so nobody else is writing there."""
    with contextlib.suppress(FileNotFoundError):
        for left in os.scandir(project.tmp_dir):
            if not fs.is_tmp(left.name):
                continue
            if left.is_dir(follow_symlinks=False):
                shutil.rmtree(left.path)
            else:
                Path(left.path).unlink()


def clean(project: Project, pointers: Iterable[Pointer]) -> None:
    """Remove all scratch of this working tree, also beside and in tracked data; the caller holds its lock."""
    clean_scratch(project)
    beside = {os.path.dirname(each.path) for each in pointers}
    for place in (
        project.state_dir,
        project.index_dir,
        project.state_dir / "saved",
        *(project.root / p for p in beside),
    ):
        fs.sweep(place)
    for each in pointers:
        if each.kind == "tree":
            for folder, _, names in os.walk(project.root / each.path):
                for name in filter(fs.is_tmp, names):
                    Path(folder, name).unlink(missing_ok=True)
