"""Which revisions a command was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from vcs_ml import git, history
from vcs_ml.errors import UserError
from vcs_ml.git import GitRoot
from vcs_ml.metrics.revision import WORKSPACE, Reader, Revision
from vcs_ml.workspace.sync import Scope

Note = Callable[[str], None]  # says something to people

_FOLDERS: Final = {"branch": "refs/heads/", "tag": "refs/tags/"}


def revisions(reader: Reader, names: Sequence[str], scope: Scope) -> list[Revision]:
    """The revisions of these names and this scope; without either, the workspace (HEAD in a bare repository).

    `A..B` stands for commits, the newest first. Those of a range, and of all commits, are left out where they have a
    name here. WORKSPACE is the workspace; a branch or tag of this name goes by its full one. UserError for a name that
    Git does not know.
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


def two(reader: Reader, a: str, b: str | None, note: Note) -> tuple[Revision, Revision]:
    """The two revisions of a comparison, as `pair` and Reader.any have them."""
    old, new = pair(reader.project.git, a, b, note)
    return reader.any(old), reader.workspace() if new is None else reader.at(new)


def pair(root: GitRoot, a: str, b: str | None, note: Note) -> tuple[str, str | None]:
    """The names of the two revisions of a comparison; None is the workspace, which WORKSPACE always names, too.

    As in git diff, `A..B` alone stands for both, and `A...B` for B and the commit at which it left A; `note` is told
    where there are several of those.
    """
    if ".." in a and b is None:
        dots = "..." if "..." in a else ".."
        a, b = (end or "HEAD" for end in a.split(dots, 1))
        if dots == "...":
            ends = git.resolve(root, a), git.resolve(root, b)
            bases = history.merge_bases(root, *ends)
            if not bases:
                raise UserError(f"{a} and {b} have no common commit here", hint=f"compare both as they are: {a}..{b}")
            short = git.run(["rev-parse", "--short", bases[0]], root.cwd).decode().strip()
            if len(bases) > 1:
                note(f"{short} is the newest of {len(bases)} merge bases of {a} and {b}")
            a = short
    return a, None if b == WORKSPACE else b


def is_commit(root: GitRoot, name: str) -> bool:
    """Whether Git knows a commit by this name."""
    try:
        git.resolve(root, name)
    except UserError:
        return False
    return True


def _named(reader: Reader, names: Sequence[str], scope: Scope) -> Iterator[tuple[str, str]]:
    """(label, commit) of each: the label is "" where nobody gave a name, the commit where it is the workspace."""
    root = reader.project.git
    for name in names:
        if ".." in name:
            yield from (("", commit) for commit in _range(root, name))
        else:
            yield name, reader.any(name).commit or ""
    for ref in history.refs(root) if scope.all_branches or scope.all_tags else ():
        if (ref.kind == "branch" and scope.all_branches) or (ref.kind == "tag" and scope.all_tags):
            yield (f"{_FOLDERS[ref.kind]}{ref.name}" if ref.name == WORKSPACE else ref.name), ref.commit
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
