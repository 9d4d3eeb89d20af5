"""Pointers and lock files of the workspace against Git's HEAD: what is left to commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from vcs_ml import git, history
from vcs_ml.errors import UserError
from vcs_ml.workspace import groups, sources, unmerged
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project


class PointerChange(NamedTuple):
    """A pointer, or what a lock file says of an output, that differs from HEAD, by the path of the data; the lock file
    itself where something else in it differs, or it cannot be compared.
    """

    path: str
    change: Literal["new", "modified", "deleted", "conflict"]
    staged: bool


def changes(
    project: Project,
    git_says: Iterable[git.FileStatus],
    in_index: Iterable[str],
    *,
    now: Mapping[str, Pointer],
    broken: Iterable[str],
    targets: Sequence[str] = (),
) -> list[PointerChange]:
    """What differs of the pointers and outputs that are `now` in the workspace, and of `broken` files, sorted.

    `git_says` and `in_index` are what Git says of this project's files, and which it has.
    """
    unreadable = set(broken)
    here = {each.lock or each.path + SUFFIX for each in now.values()} | unreadable  # `source`, in a third of the time
    found = []
    locks: dict[str, git.FileStatus] = {}
    for record in (*git_says, *_untracked(project, here, in_index)):
        source = project.own_path(record.path)
        if source is None or not sources.is_source(source):
            continue
        letter = _letter(record)
        if sources.is_lock(source) and source not in unreadable and letter != "conflict":
            locks[source] = record
        else:
            found.append(PointerChange(source.removesuffix(SUFFIX), letter, record.worktree == "."))
    heads = [record.head for record in locks.values() if record.head is not None]
    contents = (
        dict(zip(heads, history.read_blobs(project.git, heads, limit=sources.MAX_SIZE), strict=True)) if heads else {}
    )
    for source, record in locks.items():
        head = contents[record.head] if record.head is not None else None
        found += _lock_changes(project, source, record, head, now)
    return sorted(each for each in found if not targets or groups.concerns(each.path, targets))


def _untracked(project: Project, here: Iterable[str], in_index: Iterable[str]) -> list[git.FileStatus]:
    """Those of these files that Git neither has in its index nor ignores."""
    new = ({project.in_git(path) for path in here} if project.prefix else set(here)).difference(in_index)
    return [git.FileStatus(path, "?", "?", None, None) for path in new - git.ignored(project.git, sorted(new))]


def _lock_changes(
    project: Project, source: str, record: git.FileStatus, head: bytes | None, now: Mapping[str, Pointer]
) -> list[PointerChange]:
    """The outputs that differ between a lock file at HEAD and the workspace; the file itself if there are none."""
    staged = record.worktree == "."
    new = {path: each for path, each in now.items() if each.lock == source}
    try:
        old = {each.path: each for each in sources.parse(head, source, project.algorithm)} if head is not None else {}
    except UserError:
        old = new
    found: list[PointerChange] = []
    for path in old.keys() | new.keys():
        if path not in old:
            found.append(PointerChange(path, "new", staged))
        elif path not in now:  # else another file records it now
            found.append(PointerChange(path, "deleted", staged))
        elif path in new and old[path] != new[path]:
            found.append(PointerChange(path, "modified", staged))
    return found or [PointerChange(source, _letter(record), staged)]


def _letter(record: git.FileStatus) -> Literal["new", "modified", "deleted", "conflict"]:
    if record.staged + record.worktree in unmerged.WORDS:
        return "conflict"
    if record.head is None or record.staged in "?AR":
        return "new"
    return "deleted" if "D" in (record.staged, record.worktree) else "modified"
