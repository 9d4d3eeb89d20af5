"""What of the workspace is not in the commit that is about to be made: data, pointers, lock files, stages."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from vcs_ml import output
from vcs_ml.hooks.problem import Problem
from vcs_ml.hooks.staged import CONFIG, Staged, in_git
from vcs_ml.hooks.stale import left_out, lock_of, stale_for_commit
from vcs_ml.hooks.verdict import Verdict, going_past
from vcs_ml.output import count, quote
from vcs_ml.progress import Meter
from vcs_ml.workspace import lockfile, opening, sources, status
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.status import Behind, Change, Status

if TYPE_CHECKING:
    from vcs_ml.pipeline.staleness import StageState, Staleness

NAME: Final = "status"
_SHOWN: Final = 20
_NAMED: Final = 5  # paths in a hint
_REASONS: Final = 3


class _Seen(NamedTuple):
    """One project: what would end the commit, as rows of a list; how to mend each kind of it; what is only told."""

    rows: list[tuple[str, str]]
    hints: list[str]
    notes: list[str]
    paths: int
    stages: int


def look(staged: Staged, *, meter: Meter, told: Sequence[Problem] = ()) -> Verdict:
    """Whether data, stages, pointers and lock files of all projects are what the index says. What was `told` is not
    told again.

    While Git is in the middle of a merge, cherry-pick or revert, which bring pointers without their data, nothing ends
    the commit; in a rebase, where the data is that of another commit altogether, nothing is compared. UserError where
    a project cannot be read.
    """
    doing = staged.operation
    if doing in ("rebase", "am"):
        return Verdict(NAME, f"data is not compared during a{'n' if doing == 'am' else ''} {doing}")
    seen = [_look(staged, project, meter=meter, told=told) for project in _projects(staged)]
    rows = [row for each in seen for row in each.rows]
    notes = [note for each in seen for note in each.notes]
    notes += [
        f"{quote(path)} differs, and Git was told not to look at it"
        f" ({staged.typed.git('update-index', option, paths=[path])})"
        for path, option in staged.unseen.items()
    ][:_SHOWN]
    paths, stages = sum(each.paths for each in seen), sum(each.stages for each in seen)
    what = count(paths, "tracked path") + (f" and {count(stages, 'stage')}" if stages else "")
    fine = f"{what} as recorded"
    if not rows:
        return Verdict(NAME, fine, (), tuple(notes))
    shown = [f"  {f'{label}:':<12}{text}" for label, text in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        shown.append(f"  and {len(rows) - _SHOWN:,} more: vml status lists them")
    message = "\n".join(["the workspace is not what is about to be committed:", *shown])
    hints = list(dict.fromkeys(hint for each in seen for hint in each.hints))
    if doing is not None:
        return Verdict(
            NAME,
            fine,
            (),
            (message.replace(":\n", f" (the commit of a {doing} is not stopped for this):\n", 1), *hints, *notes),
        )
    return Verdict(NAME, fine, ((message, "; ".join([*hints, going_past(NAME)])),), tuple(notes))


def _projects(staged: Staged) -> Iterator[Project]:
    """All projects, the one at the top first: it need not wait for the index."""
    top = staged.root.cwd
    if os.path.exists(top / CONFIG):
        yield Project(top, staged.root, staged.env)
    for each in sorted(staged.projects - {""}):
        place = top / each
        # Not where a sparse checkout left it out, and not through a link.
        if os.path.exists(place / CONFIG) and place.resolve() == place:
            yield Project(place, staged.root, staged.env)


def _look(staged: Staged, project: Project, *, meter: Meter, told: Sequence[Problem]) -> _Seen:
    store = opening.open_store(project)
    stages: Staleness | None = None
    with opening.looking(project) as keep:
        found = status.status(project, store, [], meter=meter, keep=keep, ask_store=False, asked=staged.asked)
        if found.survey.stage_files or any(each.lock for each in found.survey.tracked.values()):
            # Importing it takes 20 ms and reading YAML 17, which projects without stages shall not pay.
            from vcs_ml.pipeline import staleness  # noqa: PLC0415

            stages = staleness.look(project, store, found.survey, staged.env, meter=meter, keep=keep)
    data = [each for each in found.data if each.change != "absent"]
    owners = _owners(found, data)
    unstaged = _unstaged(project, found)
    unstaged += [path for path in (left_out(staged, project, stages) if stages else ()) if path not in unstaged]
    stale = stale_for_commit(staged, project, stages, told) if stages else []
    # Of an output that was changed by hand, the data says it already.
    stale = [each for each in stale if not all(one.kind == "out" and one.name in owners for one in each.reasons)]
    late = status.behind_of(data, found.tracked)
    rows: list[tuple[str, str]] = [(each.change, _described(project, each)) for each in data if each.change != "behind"]
    rows += [
        ("behind", f"{quote(in_git(project.prefix, path))}  ({count(n, 'file')})") for path, n in late.files.items()
    ]
    rows += [("not staged", quote(path)) for path in unstaged]
    rows += _unreadable(project, found, stages, {*unstaged, *(each.path for each in told)})
    rows += [(each.state, _why(project, each)) for each in stale]
    hints = [*_data_hints(staged, project, found, late), *_unstaged_hints(staged, unstaged)]
    if stale:
        locks = dict.fromkeys(in_git(project.prefix, lock_of(each)) for each in stale)
        repro = staged.typed.vml("repro", project=project.prefix)
        hints.append(f"{repro} && {staged.typed.git('add', paths=locks)} makes stages anew")
    notes = [f"{quote(path)} is not in Git ({staged.typed.git('add', paths=[path])})" for path in _new(project, found)]
    return _Seen(rows, hints, notes[:_SHOWN], len(found.tracked), stages.total if stages else 0)


def _unreadable(
    project: Project, found: Status, stages: Staleness | None, told: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What a merge left open and what cannot be read, but for the files that were told."""
    for each in found.conflicts:
        if in_git(project.prefix, each.source) not in told:
            yield "conflict", f"{quote(in_git(project.prefix, each.path))}  ({each.what})"
    for path, error in found.broken:
        if in_git(project.prefix, path) not in told:
            yield "broken", error.message
    if stages and not any(path.endswith(lockfile.STAGES) for path in told):
        yield from (("broken", error.message) for error in stages.broken)


def _described(project: Project, each: Change) -> str:
    name = quote(in_git(project.prefix, each.path))
    if each.source is not None:
        return f"{quote(in_git(project.prefix, each.source))} -> {name}"
    return f"{name}  ({each.difference})" if each.difference else name


def _unstaged(project: Project, found: Status) -> list[str]:
    """Pointers and lock files whose bytes in the workspace are not those of the index."""
    return [
        each.path
        for each in found.git_says
        if each.worktree not in ".?" and (own := project.own_path(each.path)) is not None and sources.is_source(own)
    ]


def _new(project: Project, found: Status) -> list[str]:
    """Pointers and lock files that the index does not have."""
    known, tracked = {each.path for each in found.git_says}, found.survey.tracked
    paths = [each.path for each in found.pointers if not each.staged]
    own = dict.fromkeys(tracked[path].source if path in tracked else path + SUFFIX for path in paths)
    return [path for each in own if (path := in_git(project.prefix, each)) not in known]


def _owners(found: Status, data: Sequence[Change]) -> dict[str, Pointer]:
    """What the changed data belongs to, by its path."""
    tracked = {each.path: each for each in found.tracked} if data else {}
    owners = [above[0] for each in data if (above := sources.owner(each.path, tracked))]
    return {each.path: each for each in owners}


def _data_hints(staged: Staged, project: Project, found: Status, late: Behind) -> Iterator[str]:
    """How to bring what is behind, and how to record data, or bring back what was recorded."""
    behind, edited = [in_git(project.prefix, path) for path in late.files], late.edited
    changed = [each for each in found.data if each.change not in ("absent", "behind") and each not in edited]
    alone = _owners(found, changed)
    again = _owners(found, [each for each in found.data if each.change == "behind"])
    bring = staged.typed.vml("checkout", paths=behind if len(behind) <= _NAMED else [], project=project.prefix)
    if behind and staged.env.get("PRE_COMMIT"):
        pointers = dict.fromkeys(in_git(project.prefix, each.source) for each in again.values())
        yield f"{staged.typed.git('add', paths=pointers)} if pre-commit has put these away, for not being staged"
    if behind and not edited:
        yield f"{bring} brings what is behind ({_recorded_by(staged, project, again, by_name=True)} takes that back)"
    gone = [each.path for each in changed if each.change == "deleted" and each.path in alone]
    if kept := {path: each for path, each in alone.items() if path not in gone}:
        yield _recording(staged, project, kept, by_name=bool(behind))
    if gone:  # what is gone as a whole cannot be recorded
        data = [in_git(project.prefix, path) for path in gone if not alone[path].lock]
        ends = staged.typed.vml("rm", paths=data, project=project.prefix) if 0 < len(data) <= _NAMED else ""
        few = [in_git(project.prefix, path) for path in gone] if len(gone) <= _NAMED else []
        back = staged.typed.vml("checkout", paths=few, project=project.prefix)
        yield f"{back} brings back what was deleted{f' ({ends} ends tracking it)' if ends else ''}"
    if edited:
        # File by file: adding the directory would take back what its pointer has brought.
        paths = [path for each in edited for path in (each.source, each.path) if path is not None]
        files = [in_git(project.prefix, path) for path in paths[:_NAMED]]
        pointers = dict.fromkeys(in_git(project.prefix, each.source) for each in _owners(found, edited).values())
        more = " (so does each other file of vml status)" if len(paths) > _NAMED else ""
        add = staged.typed.vml("add", paths=files, project=project.prefix)
        yield f"{add} && {staged.typed.git('add', paths=pointers)} records what was edited{more}"
        yield f"{bring} then brings what is behind"


def _recording(staged: Staged, project: Project, ours: Mapping[str, Pointer], *, by_name: bool) -> str:
    """How to record data, and to bring back what was recorded."""
    few = [] if not by_name and len(ours) > _NAMED else [in_git(project.prefix, path) for path in ours]
    back = staged.typed.vml("checkout", paths=few, project=project.prefix)
    record = _recorded_by(staged, project, ours, by_name=by_name)
    return f"{record} records the data ({back} brings back what was recorded)"


def _recorded_by(staged: Staged, project: Project, ours: Mapping[str, Pointer], *, by_name: bool) -> str:
    """The commands that record data: all of it, unless it is little or to be `by_name`."""
    paths = [in_git(project.prefix, path) for path in ours]
    few = paths if by_name or len(paths) <= _NAMED else []
    verb = "add" if few and not any(each.lock for each in ours.values()) else "commit"
    files = [in_git(project.prefix, source) for source in dict.fromkeys(each.source for each in ours.values())]
    record = staged.typed.vml(verb, paths=few, project=project.prefix)
    stage = staged.typed.git("add", paths=files) if few else "git add -u"
    return f"{record} && {stage}"


def _unstaged_hints(staged: Staged, unstaged: Sequence[str]) -> list[str]:
    if not unstaged:
        return []
    few = staged.typed.git("add", paths=unstaged) if len(unstaged) <= _NAMED else "git add -u"
    return [f"{few} takes in what is not staged"]


def _why(project: Project, each: StageState) -> str:
    name = each.name
    if project.prefix:  # as the paths of the other lines
        name = in_git(project.prefix, name if f"{lockfile.STAGES}:" in name else f"{lockfile.STAGES}:{name}")
    reasons = [output.line(str(reason)) for reason in each.reasons]
    if len(reasons) > _REASONS:
        reasons[_REASONS:] = [f"{len(reasons) - _REASONS:,} more"]
    return f"{quote(name)}  ({'; '.join(reasons)})" if reasons else quote(name)
