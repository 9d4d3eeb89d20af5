"""What the tests of the store share: ids, trees from a dict of files, real processes, damage."""

from __future__ import annotations

import os
import signal
import traceback
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hypothesis import strategies as st

from vcs_ml import paths
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.store import manifest, objects, page
from vcs_ml.store.ingest import Folder, stat_numbers
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.records import Root

ALGORITHMS = (XXH128, SHA256)


def blob(data: bytes, algorithm: Algorithm = XXH128) -> ObjectId:
    return objects.blob(algorithm.digest(data))


def node(data: bytes) -> ObjectId:
    return objects.node(SHA256.digest(data))


def files_below(directory: Path) -> dict[str, bytes]:
    """Every regular file below a directory, but not the lock, which is never unlinked."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            file = Path(folder, name)
            if not file.is_symlink() and file != directory / "lock":
                found[file.relative_to(directory).as_posix()] = file.read_bytes()
    return found


def litter(directory: Path) -> list[str]:
    """Temporary files that somebody left behind."""
    return [name for name in files_below(directory) if "/.vml-tmp-" in f"/{name}"]


def put_tree(store: LocalStore, files: dict[bytes, bytes], path: str = "data") -> Root:
    """Store a directory with these files; the root of its manifest."""
    entries = []
    with store.batch() as batch:
        for name in sorted(files, key=paths.key):
            oid = blob(files[name], store.algorithm)
            if len(files[name]) > store.pack_below:  # as ingest and fetch do
                store.put_loose(oid, files[name])
            else:
                batch.add(oid, files[name])
            entries.append(page.Entry(name, page.FILE, len(files[name]), oid[:-1]))
        return Root(path, manifest.build(entries, store.algorithm, batch.add).root)


def read_tree(store: LocalStore, root: ObjectId) -> dict[bytes, bytes]:
    """The files of a directory, each verified."""
    entries = manifest.load(root, store.algorithm, store.read)
    return {entry.path: store.read(objects.blob(entry.digest)) for entry in entries}


def walk(base: Path) -> list[Folder]:
    """The files below `base` as ingest takes them."""
    folders = []
    for folder, directories, names in os.walk(os.fsencode(base)):
        directories.sort()
        links = [name for name in directories if os.path.islink(os.path.join(folder, name))]
        here = sorted([*names, *links])
        stats = [n for name in here for n in stat_numbers(os.lstat(os.path.join(folder, name)))]
        path = os.path.relpath(folder, os.fsencode(base))
        folders.append(Folder(b"" if path == b"." else path, here, array("q", stats)))
    return folders


# --- Real processes ----------------------------------------------------------------------------------------


def start(work: Callable[[], None], *, gate: int | None = None) -> int:
    """Run `work` in a forked child; its pid. With a `gate`, only once that pipe is closed elsewhere."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if gate is not None:
            os.read(gate, 1)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_once(*works: Callable[[], None]) -> None:
    """Run each in a process of its own, all let go at the same moment; every one must succeed."""
    reader, writer = os.pipe()

    def gated(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            os.close(writer)
            os.read(reader, 1)
            work()

        return run

    pids = [start(gated(work)) for work in works]
    os.close(reader)
    os.close(writer)
    assert [status_of(pid) for pid in pids] == [0] * len(pids)


@contextmanager
def no_hang(seconds: int = 5) -> Iterator[None]:
    """Turns an endless loop into a failure."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise AssertionError("this never ends")

    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


# --- Damage ------------------------------------------------------------------------------------------------


def rewrite(path: Path, data: bytes) -> None:
    """Replace a write-protected file by one that holds `data`."""
    path.unlink()
    path.write_bytes(data)


def flip(path: Path, at: int) -> None:
    """Change one byte of a write-protected file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    rewrite(path, bytes(data))


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` cut, grown, or with some bytes overwritten; never the same."""
    at = draw(st.integers(0, len(data)))
    length = draw(st.integers(0, 40))
    put = draw(st.one_of(st.binary(max_size=40), st.just(b"\xff" * length), st.just(bytes(length))))
    gone = draw(st.sampled_from([0, len(put), length, len(data)]))
    changed = data[:at] + put + data[at + gone :]
    return changed if changed != data else changed + b"\0"
