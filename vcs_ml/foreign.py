"""Other repositories: a local one as it is, or as much of one behind a URL as a revision of it takes."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from vcs_ml import git
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.git import GitRoot
from vcs_ml.output import quote

SCHEMES: Final = ("file", "git", "http", "https", "ssh")
# Whatever is set elsewhere: nobody's program runs because of what a stranger's repository, or its address, says.
_SAFE: Final = (
    "core.hooksPath=/dev/null", "transfer.bundleURI=false", "submodule.recurse=false", "fetch.recurseSubmodules=false",
    "gc.auto=0", "maintenance.auto=false", "protocol.allow=never", "protocol.ext.allow=never",
    *(f"protocol.{name}.allow=always" for name in SCHEMES),
)  # fmt: skip
_SCP: Final = re.compile(r"[^/]+:")  # git-clone(1): host:path, with no slash before the colon
_HELPER: Final = re.compile(r"\w[\w+.-]*::")  # gitremote-helpers(7)
_REF: Final = re.compile(r"^refs/(heads|tags|remotes/origin)/")
_LOGIN: Final = re.compile(r"://[^/@\s]*@")
_SHALLOW: Final = ("--depth=1", "--filter=blob:none", "--no-tags")
# What may mean a commit without being the name of a branch or tag: HEAD~2, an id cut short, what git describe says.
_MORE: Final = re.compile(r".*[~^@{:].*|[0-9a-f]{4,64}|.*-g[0-9a-f]+|HEAD|(refs|heads|tags|remotes|origin)/.*")
_OUR_AFFAIR: Final = re.compile(r"not found in upstream|dumb http")


class Foreign(NamedTuple):
    """A repository at a commit. `name` is how people called it, `rev` the revision they named.

    `url` is None for a local one. `place` is where it lies, or where `git clone` would put it: nothing need be there.
    """

    name: str
    rev: str
    git: GitRoot
    commit: str
    url: str | None
    place: Path


def is_url(repo: str, directory: Path) -> bool:
    """Whether Git would take this for an address and not for a path, seen from `directory`."""
    return "://" in repo or (_SCP.match(repo) is not None and not (directory / repo).exists())


def shown(repo: str) -> str:
    """A repository for messages, without the secret that its address may hold."""
    return _LOGIN.sub("://", quote(repo))


def find(repo: str, rev: str | None, *, directory: Path, scratch: Path) -> Foreign:
    """The repository at a path or URL, seen from `directory`. What has to be cloned goes to `scratch`, a new path.

    Of a URL comes one commit without the contents of its files; the whole history, still without contents, where
    that is not enough to know what `rev` means. UserError for what is no repository or no revision, RemoteError for a
    URL that cannot be read.
    """
    if repo.startswith("-") or _HELPER.match(repo) or ("://" in repo and repo.partition("://")[0] not in SCHEMES):
        raise UserError(
            f"{shown(repo)} is not the address of a repository",
            hint=f"name a directory, or a URL with {', '.join(SCHEMES)}; or git clone it, and name the clone",
        )
    if rev is not None and rev.startswith("-"):
        raise UserError(f"unknown revision {rev!r}", hint="a branch, a tag, or the id of a commit")
    if not is_url(repo, directory):
        found = _local(directory / Path(repo).expanduser(), repo)
        return Foreign(shown(repo), rev or "HEAD", found, _resolve(found, rev, repo), None, found.cwd)
    commit = _clone(repo, rev, scratch)
    root = GitRoot(scratch, scratch / ".git", scratch / ".git")
    if repo.startswith("file://"):
        place = Path(unquote(urlsplit(repo).path))
    else:
        place = directory / (re.split(r"[/:]", repo.rstrip("/"))[-1].removesuffix(".git") or "clone")
    return Foreign(shown(repo), rev or "HEAD", root, commit, repo, place)


def _local(path: Path, repo: str) -> GitRoot:
    if not path.exists():
        raise UserError(f"there is no repository at {quote(repo)}", hint="check the path, or name a URL")
    place = path.resolve()
    found = git.root(place)
    if found is None:
        raise UserError(f"{quote(repo)} is not a Git repository", hint="name the directory with its .git, or a URL")
    if place not in (found.worktree, found.git_dir):
        top = quote(found.cwd)
        raise UserError(f"{quote(repo)} lies inside the repository {top}", hint=f"vml get {top} PATH")
    return found


def _clone(url: str, rev: str | None, place: Path) -> str:
    """Clone what `rev` takes into the new directory `place`; the commit."""
    root = GitRoot(place, place / ".git", place / ".git")
    if rev in (None, "HEAD", "@"):
        why = _run_clone(url, place, *_SHALLOW)
    elif git.FULL_ID.fullmatch(str(rev)):
        why = _run_clone(url, place, *_SHALLOW)
        if why is None and not _has(root, str(rev)):
            _git(["fetch", "-q", *_SHALLOW, "origin", str(rev)], place)
            if not _has(root, str(rev)):
                why = "not found in upstream"
    else:
        why = _run_clone(url, place, *_SHALLOW, f"--branch={rev}")
        if why is None:
            return _resolve(root, None, url)
        if "not found in upstream" in why and not _MORE.fullmatch(str(rev)):
            _, out, _ = _git(["ls-remote", "-q", "--refs", "--", url], place.parent)
            lines = out.decode("utf-8", "replace").splitlines()
            raise _unknown(str(rev), [line.partition("\t")[2] for line in lines], url)
    if why is not None and _OUR_AFFAIR.search(why):
        shutil.rmtree(place, ignore_errors=True)
        why = _run_clone(url, place, "--filter=blob:none")
    if why is not None:
        raise RemoteError(
            f"Git cannot read {shown(url)}: {_LOGIN.sub('://', why)}",
            hint=f"check the address and what you may read: git ls-remote {shown(url)}",
        )
    if rev is not None and not _has(root, rev) and _has(root, f"origin/{rev}"):
        rev = f"origin/{rev}"
    return _resolve(root, rev, url)


def _resolve(root: GitRoot, rev: str | None, repo: str) -> str:
    try:
        return git.resolve(root, rev or "HEAD")
    except UserError as error:
        refs = git.run(["for-each-ref", "--format=%(refname)"], root.cwd).decode("utf-8", "replace").splitlines()
        if rev in (None, "HEAD", "@"):
            raise UserError(f"{shown(repo)}: {error.message}", hint="name a branch with --rev") from None
        raise _unknown(str(rev), refs, repo) from None


def _unknown(rev: str, refs: Sequence[str], repo: str) -> UserError:
    near = difflib.get_close_matches(rev, [_REF.sub("", ref) for ref in refs], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"git ls-remote {shown(repo)} shows branches and tags"
    return UserError(f"{shown(repo)}: unknown revision {rev!r}", hint=hint)


def _has(root: GitRoot, rev: str) -> bool:
    return not _git(["rev-parse", "-q", "--verify", f"{rev}^{{commit}}"], root.cwd)[0]


def _run_clone(url: str, place: Path, *options: str) -> str | None:
    """None, or why Git could not."""
    # In the clone's own settings, too: Git gets contents later, when they are read.
    settings = [word for each in _SAFE for word in ("-c", each)]
    quietly = ("-q", "--no-checkout", "--no-recurse-submodules", "--template=", "--origin=origin")
    code, _, err = _git(["clone", *quietly, *settings, *options, "--", url, str(place)], place.parent)
    if not code:
        return None
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:", "remote: "))]
    first = (told or lines or ["it gave no reason"])[0]
    return first.removeprefix("fatal: ").removeprefix("error: ").removeprefix("remote: ")


def _git(args: Sequence[str], cwd: Path, *, input: bytes | None = None) -> tuple[int, bytes, bytes]:
    """The exit code, output and messages of a git that reads from strangers."""
    settings = [word for each in _SAFE for word in ("-c", each)]
    process = git.popen([*settings, *args], cwd, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
    with process:
        try:
            out, err = process.communicate(input)
        except BaseException:
            process.terminate()  # it ends those it has started, too
            raise
    return process.returncode, out, err


def bring(foreign: Foreign, ids: Sequence[str]) -> None:
    """Get the contents of files that a clone came without, all at once; else Git gets each when it is read."""
    if foreign.url is not None and len(ids) > 1:
        # As promisor-remote.c of Git itself does; where it fails, reading says what is missing.
        wanted = "".join(f"{each}\n" for each in ids).encode()
        plainly = ("-q", "--no-tags", "--no-write-fetch-head", "--filter=blob:none", "origin", "--stdin")
        _git(["-c", "fetch.negotiationAlgorithm=noop", "fetch", *plainly], foreign.git.cwd, input=wanted)
