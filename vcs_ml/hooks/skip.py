"""Going past a hook: the environment variable that skips it, and refusals that name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from vcs_ml.errors import VmlError

VARIABLE: Final = "VML_SKIP_HOOKS"


class Blocked(VmlError):
    """A hook says no."""

    exit_code = 1


def is_skipped(env: Mapping[str, str], *names: str) -> bool:
    """Whether the user wants to go past a hook that has one of these names: the variable is true, or lists it."""
    wanted = env.get(VARIABLE, "").strip().lower()
    return wanted in ("1", "true") or not {each.strip() for each in wanted.split(",")}.isdisjoint(names)


@contextmanager
def naming_the_way_past(name: str, command: str) -> Iterator[None]:
    """Whatever stops the body, its hint ends with how `command` (`git push`) goes past the hook of this name."""
    try:
        yield
    except VmlError as error:
        past = f"{VARIABLE}={name} {command} goes past this"
        error.hint = f"{error.hint}; {past}" if error.hint else past
        raise
