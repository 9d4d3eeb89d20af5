"""The rows of the tables: which steps are measured, in which order, and what we promise for each."""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """vml may take at most `factor` times as long as `peer`, plus `extra` seconds."""

    peer: str
    factor: float = 1.0
    extra: float = 0.0

    def limit(self, peer_seconds: float) -> float:
        return peer_seconds * self.factor + self.extra

    def __str__(self) -> str:
        if self.extra:
            return f"{self.peer} + {self.extra * 1000:.0f} ms"
        if self.factor < 1:
            return f"{self.peer} / {1 / self.factor:.0f}"
        return f"{self.factor:.1f} x {self.peer}"


class Row(NamedTuple):
    """A step, its title, what must have run before it in the same repo, and its goals."""

    step: str
    title: str
    needs: tuple[str, ...] = ()
    goals: tuple[Goal, ...] = ()


# One repo lives through these from top to bottom, once a run.
STORY = (
    Row("add", "add, cold", (), (Goal("DVC", 1 / 8), Goal("cp -r"))),
    Row("commit", "git commit after it", ("add",)),
    Row("status", "status, nothing changed", ("commit",), (Goal("DVC", 1 / 8),)),
    Row("checkout", "checkout, directory deleted", ("commit",), (Goal("DVC", 1 / 5), Goal("cp -r"))),
    Row("push", "push, cold", ("commit",), (Goal("DVC", 1 / 12),)),
    Row("push-again", "push, nothing new", ("push",), (Goal("DVC", 1 / 14),)),
    Row("change-add", "add, one file changed", ("commit",), (Goal("DVC", 1 / 8),)),
    Row("change-push", "push, one file changed", ("push", "change-add"), (Goal("DVC", 1 / 16),)),
    Row("clone", "git clone + pull", ("push",), (Goal("DVC", 1 / 8),)),
)

# These change nothing and are short, so they are run many times.
START_UP = (
    Row("version", "--version", (), (Goal("python", extra=0.060),)),
    Row("empty-status", "status, empty repo", (), (Goal("python", extra=0.080),)),
)


def with_needs(steps: set[str]) -> list[Row]:
    """The rows of STORY to run, in order, so that each of `steps` finds the repo as it expects."""
    wanted = set(steps)
    for row in reversed(STORY):
        if row.step in wanted:
            wanted.update(row.needs)
    return [row for row in STORY if row.step in wanted]
