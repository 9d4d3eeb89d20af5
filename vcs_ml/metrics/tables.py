"""Tables of tracked data that changed: which of their rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.output import size
from vcs_ml.rows import comparison
from vcs_ml.rows.result import TableDiff
from vcs_ml.workspace.status import Change


class TableChange(NamedTuple):
    """A table that both revisions have; without a `diff`, `problem` says why."""

    path: str
    diff: TableDiff | None = None
    problem: UserError | None = None

    def as_json(self) -> dict[str, object]:
        """The table by its path, with its differences or why there are none."""
        if self.diff is None:
            return {"path": self.path, "error": self.problem.message if self.problem else ""}
        return {"path": self.path, **self.diff.as_json()}


def changed(changes: Iterable[Change]) -> list[Change]:
    """The files among these that are tables on both sides, and not the same."""
    return [each for each in changes if each.change == "modified" and comparison.is_table(each.path)]


def compare(
    reader: Reader,
    old: Revision,
    new: Revision,
    changes: Sequence[Change],
    *,
    key: Sequence[str] = (),
    largest: int | None = None,
) -> Iterator[TableChange]:
    """How the rows of these files differ; `largest` is the number of bytes that both sides may have, uncompressed.

    Takes half a minute for 400 MB. `key` as in comparison.compare.
    """
    scratch = reader.project.tmp_dir
    scratch.mkdir(parents=True, exist_ok=True)
    for at in (old, new):
        reader.bring(stored for each in changes if (stored := at.stored(each.path)) is not None)
    for each in changes:
        try:
            sides = [at.opener(each.path) for at in (old, new)]
            if largest is not None and sum(side[1] for side in sides if side is not None) > largest:
                raise UserError(f"larger than {size(largest)} together")
            before, after = (side[0] if side is not None else None for side in sides)
            diff = comparison.compare(each.path, before, after, key=key, scratch=scratch, largest=largest)
            yield TableChange(each.path, diff)
        except UserError as error:
            yield TableChange(each.path, problem=error)
