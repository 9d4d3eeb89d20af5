"""The pipeline of a project: all its vml.yaml files read and put together, and written again."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Mapping

from vcs_ml import fs, git, values
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import graph, load, outputs, patterns, stage
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.load import Pipeline
from vcs_ml.workspace import lock_files, lockfile, pointer_files, sources, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.outs import StageKey
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.tracked import Survey


def pipeline(
    project: Project,
    survey: Survey | None = None,
    *,
    instead: Mapping[str, bytes] | None = None,
    strict: bool = True,
) -> tuple[Pipeline, Graph]:
    """What the vml.yaml files of the workspace say, and the graph of their stages; both empty where there are none.

    `survey` is what was seen in the workspace just now; `instead` are bytes that shall be written in the place of those
    of a file. `strict` is that of `load.load`.
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

    loaded = load.load(project.root, {*found.stage_files, *new}, read, unwritten=new, strict=strict)
    data = (path for path, each in found.tracked.items() if not each.lock)
    built = graph.build(loaded.stages, data, loaded.empty)
    outputs.refuse_shared(built.outputs, list(built.stages.values()), project.root)
    _refuse_other_repositories(project, built)
    return loaded, built


def _refuse_other_repositories(project: Project, graph: Graph) -> None:
    """UserError for an output in a repository inside of ours, as in a submodule: our Git knows nothing of its files."""
    seen: set[str] = set()
    for each in graph.stages.values():
        for out in each.outs:
            place = f"{patterns.directory(out.path)}/*" if out.is_glob else out.path
            for folder in outputs.above(place):
                if folder in seen:
                    break
                seen.add(folder)
                if git.is_worktree_top(project.root / folder):
                    raise UserError(
                        f"{quote(each.file)}:{each.line}: {quote(out.path)} of {quote(each.address)} would lie in "
                        f"{quote(folder)}, which is a Git repository of its own",
                        hint="write elsewhere, and let the command copy it there",
                    )


def settle(project: Project) -> tuple[Survey, list[Pointer]]:
    """Where lock files name an output twice, as after a merge, let only the stage have it that makes it by vml.yaml.

    What is in the workspace then, and the outputs that were taken from stages. UserError as in `pipeline`. The caller
    holds the worktree's lock.
    """
    survey = tracked.survey(project)
    overlaps = [error for error in survey.broken.values() if isinstance(error, sources.Overlap)]
    _, found = pipeline(project, survey)
    every = {(each.lock, each.stage, each.path): each for error in overlaps for pair in error.pairs for each in pair}
    taken = _losers(every.values(), found)
    lock_files.drop(project, taken)
    return tracked.survey(project), taken


def _losers(every: Iterable[Pointer], graph: Graph) -> list[Pointer]:
    """Those outputs that have to go so that no two of all these overlap: data stays, then what a stage makes, then
    what lies in nothing and holds nothing that stays.
    """
    kept: dict[str, Pointer] = {}
    around: set[str] = set()
    losers = []
    for each in sorted(every, key=lambda each: (bool(each.lock), not is_made(each, graph), each.path, each.source)):
        if each.lock and (each.path in around or sources.owner(each.path, kept)):
            losers.append(each)
        else:
            kept[each.path] = each
            around.update(outputs.above(each.path))
    return losers


def gone(graph: Graph, files: Iterable[str], known: LockFiles) -> list[StageKey]:
    """What the lock files beside these vml.yaml record of stages that are gone, and of which nothing is tracked."""
    found = []
    for file in files:
        source = lockfile.source_in(file.rpartition("/")[0])
        for name, record in known.read(source).stages.items():
            address = stage.address(file, name)
            if address not in graph.stages and address not in graph.off:
                found += [] if any(out.flags.cache for out in record.outs.values()) else [(source, name)]
    return found


def is_made(out: Pointer, graph: Graph) -> bool:
    """Whether the stage that an output was recorded for makes it, by its vml.yaml."""
    maker = graph.stages.get(out.maker)
    return maker is not None and any(
        patterns.matches(out.path, each.path) if each.is_glob else out.path == each.path for each in maker.outs
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
