"""Files that a merge left to be settled in Git's index: which they are, and their versions."""

from __future__ import annotations

from typing import Final

from vcs_ml import git, history
from vcs_ml.errors import UserError
from vcs_ml.git import Unmerged
from vcs_ml.output import word
from vcs_ml.workspace import sources, tracked
from vcs_ml.workspace.project import Project

# What `git status` says of the letters in its short format (git-status(1)).
WORDS: Final = {
    "UU": "both modified",
    "AA": "both added",
    "DU": "deleted by us",
    "UD": "deleted by them",
    "AU": "added by us",
    "UA": "added by them",
    "DD": "both deleted",
}


def find(project: Project) -> dict[str, Unmerged]:
    """The unmerged files of this project that vml can merge, by their paths in it: pointers, lock files, .gitignore."""
    specs = [*tracked.pathspecs(project), *tracked.pathspecs(project, [".gitignore"])]
    found = {project.own_path(path): each for path, each in git.unmerged(project.git, specs).items()}
    return {own: each for own, each in found.items() if own is not None and is_mergeable(own)}


def is_mergeable(path: str) -> bool:
    """Whether vml merges files of this name."""
    return sources.is_source(path) or path.rpartition("/")[2] == ".gitignore"


def read(project: Project, each: Unmerged) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The versions of an unmerged file: the common one, ours, theirs; None where there is none."""
    wanted = [oid for oid in each if oid is not None]
    raws = dict(zip(wanted, history.read_blobs(project.git, wanted, limit=sources.MAX_SIZE), strict=True))
    base, ours, theirs = (raws[oid] if oid is not None else None for oid in each)
    return base, ours, theirs


def forgotten(project: Project, source: str, error: UserError) -> UserError:
    """What to say of a file with conflict markers, where Git takes it for merged, since somebody added it like that."""
    name, root = word(source), project.git
    spec = f":(top,literal){project.prefix}/{source}" if project.prefix else f":(top,literal){source}"
    if git.run(["ls-files", "--resolve-undo", "--", spec], root.cwd):
        hint = f"git checkout -m -- {name} brings its versions back; then vml checkout --merge {name}"
        return UserError(f"{error.message}, and was added to Git with them", hint=hint)
    found = git.run(["log", "-1", "--format=%h %p", "--", spec], root.cwd, ok=(0, 128)).decode().split()
    if len(found) < 2:
        return error
    commit, *parents = found
    other = f", git checkout {commit}^2 -- {name} the other side's" if len(parents) > 1 else ""
    return UserError(
        f"{error.message}, and was committed with them",
        hint=f"git checkout {commit}^1 -- {name} brings back what was before{other}; then vml checkout, and commit it",
    )
