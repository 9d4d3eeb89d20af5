"""Which stage makes which path, and that no two make the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.patterns import Patterns
from vcs_ml.pipeline.stage import Stage, place


class Outputs(NamedTuple):
    """Outputs of stages, each with the number of its stage: plain paths, and patterns. `rivals` are the patterns that
    may match what another one does.
    """

    paths: dict[str, int]
    patterns: tuple[tuple[str, int], ...]
    globs: Patterns
    rivals: tuple[tuple[str, int], ...] = ()

    def makers(self, path: str) -> list[int]:
        """Who makes `path`, or a directory that it lies in."""
        for each in (path, *above(path)):
            if each in self.paths:
                return [self.paths[each]]
        return [number for _, number in self.globs.matching(path)]

    def possible_makers(self, path: str) -> list[int]:
        """Who has a pattern for something that may lie inside `path`, if that should be a directory."""
        return [number for _, number in self.globs.matching(path, above=True)]

    def inside(self, directories: Collection[str]) -> dict[str, list[int]]:
        """Who makes something inside each of these directories, for those where somebody does; "" is the top."""
        found: dict[str, dict[int, None]] = {}
        for path, number in self.paths.items():
            for each in (*above(path), ""):
                if each in directories:
                    found.setdefault(each, {})[number] = None
        for pattern, number in self.patterns:
            place = patterns.directory(pattern)
            for each in (*((place, *above(place)) if place else ()), ""):
                if each in directories:
                    found.setdefault(each, {})[number] = None
        return {path: list(numbers) for path, numbers in found.items()}


def collect(stages: Sequence[Stage], pointers: Iterable[str]) -> Outputs:
    """The outputs of these stages. UserError where two overlap, or one overlaps with a vml.yaml or with the data of
    `pointers`.
    """
    paths: dict[str, int] = {}
    globs: dict[str, int] = {}
    for number, stage in enumerate(stages):
        for out in stage.outs:
            known = globs if out.is_glob else paths
            if out.path in known:
                other = stages[known[out.path]]
                raise _refused(
                    stage,
                    f"{_name(stage)} makes {quote(out.path)}, as {_name(other)} in {place(other.file, other.line)}",
                    "two stages cannot make the same: give each an output of its own",
                )
            known[out.path] = number
    outputs = Outputs(paths, tuple(globs.items()), Patterns(globs.items()), tuple(_rivals(globs)))
    for path, number in paths.items():
        _refuse_overlap(outputs, stages, path, number)
    for pattern, number in globs.items():
        place_of = patterns.directory(pattern)
        for outer in (place_of, *above(place_of)):
            if outer in paths:
                raise _nested(stages, pattern, number, outer, paths[outer])
    _refuse_files(outputs, stages)
    _refuse_tracked(outputs, stages, set(pointers))
    return outputs


def refuse_shared(outputs: Outputs, stages: Sequence[Stage], root: Path) -> None:
    """UserError where a file that is there now matches two patterns: each stage would take it from the other."""
    known: dict[str, tuple[str, int]] = {}
    for pattern, number in outputs.rivals:
        for path in patterns.files(root, pattern):
            other, maker = known.setdefault(path, (pattern, number))
            if other != pattern:
                also = f"{quote(other)} of {_name(stages[maker])}"
                raise _refused(
                    stages[number],
                    f"{quote(path)} matches {quote(pattern)} of {_name(stages[number])}, and {also} too",
                    "one file belongs to one output: make one of the patterns narrower",
                )


def _rivals(globs: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The patterns of which another one has all the text before the first `*`, or begins with all of it."""
    groups: dict[str, list[str]] = {}
    shortest = ""
    for pattern in sorted(globs, key=patterns.fixed_text):
        text = patterns.fixed_text(pattern)
        if not (groups and text.startswith(shortest)):
            shortest = text
        groups.setdefault(shortest, []).append(pattern)
    for group in groups.values():
        if len(group) > 1:
            yield from ((pattern, globs[pattern]) for pattern in group)


def above(path: str) -> Iterator[str]:
    """The directories that a path lies in, the nearest first, without the top."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def _refuse_overlap(outputs: Outputs, stages: Sequence[Stage], path: str, number: int) -> None:
    for outer in above(path):
        if outer in outputs.paths:
            raise _nested(stages, path, number, outer, outputs.paths[outer])
    for pattern, other in outputs.globs.matching(path):
        also = f"{quote(pattern)} of {_name(stages[other])}"
        raise _refused(
            stages[number],
            f"{_name(stages[number])} makes {quote(path)}, which {also} matches too",
            "one file belongs to one output: make the pattern narrower",
        )


def _refuse_files(outputs: Outputs, stages: Sequence[Stage]) -> None:
    for file in {stage.file: None for stage in stages}:
        for number in outputs.makers(file):
            raise _refused(
                stages[number],
                f"{_name(stages[number])} makes what holds {quote(file)}",
                "stages cannot lie inside the output of a stage: move the file, or write elsewhere",
            )


def _refuse_tracked(outputs: Outputs, stages: Sequence[Stage], pointers: set[str]) -> None:
    for path in sorted(pointers):
        for number in outputs.makers(path):
            raise _tracked(stages[number], path)
    for path, number in outputs.paths.items():
        for each in above(path):
            if each in pointers:
                raise _tracked(stages[number], each)
    for pattern, number in outputs.patterns:
        place = patterns.directory(pattern)
        for each in (place, *above(place)):
            if each in pointers:
                raise _tracked(stages[number], each)


def _tracked(stage: Stage, path: str) -> UserError:
    return _refused(
        stage,
        f"{_name(stage)} makes what overlaps with {quote(path)}, which vml add tracks",
        f"vml rm --cached {word(path)} ends tracking it as data; or let the stage write elsewhere",
    )


def _nested(stages: Sequence[Stage], path: str, number: int, outer: str, other: int) -> UserError:
    return _refused(
        stages[number],
        f"{quote(path)} of {_name(stages[number])} lies inside {quote(outer)} of {_name(stages[other])}",
        "an output cannot hold another one: name what is in the directory, or write elsewhere",
    )


def _refused(stage: Stage, message: str, hint: str) -> UserError:
    return UserError(f"{place(stage.file, stage.line)}: {message}", hint=hint)


def _name(stage: Stage) -> str:
    return quote(stage.address)
