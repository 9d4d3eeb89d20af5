"""Git: finding the repository without running anything, and reading it with few runs of the git program."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, NamedTuple, Self

from vcs_ml.errors import UserError

# What Git exports to hooks (git rev-parse --local-env-vars). These decide which repository or which paths are
# meant; we say that by the directory we run in.
_DROPPED: Final = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_IMPLICIT_WORK_TREE", "GIT_NAMESPACE",
    "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
)  # fmt: skip
# These matter in a hook of the same repository: `git commit -a` works on another index, a receiving
# repository keeps new objects in quarantine.
_KEPT: Final = (
    "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH",
)  # fmt: skip
# Git knows the empty tree of each object format without storing it.
_EMPTY_TREE: Final = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_FULL_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Far below the shortest limit on the length of a command line (128 KiB for one argument, 2 MiB for all).
_PATHS_A_RUN: Final = 500
# Without untracked files: to find these, Git compares every file with every line of our .gitignore.
STATUS: Final = ("status", "--porcelain=v2", "-z", "--untracked-files=no")


class GitRoot(NamedTuple):
    """A repository: the top of the working tree (None if bare), its own git directory, and the shared one."""

    worktree: Path | None
    git_dir: Path
    common_dir: Path

    @property
    def cwd(self) -> Path:
        """Where git is run for this repository."""
        return self.worktree or self.git_dir


class Ref(NamedTuple):
    """A branch, remote-tracking branch or tag, and the commit it leads to."""

    name: str
    commit: str
    kind: Literal["branch", "remote", "tag"]


class FileStatus(NamedTuple):
    """One path against HEAD and the index, with the letters of `git status --porcelain=v2` (`?` untracked).

    `head` is the blob at HEAD, None where the path is new.
    """

    path: str
    staged: str
    worktree: str
    renamed_from: str | None
    head: str | None


class Running:
    """A git whose output is wanted later; as a context manager, it ends with the block at the latest."""

    __slots__ = ("_args", "_cwd", "_process")

    def __init__(self, args: Sequence[str], cwd: Path) -> None:
        self._args = args
        self._cwd = cwd
        self._process = _popen(args, cwd, stdin=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def wait(self, *, ok: Container[int] = (0,)) -> bytes:
        """What git wrote to stdout; UserError if its exit code is not in `ok`."""
        out, err = self._process.communicate()
        if self._process.returncode not in ok:
            raise _failure(self._args, self._cwd, err)
        return out


def start(args: Sequence[str], cwd: Path) -> Running:
    """Start `git *args` in `cwd` without waiting for it."""
    return Running(args, cwd)


def run(args: Sequence[str], cwd: Path, *, input: bytes | None = None, ok: Container[int] = (0,)) -> bytes:
    """What `git *args` writes to stdout when run in `cwd`; UserError if its exit code is not in `ok`."""
    process = _popen(args, cwd, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
    with process:
        try:
            out, err = process.communicate(input)
        except BaseException:
            process.kill()
            raise
    if process.returncode not in ok:
        raise _failure(args, cwd, err)
    return out


def _popen(args: Sequence[str], cwd: Path, *, stdin: int, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", "-c", "core.quotepath=off", *args],
            cwd=cwd,
            env=_environment(cwd),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    except FileNotFoundError:
        if not cwd.is_dir():
            raise
        raise UserError("git is not installed", hint="install it: https://git-scm.com/downloads") from None


def _environment(cwd: Path) -> dict[str, str]:
    """The environment for a git that finds its repository by `cwd`, also when a hook of Git runs us."""
    env = dict(os.environ)
    env["LC_ALL"] = "C"
    # Reading never takes index.lock, so that it cannot make the user's own git fail.
    env["GIT_OPTIONAL_LOCKS"] = "0"
    if any(name in env for name in _KEPT):
        same = _is_same_repository(env.get("GIT_DIR"), cwd)
        for name in _KEPT:
            if name in env and not same:
                del env[name]
            elif name in ("GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY") and name in env:
                # Relative to where the hook was started, which is where we still stand.
                env[name] = str(Path(env[name]).absolute())
    for name in _DROPPED:
        env.pop(name, None)
    return env


def _is_same_repository(hook_dir: str | None, cwd: Path) -> bool:
    """Whether the repository whose hook started us, if any, is the one around `cwd`."""
    here = root(cwd)
    if hook_dir is None:
        calling = root(Path.cwd())
        hook_dir = str(calling.git_dir) if calling else ""
    return here is not None and Path(hook_dir).resolve() == here.git_dir.resolve()


def _failure(args: Sequence[str], cwd: Path, stderr: bytes) -> UserError:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    at = next((at for at, line in enumerate(lines) if line.startswith(("fatal:", "error:"))), 0)
    first = lines[at] if lines else ""
    if "dubious ownership" in first:
        advice = next((line.strip() for line in lines if "safe.directory" in line), None)
        return UserError(
            f"git does not trust the repository at {cwd}: it belongs to somebody else",
            hint=advice or f"git config --global --add safe.directory {shlex.quote(str(cwd))}",
        )
    if first.endswith(":"):  # the names that it speaks of are the next lines
        names = itertools.takewhile(lambda line: not line.startswith(("hint:", "fatal:", "error:")), lines[at + 1 :])
        first = " ".join([first, *(name.strip() for name in itertools.islice(names, 5))])
    what = first.removeprefix("fatal: ").removeprefix("error: ") or "it gave no reason"
    shown = shlex.join(args if len(args) < 12 else [*args[:12], "..."])
    hint = f"to see it alone: git -C {shlex.quote(str(cwd))} {shown}"
    return UserError(f"git failed in {cwd}: {what}", hint=hint)


def root(start: Path) -> GitRoot | None:
    """The repository around `start`, found by walking up; None if there is none. Runs nothing."""
    directory = str(start)  # not Path: every command pays for this walk
    while True:
        if found := _root_at(directory):
            return found
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _root_at(directory: str) -> GitRoot | None:
    dot_git = f"{directory}/.git"
    if _is_git_dir(dot_git):
        return GitRoot(Path(directory), Path(dot_git), Path(dot_git))
    try:
        # A linked worktree, a submodule, or `git init --separate-git-dir` (gitrepository-layout(5)).
        with open(dot_git, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(4200)
    except OSError:
        text = ""
    if text.startswith("gitdir:"):
        git_dir = Path(directory, text.removeprefix("gitdir:").strip())
        return GitRoot(Path(directory), git_dir, _common_dir(git_dir))
    if directory.endswith("/.git") or not _is_git_dir(directory):
        return None
    return GitRoot(None, Path(directory), Path(directory))


def _is_git_dir(directory: str) -> bool:
    # Git's own test: setup.c, is_git_directory()
    return (
        os.path.exists(f"{directory}/HEAD")
        and os.path.isdir(f"{directory}/objects")
        and os.path.isdir(f"{directory}/refs")
    )


def _common_dir(git_dir: Path) -> Path:
    try:
        text = (git_dir / "commondir").read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return git_dir
    # normpath would be wrong through symlinks
    return (git_dir / text).resolve()


def tracked(root: GitRoot, paths: Iterable[str]) -> set[str]:
    """Those of `paths` (from the top of the worktree) that Git's index holds, or holds something below."""
    wanted = set(paths)
    if not wanted:
        return wanted
    # Git compares every path of its index with every one it is asked for: of many, all is asked.
    asked = ["--", *(path or "." for path in sorted(wanted))] if len(wanted) <= _PATHS_A_RUN else []
    found: set[str] = set()
    for path in listed(run(["--literal-pathspecs", "ls-files", "-z", *asked], root.cwd)):
        above = path
        while above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found & wanted


def listed(out: bytes) -> list[str]:
    """The paths that a git wrote with `-z`."""
    return [os.fsdecode(path) for path in out.split(b"\0")[:-1]]


def ignored(root: GitRoot, paths: Sequence[str]) -> set[str]:
    """Those of `paths` (from the top of the worktree) that Git ignores."""
    if not paths:
        return set()
    out = run(["check-ignore", "-z", "--stdin"], root.cwd, input=b"\0".join(map(os.fsencode, paths)) + b"\0", ok=(0, 1))
    return set(listed(out))


def is_tracked(root: GitRoot, path: str) -> bool:
    """Whether Git's index holds `path`, or something below it."""
    return bool(tracked(root, [path]))


def head(root: GitRoot) -> str | None:
    """The commit of HEAD, None before the first commit."""
    return run(["rev-parse", "-q", "--verify", "HEAD^{commit}"], root.cwd, ok=(0, 1)).decode().strip() or None


def resolve(root: GitRoot, rev: str) -> str:
    """The full id of the commit that `rev` names; UserError with the nearest names if there is none."""
    # A leading dash would be taken for an option of git.
    if rev and not rev.startswith("-") and "\0" not in rev:
        out = run(["rev-parse", "-q", "--verify", f"{rev}^{{commit}}"], root.cwd, ok=(0, 1, 128))
        if _FULL_ID.fullmatch(commit := out.decode().strip()):
            return commit
        if rev in ("HEAD", "@"):
            raise UserError("there is no commit yet", hint="git commit first")
    out = run(["for-each-ref", "--format=%(refname:short)"], root.cwd)
    near = difflib.get_close_matches(rev, out.decode("utf-8", "replace").splitlines(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "git branch -a and git tag show the names"
    raise UserError(f"unknown revision {rev!r}", hint=hint)


def ls_tree(root: GitRoot, rev: str, patterns: Sequence[str]) -> list[tuple[bytes, int, str]]:
    """(path from the top, mode, object id) of every file at `rev` whose path matches one of the pathspecs."""
    commit = rev if _FULL_ID.fullmatch(rev) else resolve(root, rev)
    # `git ls-tree` knows no pathspecs; the difference from nothing does, and filters inside git.
    out = run(
        ["diff-tree", "-r", "-z", "--raw", "--no-renames", _EMPTY_TREE[len(commit)], commit, "--", *patterns],
        root.cwd,
    )
    return [(path, int(fields[1], 8), fields[3].decode()) for fields, path in _raw_records(out)]


def _raw_records(out: bytes) -> Iterator[tuple[list[bytes], bytes]]:
    """The records of `--raw -z` without renames: ([old mode, new mode, old id, new id, letter], path)."""
    tokens = iter(out.split(b"\0"))
    for token in tokens:
        # With `git log`, commits are set apart by empty tokens or newlines.
        meta = token.lstrip(b"\n")
        if meta.startswith(b":"):
            yield meta[1:].split(b" "), next(tokens)


def history(
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
            *("-c", "log.follow=false", "-c", "log.showSignature=false"),
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
    for (old_mode, mode, old, new, _), path in _raw_records(out):
        found |= {(os.fsdecode(path), new.decode())} if mode.startswith(b"100") else set()
        found |= {(os.fsdecode(path), old.decode())} if not walk and old_mode.startswith(b"100") else set()
    return found


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


def worktrees(root: GitRoot) -> list[Path]:
    """The top of every working tree of the repository, also of those whose directory is gone."""
    found = {} if root.worktree is None else {root.worktree: None}
    if root.common_dir.name == ".git" and is_worktree_top(root.common_dir.parent):
        found[root.common_dir.parent] = None
    for link in sorted(root.common_dir.glob("worktrees/*/gitdir")):  # gitrepository-layout(5)
        text = link.read_text("utf-8", "surrogateescape").strip()
        found[Path(link.parent, text).parent] = None
    return list(found)


def is_worktree_top(directory: Path) -> bool:
    """Whether a working tree begins here."""
    found = _root_at(str(directory))
    return found is not None and found.worktree is not None


def lacks_history(root: GitRoot) -> tuple[str, str] | None:
    """Why this clone does not know every commit of where it came from, and what to do; None if it does."""
    if (root.common_dir / "shallow").exists():
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


def read_blobs(root: GitRoot, ids: Sequence[str], *, limit: int | None = None) -> Iterator[bytes]:
    """The contents of `ids`, in order, through one git; at most `limit` + 1 bytes of each are kept.

    UserError for an id that the repository does not have.
    """
    args = ["cat-file", "--batch", "--buffer"]
    process = _popen(args, root.cwd, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    # Git stops reading while its output is not read, so asking and reading cannot take turns in one thread.
    asking = threading.Thread(target=_ask, args=(stdin, ids), daemon=True)
    asking.start()
    try:
        for wanted in ids:
            header = stdout.readline().split()
            if len(header) != 3:
                raise UserError(
                    f"Git's object {wanted} is missing from {root.common_dir}",
                    hint="git fsck tells what is damaged; git fetch --refetch may bring it back",
                )
            yield _read_body(stdout, int(header[2]), limit)
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


def stage(root: GitRoot, paths: Sequence[str]) -> None:
    """`git add` these paths from the top of the worktree, also where they were deleted."""
    if paths:
        run(
            ["--literal-pathspecs", "add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul"],
            root.cwd,
            input=b"\0".join(os.fsencode(path) for path in paths),
        )


def parse_status(out: bytes) -> list[FileStatus]:
    """The records of `git status --porcelain=v2 -z` (git-status(1)), paths from the top of the worktree."""
    found: list[FileStatus] = []
    records = iter(os.fsdecode(out).split("\0"))
    for record in records:
        if record.startswith("? "):
            found.append(FileStatus(record[2:], "?", "?", None, None))
        elif record.startswith("1 "):
            _, letters, _, _, _, _, old, _, path = record.split(" ", 8)
            found.append(FileStatus(path, letters[0], letters[1], None, _blob(old)))
        elif record.startswith("2 "):
            _, letters, _, _, _, _, old, _, _, path = record.split(" ", 9)
            found.append(FileStatus(path, letters[0], letters[1], next(records), _blob(old)))
        elif record.startswith("u "):
            _, letters, _, _, _, _, _, _, ours, _, path = record.split(" ", 10)
            found.append(FileStatus(path, letters[0], letters[1], None, _blob(ours)))
    return found


def _blob(oid: str) -> str | None:
    return oid if oid.strip("0") else None
