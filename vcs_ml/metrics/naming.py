"""What a path that names files, a directory or a pattern, asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import FILE as STAGES
from vcs_ml.workspace import ignore, lockfile
from vcs_ml.workspace.pointer import SUFFIX

FILES_MAX: Final = 100_000
TEMPLATES: Final = ".vml/plots"  # where a project has templates of its own

_OURS: Final = frozenset((STAGES, lockfile.NAME, ignore.NAME, ".gitignore"))


class Area(NamedTuple):
    """A directory, with the pattern that its files are to match if there is one."""

    folder: str
    pattern: str | None

    def means(self, path: str) -> bool:
        """Whether a file in that directory is asked for; what belongs to Git and vml never is."""
        name = path.rpartition("/")[2]
        if name in _OURS or name.endswith(SUFFIX) or paths.problem(path):
            return False
        return self.pattern is None or patterns.matches(path, self.pattern)

    def enters(self, path: str) -> bool:
        """Whether something that is asked for may be there, or in there."""
        return self.pattern is None or patterns.may_hold(path, self.pattern)


def area(path: str, *, literal: bool) -> Area:
    """What a path asks for that names no file; `literal` where something has this very name."""
    if literal or not patterns.is_pattern(path):
        return Area(path, None)
    return Area(patterns.directory(path), path)


def covers(path: str, file: str) -> bool:
    """Whether a file is what a path (a file, directory or pattern; "": everything) asks for."""
    return not path or file == path or file.startswith(f"{path}/") or patterns.matches(file, path)


def coverage(asked: Collection[str]) -> Callable[[str], bool]:
    """Whether a file is what any of these asks for, as in `covers`; of paths, many cost what one costs."""
    names = frozenset(asked)
    magic = [path for path in names if patterns.is_pattern(path)]

    def covered(file: str) -> bool:
        above = file
        while above and above not in names:
            above = above.rpartition("/")[0]
        return above in names or any(patterns.matches(file, path) for path in magic)

    return covered


def sorted_files(found: Iterable[str]) -> list[str]:
    """These files, each once. UserError where there are more than FILES_MAX."""
    kept: set[str] = set()
    for file in found:
        kept.add(file)
        if len(kept) > FILES_MAX:
            raise UserError(f"more than {FILES_MAX:,} files, {quote(file)} among them", hint="name a part of them")
    return sorted(kept)


def refuse_outside(path: str) -> None:
    """UserError for what does not lie in the project."""
    if path.startswith(("/", "../")):
        raise outside(path)


def outside(path: str) -> UserError:
    """The error for what does not lie in the project."""
    return UserError(f"{quote(path)} leads out of the project", hint="what is compared lies in the project")
