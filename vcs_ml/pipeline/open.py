"""The pipeline of a project: all its vml.yaml files read and put together, and written again."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping

from vcs_ml import fs, values
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import graph, load, outputs, patterns
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.load import Pipeline
from vcs_ml.workspace import lock_files, pointer_files, sources, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.tracked import Survey


def pipeline(
    project: Project, survey: Survey | None = None, *, instead: Mapping[str, bytes] | None = None
) -> tuple[Pipeline, Graph]:
    """What the vml.yaml files of the workspace say, and the graph of their stages; both empty where there are none.

    `survey` is what was seen in the workspace just now; `instead` are bytes that shall be written in the place of those
    of a file.
    UserError in a bare repository, for a link, and as in `load.load` and `graph.build`.
    """
    if project.git.worktree is None:
        raise UserError("a bare repository has no workspace", hint="vml works on stages in a clone or a worktree")
    found = survey or tracked.survey(project)
    for source in found.stage_files:
        _refuse_link(project, source)
    new = instead or {}

    def read(path: str) -> bytes | None:
        return new[path] if path in new else values.read(project.root / path)

    loaded = load.load(project.root, {*found.stage_files, *new}, read, unwritten=new)
    data = (path for path, each in found.tracked.items() if not each.lock)
    built = graph.build(loaded.stages, data, loaded.empty)
    outputs.refuse_shared(built.outputs, list(built.stages.values()), project.root)
    return loaded, built


def settle(project: Project) -> tuple[Survey, list[Pointer]]:
    """Where lock files name an output twice, as after a merge, let only the stage have it that makes it by vml.yaml.

    What is in the workspace then, and the outputs that were taken from stages. UserError as in `pipeline`. The caller
    holds the worktree's lock.
    """
    survey = tracked.survey(project)
    overlaps = [error for error in survey.broken.values() if isinstance(error, sources.Overlap)]
    _, found = pipeline(project, survey)
    taken: dict[tuple[str, str, str], Pointer] = {}
    for out, other in (pair for error in overlaps for pair in error.pairs):
        loser = other if other.lock and is_made(out, found) and not is_made(other, found) else out
        taken[loser.lock, loser.stage, loser.path] = loser
    lock_files.drop(project, taken.values())
    return tracked.survey(project), list(taken.values())


def is_made(out: Pointer, graph: Graph) -> bool:
    """Whether the stage that an output was recorded for makes it, by its vml.yaml."""
    stage = graph.stages.get(out.maker)
    return stage is not None and any(
        patterns.matches(out.path, each.path) if each.is_glob else out.path == each.path for each in stage.outs
    )


def read(project: Project, source: str) -> bytes:
    """The bytes of the vml.yaml at a project-relative path, none where nothing is. UserError if it is no file."""
    project.refuse_link_above(source)
    _refuse_link(project, source)
    return values.read(project.root / source) or b""


def _refuse_link(project: Project, source: str) -> None:
    if os.path.islink(project.root / source):
        name = shlex.quote(source)
        raise UserError(
            f"{quote(source)} is a symbolic link: stages are read from and written to files of the project only",
            hint=f'cp --remove-destination "$(realpath {name})" {name}',
        )


def write(project: Project, survey: Survey, changes: Mapping[str, bytes]) -> Graph:
    """Write these vml.yaml files, each whole or not at all, and return the new graph.

    Nothing is written where they would not fit together: UserError as in `pipeline`. The caller holds the worktree's
    lock, and has read the files under it.
    """
    for source in changes:
        if owner := sources.owner(source, survey.tracked):
            raise UserError(
                f"{quote(source)} would be data: {quote(owner[0].path)} is tracked",
                hint="stages are written beside the data, not into it",
            )
        if _is_ignored(project, source):
            raise UserError(f"{quote(source)} would not be found: .vmlignore names it", hint="change that first")
    _, found = pipeline(project, survey, instead=changes)
    for source, raw in changes.items():
        path = project.root / source
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        fs.write_atomic(path, raw, mode=mode, scratch=project.tmp_dir)
    pointer_files.stage(project, list(changes))
    return found


def _is_ignored(project: Project, source: str) -> bool:
    """Whether `.vmlignore` keeps the search for vml.yaml files away from this one."""
    ignore, folder = Ignore(project.root), ""
    names = source.split("/")
    for depth, name in enumerate(names, 1):
        ignored = ignore.at(folder)
        if ignored is not None and ignored(name, depth < len(names)):
            return True
        folder = "/".join(names[:depth])
    return False
