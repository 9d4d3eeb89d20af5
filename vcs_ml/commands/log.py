"""`vml log`: the versions of what is tracked at a path."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UsageError
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.workspace import opening, versions
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.versions import Version

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def log(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Tracked data, or something inside it.")],
    *,
    rev: Annotated[
        list[str] | None, typer.Option("--rev", metavar="R", help="From here back, or A..B (default: HEAD).")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="On every branch and tag.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Also before vml mv moved it.")] = False,
    count: Annotated[int | None, typer.Option("-n", "--max-count", metavar="N", min=1, help="So many.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask the default remote for lists not here.")] = False,
    json: Json = False,
) -> None:
    """Show the versions of tracked data: when it changed, who changed it, how large it was.

    A path inside a tracked directory has the versions of that file or directory alone.

    \b
    Examples:
      vml log data/train
      vml log -n 5 models/best.pt
      vml log data/train/labels.csv --rev v1.0..main
      vml log data/train --all --json
    """
    session: Session = ctx.obj
    if rev and every:
        raise UsageError("--rev and --all exclude each other", hint="leave one out")
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    target = project.relative(path, session.directory).removesuffix("/")
    read = opening.page_reader(project, store, fetch=fetch, at_once=False)
    revs = [] if every else rev or ["HEAD"]
    seen = versions.versions(project, target, revs, read, every_ref=every, follow=follow)
    found = list(islice(seen, count))
    versions.check(target, found)
    if project.git.is_shallow and (count is None or len(found) < count):
        session.note("note: the clone is shallow, its oldest commit counts as the first: git fetch --unshallow")
    if json:
        session.json({"schema": 1, "path": target, "versions": [each.as_json(project) for each in found]})
        return
    heads = ["commit", "date", "author", "size", "files", "change", "subject"]
    session.out(output.table([_row(each, target) for each in found], heads, align="lllrrll"))
    unknown = sum(each.content is not None and each.content.size is None for each in found)
    if unknown:
        session.warn(
            f"the lists of files of {output.count(unknown, 'version')} are not here",
            hint="vml log --fetch asks for them on the way; vml fetch --metadata --all-commits brings all",
        )


def _row(each: Version, target: str) -> list[str]:
    commit, content = each.commit, each.content
    size = files = ""
    if content is not None:
        size = output.size(content.size) if content.size is not None else "?"
        files = f"{content.nfiles:,}" if content.nfiles is not None else ""
    moved = f" ({output.quote(each.path)})" if each.path != target else ""
    author, subject = (output.one_line(text) for text in (commit.author, commit.subject))
    return [commit.oid[:10], commit.date[:10], author, size, files, each.change + moved, subject]
