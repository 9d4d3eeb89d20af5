"""What a commit tracks, path by path: only the files of Git that tell it are read."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.gittree import DIRECTORY, FILE, Node, Trees
from vcs_ml.workspace import lockfile, sources
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project

_CONFIG: Final = "config.toml"
_PROJECT: Final = f".vml/{_CONFIG}"
_NAMES: Final = frozenset((lockfile.STAGES, lockfile.NAME, _CONFIG))


class Sources:
    """Reads pointers and lock files of commits, each version of a file once."""

    def __init__(self, project: Project, trees: Trees) -> None:
        self.project, self.trees = project, trees
        self._parsed: dict[tuple[str, str], list[Pointer]] = {}

    def of(self, node: Node, source: str) -> list[Pointer]:
        """What a pointer or lock file records. UserError where it cannot be read."""
        key = (node.oid, source)
        if key not in self._parsed:
            raw = self.trees.read(node.oid, sources.MAX_SIZE).data
            self._parsed[key] = sources.parse(raw, source, self.project.algorithm)
        return self._parsed[key]


class Committed:
    """The files of a commit in one project, without those of projects that lie in it, and what they track."""

    def __init__(self, sources: Sources, commit: str) -> None:
        self.commit = commit
        self._sources = sources
        self._trees = sources.trees

    @cached_property
    def _top(self) -> str | None:
        """The tree of the project's directory, None where the commit has none."""
        found = self._trees.find(self._trees.top(self.commit), self._sources.project.prefix)
        return found.oid if found is not None and found.mode == DIRECTORY else None

    @cached_property
    def _named(self) -> list[tuple[str, Node]]:
        """Every vml.yaml and vml.lock, but for those of projects that lie in this one."""
        found = self._trees.named(self._top, _NAMES) if self._top is not None else ()
        others = tuple(path.removesuffix(_PROJECT) for path, _ in found if path.endswith(f"/{_PROJECT}"))
        return [(path, node) for path, node in found if not path.endswith(_CONFIG) and not path.startswith(others)]

    def stage_files(self) -> list[str]:
        """Every vml.yaml."""
        return [path for path, _ in self._named if path.endswith(lockfile.STAGES)]

    @cached_property
    def outs(self) -> tuple[dict[str, Pointer], UserError | None]:
        """The outputs of stages by their paths, and what is wrong with a lock file that cannot be read."""
        found: dict[str, Pointer] = {}
        wrong = None
        for path, node in self._named:
            if path.endswith(lockfile.NAME):
                try:
                    found.update((each.path, each) for each in self._sources.of(node, path))
                except UserError as error:
                    wrong = error
        return found, wrong

    def find(self, path: str) -> Node | None:
        """What Git has at a path."""
        return self._trees.find(self._top, path) if self._top is not None else None

    def pointers_of(self, node: Node, source: str) -> list[Pointer]:
        """What a pointer or lock file of this commit records. UserError where it cannot be read."""
        return self._sources.of(node, source)

    def owner(self, path: str) -> tuple[Pointer, str] | None:
        """The tracked thing that `path` is or lies in, and the way from there; None if there is none.

        UserError for a pointer that cannot be read; lock files that cannot are passed over, and `outs` has why.
        """
        end = path.find("/")
        while True:  # from the top: in a tracked directory, what is named like a pointer is data
            above = path if end < 0 else path[:end]
            node = self.find(above + SUFFIX)
            if above and node is not None and node.mode in FILE:
                return self._sources.of(node, above + SUFFIX)[0], path[len(above) + 1 :]
            if end < 0:
                return sources.owner(path, self.outs[0])
            end = path.find("/", end + 1)
