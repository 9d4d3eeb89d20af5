"""What is wrong with the pointers, lock files, vml.yaml files and settings that are about to be committed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from vcs_ml.hooks import contents, overlaps
from vcs_ml.hooks.problem import Problem
from vcs_ml.hooks.staged import CONFIG, Staged, in_git, own_path
from vcs_ml.hooks.verdict import Verdict, going_past
from vcs_ml.output import count, quote
from vcs_ml.workspace import lockfile, sources
from vcs_ml.workspace.lockfile import LockFile
from vcs_ml.workspace.pointer import SUFFIX

NAME: Final = "validate"
_PARAMS: Final = "params.yaml"  # which templates read without naming it


def look(staged: Staged, *, files: Iterable[str] = ()) -> tuple[Verdict, list[Problem]]:
    """What is wrong with what differs from HEAD, and with these files.

    Of all others, paths are looked at, and what is in the lock files and vml.yaml files of the same projects.
    """
    checked = {path for path in files if path in staged.index} | {each.path for each in staged.changes}
    problems = sorted(set(find(staged, checked)), key=lambda each: (each.path, each.line or 0, each.what))
    ours = sum(sources.is_source(path) or path.rpartition("/")[2] == lockfile.STAGES for path in checked)
    fine = f"{count(ours, 'file')} of vml valid"
    errors = [(str(each), each.hint) for each in problems]
    if problems:
        errors.append((f"{count(len(problems), 'problem')} in what is staged", going_past(NAME)))
    return Verdict(NAME, fine, tuple(errors)), problems


def find(staged: Staged, checked: Collection[str]) -> Iterator[Problem]:
    """Everything that is wrong with these files of the index, or went wrong when they were removed."""
    if not checked:
        return
    by_project: dict[str | None, list[str]] = {}
    for path in sorted(checked):
        by_project.setdefault(staged.project_of(path), []).append(path)
    found = {name: staged.index.named(name) for name in (lockfile.NAME, lockfile.STAGES)}
    of = {
        project: {name: [path for path in each if staged.project_of(path) == project] for name, each in found.items()}
        for project in by_project
    }
    staged.expect(
        [
            *(path for path in checked if sources.is_source(path)),
            *(in_git(project, CONFIG) for project in by_project if project is not None),
            *(path for project, each in of.items() if project is not None for paths in each.values() for path in paths),
        ]
    )
    for project, paths in by_project.items():
        if project is None:
            yield from _in_no_project(staged, paths)
        else:
            yield from _in_project(staged, project, paths, of[project][lockfile.NAME], of[project][lockfile.STAGES])


def _in_no_project(staged: Staged, paths: Sequence[str]) -> Iterator[Problem]:
    """Pointers and lock files whose project is in the workspace, and not in Git. Others may be of other programs."""
    lost: dict[str, list[str]] = {}
    for path in paths:
        around = staged.typed.project_around(path.rpartition("/")[0])
        if sources.is_source(path) and path in staged.index and around is not None:
            lost.setdefault(around, []).append(path)
    for project, files in lost.items():
        what = f"it is not in Git, so that in a clone {quote(files[0])} will mean nothing"
        config, ignore = in_git(project, CONFIG), in_git(project, ".vml/.gitignore")
        yield Problem(config, what, f"{staged.typed.git('add', paths=[config, ignore])} adds the project")


def _in_project(
    staged: Staged, project: str, paths: Sequence[str], locks: Sequence[str], stages: Sequence[str]
) -> Iterator[Problem]:
    algorithm, wrong = contents.settings(staged, project)
    if in_git(project, CONFIG) in paths:
        yield from wrong
    if algorithm is None:
        return
    for path in paths:
        if overlaps.is_pointer(path):
            yield from contents.pointers(staged, project, path, algorithm)
    known: list[LockFile] = []
    for path in locks:
        found, wrong = contents.lock(staged, project, path, algorithm)
        if found is not None:
            known.append(found)
        elif path in paths:
            yield from wrong
    claims = [each for one in known for each in contents.outs(project, one)]
    yield from overlaps.find(staged, project, paths, claims)
    if (stages or known) and _concerns_stages(staged, paths, stages):
        # Importing it takes 20 ms and reading YAML 17, which projects without stages shall not pay.
        from vcs_ml.hooks import agreement  # noqa: PLC0415

        top = staged.index.below(project)
        data = [own_path(project, path).removesuffix(SUFFIX) for path in top if overlaps.is_pointer(path)]
        yield from agreement.find(staged, project, stages, known, data)


def _concerns_stages(staged: Staged, paths: Iterable[str], stages: Sequence[str]) -> bool:
    """Whether one of these files may change what vml.yaml files come to, or what is compared with that."""
    texts = [staged.read(path) or b"" for path in stages]
    names = {path.rpartition("/")[2] for path in paths}
    return not names.isdisjoint((lockfile.NAME, lockfile.STAGES, _PARAMS)) or any(
        os.fsencode(name) in text for name in names for text in texts
    )
