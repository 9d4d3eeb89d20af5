"""`vml merge-driver`: what Git runs to merge pointers, lock files and our blocks in .gitignore."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from vcs_ml import fs, git
from vcs_ml.errors import UsageError, VmlError
from vcs_ml.output import count, quote, word
from vcs_ml.session import Session
from vcs_ml.store.objects import MissingObject
from vcs_ml.workspace import attributes, merging, opening, sources
from vcs_ml.workspace.merging import Merged
from vcs_ml.workspace.pointer import SUFFIX
from vcs_ml.workspace.project import Project

_SHOWN: Final = 20

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def merge_driver(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="%O: the common version; empty if there is none.")],
    ours: Annotated[str, typer.Argument(metavar="OURS", help="%A: our version; the result takes its place.")],
    theirs: Annotated[str, typer.Argument(metavar="THEIRS", help="%B: their version.")],
    *,
    marker_size: Annotated[int, typer.Argument(metavar="SIZE", min=1, help="%L: the length of conflict markers.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="%P: the file, from the top of the working tree.")],
) -> None:
    """Merge three versions of a pointer, a vml.lock or a .gitignore. Git calls this, once `vml install` has told it to.

    Directories are merged file by file from their lists of files, lock files stage by stage. The data in the
    workspace is not touched. Where a list of files is neither in the local store nor on the default
    remote, or a version cannot be read, the file is merged as text, as Git would do it alone.

    \b
    Examples:
      git config merge.vml.driver 'vml merge-driver -- %O %A %B %L %P'
      git merge topic               (runs it for what both sides changed)
      git checkout -m -- data.vml   (runs it again, as does vml checkout --merge data.vml)
    """
    session: Session = ctx.obj
    if path.startswith("/") or ".." in path.split("/"):
        raise UsageError(f"{quote(path)} is no path from the top of a working tree", hint="vml merge-driver --help")
    place = session.directory / ours
    versions = _read(session.directory / base), _read(place), _read(session.directory / theirs)
    scratch = place.parent
    project: Project | None = None
    try:
        project = Project.of(path, session.directory, session.env)
        scratch = project.tmp_dir
        merged = _merged(session, project, path, versions)
    except (VmlError, OSError) as error:
        merged = None
        if path.rpartition("/")[2] != ".gitignore":
            _explain(session, project, path, error)
    if merged is None:
        raw, conflicts = _as_text(path, versions, scratch, marker_size)
    else:
        raw, conflicts = merged.raw, len(merged.conflicts)
        _report(session, project, path, merged)
    scratch.mkdir(parents=True, exist_ok=True)
    # Git takes what is there also from a driver that was killed.
    fs.write_atomic(place, raw, scratch=scratch)
    if conflicts:
        raise typer.Exit(attributes.CONFLICTS)


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        return file.read(sources.MAX_SIZE + 1)


def _merged(session: Session, project: Project, path: str, versions: tuple[bytes, bytes, bytes]) -> Merged | None:
    """The merge of a pointer or lock file; None for other files. Errors of merging.merge."""
    source = project.own_path(path)
    if source is None or not sources.is_source(source):
        return None
    store = opening.open_store(project, session.note)
    elsewhere = opening.lists_elsewhere(project, store, session.note)
    return merging.merge(project, store, source, (versions[0] or None, *versions[1:]), elsewhere)


def _as_text(path: str, versions: tuple[bytes, bytes, bytes], scratch: Path, marker_size: int) -> tuple[bytes, int]:
    """The merge that Git would make by itself, but for our block in a .gitignore; and its conflicts."""
    if path.rpartition("/")[2] != ".gitignore":
        return git.merge_file(*versions, scratch=scratch, marker_size=marker_size)

    return merging.merge_ignored(versions, scratch=scratch, marker_size=marker_size)


def _report(session: Session, project: Project | None, path: str, merged: Merged) -> None:
    prefix = f"{project.prefix}/" if project and project.prefix else ""
    for note in merged.notes:
        session.note(note)
    if merged.conflicts:
        session.note(f"{quote(path)}: {count(len(merged.conflicts), 'conflict')}")
        shown = list(merged.conflicts.items())[:_SHOWN]
        for each, what in shown:
            session.note(f"  {what}: {quote(prefix + each)}")
        if len(shown) < len(merged.conflicts):
            session.note(f"  ... and {len(merged.conflicts) - len(shown):,} more")
        vml = f"vml -C {shlex.quote(project.prefix)}" if project and project.prefix else "vml"
        session.note(f"hint: {vml} checkout --ours PATH, or --theirs PATH, settles them; {vml} status lists them")


def _explain(session: Session, project: Project | None, path: str, error: VmlError | OSError) -> None:
    """Why a file is merged as text, and how it is merged after all."""
    why = error.message if isinstance(error, VmlError) else str(error)
    vml = f"vml -C {shlex.quote(project.prefix)}" if project and project.prefix else "vml"
    own = project.own_path(path) if project else None
    hint = f"{vml} checkout --ours {word(own or path)}, or --theirs, takes one side as it is"
    if isinstance(error, MissingObject) and own:
        name = word(own.removesuffix(SUFFIX))
        # Not `git checkout -m`: a post-checkout hook of the pre-commit framework refuses to run in a merge.
        hint = f"{vml} fetch --metadata {name}; {vml} checkout --merge {word(own)} then merges it again"
    session.warn(f"{quote(path)} is merged as text: {why}", hint)
