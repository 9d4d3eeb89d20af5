"""What is claimed twice in the index, by pointers, lock files, or Git itself; paths alone tell it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from vcs_ml.hooks.problem import Problem, line_of
from vcs_ml.hooks.staged import Staged
from vcs_ml.output import count, quote
from vcs_ml.workspace import sources
from vcs_ml.workspace.pointer import SUFFIX

_SHOWN: Final = 3


class Claim(NamedTuple):
    """Data at `path` that the file `source` tracks, both from the top of the worktree.

    `maker` is the stage whose output it is, "" where that is a pointer. `keys` lead to it in a lock file.
    """

    path: str
    source: str
    maker: str = ""
    keys: tuple[str, ...] = ()


class _Claims:
    """All claims of one project: pointers are found by their paths, `outs` are known."""

    def __init__(self, staged: Staged, project: str, outs: Iterable[Claim]) -> None:
        self._index, self._project = staged.index, project
        self.outs: dict[str, list[Claim]] = {}
        for each in outs:
            self.outs.setdefault(each.path, []).append(each)
        self._paths = sorted(self.outs)

    def at(self, path: str) -> list[Claim]:
        """The claims for just this path."""
        pointer = [Claim(path, path + SUFFIX)] if path + SUFFIX in self._index else []
        return [*pointer, *self.outs.get(path, ())]

    def above(self, path: str) -> list[Claim]:
        """The claims for the nearest directory around it that has some."""
        while (path := path.rpartition("/")[0]) and path != self._project:
            if found := self.at(path):
                return found
        return []

    def below(self, path: str) -> tuple[list[Claim], list[str]]:
        """The claims for what lies in it, and the files that Git has of it."""
        within = self._index.below(path)
        claims = [Claim(each.removesuffix(SUFFIX), each) for each in within if is_pointer(each)]
        at = bisect_left(self._paths, f"{path}/")
        while at < len(self._paths) and self._paths[at].startswith(f"{path}/"):
            claims += self.outs[self._paths[at]]
            at += 1
        itself = [path] if path in self._index else []
        return claims, [*itself, *(each for each in within if not is_pointer(each))]


def is_pointer(path: str) -> bool:
    """Whether a file of this name is a pointer."""
    return sources.is_source(path) and not sources.is_lock(path)


def find(staged: Staged, project: str, checked: Collection[str], outs: Iterable[Claim]) -> Iterator[Problem]:
    """What is claimed twice where one of the two files is `checked`; `outs` are those that are not Git's of all lock
    files of the project.
    """
    claims = _Claims(staged, project, outs)
    pairs: dict[tuple[Claim, Claim], None] = {}
    in_git: dict[Claim, dict[str, None]] = {}
    for each in _checked(staged, checked, claims):
        same = [(each, other) for other in claims.at(each.path) if other != each]
        inner, within = claims.below(each.path)
        for one, other in (*same, *((each, other) for other in claims.above(each.path)), *((x, each) for x in inner)):
            if (other, one) not in pairs:
                pairs[one, other] = None
        if within:
            in_git.setdefault(each, {}).update(dict.fromkeys(within))
    for path in checked:
        if path in staged.index and not is_pointer(path):
            for each in claims.at(path) or claims.above(path):
                in_git.setdefault(each, {})[path] = None
    for one, other in pairs:
        yield _twice(staged, project, one, other)
    for each, files in in_git.items():
        yield _in_git(staged, each, sorted(files))


def _checked(staged: Staged, checked: Collection[str], claims: _Claims) -> Iterator[Claim]:
    for path in sorted(checked):
        if is_pointer(path) and path in staged.index:
            yield Claim(path.removesuffix(SUFFIX), path)
    for outs in claims.outs.values():
        yield from (each for each in outs if each.source in checked)


def _twice(staged: Staged, project: str, one: Claim, other: Claim) -> Problem:
    """The problem that `one`, at or in what `other` claims, makes."""
    where = "is tracked a second time" if one.path == other.path else f"lies in {quote(other.path)}, which is tracked"
    by = f"as the output of {quote(other.maker)}" if other.maker else "by itself"
    name = f"{quote(one.path)}, the output of {quote(one.maker)}," if one.maker else quote(one.path)
    if one.maker and other.maker:
        hint = "let only one of the two stages write there, then vml repro"
    elif one.maker or other.maker:
        pointer = other if one.maker else one
        command = staged.typed.vml("rm", "--cached", paths=[pointer.path], project=project)
        hint = f"{command} ends tracking it by itself"
    else:
        hint = f"{staged.typed.git('rm', '--cached', paths=[one.source])} leaves it to {quote(other.source)}"
    return Problem(one.source, f"{name} {where} {by} ({quote(other.source)})", hint, _line(staged, one))


def _in_git(staged: Staged, claim: Claim, files: list[str]) -> Problem:
    if files == [claim.path]:
        named = "it"
    else:
        shown = ", ".join([*map(quote, files[:_SHOWN]), *(["..."] if len(files) > _SHOWN else [])])
        named = f"{count(len(files), 'file')} of it ({shown})"
    whose = f", the output of {quote(claim.maker)}," if claim.maker else ""
    what = f"{quote(claim.path)}{whose} is tracked here, and Git has {named}, too"
    few = files if len(files) <= _SHOWN else [claim.path]
    command = staged.typed.git("rm", "-r", "-q", "--cached", paths=few)
    stages = (claim.maker,) if claim.maker else ()
    if not claim.maker:  # which also lets Git ignore it, where a merge has lost that
        command += f" && {staged.typed.vml('add', paths=[claim.path], project=staged.project_of(claim.path) or '')}"
    return Problem(claim.source, what, f"{command} leaves it to vml", _line(staged, claim), stages)


def _line(staged: Staged, claim: Claim) -> int | None:
    return line_of(staged.read(claim.source) or b"", claim.keys) if claim.keys else None
