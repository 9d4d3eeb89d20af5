"""Going past a hook: the environment variable that skips it, and refusals that name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from vcs_ml.errors import VmlError
from vcs_ml.output import quote

VARIABLE: Final = "VML_SKIP_HOOKS"
_NAMES: Final = (
    *("large-files", "validate", "status", "push", "verify-remote", "checkout"),
    *("pre-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite"),
)
_ALL: Final = ("1", "true")
_NONE: Final = ("", "0", "false")


class Blocked(VmlError):
    """A hook says no."""

    exit_code = 1


def is_skipped(env: Mapping[str, str], *names: str) -> bool:
    """Whether the user wants to go past a hook that has one of these names: the variable is true, or lists it."""
    wanted = _words(env)
    return wanted[0] in _ALL or not set(wanted).isdisjoint(names)


def unknown(env: Mapping[str, str]) -> tuple[str, str] | None:
    """A warning, with its hint, where the variable has words that skip nothing."""
    if wrong := [each for each in _words(env) if each not in (*_NAMES, *_ALL, *_NONE)]:
        return f"{VARIABLE}: {', '.join(map(quote, wrong))} is no hook", f"it takes 1, or {', '.join(_NAMES)}"
    return None


def _words(env: Mapping[str, str]) -> list[str]:
    return [each.strip() for each in env.get(VARIABLE, "").lower().split(",")]


@contextmanager
def naming_the_way_past(name: str, command: str) -> Iterator[None]:
    """Whatever stops the body, its hint ends with how `command` (`git push`) goes past the hook of this name."""
    try:
        yield
    except VmlError as error:
        past = f"{VARIABLE}={name} {command} goes past this"
        error.hint = f"{error.hint}; {past}" if error.hint else past
        raise
