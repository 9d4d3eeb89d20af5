"""Which two revisions a report compares, where nobody said so: those of the pull request, or of the work at hand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from vcs_ml import git, history
from vcs_ml.errors import UsageError, UserError
from vcs_ml.git import GitRoot
from vcs_ml.metrics import asked
from vcs_ml.metrics.revision import WORKSPACE

_SHORT: Final = 7
_REMOTE: Final = "refs/remotes/origin/"
_LOCAL: Final = "refs/heads/"
# Where a CI system says which branch a pull request goes into.
_TARGETS: Final = (
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "BITBUCKET_PR_DESTINATION_BRANCH",
    "CHANGE_TARGET",  # Jenkins
)
_MERGE_BASE: Final = "CI_MERGE_REQUEST_DIFF_BASE_SHA"
_IN_CI: Final = ("CI", "JENKINS_URL")


class Side(NamedTuple):
    """One of the two revisions: its commit (None: the workspace), what it is called, and what else there is to say."""

    commit: str | None
    label: str
    about: str = ""


def both(root: GitRoot, env: Mapping[str, str], base: str | None, head: str | None) -> tuple[Side, Side]:
    """The older and the newer revision. `A..B` and `A...B` as `base` alone name both, as in `asked.pair`."""
    said: list[str] = []
    if base is not None and head is None and ".." in base:
        base, head = asked.pair(root, base, None, said.append)
        head = head or WORKSPACE
    new = newer(root, env, head)
    old = older(root, env, base, new)
    return old._replace(about=said[0].removeprefix(f"{base} is ")) if said else old, new


def newer(root: GitRoot, env: Mapping[str, str], name: str | None) -> Side:
    """The revision `name`; without one, HEAD in CI and in a bare repository, else the workspace.

    `workspace` always names the workspace.
    """
    if name == WORKSPACE:
        return Side(None, WORKSPACE)
    if name is not None:
        return Side(git.resolve(root, name), name)
    if root.worktree is not None and not any(env.get(each) not in (None, "", "false") for each in _IN_CI):
        return Side(None, WORKSPACE)
    commit = git.resolve(root, "HEAD")
    return Side(commit, commit[:_SHORT], "HEAD")


def older(root: GitRoot, env: Mapping[str, str], name: str | None, head: Side) -> Side:
    """The revision `name`; without one, the commit at which `head` left the branch that it will go into.

    That branch is the one a CI system names, or the default branch. On that branch itself it is the commit before.
    UserError where there is no such branch, or no common commit, UsageError for the workspace.
    """
    if name == WORKSPACE:
        raise UsageError(
            "the workspace is the newer of the two: name the other first", hint="vml report HEAD workspace"
        )
    if name is not None:
        return Side(git.resolve(root, name), name)
    tip = head.commit or git.resolve(root, "HEAD")
    known = env.get(_MERGE_BASE)
    if known and git.FULL_ID.fullmatch(known) and asked.is_commit(root, known):
        return _side(git.resolve(root, known), "merge base")
    ref = _target(root, env)
    branch = _short(ref)
    bases = history.merge_bases(root, tip, git.resolve(root, ref))
    is_shallow = _is_shallow(root)
    if not bases:
        raise _no_common_commit(branch, is_shallow=is_shallow)
    found = bases[0]
    if found == tip and head.commit is None:
        return _side(found, f"HEAD, which {branch} has{'; the clone is shallow' * is_shallow}")
    if found != head.commit:
        several = f", the newest of {len(bases)}" if len(bases) > 1 else ""
        return _side(found, f"merge base with {branch}{several}")
    before = history.parent(root, found)
    if before is None and is_shallow:
        raise _no_common_commit(branch, is_shallow=True)
    return _side(before or found, "the commit before")


def _side(commit: str, about: str) -> Side:
    return Side(commit, commit[:_SHORT], about)


def _target(root: GitRoot, env: Mapping[str, str]) -> str:
    """The branch that work goes into, by its full name: a tag may be called like any branch."""
    wanted = next((env[name] for name in _TARGETS if env.get(name)), None)
    for ref in _refs(wanted) if wanted else _usual(root):
        if asked.is_commit(root, ref):
            return ref
    if wanted:
        hint = f"{_fetch(wanted, is_shallow=_is_shallow(root))} (a CI job has to clone more than one commit)"
        raise UserError(f"the branch {wanted!r}, into which this goes, is not in this clone", hint=hint)
    hint = "name what to compare with: vml report BASE"
    if _is_shallow(root):
        hint = f"the clone is shallow: {_fetch('main', is_shallow=True)}, if that is its name; or vml report BASE"
    raise UserError("which is the default branch?", hint=hint)


def _usual(root: GitRoot) -> Iterator[str]:
    """The names that a default branch may have, the likeliest first."""
    yield f"{_REMOTE}HEAD"
    default = git.setting(root, "init.defaultBranch")
    for name in dict.fromkeys(filter(None, (default, "main", "master"))):
        yield from _refs(name)


def _refs(branch: str) -> tuple[str, str]:
    return f"{_REMOTE}{branch}", f"{_LOCAL}{branch}"


def _short(ref: str) -> str:
    return ref.removeprefix("refs/remotes/").removeprefix(_LOCAL)


def _fetch(branch: str, *, is_shallow: bool) -> str:
    """What brings a branch of the origin, which is all that a plain `git fetch origin BRANCH` leaves to FETCH_HEAD."""
    refs = shlex.quote(f"{branch}:{_REMOTE}{branch}")
    return f"git fetch {'--unshallow ' * is_shallow}origin {refs}"


def _is_shallow(root: GitRoot) -> bool:
    return (root.common_dir / "shallow").exists()


def _no_common_commit(branch: str, *, is_shallow: bool) -> UserError:
    hint = "name what to compare with: vml report BASE"
    if is_shallow:
        hint = "the clone is shallow: git fetch --unshallow (in GitHub Actions, fetch-depth: 0 for actions/checkout)"
    return UserError(f"the commit before this work, on {branch}, is not known here", hint=hint)
