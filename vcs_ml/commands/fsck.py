"""`vml fsck`: reads everything there is, says what is damaged or lost, and repairs what can be repaired."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.hashing import Algorithm
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.store import objects
from vcs_ml.store.fsck import Checked, Problem
from vcs_ml.workspace import sync, verify
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.verify import Checkup

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SHOWN = 50


@app.command()
def fsck(
    ctx: typer.Context,
    *,
    remote: Annotated[str | None, typer.Option("--remote", metavar="[NAME]", help="Check a remote instead.")] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte on the remote; of the local store always.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Bring back what can be brought back.")] = False,
    json: Json = False,
) -> None:
    """Check the local store, or a remote: that all there is has the bytes it should, and that nothing is lost.

    Everything that the workspace, Git's index or any ref names must be here or on a remote. Damaged files are
    moved to `quarantine/` in the store by --repair, never deleted.

    \b
    Examples:
      vml fsck
      vml fsck --repair
      vml fsck --remote
      vml fsck --remote storage --deep --repair
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    jobs, name = sync.jobs(project, None), None
    if remote is not None:
        config = project.remote(remote or None)
        name = config.name
        found = verify.check_remote(
            project, config, deep=deep, mend=repair, jobs=jobs, show=session.progress, note=session.note
        )
    elif repair:
        found = verify.mend(project, jobs=jobs, show=session.progress, note=session.note)
    else:
        found = verify.check(project, show=session.progress, note=session.note)
    if json:
        session.json(_as_json(found, name, project.algorithm))
    else:
        _print(session, found, name, project.algorithm, deep=deep, repair=repair)
    if not found.report.clean:
        raise typer.Exit(1)


def _as_json(found: Checkup, remote: str | None, algorithm: Algorithm) -> dict[str, object]:
    return {
        "schema": 1,
        "remote": remote,
        "clean": found.report.clean,
        "checked": found.report.checked._asdict(),
        "problems": [_problem_json(each, found, algorithm) for each in found.report.problems],
        "info": [each._asdict() for each in found.report.infos],
    }


def _problem_json(each: Problem, found: Checkup, algorithm: Algorithm) -> dict[str, object]:
    return {
        "kind": each.kind,
        "path": each.path,
        "object": objects.format_hash(each.oid, algorithm) if each.oid else None,
        "message": each.message,
        "needed_by": each.needs,
        "revision": found.revisions[each.root] if each.root else None,
        "repaired": each.repaired,
    }


def _print(
    session: Session, found: Checkup, remote: str | None, algorithm: Algorithm, *, deep: bool, repair: bool
) -> None:
    report = found.report
    shown = list(_together(sorted(report.problems, key=lambda each: each.repaired)))
    for group in shown[:_SHOWN]:
        label, colour = ("repaired", "green") if group[0].repaired else (group[0].kind, "red")
        line = _line(group[0], found, algorithm) if len(group) == 1 else _chunks_line(group, found)
        session.out(f"{output.paint(f'{label}:', colour, on=session.colour)} {line}")
    if len(shown) > _SHOWN:
        session.out(f"... and {len(shown) - _SHOWN:,} more (--json lists all)")
    for info in report.infos:
        session.note(f"note: {info.message}{f' ({info.hint})' if info.hint else ''}")
    session.out(f"checked {_amount(report.checked)}{f' on {remote}' if remote else ''}")
    left = sum(not each.repaired for each in report.problems)
    if not report.problems:
        session.out("no damage found")
        return
    session.out(f"{output.count(len(report.problems), 'problem')}, {len(report.problems) - left} repaired")
    if left and not repair:
        same = f"--remote {remote} {'--deep ' if deep else ''}" if remote else ""
        session.note(f"hint: vml fsck {same}--repair mends what can be mended")
    if remote and any(each.kind == "missing" and not each.repaired for each in report.problems):
        session.note(f"hint: vml push --check -r {remote}, in a clone that has it, sends what is missing")


def _together(problems: Iterable[Problem]) -> Iterable[list[Problem]]:
    """The problems, those with chunks of one file in one place together."""
    found: dict[object, list[Problem]] = {}
    for number, each in enumerate(problems):
        is_chunk = each.oid is not None and objects.kind(each.oid) == objects.CHUNK
        found.setdefault((each.kind, each.path, each.needs, each.repaired) if is_chunk else number, []).append(each)
    return found.values()


def _chunks_line(same: list[Problem], found: Checkup) -> str:
    first = same[0]
    total = found.chunks.get(first.needs or "")
    what = f"{len(same):,} of {total:,} chunks" if total else output.count(len(same), "chunk")
    reasons = {each.message for each in same}
    why = reasons.pop() if len(reasons) == 1 else "damaged"
    return f"{output.quote(first.path)}: {what}: {why}{_needed_by(first, found)}"


def _line(each: Problem, found: Checkup, algorithm: Algorithm) -> str:
    what = f" {objects.format_hash(each.oid, algorithm)}" if each.oid and each.kind != "tree" else ""
    return f"{output.quote(each.path)}{what}: {each.message}{_needed_by(each, found)}"


def _needed_by(each: Problem, found: Checkup) -> str:
    if each.root is None:
        return ""
    return f" [{output.quote(each.needs or each.root.path)}, {found.revisions[each.root][:12]}]"


def _amount(checked: Checked) -> str:
    loose = f"{output.count(checked.loose, 'loose file')}, " if checked.loose else ""
    files = f"{output.count(checked.packs, 'pack')}, {output.count(checked.indexes, 'index')}, {loose}"
    inside = f"{output.count(checked.objects, 'object')}, {output.size(checked.bytes)}"
    return f"{files}{inside}, {output.count(checked.roots, 'root')}"
