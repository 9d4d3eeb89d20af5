"""Problems: what must not be committed as it is, where it stands, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from vcs_ml.output import quote


class Problem(NamedTuple):
    """Something wrong in a file, given by its path from the top of the worktree; `line` is None for all of it.

    `stages` are those, as people name them in the project, of which vml.lock is not what a run would write.
    """

    path: str
    what: str
    hint: str
    line: int | None = None
    stages: tuple[str, ...] = ()

    def __str__(self) -> str:
        at = "" if self.line is None else f":{self.line}"
        return f"{quote(self.path)}{at}: {self.what}"


def line_of(raw: bytes, keys: Sequence[str]) -> int | None:
    """The line of the last of these keys, each of which stands below the one before, in JSON as we write it."""
    text, at = raw.decode("utf-8", "replace"), 0
    for key in keys:
        found = re.compile(rf'^\s*"{re.escape(key)}": ', re.MULTILINE).search(text, at)
        if found is None:
            return None
        at = found.end()
    return text.count("\n", 0, at) + 1
