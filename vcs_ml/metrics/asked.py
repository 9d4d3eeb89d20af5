"""Which revisions a command was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vcs_ml import git, history
from vcs_ml.git import GitRoot
from vcs_ml.metrics.revision import WORKSPACE, Reader, Revision
from vcs_ml.workspace.sync import Scope


def revisions(reader: Reader, names: Sequence[str], scope: Scope) -> list[Revision]:
    """The revisions of these names and this scope; without either, the workspace (HEAD in a bare repository).

    `A..B` stands for commits, the newest first. Those of a range, and of all commits, are left out where they have a
    name here. WORKSPACE is the workspace, unless a commit has this name. UserError for a name that Git does not know.
    """
    root = reader.project.git
    if not names and not any(scope):
        return [reader.workspace() if root.worktree is not None else reader.at("HEAD")]
    found = list(dict.fromkeys(_named(reader, names, scope)))
    known = {commit for label, commit in found if label}
    short = _short(root, [commit for label, commit in found if not label])
    return [
        reader.commit(label or short[commit], commit) if commit else reader.workspace()
        for label, commit in found
        if label or commit not in known
    ]


def _named(reader: Reader, names: Sequence[str], scope: Scope) -> Iterator[tuple[str, str]]:
    """(label, commit) of each: the label is "" where nobody gave a name, the commit where it is the workspace."""
    root = reader.project.git
    for name in names:
        if ".." in name:
            yield from (("", commit) for commit in _range(root, name))
        elif name == WORKSPACE and reader.trees.commit(name) is None:
            yield name, ""
        else:
            yield name, reader.at(name).commit
    for ref in history.refs(root) if scope.all_branches or scope.all_tags else ():
        if (ref.kind == "branch" and scope.all_branches) or (ref.kind == "tag" and scope.all_tags):
            yield ref.name, ref.commit
    if scope.all_commits:
        yield from (
            ("", commit) for commit in git.run(["rev-list", "--date-order", "--all"], root.cwd).decode().split()
        )


def _range(root: GitRoot, name: str) -> list[str]:
    for end in name.replace("...", "..").split(".."):
        git.resolve(root, end or "HEAD")
    # Not as an option, whatever it begins with.
    return git.run(["rev-list", "--date-order", "--end-of-options", name, "--"], root.cwd).decode().split()


def _short(root: GitRoot, commits: Sequence[str]) -> dict[str, str]:
    """These ids as short as they are unique."""
    if not commits:
        return {}
    asked = "".join(f"{commit}\n" for commit in commits).encode()
    out = git.run(["rev-list", "--no-walk=unsorted", "--format=%h", "--stdin"], root.cwd, input=asked).decode().split()
    return dict(zip(out[1::3], out[2::3], strict=True))  # commit ID, and then SHORT
