"""From which commits to which a working tree has gone, by what Git tells the hooks that run afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from vcs_ml import fs, git, history
from vcs_ml.git import FULL_ID, GitRoot

# In the git directory: where a rebase keeps its state, with either of its backends, and what tells that a command waits
# for the user to settle conflicts (gitrepository-layout(5), gitrevisions(7)).
_REBASES: Final = ("rebase-merge", "rebase-apply")
_WAITING: Final = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
# Ours: the commit that the data is of, where hooks left it alone while a rebase or merge was under way.
BEHIND: Final = "vml-data-head"
_IDLE: Final = ("noop", "drop", "d")  # commands of a rebase that leave no commit to come


class Move(NamedTuple):
    """The data is of one of the commits `olds`, whichever that is for a path; None stands for one that is not known.

    `new` is where the working tree is now: a commit, or None for the index.
    """

    olds: tuple[str | None, ...]
    new: str | None


def of_checkout(root: GitRoot, old: str, new: str, kind: str) -> Move | None:
    """What post-checkout is told: two commits, and "1" for a branch or commit, "0" for files (githooks(5)).

    None where there is nothing to do: no other commit, or not yet, as a rebase goes on; its end makes up for it.
    """
    if kind != "1" or not FULL_ID.fullmatch(new):
        return None
    before = old if FULL_ID.fullmatch(old) and old.strip("0") else None
    if _is_rebasing(root) or _is_waiting(root):
        _fall_behind(root, before)
        return None
    olds = _olds(_caught_up(root), before)
    return None if olds == (new,) else Move(olds, new)


def of_merge(root: GitRoot, squash: str) -> Move | None:
    """What post-merge is told: "1" for a merge that is no commit yet. None where a rebase goes on."""
    before = _read(root, "ORIG_HEAD")
    if _is_rebasing(root):
        _fall_behind(root, before)
        return None
    return Move(_olds(_caught_up(root), before), None if squash == "1" else git.head(root))


def of_rewrite(root: GitRoot, command: str) -> Move | None:
    """What post-rewrite is told: "rebase", or "amend", which leaves the working tree as it is: None."""
    if command != "rebase":
        return None
    before = _read(root, "rebase-merge/orig-head") or _read(root, "ORIG_HEAD")
    return Move(_olds(_caught_up(root), before, _onto(root)), git.head(root))


def of_framework(root: GitRoot, env: Mapping[str, str]) -> Move | None:
    """What the pre-commit framework tells of any of the three, by its variables; without them, all may differ."""
    if kind := env.get("PRE_COMMIT_CHECKOUT_TYPE"):
        return of_checkout(root, env.get("PRE_COMMIT_FROM_REF", ""), env.get("PRE_COMMIT_TO_REF", ""), kind)
    if squash := env.get("PRE_COMMIT_IS_SQUASH_MERGE"):
        return of_merge(root, squash)
    if command := env.get("PRE_COMMIT_REWRITE_COMMAND"):
        return of_rewrite(root, command)
    return Move((None,), None)


def _onto(root: GitRoot) -> str | None:
    """The commit that a rebase by the apply backend went onto: it begins with a checkout when nothing tells yet that
    this is part of a rebase, so that the data is of that commit. Its state is removed after post-rewrite.
    """
    first = _read(root, "rebase-apply/rewritten", -1)  # lines with the old and the new commit
    return history.parent(root, first) if first else None


def _olds(*commits: str | None) -> tuple[str | None, ...]:
    """Those that are known, or one that is not."""
    return tuple(dict.fromkeys(each for each in commits if each is not None)) or (None,)


def _is_rebasing(root: GitRoot) -> bool:
    """Whether a rebase goes on: the checkout that it begins with is also its end where no commits are to come."""
    for name in _REBASES:
        state = root.git_dir / name
        if state.is_dir():
            with contextlib.suppress(OSError):
                todo = (state / "git-rebase-todo").read_text("utf-8", "replace")
                words = [line.split()[0] for line in todo.splitlines() if line.strip() and not line.startswith("#")]
                return any(word not in _IDLE for word in words) or (state / "stopped-sha").exists()
            return True
    return False


def _is_waiting(root: GitRoot) -> bool:
    return any((root.git_dir / name).exists() for name in _WAITING)


def _fall_behind(root: GitRoot, commit: str | None) -> None:
    """Remember which commit the data is of, unless it was behind already."""
    if commit is not None and not (root.git_dir / BEHIND).exists():
        fs.write_atomic(root.git_dir / BEHIND, f"{commit}\n".encode(), sync=False)


def _caught_up(root: GitRoot) -> str | None:
    """The commit that the data is of, where it fell behind; no longer, from now on."""
    commit = _read(root, BEHIND)
    (root.git_dir / BEHIND).unlink(missing_ok=True)
    return commit


def _read(root: GitRoot, name: str, column: int = 0) -> str | None:
    """The commit in the first line of a file of the git directory, None if there is none."""
    try:
        with (root.git_dir / name).open("rb") as file:
            words = file.readline(200).decode("ascii", "replace").split()
    except OSError:
        return None
    return words[column] if words and FULL_ID.fullmatch(words[column]) else None
