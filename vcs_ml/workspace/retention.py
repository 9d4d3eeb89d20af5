"""What must be kept: every root that a repository's working trees, indexes, refs and reflogs name."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import git, history, regular
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote
from vcs_ml.store import objects
from vcs_ml.store.gc import Kept
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import detach, lockfile, sources, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import SUFFIX
from vcs_ml.workspace.project import Project

SAVED_DAYS: Final = 30  # as long as this, what `--force` replaced is kept
# In every directory: history may have had the project elsewhere.
_PATTERNS: Final = (f":(glob,top)**/*{SUFFIX}", f":(glob,top)**/{lockfile.NAME}")
_HASH: Final = re.compile(rb"\b(tree:sha256|xxh128|sha256|blake3):([0-9a-f]{32,64})\b")
_ESCAPED: Final = re.compile(rb"\\u00([0-7][0-9a-fA-F])")  # as JSON may have any character
_LIMIT: Final = 64 << 20  # bytes of one pointer or lock file that are looked at


class Horizon(NamedTuple):
    """How much of history counts; with neither, all of it. What is in a commit at the tip of a ref always counts."""

    days: int | None = None
    last: int | None = None


def hashes(raw: bytes, algorithm: Algorithm, path: str = "") -> dict[ObjectId, str]:
    """Every id that stands in the text of a pointer or lock, with the `path` it is for, whatever else is wrong there.

    So a conflict, or a schema that only a newer version reads, costs nothing that it names.
    """
    found = {}
    raw = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), raw)
    for name, digits in _HASH.findall(raw):
        with contextlib.suppress(UserError):
            found[objects.parse_hash(f"{name.decode()}:{digits.decode()}", algorithm, source="")] = path
    return found


def _named(raw: bytes, source: str, algorithm: Algorithm) -> dict[ObjectId, str]:
    """What the file `source` needs: of a lock file, not what it read, for which other files speak, nor what Git has."""
    found = hashes(raw, algorithm, source.removesuffix(SUFFIX))
    if sources.is_lock(source):
        with contextlib.suppress(UserError):
            lock = lockfile.parse(raw, source, algorithm)
            needed = {each.oid: each.path for each in sources.of_lock(lock)}
            stages = lock.stages.values()
            read = {each.oid for stage in stages for each in stage.deps.values()}
            made = {each.oid for stage in stages for each in stage.outs.values()}
            found = {oid: path for oid, path in found.items() if oid not in read | made} | needed
    return found


def working_trees(project: Project, env: Mapping[str, str]) -> list[Project]:
    """This project in every working tree of its repository that has it, sorted by path.

    UserError for a working tree whose directory is gone: what it names cannot be known.
    """
    found = []
    for top in git.worktrees(project.git):
        repository = git.root(top) if top.is_dir() else None
        # What is found above it, or in its place, is another: so it is where its disk is not mounted.
        if (
            repository is None
            or repository.worktree != top
            or repository.common_dir.resolve() != project.git.common_dir.resolve()
        ):
            raise UserError(
                f"the working tree {quote(top)} is not there, and may need data of this store",
                hint="mount its disk; if it was removed: git worktree prune",
            )
        place = top / project.prefix
        if (place / ".vml" / "config.toml").exists():
            found.append(Project(place, repository, env))
    return sorted(found, key=lambda each: str(each.root))


def of_project(project: Project, trees: Sequence[Project], horizon: Horizon) -> Kept:
    """What one project needs: `trees` are its working trees."""
    before = [_of_working_tree(tree) for tree in trees]
    roots = _of_history(project, horizon) | _saved(project.state_dir, project.algorithm)
    lists: set[ObjectId] = set()
    # Before and after: Git, which knows nothing of our locks, may move a pointer into history or out of it.
    for found in (*before, *map(_of_working_tree, trees)):
        roots |= found
    for tree in trees:
        lists |= {i.base for i in Index.all(tree.index_dir, tree.algorithm) if i.base is not None}
        # Files that are symlinks into the store hold nothing themselves, also where no pointer names them any more.
        roots |= {oid: path for oid, path in _of_links(tree) if oid not in roots}
    return Kept(roots, lists)


def _of_links(project: Project) -> Iterator[tuple[ObjectId, str]]:
    """(id, path) of every loose blob that a symlink in the workspace leads to, also in what is not tracked."""
    if "symlink" not in project.config.links:  # since it was, at most those that were seen then
        yield from ((objects.blob(digest), os.fsdecode(path)) for path, digest in detach.known_links(project))
        return
    pending = [os.fsencode(project.root)]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if digest := project.loose.digest(os.readlink(entry.path)):
                        yield objects.blob(digest), os.fsdecode(os.path.relpath(entry.path, os.fsencode(project.root)))
                elif entry.is_dir(follow_symlinks=False) and entry.name not in (b".git", b".vml"):
                    pending.append(entry.path)


def _of_working_tree(project: Project) -> dict[ObjectId, str]:
    found = _of_blobs(project, history.staged(project.git, _PATTERNS))
    broken: dict[str, UserError] = {}
    pointers = tracked.in_workspace(project, Ignore(project.root), refresh=True, broken=broken)
    found |= {each.oid: each.path for each in pointers.values()}
    # Of conflicts, their side; Git's index may not name it any more.
    for source in (*broken, *(each.source for each in pointers.values() if each.conflicts)):
        found |= _named(regular.read(project.root / source, _LIMIT) or b"", source, project.algorithm)
    return found | _saved(project.state_dir, project.algorithm)


def _saved(state_dir: Path, algorithm: Algorithm) -> dict[ObjectId, str]:
    """What `--force` replaced of late."""
    found: dict[ObjectId, str] = {}
    for path in saved_records(state_dir):
        if path.lstat().st_mtime > time.time() - SAVED_DAYS * 86400:
            found |= hashes(regular.read(path, _LIMIT) or b"", algorithm)
    return found


def saved_records(state_dir: Path) -> Iterator[Path]:
    """The files that name what `--force` replaced."""
    yield from sorted((state_dir / "saved").glob("*.json"))


def _of_history(project: Project, horizon: Horizon) -> dict[ObjectId, str]:
    repository = project.git
    if horizon == Horizon():
        return _of_blobs(project, history.contents(repository, [], _PATTERNS, every_ref=True, reflog=True))
    tips = history.tips(repository)
    blobs = {
        (os.fsdecode(path), blob)
        for tip in tips
        for path, mode, blob in history.ls_tree(repository, tip, _PATTERNS)
        if mode in (0o100644, 0o100755)
    }
    commits: set[str] = set()
    if horizon.days is not None:
        commits.update(history.since(repository, time.time() - horizon.days * 86400))
    if horizon.last is not None:
        commits.update(commit for tip in tips for commit in history.last(repository, tip, horizon.last))
    # What these commits replaced counts too: it stood in the commits before them.
    return _of_blobs(project, blobs | history.contents(repository, sorted(commits), _PATTERNS, walk=False))


def _of_blobs(project: Project, files: Iterable[tuple[str, str]]) -> dict[ObjectId, str]:
    paths = {blob: path for path, blob in files}
    found: dict[ObjectId, str] = {}
    for path, raw in zip(paths.values(), history.read_blobs(project.git, list(paths), limit=_LIMIT), strict=True):
        found |= _named(raw, path, project.algorithm)
    return found
