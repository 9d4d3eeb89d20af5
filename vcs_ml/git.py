"""Git: finding the repository without running anything, and reading it with few runs of the git program."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import shlex
import subprocess
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from vcs_ml import fs
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
FULL_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Far below the shortest limit on the length of a command line (128 KiB for one argument, 2 MiB for all).
PATHS_A_RUN: Final = 500
_BACK: Final = re.compile(r"([^~^:@{\0-][^~^:@{\0]*)(?:~\d*|\^)+")  # so many commits before another
_BARE: Final = re.compile(r"^\[core\](?:\n(?!\[).*)*?\n\s*bare\s*=\s*(\w+)", re.M | re.I)
_OPERATIONS: Final[Mapping[str, str]] = {
    "rebase-merge": "rebase",
    "rebase-apply/applying": "am",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
# Settings of users that would change what git writes for us, or add to it.
_NEUTRAL: Final = (
    *("-c", "core.quotepath=off", "-c", "i18n.logOutputEncoding=UTF-8", "-c", "log.showSignature=false"),
    *("-c", "log.follow=false", "-c", "log.diffMerges=separate"),
)
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

    @property
    def is_shallow(self) -> bool:
        """Whether its history was cut off by `--depth` (gitrepository-layout(5))."""
        return (self.common_dir / "shallow").exists()


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
        self._process = popen(args, cwd, stdin=subprocess.DEVNULL)

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
    process = popen(args, cwd, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
    with process:
        try:
            out, err = process.communicate(input)
        except BaseException:
            process.kill()
            raise
    if process.returncode not in ok:
        raise _failure(args, cwd, err)
    return out


def popen(args: Sequence[str], cwd: Path, *, stdin: int, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", *_NEUTRAL, *args],
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


def of_git_dir(git_dir: Path) -> GitRoot | None:
    """The repository that a git directory is of, with the working tree that belongs to it as far as its place tells;
    None for what is none. Runs nothing.
    """
    git_dir = git_dir.resolve()
    try:
        link = (git_dir / "gitdir").read_text("utf-8", "surrogateescape").strip()  # of a linked worktree
        top = Path(git_dir, link).parent
    except OSError:
        top = git_dir.parent if git_dir.name == ".git" else git_dir
    found = _root_at(str(top))
    if found is not None and found.git_dir.resolve() == git_dir:
        return found
    common_dir = _common_dir(git_dir)
    return GitRoot(None, git_dir, common_dir) if _is_git_dir(str(common_dir)) else None


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
        common_dir = _common_dir(git_dir)
        # Worktrees may lie beside a bare repository, to which a file leads from the directory of all.
        bare = common_dir is git_dir and _is_bare(git_dir)
        return GitRoot(None if bare else Path(directory), git_dir, common_dir)
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


def _is_bare(git_dir: Path) -> bool:
    """Whether its own settings have `core.bare`; Git writes it on a line of its own."""
    bare = False
    for name in ("config", "config.worktree"):
        try:
            text = (git_dir / name).read_text("utf-8", "surrogateescape")
        except OSError:
            continue
        for said in _BARE.finditer(text):
            bare = said[1].lower() in ("true", "yes", "on", "1")
    return bare


def _common_dir(git_dir: Path) -> Path:
    try:
        text = (git_dir / "commondir").read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return git_dir
    # normpath would be wrong through symlinks
    return (git_dir / text).resolve()


def setting(root: GitRoot, key: str) -> str | None:
    """What Git's configuration has for a key."""
    return run(["config", "--get", key], root.cwd, ok=(0, 1)).decode("utf-8", "replace").strip() or None


def tracked(root: GitRoot, paths: Iterable[str]) -> set[str]:
    """Those of `paths` (from the top of the worktree) that Git's index holds, or holds something below."""
    wanted = set(paths)
    if not wanted:
        return wanted
    # Git compares every path of its index with every one it is asked for: of many, all is asked.
    asked = ["--", *(path or "." for path in sorted(wanted))] if len(wanted) <= PATHS_A_RUN else []
    found: set[str] = set()
    for path in listed(run(["--literal-pathspecs", "ls-files", "-z", *asked], root.cwd)):
        above = path
        while above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found & wanted


def listed(out: bytes) -> list[str]:
    """The paths that a git wrote with `-z`."""
    return os.fsdecode(out).split("\0")[:-1]  # at once: one by one takes five times as long


def news(root: GitRoot, paths: Sequence[str]) -> list[str]:
    """What `git add` would find changed or new at or below `paths` (from the top of the worktree), and for very many
    also elsewhere; a new directory as a whole, with a slash.
    """
    asked = paths if len(paths) <= PATHS_A_RUN else ()
    options = ["-z", "--modified", "--others", "--exclude-standard", "--directory", "--no-empty-directory"]
    return listed(run(["--literal-pathspecs", "ls-files", *options, "--", *asked], root.cwd))


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
        is_head = rev in ("HEAD", "@")
        # 128 is for names that cannot be, and for repositories that Git does not read.
        peeled = rev if rev.startswith(":/") else f"{rev}^{{commit}}"  # `:/` takes all behind it for words of a message
        out = run(["rev-parse", "-q", "--verify", peeled], root.cwd, ok=(0, 1) if is_head else (0, 1, 128))
        if FULL_ID.fullmatch(commit := out.decode().strip()):
            return commit
        if is_head:
            raise UserError("there is no commit yet", hint="git commit first")
    out = run(["for-each-ref", "--format=%(refname:short)"], root.cwd)
    near = difflib.get_close_matches(rev, out.decode("utf-8", "replace").splitlines(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "git branch -a and git tag show the names"
    raise UserError(f"unknown revision {rev!r}", hint=_too_far(root, rev) or hint)


def _too_far(root: GitRoot, rev: str) -> str | None:
    """Why there is no `main~99` or `HEAD^^`, where there is what it starts from; None for other names."""
    if (found := _BACK.fullmatch(rev)) is None:
        if ".." in rev:
            return "one revision is meant here, and not a range"
        return None
    start = found[1]
    out = run(["rev-list", "--count", "--first-parent", "--end-of-options", start, "--"], root.cwd, ok=(0, 128))
    if not out.strip():
        return None
    before = int(out) - 1
    if root.is_shallow:
        return f"the clone is shallow and ends before {start}~{before + 1}: git fetch --unshallow"
    return f"{start} is the first commit" if before == 0 else f"the first commit is {start}~{before}"


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


def stage(root: GitRoot, paths: Sequence[str]) -> None:
    """`git add` these paths from the top of the worktree, also where they were deleted."""
    if paths:
        run(
            ["--literal-pathspecs", "add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul"],
            root.cwd,
            input=b"\0".join(os.fsencode(path) for path in paths),
        )


def raw_records(out: bytes) -> Iterator[tuple[list[bytes], bytes]]:
    """The records of `--raw -z` without renames (git-diff-index(1)): ([old mode, new mode, old id, new id, letter],
    path).
    """
    tokens = iter(out.split(b"\0"))
    for token in tokens:
        # With `git log`, commits are set apart by empty tokens or newlines.
        meta = token.lstrip(b"\n")
        if meta.startswith(b":"):
            yield meta[1:].split(b" "), next(tokens)


def operation(root: GitRoot) -> str | None:
    """What Git is in the middle of, in the worktree: rebase, merge, cherry-pick, revert or am; None: of nothing."""
    # gitrepository-layout(5); where several are there, a rebase is what the others are a part of
    for name, what in _OPERATIONS.items():
        if (root.git_dir / name).exists():
            return what
    return None


def status(root: GitRoot, paths: Sequence[str]) -> list[FileStatus]:
    """What differs from HEAD or the index, or is untracked, at or below `paths` (from the top of the worktree), in the
    order of Git; a rename is a file that went and one that came.
    """
    args = ["--literal-pathspecs", "status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all", "--"]
    if len(paths) <= PATHS_A_RUN:
        return parse_status(run([*args, *(path or "." for path in paths)], root.cwd))
    # Of many, all is asked, as in `tracked`.
    wanted = set(paths)
    found = parse_status(run(args, root.cwd))
    return found if "" in wanted else [each for each in found if not wanted.isdisjoint(and_above(each.path))]


def and_above(path: str) -> Iterator[str]:
    """A path and the directories that it lies in, without the top."""
    while path:
        yield path
        path = path.rpartition("/")[0]


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


class Unmerged(NamedTuple):
    """A path that a merge left to be settled: the blobs of its versions in Git's index, None where there is none."""

    base: str | None
    ours: str | None
    theirs: str | None


def unmerged(root: GitRoot, pathspecs: Sequence[str]) -> dict[str, Unmerged]:
    """The unmerged files in Git's index that match, from the top of the worktree; links and submodules left out."""
    stages: dict[str, dict[str, str]] = {}
    for record in listed(run(["ls-files", "-u", "-z", "--", *pathspecs], root.cwd)):
        fields, _, path = record.partition("\t")
        mode, oid, stage = fields.split(" ")
        if mode.startswith("100"):
            stages.setdefault(path, {})[stage] = oid
    return {path: Unmerged(*map(found.get, "123")) for path, found in stages.items()}


def merge_file(base: bytes, ours: bytes, theirs: bytes, *, scratch: Path, marker_size: int = 7) -> tuple[bytes, int]:
    """`git merge-file` of three texts: the result, and how many conflicts it has (127: as many, or more).

    `scratch` is a directory for temporary files. UserError for what Git takes for no text.
    """
    place = scratch / fs.tmp_name()
    place.mkdir(parents=True)
    try:
        for name, raw in (("ours", ours), ("base", base), ("theirs", theirs)):
            (place / name).write_bytes(raw)
        args = ["merge-file", "-p", "-q", f"--marker-size={marker_size}", "ours", "base", "theirs"]
        process = popen(args, place, stdin=subprocess.DEVNULL)
        with process:
            out, _ = process.communicate()
        if not 0 <= process.returncode <= 127:
            raise UserError(
                "git merge-file cannot merge these versions: not all are text",
                hint="git checkout --ours PATH, or --theirs PATH, takes one of them",
            )
        return out, process.returncode
    finally:
        fs.remove(str(place))


def _blob(oid: str) -> str | None:
    return oid if oid.strip("0") else None
