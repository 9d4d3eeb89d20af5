"""`vml status`: what changed, which stages are stale, what is not committed, missing, or not pushed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated

import typer

from vcs_ml import output
from vcs_ml.hashing import Algorithm
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.store import objects
from vcs_ml.store.page import Entry
from vcs_ml.workspace import opening, relink, saved, sources, sync
from vcs_ml.workspace import status as looking
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.status import Change, Conflict, Status

if TYPE_CHECKING:
    from vcs_ml.pipeline.staleness import StageState, Staleness

_REASONS = 3
_BEHIND = 10

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def status(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH...]", help="Only these; also stages.")] = None,
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 unless clean; with --remote, also pushed.")
    ] = False,
    json: Json = False,
    remote: Annotated[str | None, typer.Option("--remote", metavar="[NAME]", help="Ask a remote what it has.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Look for pointers in every directory anew.")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every file, whatever its times say.")] = False,
) -> None:
    """Show what differs: workspace from pointers, stages from vml.lock, pointers from HEAD; what is not pushed.

    Costs what changed: unchanged files are recognised without reading them. A remote is asked only with
    --remote; otherwise "not pushed" is what is known since the last push or fetch.

    \b
    Examples:
      vml status
      vml status data --json
      vml status --exit-code --remote origin
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths or ()]
    stages: Staleness | None = None
    with opening.looking(project) as keep, session.progress("hashing") as meter:
        found = looking.status(project, store, targets, meter=meter, rehash=rehash, refresh=refresh, keep=keep)
        if found.survey.stage_files or any(each.lock for each in found.survey.tracked.values()):
            # Importing it takes 20 ms and reading YAML 17, which projects without stages shall not pay.
            from vcs_ml.pipeline import staleness  # noqa: PLC0415

            stages = staleness.look(
                project,
                store,
                found.survey,
                session.env,
                meter=meter,
                keep=keep,
                rehash=rehash,
                targets=dict(zip(paths or (), targets, strict=True)),
            )
    known = [each.path for each in found.pointers] + [each.path for each in found.conflicts]
    known += stages.named if stages else ()
    unknown = [t for t in targets if not any(path == t or path.startswith(f"{t}/") for path in known)]
    opening.check_targets({each.path: each for each in (*found.tracked, *found.optional, *found.unmade)}, unknown)
    absent = {each.path for each in found.missing}
    made_here = [each for each in found.optional if each.oid in store]
    ours = [each for each in (*found.tracked, *made_here) if each.path not in absent]
    waiting = opening.not_pushed(project, store, ours, remote)
    broken = [*(error for _, error in found.broken), *(stages.broken if stages else ())]
    if json and not broken:  # a program gets an answer or an error
        session.json(_as_json(found, stages, waiting, project.algorithm))
    elif not json:
        _print(session, project, found, stages, waiting)
        for line in saved.news(project):
            session.note(f"note: {line}")
    for message, hint in sync.nowhere(project, found.tracked):
        session.warn(message, hint)
    for path in relink.written_through(project, store, found.data):
        session.warn(
            f"{output.quote(path)} is linked into the store, where its recorded version is damaged by this change",
            hint="vml add or vml unprotect keeps what it holds now; vml fsck --repair then mends the store",
        )
    for path, option in found.unseen.items():
        session.warn(
            f"{output.quote(path)} differs from Git's index, and Git was told not to look at it",
            f"git -C {output.word(project.git.cwd)} update-index {option} {output.word(path)}",
        )
    for error in broken[1:]:
        session.warn(error.message, error.hint)
    if broken:  # said last, after all that could be told
        raise broken[0]
    if exit_code and not (_is_clean(found, stages) and (remote is None or not waiting.paths)):
        raise typer.Exit(1)


def _is_clean(found: Status, stages: Staleness | None) -> bool:
    return found.clean and (stages is None or stages.clean)


def _as_json(
    found: Status, stages: Staleness | None, waiting: opening.NotPushed, algorithm: Algorithm
) -> dict[str, object]:
    return {
        "schema": 1,
        "clean": _is_clean(found, stages),
        "conflicts": [{"path": c.path, "change": c.what, "source": c.source} for c in found.conflicts],
        "data": [_change_json(each, algorithm) for each in found.data],
        "pointers": [{"path": p.path, "change": p.change, "staged": p.staged} for p in found.pointers],
        "missing": [{"path": m.path, "hash": m.hash, "objects": m.objects} for m in found.missing],
        "not_pushed": [{"path": path, "remote": waiting.remote} for path in waiting.paths],
        "stages": [_stage_json(each) for each in stages.stages] if stages else [],
        "optional": [{"path": each.path, "size": each.size, "groups": each.groups} for each in found.optional],
        "partial": [each._asdict() for each in found.partial],
        "unmade": [{"path": each.path, "stage": each.maker} for each in found.unmade],
        "left": [{"path": each.path, "stage": each.maker} for each in stages.left] if stages else [],
    }


def _stage_json(each: StageState) -> dict[str, object]:
    return {"name": each.name, "state": each.state, "reasons": [reason.as_json() for reason in each.reasons]}


def _change_json(each: Change, algorithm: Algorithm) -> dict[str, object]:
    fields: dict[str, object] = {
        "path": each.path,
        "change": each.change,
        "old": _entry_json(each.old, algorithm),
        "new": _entry_json(each.new, algorithm),
    }
    return fields | {"from": each.source} if each.source is not None else fields


def _entry_json(entry: Entry | None, algorithm: Algorithm) -> dict[str, object] | None:
    if entry is None or entry.size < 0:
        return None
    return {"hash": objects.format_hash(objects.blob(entry.digest), algorithm), "size": entry.size}


def _print(
    session: Session, project: Project, found: Status, stages: Staleness | None, waiting: opening.NotPushed
) -> None:
    from_here = project.seen_from(session.directory)

    def shown(path: str) -> str:
        return output.word(from_here(path))

    _print_conflicts(session, found.conflicts, shown)
    late = looking.behind_of(found.data, found.tracked)
    outs = {each.path: each for each in found.tracked if each.lock}
    verb = "commit" if any(sources.owner(each.path, outs) for each in found.data) else "add"
    _section(
        session,
        "Data that differs from its pointer:",
        f"vml {verb} PATH records it, vml checkout PATH brings the recorded version back",
        [(each.change, _describe(each, shown)) for each in found.data if each.change not in ("absent", "behind")],
        "red",
    )
    _section(
        session,
        "Data that is behind its pointer:",
        _bringing(late, shown),
        [("behind", f"{shown(path)}  ({output.count(n, 'file')})") for path, n in late.files.items()],
        "red",
    )
    absent = [each.path for each in found.data if each.change == "absent"]
    lost = {each.path for each in found.missing}
    _section(
        session,
        "Not in the workspace:",
        f"{_brought_by(project, found, lost.intersection(absent)) or 'vml checkout'} brings it",
        [("absent", shown(path)) for path in absent],
        "red",
    )
    _section(
        session,
        "Stages that are not up to date:",
        "vml repro runs what is stale, vml commit STAGE takes what is there as its result",
        _stage_rows(stages.stages) if stages else [],
        "red",
    )
    _section(
        session,
        "Pointers that differ from HEAD:",
        "git add and git commit record them",
        [(each.change, shown(each.path)) for each in found.pointers if each.change != "conflict"],
        "green",
    )
    _section(
        session,
        "Missing from the local store:",
        f"{_brought_by(project, found, lost.difference(absent))} brings it",
        [
            ("missing", f"{shown(m.path)}  ({output.count(m.objects, 'object')})")
            for m in found.missing
            if m.path not in absent
        ],
        "red",
    )
    _section(
        session,
        f"Not on remote {waiting.remote}{'' if waiting.asked else ' as far as is known here'}:",
        "vml push sends it",
        [("not pushed", shown(path)) for path in waiting.paths],
        "yellow",
    )
    if found.clean and not waiting.paths and not (stages and stages.stages):
        session.out(
            "nothing changed"
            if found.tracked or found.optional or found.unmade or (stages and stages.total)
            else "nothing is tracked yet (vml add PATH)"
        )
    for part in found.partial:
        name = shown(part.path)
        session.out(f"{name}: {part.here:,} of {output.count(part.files, 'file')} here (vml pull {name} brings all)")
    if found.optional:
        session.out(_optional(found.optional, shown))
    for each in found.unmade:
        session.out(f"{shown(each.path)} was not made here, and no remote gets it (stage {each.maker})")
    for each in stages.left if stages else ():
        name = shown(each.path)
        session.out(
            f"{name} is recorded for {output.quote(each.maker)}, which is no stage any more "
            f"(vml rm --cached {name} ends tracking it)"
        )


def _print_conflicts(session: Session, conflicts: list[Conflict], shown: Callable[[str], str]) -> None:
    sections: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for each in conflicts:
        if each.what == "settled":
            title = "Settled, which Git has not been told:", "git add FILE tells it"
        elif each.path != each.source:
            title = (
                "Conflicts in merged data:",
                "vml checkout --ours PATH or --theirs PATH settles one, vml add PATH records what is there",
            )
        elif each.source.endswith(".gitignore"):
            title = "Our lines in .gitignore that were not merged:", "vml checkout --merge FILE merges them"
        elif each.what.startswith("both") and each.what != "both deleted":
            title = (
                "Files that were not merged:",
                "vml checkout --merge FILE merges one, --ours FILE or --theirs FILE takes a side; then git add FILE",
            )
        else:
            title = "Files that only one side has:", "git add FILE keeps one, git rm FILE drops it"
        sections.setdefault(title, []).append((each.what, shown(each.path)))
    for (name, hint), rows in sections.items():
        _section(session, name, hint, rows, "red")


def _brought_by(project: Project, found: Status, paths: Collection[str]) -> str:
    return sync.brought_by(project, (each for each in found.tracked if each.path in paths))


def _stage_rows(stages: list[StageState]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    many = {
        "behind": "need what others will make",
        "absent": "read or made what is not here, or only in part",
    }
    for state in list(many):
        if sum(each.state == state for each in stages) <= (_BEHIND if state == "behind" else 1):
            del many[state]
    for each in stages:
        if each.state not in many:
            reasons = [output.line(str(reason)) for reason in each.reasons]
            if len(reasons) > _REASONS:
                reasons[_REASONS:] = [f"{len(reasons) - _REASONS:,} more"]
            why = "; ".join(reasons) or "needs what another one will make"
            rows.append((each.state, f"{output.quote(each.name)}  ({why})"))
    for state, why in many.items():
        names = [output.quote(each.name) for each in stages if each.state == state]
        shown = f"  ({', '.join(names)})" if len(names) <= _BEHIND else ""
        rows.append((state, f"{output.count(len(names), 'stage')} that {why}{shown}"))
    return rows


def _optional(left_out: list[Pointer], shown: Callable[[str], str]) -> str:
    paths = output.count(len(left_out), "optional path")
    groups = sorted({group for each in left_out for group in each.groups})
    hint = f"--group {groups[0]}" if groups else shown(left_out[0].path)
    return f"{paths} {'is' if len(left_out) == 1 else 'are'} not here (vml pull {hint})"


def _bringing(late: looking.Behind, shown: Callable[[str], str]) -> str:
    """How data comes that is behind, and how what was edited in such a directory gets into its pointer before that:
    adding the directory would take back what the pointer has brought.
    """
    if late.edited:
        name = shown(late.edited[0].path)
        return f"vml add {name} takes in one edited file alone, then vml checkout PATH brings the others"
    return "vml checkout PATH brings it, vml add PATH would make what is here the newest version again"


def _describe(each: Change, shown: Callable[[str], str]) -> str:
    name = shown(each.path)
    if each.source is not None:
        return f"{shown(each.source)} -> {name}"
    return f"{name}  ({each.difference})"


def _section(session: Session, title: str, hint: str, rows: list[tuple[str, str]], colour: str) -> None:
    if not rows:
        return
    session.out(f"{title}\n  ({hint})")
    width = max(12, *(len(label) + 2 for label, _ in rows))
    for label, text in rows:
        session.out(f"\t{output.paint(f'{label + chr(58):<{width}}{text}', colour, on=session.colour)}")
    session.out("")
