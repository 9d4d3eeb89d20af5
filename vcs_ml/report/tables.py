"""Tables of tracked data that changed: which of their rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.output import size
from vcs_ml.rows import comparison
from vcs_ml.rows.result import TableDiff
from vcs_ml.workspace.status import Change

TABLES_MAX: Final = 20
BYTES_MAX: Final = 500_000_000  # of both sides of one table, which take half a minute


class TableChange(NamedTuple):
    """A table that both revisions have; without a `diff`, `problem` says why."""

    path: str
    diff: TableDiff | None = None
    problem: str = ""


def changed(changes: Iterable[Change]) -> list[Change]:
    """The files among these that are tables on both sides, and not the same."""
    return [each for each in changes if each.change == "modified" and comparison.is_table(each.path)]


def compare(
    reader: Reader, old: Revision, new: Revision, changes: Iterable[Change], scratch: Path
) -> Iterator[TableChange]:
    """How the rows of changed tables differ, of the first TABLES_MAX. Nothing is kept in `scratch`."""
    chosen = changed(changes)[:TABLES_MAX]
    scratch.mkdir(parents=True, exist_ok=True)
    for at in (old, new):
        reader.bring(stored for each in chosen if (stored := at.stored(each.path)) is not None)
    for each in chosen:
        try:
            yield TableChange(each.path, _diff(each.path, old, new, scratch))
        except UserError as error:
            yield TableChange(each.path, problem=error.message)


def _diff(path: str, old: Revision, new: Revision, scratch: Path) -> TableDiff:
    sides = [at.opener(path) for at in (old, new)]
    if sum(each[1] for each in sides if each is not None) > BYTES_MAX:
        raise UserError(f"larger than {size(BYTES_MAX)} together", hint=f"vml diff --rows {path}")
    before, after = (each[0] if each is not None else None for each in sides)
    return comparison.compare(path, before, after, scratch=scratch)
