"""The files of a commit, wherever their bytes are: in Git, in the store, or on a remote."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.gittree import DIRECTORY, FILE, LINK, Node
from vcs_ml.metrics import naming
from vcs_ml.metrics.naming import Area
from vcs_ml.metrics.stored import Data, Opener, Stored
from vcs_ml.output import quote, size
from vcs_ml.values import MAX_SIZE
from vcs_ml.workspace import sources
from vcs_ml.workspace.committed import Committed, Sources
from vcs_ml.workspace.pointer import SUFFIX

LARGEST: Final = 1 << 30  # bytes of a file in Git that are looked at: they are in memory


class Commit:
    """The files of a commit, as `Revision`; of the project it was asked for, none of others that lie in that."""

    def __init__(self, data: Data, sources: Sources, label: str, commit: str) -> None:
        self.label, self.commit = label, commit
        self._data, self._trees = data, sources.trees
        self._committed = Committed(sources, commit)
        self.stage_files = self._committed.stage_files
        self.find = self._committed.find

    def stored(self, path: str) -> Stored | None:
        naming.refuse_outside(path)
        found = self.find(path)
        if found is not None and found.mode != DIRECTORY:
            return None
        if owner := self._committed.owner(path):
            return Stored(*owner)
        if found is None:
            self._refuse_link_above(path)
            if (wrong := self._committed.outs[1]) is not None:  # nobody knows whether it names this path
                raise wrong
        return None

    def _refuse_link_above(self, path: str) -> None:
        end = path.find("/")
        while end >= 0:
            node = self.find(path[:end])
            if node is None or node.mode != DIRECTORY:
                if node is not None:
                    self._refuse(path[:end], node)
                return
            end = path.find("/", end + 1)

    def _refuse(self, path: str, node: Node) -> None:
        """UserError for what leads elsewhere."""
        if node.mode not in (DIRECTORY, *FILE):
            what = "a symbolic link" if node.mode == LINK else "a submodule"
            raise UserError(f"{quote(path)} is {what} at {self.label}", hint="name what it leads to")

    def listed(self, path: str) -> list[str]:
        naming.refuse_outside(path)
        found = self.find(path)
        if found is not None and found.mode != DIRECTORY:
            return [path]
        area = naming.area(path, literal=found is not None)
        return naming.sorted_files(each for each in self._below(area) if area.means(each))

    def _below(self, area: Area) -> Iterator[str]:
        """Files that lie in the directory that was asked for, among them all that were asked for."""
        if area.folder and (owner := self.stored(area.folder)) is not None:
            yield from self._data.files(owner)
            return
        folder = self.find(area.folder)
        prefix = f"{area.folder}/" if area.folder else ""
        if folder is not None:
            self._refuse(area.folder, folder)
        if folder is not None and folder.mode == DIRECTORY:
            for inner, node in self._trees.files(folder.oid, lambda inner: area.enters(prefix + inner)):
                path = prefix + inner
                if not sources.is_source(path) or sources.is_lock(path):
                    yield path
                elif area.enters(path.removesuffix(SUFFIX)):
                    yield from self._data.files(Stored(self._committed.pointers_of(node, path)[0], ""))
        outs, wrong = self._committed.outs
        if wrong is not None:
            raise wrong
        for out in outs.values():
            if out.path.startswith(prefix) and area.enters(out.path):
                yield from self._data.files(Stored(out, ""))

    def version(self, path: str) -> str | None:
        found = self.find(path)
        return found.oid if found is not None and found.mode in FILE else None

    def expect(self, paths: Iterable[str]) -> None:
        self._trees.expect(filter(None, map(self.version, paths)))

    def opener(self, path: str) -> Opener | None:
        naming.refuse_outside(path)
        found = self.find(path)
        if found is None or found.mode == DIRECTORY:
            owner = self.stored(path)
            return self._data.opener(owner) if owner is not None else None
        self._refuse(path, found)
        data, length = self._trees.read(found.oid, MAX_SIZE)
        if length <= MAX_SIZE:
            return lambda: io.BytesIO(data), length
        if length > LARGEST:
            raise UserError(f"{quote(path)} is larger than {size(LARGEST)}", hint="data of this size belongs to vml")
        return lambda: io.BytesIO(self._trees.read(found.oid, LARGEST).data), length
