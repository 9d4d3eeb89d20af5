"""Verdicts: what a hook has found before a commit, and whether that ends it."""

from __future__ import annotations

from typing import NamedTuple

from vcs_ml.hooks.skip import VARIABLE


class Verdict(NamedTuple):
    """What a hook says: the commit ends where there are `errors`, each a message and a hint. `notes` end nothing, and
    `fine` is the line for those who have nothing to do.
    """

    hook: str
    fine: str
    errors: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def going_past(hook: str) -> str:
    """The end of each hint: how to commit nonetheless."""
    return f"{VARIABLE}={hook} git commit goes past this"
