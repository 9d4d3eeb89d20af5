"""What is tracked, as data or as output of a stage: in the workspace, in any commit, over any stretch of history."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from vcs_ml import git, history, regular
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.store.records import Root
from vcs_ml.workspace import lockfile, pointer, sources
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.search import Vouched, Workspace

_CONFIG = ".vml/config.toml"


class Survey(NamedTuple):
    """What is in the workspace: all that is tracked by the path of the data, the vml.yaml files by theirs (also where
    that is a link), both sorted, and what cannot be read, by the path of the file.
    """

    tracked: dict[str, Pointer]
    stage_files: list[str]
    broken: dict[str, UserError]


def survey(
    project: Project,
    ignore: Ignore | None = None,
    *,
    refresh: bool = False,
    vouched: Vouched | None = None,
) -> Survey:
    """One look at the workspace, which reads what changed since the last; with `refresh` all. `vouched` as for it."""
    workspace = Workspace(project, ignore or Ignore(project.root), refresh=refresh, vouched=vouched)
    found = workspace.find()
    return Survey(found, workspace.stage_files, workspace.broken)


def in_workspace(
    project: Project,
    ignore: Ignore | None = None,
    *,
    refresh: bool = False,
    broken: dict[str, UserError] | None = None,
) -> dict[str, Pointer]:
    """Everything that is tracked in the workspace by the path of the data, sorted.

    Files that cannot be read are put into `broken`, by their paths; without it, the first of them is raised.
    """
    found = survey(project, ignore, refresh=refresh)
    if broken is None and found.broken:
        raise found.broken[min(found.broken)]
    if broken is not None:
        broken.update(found.broken)
    return found.tracked


def read_pointer(project: Project, source: str) -> Pointer:
    """The pointer file at this project-relative path. UserError if it is not one, FileNotFoundError if it is gone."""
    path = project.root / source
    raw = regular.read(path, pointer.MAX_SIZE)
    if raw is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return pointer.parse(raw, source, project.algorithm)


owner = sources.owner


class Owners:
    """What paths of the workspace belong to. Pointers above and beside a path are looked for, which costs what one path
    costs; all is searched, once, where the path may lie in an output of a stage.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    @cached_property
    def _found(self) -> tuple[dict[str, Pointer], UserError | None]:
        broken: dict[str, UserError] = {}
        found = in_workspace(self._project, broken=broken)
        errors = [error for source, error in sorted(broken.items()) if sources.is_lock(source)]
        return {path: each for path, each in found.items() if each.lock}, errors[0] if errors else None

    @property
    def outs(self) -> dict[str, Pointer]:
        """Every output of a stage, by its path. UserError where a lock file cannot be read."""
        outs, error = self._found
        if error:
            raise error
        return outs

    def of(self, path: str) -> tuple[Pointer, str] | None:
        """As `owner`. UserError as in `outs` for a path that no pointer claims."""
        # From the top: in a tracked directory, what is named like a pointer is data.
        end = path.find("/")
        while True:
            above = path if end < 0 else path[:end]
            if above and os.path.isfile(self._project.root / (above + SUFFIX)):
                break
            if end < 0:
                return owner(path, self.outs)
            end = path.find("/", end + 1)
        folder = above.rpartition("/")[0]
        if folder and owner(folder, self._found[0]):
            return owner(path, self._found[0])
        return read_pointer(self._project, above + SUFFIX), path[len(above) + 1 :]


def owner_in_workspace(project: Project, path: str) -> tuple[Pointer, str] | None:
    """`Owners.of` for a single path."""
    return Owners(project).of(path)


def refuse_out(each: Pointer, what: str) -> None:
    """UserError if this is the output of a stage, which cannot be `what`, because vml.yaml names it."""
    if each.lock:
        name, stages = quote(each.path), quote(each.lock.removesuffix(lockfile.NAME) + lockfile.STAGES)
        raise UserError(
            f"{name} is the output of the stage {quote(each.maker)}: it cannot be {what}",
            hint=f"change the stage in {stages} and run it; vml commit {name} records what is there now; "
            f"once {stages} does not name it, vml rm --cached {name} ends tracking it",
        )


def pathspecs(project: Project, names: Iterable[str] = (f"*{SUFFIX}", lockfile.NAME, _CONFIG)) -> list[str]:
    """What Git is asked about for this project: the files of these names below it. Without `names`, every file that
    records something, and where others begin.
    """
    top = _glob_escape(f"{project.prefix}/" if project.prefix else "")
    return [f":(glob,top){top}**/{name}" for name in names]


def sources_of(project: Project, paths: Iterable[str]) -> dict[str, str]:
    """Those of Git's `paths` that record something of this project and of none in it: path -> its own path."""
    top = f"{project.prefix}/" if project.prefix else ""
    inside = [(path, path.removeprefix(top)) for path in paths if path.startswith(top)]
    others = {own.removesuffix(_CONFIG) for _, own in inside if own.endswith(f"/{_CONFIG}")}
    return {
        path: own
        for path, own in inside
        if sources.is_source(own) and not (others and any(own.startswith(other) for other in others))
    }


def committed_inside(project: Project, now: Mapping[str, Pointer], in_git: Iterable[str]) -> dict[str, UserError]:
    """Pointers below outputs, where they would be data, but for Git having them: by the path of the lock file."""
    found: dict[str, UserError] = {}
    outs = {path: each for path, each in now.items() if each.lock}
    for own in sources_of(project, in_git).values() if outs else ():
        above = owner(own.rpartition("/")[0], outs)
        if above and not sources.is_lock(own):
            inner = Pointer(own.removesuffix(SUFFIX), *above[0][1:5], {})
            found.setdefault(above[0].source, sources.overlap(above[0], inner))
    return found


def _glob_escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)


def at_revision(project: Project, rev: str) -> dict[str, Pointer]:
    """Everything that is tracked in a commit by the path of the data, sorted. UserError where it cannot be read."""
    commit = git.resolve(project.git, rev)
    files = {
        os.fsdecode(path): oid
        for path, mode, oid in history.ls_tree(project.git, commit, pathspecs(project))
        if mode in (0o100644, 0o100755)
    }
    ours = sources_of(project, files)
    contents = history.read_blobs(project.git, [files[path] for path in ours], limit=sources.MAX_SIZE)
    broken: dict[str, UserError] = {}
    try:
        each = [sources.parse(raw, own, project.algorithm) for own, raw in zip(ours.values(), contents, strict=True)]
        found = sources.together(itertools.chain(*each), broken)
        if broken:
            raise broken[min(broken)]
    except UserError as error:
        raise UserError(f"at {rev}: {error.message}", hint=error.hint) from None
    return found


def roots(pointers: Iterable[Pointer]) -> list[Root]:
    """What a push of these pointers must make complete."""
    return [Root(each.path, each.oid) for each in pointers]


def in_history(
    project: Project,
    revs: list[str],
    *,
    every_ref: bool = False,
    takes: Callable[[Pointer], bool] = lambda each: True,
) -> list[Root]:
    """Every root that a pointer ever named in the commits reachable from `revs` (or from every ref).

    Those that `takes` says no to are left out. Pointers that cannot be read are left out: history is not ours to mend.
    """
    pairs = sorted(history.contents(project.git, revs, pathspecs(project), every_ref=every_ref))
    return of_blobs(project, pairs, takes)


def of_blobs(
    project: Project, pairs: Sequence[tuple[str, str]], takes: Callable[[Pointer], bool] = lambda each: True
) -> list[Root]:
    """Every root that these files of Git (path, blob id) name. Those that cannot be read are left out."""
    return list(dict.fromkeys(roots(filter(takes, in_blobs(project, pairs)))))


def in_blobs(project: Project, pairs: Sequence[tuple[str, str]]) -> Iterator[Pointer]:
    """Everything that these files of Git (path, blob id) record. Those that cannot be read are left out."""
    ours = sources_of(project, [path for path, _ in pairs])
    wanted = [(ours[path], oid) for path, oid in pairs if path in ours]
    contents = history.read_blobs(project.git, [oid for _, oid in wanted], limit=sources.MAX_SIZE)
    for (source, _), raw in zip(wanted, contents, strict=True):
        with contextlib.suppress(UserError):
            yield from sources.parse(raw, source, project.algorithm)


def commit_of(project: Project, root: Root) -> str | None:
    """The commit that brought a root, of those that a ref or reflog leads to; None if there is none."""
    where = f":(top,literal){project.in_git(root.path + SUFFIX)}", f":(top,glob)**/{lockfile.NAME}"
    command = ["log", "--all", "--reflog", "--format=%H", f"-S{root.oid[:-1].hex()}", "--", *where]
    found = git.run(command, project.git.cwd).decode().split()
    return found[-1] if found else None


def check_name(path: str) -> None:
    """UserError for data that is itself named like a pointer, a lock file, or a file of stages."""
    if sources.is_lock(path):
        raise UserError(f"{quote(path)} is a lock file, which belongs into Git", hint="name the data")
    if path.rpartition("/")[2] == lockfile.STAGES:
        raise UserError(f"{quote(path)} is a file of stages, which belongs into Git", hint="name the data")
    if path.endswith(SUFFIX):
        raise UserError(f"{quote(path)} is a pointer", hint=f"name the data: {quote(path.removesuffix(SUFFIX))}")
