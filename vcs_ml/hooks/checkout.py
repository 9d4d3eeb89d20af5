"""Data follows a working tree that has moved: what differs between two commits is checked out from the local store."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from vcs_ml import git, history
from vcs_ml.errors import UserError, VmlError
from vcs_ml.git import GitRoot
from vcs_ml.history import Replaced
from vcs_ml.hooks import projects
from vcs_ml.hooks.moves import Move
from vcs_ml.output import count, quote, size, word
from vcs_ml.progress import Progress
from vcs_ml.store.objects import MissingObject
from vcs_ml.workspace import checkout, groups, lockfile, meanwhile, opening, sources, tracked
from vcs_ml.workspace.checkout import Gone
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.saved import Unsaved

_SHOWN = 3  # paths

# Told to people; a warning with what to do.
Say = Callable[[str], None]
Warn = Callable[[str, str | None], None]


class Changes(NamedTuple):
    """What is to be checked out in a project, what is to go (None: all that `now` does not name), and what cannot be
    read. `now` is all that is tracked, where that had to be found out.
    """

    wanted: Sequence[Pointer]
    gone: Sequence[str] | None
    broken: Sequence[UserError]
    now: Mapping[str, Pointer] | None = None


def follow(
    root: GitRoot, env: Mapping[str, str], move: Move, *, note: Say, warn: Warn, show: Callable[[], Progress]
) -> None:
    """Check out the data in which the commits of a move differ, in every project; of those whose first commit is not
    known here, all. What is left as it is, because bytes of it are in no store or because the store lacks it, is told,
    as is everything else that went wrong with a project. UserError where Git cannot be asked.
    """
    # What came to settle a conflict is of none of the commits that are compared.
    brought = meanwhile.replaced(root)
    meanwhile.forget(root)
    known = history.commits(root, [each or "" for each in move.olds])
    broken: dict[str, UserError] = {}
    todo: list[tuple[Project, Callable[[], Changes]]] = []
    if None in known:
        todo = [(one, _everything(one)) for one in projects.here(root, env, broken).values()]
    else:
        replaced = {path: Replaced(path, None, None) for path in brought}
        for old in filter(None, known):
            replaced |= {each.path: each for each in history.apart(root, old, move.new, projects.PATTERNS)}
        if not replaced:
            note("no data differs")
            return
        every = projects.here(root, env, broken)
        # A project that the new commit does not have still has data here.
        left = {
            path: each.old
            for path, each in replaced.items()
            if each.old and f"/{path}".endswith(f"/{projects.CONFIG}") and not os.path.lexists(root.cwd / path)
        }
        every |= projects.elsewhere(root, env, left)
        for prefix, inside in projects.by_project({*every, *broken}, replaced):
            if prefix in every and every[prefix].state_dir.is_dir():
                todo.append((every[prefix], _changes(every[prefix], inside)))
    for project, find in todo:
        try:
            _bring(project, find, note, warn, show)
        except VmlError as error:
            warn(error.message, error.hint)
    for each in broken.values():
        warn(each.message, each.hint)


def _everything(project: Project) -> Callable[[], Changes]:
    def find() -> Changes:
        broken: dict[str, UserError] = {}
        now = tracked.in_workspace(project, broken=broken)
        return Changes(list(now.values()), None, [broken[source] for source in sorted(broken)], now)

    return find


def _changes(project: Project, replaced: Mapping[str, Replaced]) -> Callable[[], Changes]:
    """What has to be done where these files (by their paths in Git) were replaced by what is on the disk now."""

    def find() -> Changes:
        paths = {own: each for path, each in replaced.items() if sources.is_source(own := _own(project, path))}
        if any(map(sources.is_lock, paths)):
            return _with_locks(project, paths)
        broken: list[UserError] = []
        wanted, gone = [], []
        for own in sorted(paths):
            path = own.removesuffix(SUFFIX)
            if _is_inside(project, path):  # then it is data that is named like a pointer
                continue
            try:
                wanted.append(tracked.read_pointer(project, own))
            except (FileNotFoundError, NotADirectoryError):
                gone.append(path)
            except UserError as error:
                broken.append(error)
        # An output of a stage may be where the data of a pointer was, and only a search tells.
        now = tracked.in_workspace(project, broken={}) if gone and _has_locks(project) else None
        return Changes(wanted, gone, broken, now)

    return find


def _with_locks(project: Project, replaced: Mapping[str, Replaced]) -> Changes:
    """The same where lock files are among them, whose outputs only a search tells from what is tracked otherwise."""
    broken: dict[str, UserError] = {}
    now = tracked.in_workspace(project, broken=broken)
    files = {f"{project.in_git(own)}": each.old for own, each in replaced.items() if each.old}
    before = {each.path: each for each in tracked.in_blobs(project, sorted(files.items()))}
    wanted = [
        each for each in now.values() if each.source in replaced and not (each.lock and before.get(each.path) == each)
    ]
    named = [broken[source] for source in sorted(broken) if source in replaced]
    return Changes(wanted, sorted(before.keys() - now.keys()), named, now)


def _own(project: Project, path: str) -> str:
    """The project's own name of a path that Git has in it."""
    return path[len(project.prefix) + 1 :] if project.prefix else path


def _is_inside(project: Project, path: str) -> bool:
    """Whether a pointer above claims this path."""
    above = path
    while above := above.rpartition("/")[0]:
        if os.path.isfile(project.root / (above + SUFFIX)):
            return True
    return False


def _has_locks(project: Project) -> bool:
    return bool(git.run(["ls-files", "-z", "--", *tracked.pathspecs(project, (lockfile.NAME,))], project.git.cwd))


def _bring(project: Project, find: Callable[[], Changes], note: Say, warn: Warn, show: Callable[[], Progress]) -> None:
    """Do what is found to be done, under the worktree's lock, and say so."""
    store = opening.open_store(project, note)
    left: list[tuple[Pointer, UserError]] = []
    with opening.changing(project, note), show() as meter:
        changes = find()
        wanted = [
            (each, "")
            for each in changes.wanted
            if not groups.is_left_out(project, each) and not (each.stays and store.missing(each.oid))
        ]
        now = changes.now

        def is_owned(path: str) -> bool:
            if now is not None:
                return tracked.owner(path, now) is not None
            return os.path.isfile(project.root / (path + SUFFIX)) or _is_inside(project, path)

        gone = Gone(changes.gone, is_owned) if changes.gone is not None else None
        done = checkout.checkout(
            project, store, wanted, now=now if gone is None else None, gone=gone, left=left, meter=meter
        )
    where = f"{quote(project.prefix)}: " if project.prefix else ""
    parts = []
    if done.written:
        parts.append(f"{count(done.written, 'file')} written ({size(done.bytes)})")
    if done.removed:
        parts.append(f"{count(done.removed, 'file')} removed")
    if parts or not (left or changes.broken):
        note(f"{where}{', '.join(parts) or 'nothing to do'}")
    for error in changes.broken:
        warn(error.message, error.hint)
    stayed = [path for path in changes.gone or () if os.path.lexists(project.root / path) and not is_owned(path)]
    in_git = git.tracked(project.git, [project.in_git(path) for path in stayed])
    _tell(project, left, [path for path in stayed if project.in_git(path) not in in_git], warn)


def _tell(project: Project, left: Sequence[tuple[Pointer, UserError]], gone: Sequence[str], warn: Warn) -> None:
    """What was not done, and what to do."""
    at = f"vml -C {word(project.root)}" if project.prefix else "vml"
    missing = [each.path for each, error in left if isinstance(error, MissingObject)]
    if missing:
        warn(f"not in the local store: {_named(missing)}", f"{at} pull")
    for each, error in left:
        if isinstance(error, Unsaved):
            warn(
                error.message,
                f"{at} checkout --force {word(each.path)} stores them, then brings what the pointer says",
            )
        elif not isinstance(error, MissingObject):
            warn(error.message, error.hint)
    if gone:
        warn(
            f"no longer tracked, but changed or in no store, and left here: {_named(gone)}",
            "move it away or remove it: Git does not ignore it any more",
        )


def _named(paths: Collection[str]) -> str:
    shown = ", ".join(map(quote, sorted(paths)[:_SHOWN]))
    return f"{shown} and {count(len(paths) - _SHOWN, 'more path')}" if len(paths) > _SHOWN else shown
