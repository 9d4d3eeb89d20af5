"""Files of commits, read one by one through one git that stays open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

from vcs_ml.errors import UserError
from vcs_ml.git import GitRoot, popen

DIRECTORY: Final = 0o040000
FILE: Final = (0o100644, 0o100755)


class Node(NamedTuple):
    """A file, directory (DIRECTORY), symbolic link or submodule of a commit, with Git's mode and object id."""

    mode: int
    oid: str


class Trees:
    """Reads files and directories of any commit of one repository, each object once; to be used as a context.

    What is the same in several commits is read for the first of them. Not for several threads. UserError for an object
    that the repository does not have.
    """

    def __init__(self, root: GitRoot) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._trees: dict[str, dict[str, Node]] = {}
        self._named: dict[tuple[str, frozenset[str]], tuple[tuple[str, Node], ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process.wait()

    def top(self, commit: str) -> str:
        """The id of a commit's tree."""
        body = self.read(commit, 1 << 20)
        return body.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii", "replace")

    def read(self, oid: str, limit: int) -> bytes:
        """What an object holds: `limit` bytes, and one more if there are more."""
        stdout, size = self._ask(oid)
        keep = min(size, limit + 1)
        body = stdout.read(keep)
        rest = size - keep + 1  # a newline ends each body
        while rest > 0 and (skipped := stdout.read(min(rest, 1 << 20))):
            rest -= len(skipped)
        return body

    def tree(self, oid: str) -> Mapping[str, Node]:
        """What is in a directory, by name."""
        if oid not in self._trees:
            stdout, size = self._ask(oid)
            self._trees[oid] = dict(_nodes(stdout.read(size), len(oid) // 2))
            stdout.read(1)
        return self._trees[oid]

    def find(self, top: str, path: str) -> Node | None:
        """What is at `path` below the tree `top`; "" is that itself."""
        node = Node(DIRECTORY, top)
        for name in path.split("/") if path else ():
            if node.mode != DIRECTORY:
                return None
            found = self.tree(node.oid).get(name)
            if found is None:
                return None
            node = found
        return node

    def files(self, top: str) -> Iterator[tuple[str, Node]]:
        """Every file below a tree with its path from there, sorted by name in each directory; no links."""
        for name, node in self.tree(top).items():
            if node.mode == DIRECTORY:
                yield from ((f"{name}/{path}", each) for path, each in self.files(node.oid))
            elif node.mode in FILE:
                yield name, node

    def named(self, top: str, names: Collection[str]) -> tuple[tuple[str, Node], ...]:
        """The files below a tree that have one of these names, with their paths from there."""
        wanted = frozenset(names)
        key = (top, wanted)
        if key not in self._named:
            found = []
            for name, node in self.tree(top).items():
                if node.mode == DIRECTORY:
                    found += [(f"{name}/{path}", each) for path, each in self.named(node.oid, wanted)]
                elif node.mode in FILE and name in wanted:
                    found.append((name, node))
            self._named[key] = tuple(found)
        return self._named[key]

    def _ask(self, oid: str) -> tuple[IO[bytes], int]:
        """The stream from which an object is to be read, and its size."""
        if self._process is None:
            args = ["cat-file", "--batch"]
            self._process = popen(args, self._root.cwd, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{oid}\n".encode())
        stdin.flush()
        header = stdout.readline().split()
        if len(header) != 3:
            raise UserError(
                f"Git's object {oid} is missing from {self._root.common_dir}",
                hint="git fsck tells what is damaged; git fetch --refetch may bring it back",
            )
        return stdout, int(header[2])


def _nodes(raw: bytes, width: int) -> Iterator[tuple[str, Node]]:
    """The records of a tree object: mode, space, name, NUL, id of `width` bytes (gitformat-pack, git-mktree)."""
    at = 0
    while at < len(raw):
        space = raw.index(b" ", at)
        nul = raw.index(b"\0", space)
        end = nul + 1 + width
        yield os.fsdecode(raw[space + 1 : nul]), Node(int(raw[at:space], 8), raw[nul + 1 : end].hex())
        at = end
