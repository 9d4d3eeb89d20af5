"""Single files that are behind their pointer: Git has brought another version of it, and what is here is the one that
was there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vcs_ml import git, history
from vcs_ml.errors import UserError
from vcs_ml.git import PATHS_A_RUN, GitRoot
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import sources, tracked
from vcs_ml.workspace.item import Kind
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

# How many moves of HEAD, and stashes, are looked at: a series of picks brings pointers commit by commit.
_MOVES: Final = 100
_STASH: Final = "refs/stash"


def replaced(project: Project, here: Sequence[Pointer]) -> set[str]:
    """The paths of those of which a version is `here`, which is given, that Git has just replaced.

    The stat index cannot tell, as it does of directories: it knows what a file holds, and not what was checked out.
    """
    root = project.git
    *heads, stash = history.commits(root, ["HEAD", "ORIG_HEAD", _STASH]) if here else (None,)
    recent = [each for each in heads if each is not None]
    if not recent:
        return set()
    wanted = sorted({project.in_git(each.source) for each in here})
    specs = [f":(top,literal){path}" for path in wanted]
    if len(wanted) > PATHS_A_RUN:
        specs = tracked.pathspecs(project)
    moves = _moves(root, "HEAD") + (_moves(root, _STASH) if stash is not None else [])
    versions = history.contents(root, list(dict.fromkeys([*moves, *recent])), specs, walk=False)
    for commit in recent:
        versions |= {(each.path, each.old) for each in history.apart(root, commit, None, specs) if each.old}
    asked = sorted(each for each in versions if each[0] in wanted)
    held: set[tuple[str, Kind, ObjectId]] = set()
    blobs = history.read_blobs(root, [oid for _, oid in asked], limit=sources.MAX_SIZE)
    for (path, _), raw in zip(asked, blobs, strict=True):
        own = project.own_path(path)
        try:
            held |= {(each.path, each.kind, each.oid) for each in sources.parse(raw, own or path, project.algorithm)}
        except UserError:  # it was never checked out
            continue
    return {each.path for each in here if (each.path, each.kind, each.oid) in held}


def _moves(root: GitRoot, ref: str) -> list[str]:
    """The commits that a ref has been at, the latest first."""
    return git.listed(git.run(["log", "-g", "-z", f"-n{_MOVES}", "--format=%H", ref, "--"], root.cwd))
