"""What a push is about to do to refs of another repository, and which files of ours it takes there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vcs_ml import git, history
from vcs_ml.errors import UserError
from vcs_ml.git import FULL_ID, GitRoot
from vcs_ml.hooks import projects


class Update(NamedTuple):
    """A ref over there: the id that it will get, None where it is deleted, and the one it has, None where it is new."""

    new: str | None
    old: str | None


class Push(NamedTuple):
    """The name of the other repository among Git's remotes, None where it was named by its URL, and its refs."""

    remote: str | None
    updates: Sequence[Update]


class Pushed(NamedTuple):
    """The commits that refs will lead to, and the files that record data in what is new: (path from the top, blob)."""

    tips: list[str]
    files: set[tuple[str, str]]


def of_hook(remote: str, url: str, lines: bytes) -> Push:
    """What Git gives a pre-push hook: two arguments, and on stdin a line for each ref (githooks(5)).

    UserError for other lines.
    """
    updates = []
    for line in lines.splitlines():
        # The first may be any name of a commit, with spaces in it.
        fields = line.decode("utf-8", "replace").rsplit(" ", 3)
        if len(fields) != 4 or not FULL_ID.fullmatch(fields[1]) or not FULL_ID.fullmatch(fields[3]):
            raise UserError(
                f"pre-push was given a line that Git does not write: {os.fsdecode(line)!r}",
                hint="it is called by git push, which says what is pushed (githooks(5))",
            )
        updates.append(Update(_id(fields[1]), _id(fields[3])))
    return Push(None if remote == url else remote, updates)


def _id(oid: str) -> str | None:
    return oid if oid.strip("0") else None


def of_framework(root: GitRoot, env: Mapping[str, str]) -> Push | None:
    """What the pre-commit framework tells of a push, by its variables; None where it is not called by one.

    It looks at one ref only, and names no commit where a whole history is new. UserError for what is no commit.
    """
    local = env.get("PRE_COMMIT_TO_REF") or env.get("PRE_COMMIT_LOCAL_BRANCH")
    if not local:
        return None
    name, old = env.get("PRE_COMMIT_REMOTE_NAME", ""), env.get("PRE_COMMIT_FROM_REF")
    known = git.resolve(root, old) if old else None
    return Push(None if name == env.get("PRE_COMMIT_REMOTE_URL") else name, [Update(git.resolve(root, local), known)])


def over_there(root: GitRoot, push: Push) -> list[str]:
    """Commits that other repositories have, as far as is known here: that of the push, and those we fetch from."""
    named = [update.old for update in push.updates if update.old]
    named += git.run(["for-each-ref", "--format=%(objectname)", "refs/remotes"], root.cwd).decode().split()
    return list(dict.fromkeys(filter(None, history.commits(root, named))))


def files(root: GitRoot, push: Push, *, unknown_to: str | None = None) -> Pushed:
    """What the commits have that are not over there yet, as far as is known here; or that other remotes do not have,
    which `unknown_to` names ("*" for all).
    """
    new = [update.new for update in push.updates if update.new]
    old = [update.old for update in push.updates if update.old]
    # A tag may lead to what is no commit; what is over there may never have been fetched.
    found = history.commits(root, [*new, *old])
    tips = list(dict.fromkeys(filter(None, found[: len(new)])))
    if not tips:
        return Pushed([], set())
    revs = [*tips, *(f"^{each}" for each in found[len(new) :] if each)]
    return Pushed(tips, history.introduced(root, revs, projects.PATTERNS, unknown_to=unknown_to or push.remote))
