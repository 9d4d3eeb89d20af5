"""What `vml doctor` finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One line of the answer: what was looked at, how that is, and what to do about it."""

    level: Level
    what: str
    text: str
    hint: str | None = None

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return self._asdict()
