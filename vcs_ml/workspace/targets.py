"""What the arguments of `add` and `commit` mean, and why some of them cannot be tracked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.store.ingest import Folder
from vcs_ml.workspace import pointer, tracked, tree
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


class Target(NamedTuple):
    """What arguments mean: a tracked thing (its pointer, if it has one) and paths inside it (none: all of it)."""

    path: str
    inner: tuple[str, ...]
    pointer: Pointer | None


def targets(project: Project, arguments: Sequence[str], *, outs: bool = False) -> list[Target]:
    """What project-relative paths mean to `add`, with `outs` to `commit`. UserError for one that cannot be tracked,
    and to `add` for an output of a stage.
    """
    found: dict[str, Target] = {}
    owners = tracked.Owners(project)
    for path in arguments:
        if path == "":
            raise UserError("the whole project cannot be tracked", hint="name directories or files: vml add data")
        owner = owners.of(path)
        if owner is not None and not outs:
            tracked.refuse_out(owner[0], "added")
        if owner is None or not owner[1]:
            tracked.check_name(path)
        if owner is not None and owner[1] and owner[0].kind != "tree":
            raise UserError(
                f"{quote(path)} lies below {quote(owner[0].path)}, which is tracked as a file",
                hint=f"vml rm --cached {word(owner[0].path)} ends tracking it as a file",
            )
        if owner is None or not owner[1]:
            found[path] = Target(path, (), owner[0] if owner else None)
        else:
            before = found.get(owner[0].path, Target(owner[0].path, ("",), owner[0]))
            if before.inner:
                found[before.path] = before._replace(inner=(*filter(None, before.inner), owner[1]))
    _check_new(project, [target for target in found.values() if target.pointer is None], owners)
    return list(found.values())


def _check_new(project: Project, new: Sequence[Target], owners: tracked.Owners) -> None:
    """Refuse what is not there, what Git tracks, and what would overlap with something tracked."""
    if not new:
        return
    for target in new:
        pointer.pointer_path(target.path)
        full = project.root / target.path
        if not os.path.lexists(full):
            raise UserError(f"{quote(target.path)} does not exist", hint="check the path: ls, vml ls")
        if full.is_symlink() and not tree.is_object(os.fsencode(full), project.loose):
            raise UserError(
                f"{quote(target.path)} is a symbolic link to {quote(os.readlink(full))}",
                hint="track the place it leads to, or replace the link by the data",
            )
        if not (full.is_dir() or full.is_file()):
            raise UserError(f"{quote(target.path)} is neither a file nor a directory", hint="only files can be tracked")
    in_git = git.tracked(project.git, [project.in_git(t.path) for t in new])
    for target in new:
        if project.in_git(target.path) in in_git:
            what = "is" if (project.root / target.path).is_file() else "holds files that are"
            raise UserError(
                f"{quote(target.path)} {what} already tracked by Git",
                hint=f"git ls-files {word(target.path)} shows what; git rm -r --cached takes it out of Git",
            )
    ignored = git.ignored(project.git, [project.in_git(pointer.pointer_path(t.path)) for t in new])
    for target in new:
        source = pointer.pointer_path(target.path)
        if project.in_git(source) in ignored:
            raise UserError(
                f"Git ignores {quote(source)}, so the pointer could not be committed",
                hint=f"git check-ignore -v {word(source)} shows the rule that has to go",
            )
    for target in new:
        for path, out in owners.outs.items():
            if path.startswith(f"{target.path}/"):
                raise UserError(
                    f"{quote(target.path)} contains {quote(path)}, the output of the stage {quote(out.maker)}",
                    hint="track what lies beside it by its own name",
                )
    every = {target.path: target for target in new}
    for target in new:
        if above := tracked.owner(target.path.rpartition("/")[0], every):
            raise UserError(
                f"{quote(target.path)} lies inside {quote(above[0].path)}",
                hint=f"vml add {word(above[0].path)} is enough",
            )


def unsettled(path: str) -> UserError:
    """The error for data with conflicts that a merge has left."""
    name = word(path)
    return UserError(
        f"{name} has conflicts from a merge",
        hint=f"vml checkout --ours {name} or --theirs {name} settles them, vml add {name} records what is there; "
        "vml status lists them",
    )


def check_pointers(project: Project, path: str, folders: Sequence[Folder]) -> None:
    """Refuse to track a directory with something in it that is tracked by itself."""
    for folder in folders:
        for name in folder.names:
            if not name.endswith(b".vml"):
                continue
            source = "/".join(filter(None, (path, os.fsdecode(folder.path), os.fsdecode(name))))
            try:
                inner = tracked.read_pointer(project, source).path
            except UserError:
                continue  # no pointer, but data that is named like one
            raise UserError(
                f"{quote(path)} contains {quote(inner)}, which is tracked by itself",
                hint=f"vml rm --cached {word(inner)}, then add the directory",
            )


def present(project: Project, known: Mapping[str, Pointer]) -> tuple[list[Target], list[str]]:
    """What `commit` without a path records: every tracked thing that is in the workspace. And the directories
    that lie where something is tracked, but were never checked out here: what they lack was not deleted.

    UserError where something has conflicts, which are settled by name.
    """
    for path, each in known.items():
        if each.conflicts:
            raise unsettled(path)
    here = [Target(path, (), each) for path, each in known.items() if os.path.lexists(project.root / path)]
    strange = {
        target.path
        for target in here
        if target.pointer is not None
        and target.pointer.kind == "tree"
        and Index.load(project.index_dir, target.path, project.algorithm).base is None
    }
    return [target for target in here if target.path not in strange], sorted(strange)
