"""A tree as it is read: its pages, each checked against the one above it, found by key or walked beside another's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import Algorithm
from vcs_ml.store import objects, page
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.page import Child, Page

Read = Callable[[ObjectId], bytes]  # a node's bytes, already verified; raises MissingObject


class Tree:
    """A tree being read: checks each page against the page above it, and keeps the upper pages."""

    def __init__(self, root: ObjectId, algorithm: Algorithm, read: Read) -> None:
        self.root = page.decode(read(root), root, algorithm)
        self.seen = {root}
        # By all that a page is checked against: a bad tree may name one page in two places.
        self._upper: dict[tuple[Child, bytes, int], Page] = {}
        self._algorithm = algorithm
        self._read = read
        if len(self.root.children) == 1:
            raise CorruptError(f"{objects.describe(root, algorithm)}: the page of a root holds a single page")

    def open(self, parent: Page, at: int) -> Page:
        """The page that row `at` of `parent` names."""
        row = parent.children[at]
        here = page.decode(self._read(row.oid), row.oid, self._algorithm, parent.low_of(at))
        promised = (parent.level - 1, parent.keys[at : at + 1], row.count, row.size)
        if (here.level, here.keys[-1:], here.count, here.size) != promised:
            name, above = (objects.describe(oid, self._algorithm) for oid in (row.oid, parent.oid))
            raise CorruptError(f"{name}: not what the page above it says, {above}")
        return here

    def find(self, level: int, key: bytes) -> Page:
        """The page of `level` that `key` is in or would go to: the first not to end before, or the last."""
        here = self.root
        while here.level > level:
            at = min(bisect_left(here.keys, key), len(here.keys) - 1)
            place = here.children[at], here.low_of(at), here.level
            here = self._upper.get(place) or self.open(here, at)
            self.seen.add(here.oid)
            if here.level:
                self._upper[place] = here
        return here

    def leaves(self, first: bytes, end: bytes) -> Iterator[Page]:
        """The leaves that may hold keys from `first` up to `end`."""
        while self.root.keys and first <= self.root.keys[-1]:
            leaf = self.find(0, first)
            yield leaf
            if leaf.keys[-1] >= end:
                return
            first = leaf.keys[-1] + b"\0"

    def only_page(self, level: int, key: bytes) -> Page:
        """The root of a tree of the files below the page of `level` that ends with `key`: that page, unwrapped."""
        here = self.find(level, key)
        while len(here.children) == 1:
            here = self.find(here.level - 1, key)
        return here


class Node(NamedTuple):
    """A page that may not have been read yet: what the page above says of it, and Page.low."""

    row: Child
    low: bytes
    level: int
    tree: Tree
    open: Callable[[], Page]


def apart(a: Tree | None, b: Tree | None) -> tuple[list[Node], list[Node], list[ObjectId]]:
    """The leaves of `a` not in `b`, those of `b` not in `a`, and the upper pages of `a` not in `b`, top down.

    Walks down both trees level by level and drops what is in both: a page has one place in a tree, so equal
    pages always meet, whatever else shifted. Only where the path before an equal page has changed is it read
    again, to see that the two do not overlap. Of a tree walked alone, upper levels are checked for their cuts.
    """
    left, right = _tops(a), _tops(b)
    upper: list[ObjectId] = []
    while True:
        same = {node[:3] for node in left} & {node[:3] for node in right}
        left = [node for node in left if node[:3] not in same]
        right = [node for node in right if node[:3] not in same]
        level = max((node.level for node in left[:1] + right[:1]), default=0)
        if level == 0:
            return left, right, upper
        if left and left[0].level == level:
            upper += [node.row.oid for node in left]
            left = _below(left, whole=b is None)
        if right and right[0].level == level:
            right = _below(right, whole=a is None)


def _tops(tree: Tree | None) -> list[Node]:
    if not tree:
        return []
    root = tree.root
    row = Child(root.rows[-1].path if root.rows else b"", root.oid, root.count, root.size)
    return [Node(row, b"", root.level, tree, lambda: root)]


def _below(nodes: list[Node], *, whole: bool) -> list[Node]:
    """The pages one level down; `whole` if `nodes` are all of their level, which is then checked."""
    tree = nodes[0].tree
    opened: Iterable[Page] = (node.open() for node in nodes)
    return [
        Node(row, above.low_of(at), above.level - 1, tree, partial(tree.open, above, at))
        for above in (page.check_cut(opened) if whole else opened)
        for at, row in enumerate(above.children)
    ]
