"""Link types: which of them work between a store and a workspace, making them, and reading symlinks into the store."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs
from vcs_ml.hashing import Algorithm
from vcs_ml.store import content, seal

INODE_MASK = 2**63 - 1  # some network file systems use all 64 bits, the index has signed numbers
# In the mode of a stat index entry: the file is a symlink into the store, and counts as the object there.
THROUGH = 1 << 20
SHARING = ("hardlink", "symlink")  # with these, workspace files and objects are one file
# What a file system says that has no such link, has too many of one file, or allows none here.
CANNOT = frozenset(
    {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
)
_LOOSE = re.compile(rb"/loose/[a-z0-9]+/[0-9a-f]{2}/[0-9a-f]{30,}\Z")
_PROBED = 4096  # bytes: some file systems do not clone what is too small for a block

Numbers = tuple[int, ...]


# ---------------------------------------------------------------------- what works


def working(wanted: Sequence[str], store: Path, workspace: Path, memo: Path) -> tuple[str, ...]:
    """Those of the `wanted` types that work between two directories, in their order; copy always comes last.

    Tried once and written to `memo`, until the settings or one of the file systems change.
    """
    scratch = store / "tmp"
    try:
        fs.make_directory(scratch)
        if not os.access(scratch, os.W_OK):
            return ("copy",)
    except PermissionError:  # a store that may only be read: its files are not ours to share
        return ("copy",)
    head = [list(wanted), scratch.stat().st_dev, workspace.stat().st_dev]
    try:
        known = json.loads(memo.read_bytes())
        if known["head"] == head and all(kind in wanted for kind in known["works"]):
            return (*known["works"], "copy")
    except (OSError, ValueError, KeyError, TypeError):
        pass
    before_copy = wanted[: wanted.index("copy")] if "copy" in wanted else wanted
    works = _probe(before_copy, scratch, workspace)
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        fs.write_atomic(memo, json.dumps({"head": head, "works": works}).encode() + b"\n", sync=False)
    return (*works, "copy")


def _probe(wanted: Sequence[str], store: Path, workspace: Path) -> list[str]:
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):  # a collection may just have emptied the scratch directories
            return probe(wanted, store, workspace)
    return probe(wanted, store, workspace)


def probe(wanted: Sequence[str], store: Path, workspace: Path) -> list[str]:
    """Those of the `wanted` types (copy aside) that work from one directory to another, by trying."""
    source = store / fs.tmp_name()
    try:
        source.write_bytes(bytes(_PROBED))
        seal.put(source)
        keeps_time = seal.is_intact(source.stat())
        return [kind for kind in wanted if _works(kind, source, workspace) and (kind not in SHARING or keeps_time)]
    finally:
        source.unlink(missing_ok=True)


def _works(kind: str, source: Path, workspace: Path) -> bool:
    target = workspace / fs.tmp_name()
    try:
        if kind != "reflink":
            return (
                make([kind], source, os.fsencode(target)) is not None and target.stat().st_ino == source.stat().st_ino
            )
        with source.open("rb") as one, target.open("xb") as other:
            return content.clone(one.fileno(), other.fileno())
    finally:
        target.unlink(missing_ok=True)


# ---------------------------------------------------------------------- making


def make(kinds: Sequence[str], target: Path, name: bytes, directory: int | None = None) -> str | None:
    """Make `name` (in an open directory) a link to the file `target` in the first way that works; which one.

    None if that is no link: the turn is at a reflink or a copy. Raises FileExistsError.
    """
    for kind in kinds:
        if kind not in SHARING:
            return None
        try:
            if kind == "hardlink":
                os.link(target, name, dst_dir_fd=directory, follow_symlinks=False)
            else:
                os.symlink(os.fsencode(target), name, dir_fd=directory)
        except OSError as error:
            if error.errno not in CANNOT:
                raise
            continue
        return kind
    return None


def discard(name: bytes, directory: int | None = None) -> None:
    """Remove a temporary link; renaming it leaves it where it is if both names are of one file."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


# ---------------------------------------------------------------------- symlinks into the store


class Loose(NamedTuple):
    """Where a store has its loose blobs, with a slash at the end, and how many bytes their digests have."""

    prefix: bytes
    size: int

    @classmethod
    def of(cls, store: Path, algorithm: Algorithm) -> Loose:
        """That of the store in this directory."""
        return cls(os.fsencode(store / "loose" / algorithm.name) + b"/", algorithm.size)

    def digest(self, target: bytes) -> bytes | None:
        """The digest of the blob that a symlink of this target leads to; None where that is none of the store's."""
        ours = target.startswith(self.prefix) and len(target) == len(self.prefix) + 2 * self.size + 1
        return digest(target) if ours and _LOOSE.search(target) else None


def through(name: bytes, st: os.stat_result, loose: Loose, directory: int | None = None) -> Numbers | None:
    """The stats under which a symlink to a loose object of ours counts as that object; None for any other link.

    `st` are the link's own stats. () is a link to an object that is gone, also of a store at another place.
    """
    target = os.readlink(name, dir_fd=directory)
    if not _LOOSE.search(target):
        return None
    try:
        there = os.stat(name, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return numbers(st, there) if loose.digest(target) and stat.S_ISREG(there.st_mode) else None


def numbers(st: os.stat_result, target: os.stat_result | None = None) -> Numbers:
    """The five numbers that tell whether a file is still the one that was hashed: size, mtime, ctime, inode, mode.

    Of a symlink into the store (`target`: the object) they are size and time of the object, by which a write to
    it is noticed, and ctime and inode of the link, by which its replacement is.
    """
    if target is not None:
        mode = stat.S_IFREG | 0o444 | THROUGH
        return target.st_size, target.st_mtime_ns, st.st_ctime_ns, st.st_ino & INODE_MASK, mode
    # Linking a file changes its ctime, so it says nothing where other links exist.
    ctime = st.st_ctime_ns if st.st_nlink == 1 else 0
    return st.st_size, st.st_mtime_ns, ctime, st.st_ino & INODE_MASK, st.st_mode


def digest(target: bytes) -> bytes:
    """The digest that the path of a loose object spells."""
    return bytes.fromhex(b"".join(target.split(b"/")[-2:]).decode())
