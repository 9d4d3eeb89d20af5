"""Files that are too large for Git, by what its index holds of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import gitindex, output, paths
from vcs_ml.config import Config
from vcs_ml.errors import UserError
from vcs_ml.hooks.staged import Staged, own_path
from vcs_ml.hooks.typed import Typed
from vcs_ml.hooks.verdict import Verdict, going_past
from vcs_ml.output import count, quote
from vcs_ml.workspace import pointer, sources, tracked
from vcs_ml.workspace.project import Project

NAME: Final = "large-files"
_SHOWN: Final = 20


class _Large(NamedTuple):
    """A file, its size in bytes, the project that it lies in, and what is allowed there."""

    path: str
    size: int
    project: str | None
    limit: int


def look(staged: Staged, *, files: Iterable[str] | None = None, limit: int | None = None) -> Verdict:
    """Whether one of `files` is larger in the index than `limit` bytes, or else than hooks.large_files; without
    `files`, of what differs from HEAD.

    What HEAD has under another name is in Git already, and left out. UserError where settings cannot be read.
    """
    had = {each.before.oid for each in staged.changes if each.before is not None}
    if files is None:
        entries = [(each.path, each.now) for each in staged.changes]
    else:
        entries = [(path, staged.index.get(path)) for path in sorted(set(files))]
    blobs = [
        (path, each.oid)
        for path, each in entries
        if each is not None and each.mode in gitindex.REGULAR and each.oid not in had and not sources.is_lock(path)
    ]
    sizes = gitindex.sizes(staged.root, dict.fromkeys(oid for _, oid in blobs))

    @cache
    def limit_of(project: str | None) -> int:
        return limit if limit is not None else _config(staged, project).large_files

    found = []
    for path, oid in blobs:
        # By what is in the workspace: this is where the commands will be typed.
        project = staged.typed.project_around(path.rpartition("/")[0])
        if (size := sizes.get(oid, 0)) > limit_of(project):
            found.append(_Large(path, size, project, limit_of(project)))
    where = "" if any(each.project is not None for each in found) else "--global "
    hint = f"vml config {where}hooks.large_files SIZE sets the limit; {going_past(NAME)}"
    fine = f"{count(len(blobs), 'file')} small enough"
    return Verdict(NAME, fine, ((_message(found, staged.typed), hint),) if found else ())


def _config(staged: Staged, project: str | None) -> Config:
    if project is None:
        return Config.load(None, staged.env)
    return Project(Path(staged.root.cwd, project), staged.root, staged.env).config


def _message(found: list[_Large], typed: Typed) -> str:
    shown = found[:_SHOWN]
    limits = " or ".join(map(output.size, sorted({each.limit for each in found})))
    what = "staged file is" if len(found) == 1 else "staged files are"
    lines = [f"{len(found):,} {what} too large for Git (over {limits}):"]
    lines += [f"  {quote(each.path)}  ({output.size(each.size)})" for each in shown]
    if len(found) > len(shown):
        lines.append(f"  and {len(found) - len(shown):,} more")
    chosen = [each for each in shown if _is_for_vml(each)]
    if chosen:
        lines.append(f"  To track {'it' if len(found) == 1 else 'them'} with vml instead:")
        lines.append(f"    {typed.git('rm', '--cached', paths=[each.path for each in chosen])}")
    for project in dict.fromkeys(each.project for each in chosen):
        if project is None:
            lines.append(f"    {typed.vml('init', project='')}")
        own = [each.path for each in chosen if each.project == project]
        lines.append(f"    {typed.vml('add', paths=own, project=project or '')}")
    return "\n".join(lines)


def _is_for_vml(each: _Large) -> bool:
    own = own_path(each.project or "", each.path)
    try:
        pointer.pointer_path(own)
        tracked.check_name(own)
    except UserError:
        return False
    return paths.problem(own) is None
