"""Files of commits, read one by one through one git that stays open."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.git import FULL_ID, GitRoot, popen
from vcs_ml.paths import DEPTH_MAX

DIRECTORY: Final = 0o040000
FILE: Final = (0o100644, 0o100755)
LINK: Final = 0o120000

# A few objects may stand for any number of paths: a tree whose entries are all one tree, and so on.
NAMED_MAX: Final = 100_000
ENTERED_MAX: Final = 1_000_000

_COMMIT_MAX: Final = 1 << 20
_SKIPPED_MAX: Final = 64 << 20  # bytes that nobody wants; above, a new git is the shorter way
# So many ids are far less than what a pipe holds, so that git can read all of them while nobody hears it.
_AT_ONCE: Final = 100
_SMALL: Final = 256_000
_READY_MAX: Final = 32_000_000  # bytes
_PROMISOR: Final = ("config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$")
_MODES: Final = {b"40000": DIRECTORY, b"100644": 0o100644, b"100755": 0o100755, b"120000": LINK}


class Node(NamedTuple):
    """A file, directory (DIRECTORY), symbolic link (LINK) or submodule of a commit, with Git's mode and object id."""

    mode: int
    oid: str


class Blob(NamedTuple):
    """The first bytes of an object, or all, and how many it has."""

    data: bytes
    size: int


class Trees:
    """Reads files and directories of any commit of one repository, each directory once; to be used as a context.

    What is the same in several commits is read for the first of them. What lies more than DEPTH_MAX levels deep is not
    there. Not for several threads. UserError for an object that the repository does not have, or that is damaged.
    """

    def __init__(self, root: GitRoot) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: dict[str, Blob] = {}
        self._tops: dict[str, str] = {}
        self._trees: dict[str, dict[str, Node]] = {}
        self._named: dict[tuple[str, frozenset[str]], tuple[tuple[str, Node], ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the git that reads. Another one starts when it is needed: forked processes must not share one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            process.wait()

    def commit(self, rev: str) -> str | None:
        """The full id of the commit that `rev` names, None where it names none; git.resolve tells why."""
        if not rev or not rev.isprintable():  # a line is a question of its own
            return None
        header = self._ask(f"{rev}^{{commit}}")
        if len(header) != 3 or header[1] != b"commit" or not FULL_ID.fullmatch(oid := header[0].decode()):
            return None
        self._tops[oid] = _top(self._body(oid, int(header[2]), _COMMIT_MAX))
        return oid

    def top(self, commit: str) -> str:
        """The id of a commit's tree."""
        if commit not in self._tops:
            self._tops[commit] = _top(self._read(commit, b"commit", _COMMIT_MAX).data)
        return self._tops[commit]

    def read(self, oid: str, limit: int) -> Blob:
        """What a file holds: `limit` bytes, and one more if there are more."""
        ready = self._ready.pop(oid, None)
        return ready if ready is not None and ready.size <= limit else self._read(oid, b"blob", limit)

    def expect(self, oids: Iterable[str]) -> None:
        """Get the small ones of these files, which will be read next: one question after another takes longer."""
        wanted = list(dict.fromkeys(oids))
        self._ready.clear()
        room = _READY_MAX
        with contextlib.suppress(UserError):  # of a damaged file, whoever reads it is told
            while wanted and room > 0:
                few, wanted = wanted[:_AT_ONCE], wanted[_AT_ONCE:]
                self._say(few)
                for oid in few:
                    header = self._hear()
                    if len(header) == 3:
                        blob = Blob(self._body(oid, int(header[2]), _SMALL), int(header[2]))
                        if header[1] == b"blob" and blob.size <= _SMALL:
                            self._ready[oid] = blob
                            room -= blob.size
                    if self._process is None:  # it has ended, or was ended in a large file
                        return

    def tree(self, oid: str) -> Mapping[str, Node]:
        """What is in a directory, by name."""
        if oid not in self._trees:
            raw = self._read(oid, b"tree").data
            try:
                self._trees[oid] = dict(_nodes(raw, len(oid) // 2))
            except ValueError:
                raise self._damaged(oid) from None
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

    def files(self, top: str, enters: Callable[[str], bool] = lambda path: True) -> Iterator[tuple[str, Node]]:
        """Every file below a tree with its path from there, in the order of Git; no links.

        Directories that `enters` says no to are passed by. UserError where there are more than ENTERED_MAX.
        """
        stack = [("", iter(self.tree(top).items()))]
        entered = 0
        while stack:
            prefix, entries = stack[-1]
            for name, node in entries:
                if node.mode in FILE:
                    yield prefix + name, node
                elif node.mode == DIRECTORY and len(stack) < DEPTH_MAX and enters(prefix + name):
                    entered += 1
                    if entered > ENTERED_MAX:
                        raise UserError(f"a commit has more than {ENTERED_MAX:,} directories", hint="name one of them")
                    stack.append((f"{prefix}{name}/", iter(self.tree(node.oid).items())))
                    break
            else:
                stack.pop()

    def named(self, top: str, names: Collection[str]) -> tuple[tuple[str, Node], ...]:
        """The files below a tree that have one of these names, with their paths from there.

        UserError where these are more than NAMED_MAX.
        """
        return self._find_named(top, frozenset(names), 1)

    def _find_named(self, top: str, names: frozenset[str], depth: int) -> tuple[tuple[str, Node], ...]:
        key = (top, names)
        if key not in self._named:
            found: list[tuple[str, Node]] = []
            for name, node in self.tree(top).items():
                if node.mode in FILE:
                    found += [(name, node)] if name in names else []
                elif node.mode == DIRECTORY and depth < DEPTH_MAX:
                    below = self._find_named(node.oid, names, depth + 1)
                    found += [(f"{name}/{path}", each) for path, each in below]
                if len(found) > NAMED_MAX:
                    shown = ", ".join(sorted(names))
                    raise UserError(f"a commit has more than {NAMED_MAX:,} files named {shown}", hint="remove some")
            self._named[key] = tuple(found)
        return self._named[key]

    def _read(self, oid: str, kind: bytes, limit: int | None = None) -> Blob:
        header = self._ask(oid)
        if not header and git.run(_PROMISOR, self._root.cwd, ok=(0, 1)):
            raise UserError(
                f"Git's object {oid} is not in the partial clone {self._root.common_dir}, "
                "and could not be fetched from where that came from",
                hint=f"git cat-file -p {oid} tries it again, and tells more",
            )
        if not header or (len(header) == 3 and header[1] != kind):
            raise self._damaged(oid)
        if len(header) != 3:
            raise UserError(
                f"Git's object {oid} is missing from {self._root.common_dir}",
                hint="git fsck tells what is damaged; git fetch --refetch may bring it back",
            )
        size = int(header[2])
        return Blob(self._body(oid, size, limit), size)

    def _ask(self, name: str) -> list[bytes]:
        """What git says before it writes what an object holds: id, kind, size; other words if there is none.

        Nothing where it has ended: the object is damaged, or the repository is one that it does not read.
        """
        self._say([name])
        return self._hear()

    def _say(self, names: Iterable[str]) -> None:
        if self._process is None:
            args = ["cat-file", "--batch"]
            self._process = popen(args, self._root.cwd, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it says nothing either
            self._process.stdin.write("".join(f"{name}\n" for name in names).encode())
            self._process.stdin.flush()

    def _hear(self) -> list[bytes]:
        assert self._process is not None
        assert self._process.stdout is not None
        header = self._process.stdout.readline().split()
        if not header:
            self.close()
        return header

    def _body(self, oid: str, size: int, limit: int | None) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        keep = size if limit is None else min(size, limit + 1)
        data = self._process.stdout.read(keep)
        rest = size - keep + 1  # a newline ends each body
        if rest > _SKIPPED_MAX:
            self.close()
        elif len(data) < keep or len(self._process.stdout.read(rest)) < rest:
            raise self._damaged(oid)
        return data

    def _damaged(self, oid: str) -> UserError:
        self.close()  # who knows what it would say next
        return UserError(f"Git's object {oid} in {self._root.common_dir} is damaged", hint="git fsck tells more")


def _top(commit: bytes) -> str:
    """What the first line of a commit names (git-commit-tree)."""
    return commit.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii", "replace")


def _nodes(raw: bytes, width: int) -> Iterator[tuple[str, Node]]:
    """The records of a tree object: mode, space, name, NUL, id of `width` bytes (gitformat-pack, git-mktree)."""
    at = 0
    while at < len(raw):
        space = raw.index(b" ", at)
        nul = raw.index(b"\0", space)
        end = nul + 1 + width
        if end > len(raw):
            raise ValueError("it ends too early")
        mode = raw[at:space]
        yield os.fsdecode(raw[space + 1 : nul]), Node(_MODES.get(mode) or _mode(mode), raw[nul + 1 : end].hex())
        at = end


def _mode(text: bytes) -> int:
    """A mode as Git takes it (its canon_mode): old commits have others for files."""
    mode = int(text, 8)
    if stat.S_ISREG(mode):
        return FILE[bool(mode & 0o100)]
    return DIRECTORY if stat.S_ISDIR(mode) else LINK if stat.S_ISLNK(mode) else mode
