"""What Git remembers: commits, and the contents of files in them and in the index."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.git import FULL_ID, PATHS_A_RUN, GitRoot, head, listed, popen, raw_records, resolve, run

# Git knows the empty tree of each object format without storing it.
_EMPTY_TREE: Final = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_COMMIT: Final = ("%H", "%P", "%aN", "%aE", "%aI", "%s")  # git-log(1), PRETTY FORMATS
_WINDOW: Final = 1 << 20  # bytes


class Ref(NamedTuple):
    """A branch, remote-tracking branch or tag, and the commit it leads to."""

    name: str
    commit: str
    kind: Literal["branch", "remote", "tag"]


class Commit(NamedTuple):
    """A commit: full ids of it and its parents, its author, when that was (ISO 8601), its first line."""

    oid: str
    parents: tuple[str, ...]
    author: str
    email: str
    date: str
    subject: str


def ls_tree(root: GitRoot, rev: str, patterns: Sequence[str]) -> list[tuple[bytes, int, str]]:
    """(path from the top, mode, object id) of every file at `rev` whose path matches one of the pathspecs."""
    commit = rev if FULL_ID.fullmatch(rev) else resolve(root, rev)
    # `git ls-tree` knows no pathspecs; the difference from nothing does, and filters inside git.
    out = run(
        ["diff-tree", "-r", "-z", "--raw", "--no-renames", _EMPTY_TREE[len(commit)], commit, "--", *patterns],
        root.cwd,
    )
    return [(path, int(fields[1], 8), fields[3].decode()) for fields, path in raw_records(out)]


def unchanged(root: GitRoot, paths: Collection[str]) -> set[str]:
    """Those of these files and symbolic links (from the top of the worktree) that hold just the bytes which HEAD or the
    index has at that path, without what filters of Git would make of them.
    """
    if not paths:
        return set()
    asked = [f":(literal){path}" for path in paths] if len(paths) <= PATHS_A_RUN else []
    known: dict[str, set[str]] = {}
    for each in listed(run(["ls-files", "-s", "-z", "--", *asked], root.cwd)):
        fields, _, path = each.partition("\t")
        known.setdefault(path, set()).add(fields.split(" ")[1])
    if (commit := head(root)) is not None:
        for raw, _, oid in ls_tree(root, commit, asked):
            known.setdefault(os.fsdecode(raw), set()).add(oid)
    top = root.worktree or root.cwd
    return {path for path in paths if path in known and _blob_id(top / path, known[path]) in known[path]}


def unseen(root: GitRoot, unwatched: Mapping[str, str]) -> dict[str, str]:
    """Those of the files that Git was told not to look at (gitindex.unwatched) which are there, and hold something else
    than HEAD and the index.
    """
    here = {path: option for path, option in unwatched.items() if os.path.lexists(root.cwd / path)}
    same = unchanged(root, here)
    return {path: option for path, option in here.items() if path not in same}


def holds(path: Path, blob: str | None) -> bool:
    """Whether a file or symbolic link holds just the bytes of a blob of Git; False where either is not there."""
    return blob is not None and os.path.lexists(path) and _blob_id(path, [blob]) == blob


def _blob_id(path: Path, like: Collection[str]) -> str:
    """What Git names the bytes of a file, or the target of a symbolic link, with the algorithm of ids `like` these."""
    hasher = hashlib.sha1(usedforsecurity=False) if len(next(iter(like))) == 40 else hashlib.sha256()
    if path.is_symlink():
        target = os.readlink(os.fsencode(path))
        hasher.update(b"blob %d\0%b" % (len(target), target))
        return hasher.hexdigest()
    with path.open("rb") as file:
        hasher.update(b"blob %d\0" % os.fstat(file.fileno()).st_size)
        while window := file.read(_WINDOW):
            hasher.update(window)
    return hasher.hexdigest()


def contents(
    root: GitRoot,
    revs: Sequence[str],
    patterns: Sequence[str],
    *,
    every_ref: bool = False,
    reflog: bool = False,
    walk: bool = True,
) -> set[tuple[str, str]]:
    """(path from the top, blob id) of all file contents that ever stood at matching paths, in the history of
    `revs` (commit ids).

    `every_ref` adds all refs, stashes and the HEADs of all worktrees, and what `git replace` hides; `reflog` what
    reflogs remember. Without `walk`, `revs` alone are looked at, and contents that they replaced count too.
    """
    more = ["--all"] * every_ref + ["--reflog"] * reflog
    more += ["--no-walk=unsorted"] if not walk else []
    if not revs and not more:
        return set()
    out = run(
        [
            *["--no-replace-objects"] * every_ref,
            *("log", "--raw", "-z", "--no-abbrev", "--no-renames", "--root", "-m", "--format="),
            # Without it, a side branch whose merge left the paths alone is not walked at all.
            "--full-history",
            *more,
            *("--stdin", "--", *patterns),
        ],
        root.cwd,
        input="".join(f"{rev}\n" for rev in revs).encode(),
    )
    found: set[tuple[str, str]] = set()
    for (old_mode, mode, old, new, _), path in raw_records(out):
        found |= {(os.fsdecode(path), new.decode())} if mode.startswith(b"100") else set()
        found |= {(os.fsdecode(path), old.decode())} if not walk and old_mode.startswith(b"100") else set()
    return found


def introduced(
    root: GitRoot, revs: Sequence[str], patterns: Sequence[str], *, unknown_to: str | None = None
) -> set[tuple[str, str]]:
    """(path from the top, blob id) of all file contents at matching paths that a commit in the history of `revs` has
    and none of its parents.

    `revs` are commit ids; the history of those behind a `^` is left out, and that of the remote-tracking branches of
    the remote `unknown_to`.
    """
    more = ["--not", f"--remotes={unknown_to}"] if unknown_to else []
    out = run(
        [
            "--no-replace-objects",
            # Of a merge, what it has from one of its parents is that parent's (-c).
            *("log", "--raw", "-c", "-z", "--no-abbrev", "--no-renames", "--root", "--format=", "--full-history"),
            *("--stdin", *more, "--", *patterns),
        ],
        root.cwd,
        input="".join(f"{rev}\n" for rev in revs).encode(),
    )
    found: set[tuple[str, str]] = set()
    tokens = iter(out.split(b"\0"))
    for token in tokens:
        meta = token.lstrip(b"\n")
        if meta.startswith(b":"):
            # A colon for each parent; their modes, the new one, their ids, the new one, letters (git-diff(1)).
            parents = len(meta) - len(meta.lstrip(b":"))
            fields, path = meta[parents:].split(b" "), next(tokens)
            if fields[parents].startswith(b"100"):
                found.add((os.fsdecode(path), fields[2 * parents + 1].decode()))
    return found


class Replaced(NamedTuple):
    """A file that two commits do not have alike: its path from the top, its blob in each, None where it is not."""

    path: str
    old: str | None
    new: str | None


def apart(root: GitRoot, old: str, new: str | None, patterns: Sequence[str]) -> list[Replaced]:
    """The files at matching paths in which two commits (full ids) differ, or a commit and, without `new`, the index."""
    how = ["diff-index", "--cached", old] if new is None else ["diff-tree", "-r", old, new]
    out = run([*how[:-1], "--raw", "-z", "--no-abbrev", "--no-renames", *how[-1:], "--", *patterns], root.cwd)
    return [
        Replaced(
            os.fsdecode(path),
            before.decode() if old_mode.startswith(b"100") else None,
            after.decode() if mode.startswith(b"100") else None,
        )
        for (old_mode, mode, before, after, _), path in raw_records(out)
    ]


def commits(root: GitRoot, names: Sequence[str]) -> list[str | None]:
    """The full id of the commit that each of these ids or tags leads to, None for what leads to none here."""
    asked = "".join(f"{name}^{{commit}}\n" for name in names).encode()
    out = run(["cat-file", "--batch-check=%(objecttype) %(objectname)"], root.cwd, input=asked) if names else b""
    lines = (line.split(" ") for line in out.decode().splitlines())
    return [each[1] if each[0] == "commit" and len(each) == 2 else None for each in lines]


def staged(root: GitRoot, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """(path from the top, blob id) of every file in Git's index that matches, all sides of a conflict included."""
    out = run(["ls-files", "-s", "-z", "--", *patterns], root.cwd)
    records = (record.partition(b"\t") for record in out.split(b"\0")[:-1])
    return [(os.fsdecode(path), head.split()[1].decode()) for head, _, path in records if head.startswith(b"100")]


def tips(root: GitRoot) -> list[str]:
    """The commits that refs, all stashes and the HEADs of all worktrees lead to."""
    out = run(["rev-list", "--no-walk", "--all"], root.cwd)
    # A ref names the latest stash only; its parents are the index, and the untracked files.
    if run(["rev-parse", "-q", "--verify", "refs/stash"], root.cwd, ok=(0, 1)):
        out += run(["rev-list", "--walk-reflogs", "--parents", "refs/stash", "--"], root.cwd)
    return sorted(set(out.decode().split()))


def since(root: GitRoot, moment: float) -> list[str]:
    """The commits of refs and reflogs that were made after `moment` (seconds since 1970)."""
    # Git's own --since ends where it meets an old commit, also one that was made with a wrong clock.
    out = run(["rev-list", "--timestamp", "--all", "--reflog"], root.cwd)
    lines = (line.split() for line in out.decode().splitlines())
    return [commit for at, commit in lines if int(at) > moment]


def last(root: GitRoot, tip: str, n: int) -> list[str]:
    """The `n` newest commits in the history of `tip`."""
    return run(["rev-list", f"--max-count={n}", tip], root.cwd).decode().split()


def log(root: GitRoot, revs: Sequence[str], patterns: Sequence[str], *, every_ref: bool = False) -> Iterator[Commit]:
    """The commits in the history of `revs` (revisions and ranges), or of every ref, that changed matching paths, the
    newest first. UserError for a revision that Git does not know.
    """
    asked = []
    for each in revs:
        # `:/` takes all behind it for words of a message, also what looks like a range.
        one = not each or each.startswith(":/")
        for rev in [] if one else filter(None, re.split(r"\.{2,3}", each.removeprefix("^"))):
            resolve(root, rev)
        asked.append(resolve(root, each) if one else each)
    out = run(
        [
            *("log", "-z", f"--format={'%x00'.join(_COMMIT)}"),
            *["--all"] * every_ref,
            *("--end-of-options", *asked, "--", *patterns),
        ],
        root.cwd,
    )
    fields = iter(out.decode("utf-8", "replace").split("\0"))
    for oid, parents, *more in zip(*[fields] * len(_COMMIT), strict=False):
        yield Commit(oid, tuple(parents.split()), *more)


def renamed(root: GitRoot, commit: Commit, pattern: str) -> list[tuple[str, str]]:
    """(old, new) path from the top of every matching file that a commit renamed, against its first parent."""
    if not commit.parents:
        return []
    out = run(
        [
            "diff-tree",
            "-r",
            "-z",
            "-M",
            "--diff-filter=R",
            "--name-status",
            commit.parents[0],
            commit.oid,
            "--",
            pattern,
        ],
        root.cwd,
    )
    tokens = iter(listed(out))
    return [(old, new) for _, old, new in zip(tokens, tokens, tokens, strict=True)]


def merge_bases(root: GitRoot, one: str, other: str) -> list[str]:
    """The best commits that two commits (full ids) both come from: none if none is known here, several where branches
    were merged into each other. The newest is the first, as in Git, whichever of the two is named first.
    """
    found = run(["merge-base", "--all", one, other], root.cwd, ok=(0, 1)).decode().split()
    if len(found) < 2:
        return found
    # Where dates are equal, Git's order is that of its arguments.
    dated = run(["rev-list", "--no-walk=unsorted", "--timestamp", *found], root.cwd).decode().split()
    times = dict(zip(dated[1::2], map(int, dated[::2]), strict=True))
    return sorted(found, key=lambda commit: (times[commit], commit), reverse=True)


def parent(root: GitRoot, commit: str) -> str | None:
    """The first parent of a commit (a full id), None if it has none here."""
    return run(["rev-parse", "-q", "--verify", f"{commit}^"], root.cwd, ok=(0, 1)).decode().strip() or None


def lacks_history(root: GitRoot) -> tuple[str, str] | None:
    """Why this clone does not know every commit of where it came from, and what to do; None if it does."""
    if root.is_shallow:
        return "it is shallow", "git fetch --unshallow"
    out = run(["config", "--null", "--get-regexp", r"^remote\..*\.(fetch|promisor)$"], root.cwd, ok=(0, 1))
    branches: dict[str, list[str]] = {}
    for record in filter(None, os.fsdecode(out).split("\0")):
        key, _, value = record.partition("\n")
        name, _, option = key.removeprefix("remote.").rpartition(".")
        if option == "promisor":
            return f"it was cloned with --filter from {name!r}", "gc in a clone that has everything"
        branches.setdefault(name, []).append(value)
    for name, specs in branches.items():
        if not any(spec.lstrip("+").startswith(("refs/heads/*:", "refs/*:")) for spec in specs):
            return (
                f"it follows only some branches of {name!r}",
                f"git remote set-branches {name} '*' && git fetch {name}",
            )
    return None


def is_up_to_date(root: GitRoot, commit: str | None, moment: float) -> bool:
    """Whether this clone has a commit, or has fetched from elsewhere after `moment` (seconds since 1970); True too
    where there is nowhere to fetch from.
    """
    if commit is None or not FULL_ID.fullmatch(commit):
        return True
    if run(["rev-parse", "-q", "--verify", f"{commit}^{{commit}}"], root.cwd, ok=(0, 1, 128)):
        return True
    if not run(["remote"], root.cwd).strip():
        return True
    marks = (root.git_dir / "FETCH_HEAD", root.common_dir / "FETCH_HEAD")
    return max((mark.stat().st_mtime for mark in marks if mark.exists()), default=0.0) > moment


def read_blobs(root: GitRoot, ids: Sequence[str], *, limit: int | None = None) -> Iterator[bytes]:
    """The contents of `ids`, in order, through one git; at most `limit` + 1 bytes of each are kept.

    UserError for an id that the repository does not have.
    """
    with _batch(root, ids) as (sizes, stdout):
        for size in sizes:
            yield _read_body(stdout, size, limit)


def stream_blobs(root: GitRoot, ids: Sequence[str]) -> Iterator[Iterator[bytes]]:
    """The contents of `ids`, in order, each in pieces of at most 1 MiB, to be read to its end before the next."""
    with _batch(root, ids) as (sizes, stdout):
        for size in sizes:
            yield _pieces(stdout, size)
            stdout.read(1)  # a newline ends each body


def _pieces(stdout: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (piece := stdout.read(min(size, 1 << 20))):
        size -= len(piece)
        yield piece
    if size:
        raise UserError("Git ended in the middle of a file", hint="git fsck tells what is damaged")


@contextmanager
def _batch(root: GitRoot, ids: Sequence[str]) -> Iterator[tuple[Iterator[int], IO[bytes]]]:
    """The size of each of `ids`, after which its body and a newline are to be read from the stream."""
    args = ["cat-file", "--batch", "--buffer"]
    process = popen(args, root.cwd, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    # Git stops reading while its output is not read, so asking and reading cannot take turns in one thread.
    asking = threading.Thread(target=_ask, args=(stdin, ids), daemon=True)
    asking.start()

    def sizes() -> Iterator[int]:
        for wanted in ids:
            header = stdout.readline().split()
            if len(header) != 3:
                raise UserError(
                    f"Git's object {wanted} is missing from {root.common_dir}",
                    hint="git fsck tells what is damaged; git fetch --refetch may bring it back",
                )
            yield int(header[2])

    try:
        yield sizes(), stdout
    finally:
        process.kill()
        asking.join()
        stdout.close()
        process.wait()


def _ask(stdin: IO[bytes], ids: Sequence[str]) -> None:
    try:
        with stdin:
            # One write: line by line, the two threads would fight for the interpreter.
            stdin.write("".join(f"{wanted}\n" for wanted in ids).encode())
    except (BrokenPipeError, ValueError):
        # The reader needed no more and ended git.
        return


def _read_body(stdout: IO[bytes], size: int, limit: int | None) -> bytes:
    keep = size if limit is None else min(size, limit + 1)
    body = stdout.read(keep)
    rest = size - keep + 1  # a newline ends each body
    while rest > 0 and (skipped := stdout.read(min(rest, 1 << 20))):
        rest -= len(skipped)
    return body


def refs(root: GitRoot, kind: Literal["branches", "tags", "all"] = "all") -> list[Ref]:
    """Branches (local and remote-tracking) and tags, with the commit each leads to, sorted by name.

    A tag of something that is no commit, and a ref that leads nowhere, are left out.
    """
    import git  # noqa: PLC0415 - GitPython costs 75 ms

    found: list[Ref] = []

    def add(ref: git.Reference, name: str, kind: Literal["branch", "remote", "tag"]) -> None:
        try:
            found.append(Ref(name, ref.commit.hexsha, kind))
        except (ValueError, git.BadName):
            return

    try:
        with git.Repo(root.cwd) as repo:
            if kind != "tags":
                for branch in repo.branches:
                    add(branch, branch.name, "branch")
                for tracking in git.RemoteReference.iter_items(repo):
                    if tracking.remote_head != "HEAD":
                        add(tracking, tracking.name, "remote")
            if kind != "branches":
                for tag in repo.tags:
                    add(tag, tag.name, "tag")
    except git.GitError as error:
        raise UserError(f"the repository at {root.cwd} cannot be read: {error}", hint="git fsck") from error
    return sorted(found)
