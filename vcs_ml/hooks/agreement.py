"""vml.yaml files in Git's index: what is wrong with them, and where lock files say something else."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from vcs_ml import gitindex, values
from vcs_ml.errors import UserError
from vcs_ml.hooks.problem import Problem, line_of
from vcs_ml.hooks.staged import Staged, in_git, own_path
from vcs_ml.output import quote
from vcs_ml.pipeline import graph, load, patterns, stage
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.stage import Stage
from vcs_ml.workspace.lockfile import LockFile, StageRecord
from vcs_ml.workspace.pointer import SUFFIX

_PLACE: Final = re.compile(r"([^:\"]+):(\d+): ")


def find(
    staged: Staged, project: str, files: Sequence[str], locks: Iterable[LockFile], data: Collection[str]
) -> Iterator[Problem]:
    """What is wrong with these vml.yaml `files` (from the top of the worktree), and where lock files of the project
    name stages or outputs that they do not have. `data` is what pointers track, from the top of the project.
    """
    loaded, refused = _load(staged, project, files)
    yield from refused
    if refused:
        return
    stages = [each for one in loaded for each in one.stages]
    try:
        built = graph.build(stages, data, [name for one in loaded for name in one.empty])
    except UserError as error:
        yield _located(project, error, files[0] if files else in_git(project, stage.FILE))
        return
    for each in locks:
        yield from _of_lock(staged, project, built, each)


def _load(staged: Staged, project: str, files: Sequence[str]) -> tuple[list[load.Pipeline], list[Problem]]:
    """Each file by itself, so that all that cannot be read are told."""
    found: list[load.Pipeline] = []
    problems = []

    def read(own: str) -> bytes | None:
        return _read(staged, project, own)

    for file in files:
        entry = staged.index.get(file)
        if entry is not None and entry.mode == gitindex.LINK:
            hint = "put a file in its place: stages are read from files of the project only"
            problems.append(Problem(file, "it is a symbolic link", hint))
            continue
        try:
            found.append(load.load(staged.root.cwd / project, [own_path(project, file)], read))
        except UserError as error:
            problems.append(_located(project, error, file))
    return found, problems


def _read(staged: Staged, project: str, own: str) -> bytes | None:
    """The bytes of a file that vml.yaml names: those of the index; of the workspace where something tracks it, and
    where it is a link, which may lead anywhere.
    """
    path = in_git(project, own)
    entry = staged.index.get(path)
    if entry is None and not any(f"{each}{SUFFIX}" in staged.index for each in _and_above(path)):
        return None
    if entry is None or entry.mode == gitindex.LINK:
        return values.read(Path(staged.root.cwd, path))
    return staged.read(path)


def _and_above(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _located(project: str, error: UserError, file: str) -> Problem:
    """The problem that an error of the pipeline is; `file` where it does not say of which."""
    what, line = error.message, None
    if found := _PLACE.match(what):
        file, line, what = in_git(project, found[1]), int(found[2]), what[found.end() :]
    else:
        what = what.removeprefix(f"{quote(own_path(project, file))}: ")
    return Problem(file, what, error.hint or "", line)


def _of_lock(staged: Staged, project: str, built: Graph, lock: LockFile) -> Iterator[Problem]:
    path = in_git(project, lock.source)
    folder = lock.source.rpartition("/")[0]
    file = f"{folder}/{stage.FILE}" if folder else stage.FILE
    for name, record in lock.stages.items():
        address = stage.address(file, name)
        if address in built.off:
            continue
        found = built.stages.get(address)
        what = _differs(found, record) if found else f"{quote(in_git(project, file))} has no such stage"
        if what:
            line = line_of(staged.read(path) or b"", ["stages", name])
            hint = staged.typed.vml("repro", project=project)
            outs = () if found else [out for out, each in record.outs.items() if each.flags.cache]
            if left := [in_git(project, out) for out in outs if not built.outputs.makers(out)]:
                hint = staged.typed.vml("rm", "--cached", paths=left, project=project)
            hint = f"{hint} && {staged.typed.git('add', paths=[path])} makes the two agree"
            yield Problem(path, f"stage {quote(name)}: {what}", hint, line, (address,))


def _differs(found: Stage, record: StageRecord) -> str | None:
    """How the outputs of a stage are not those that were recorded; of patterns, as far as paths tell."""
    plain = {out.path: out for out in found.outs if not out.is_glob}
    globs = [out for out in found.outs if out.is_glob]
    for path, each in record.outs.items():
        out = plain.get(path) or next((out for out in globs if patterns.matches(path, out.path)), None)
        if out is None:
            return f"it made {quote(path)}, which {stage.FILE} does not name"
        if out.cache != each.flags.cache:
            return f"{quote(path)} was {'the store' if each.flags.cache else 'Git'}'s, and {stage.FILE} says otherwise"
    lacking = next((path for path in plain if path not in record.outs), None)
    return f"it has not made {quote(lacking)}, which {stage.FILE} names" if lacking is not None else None
