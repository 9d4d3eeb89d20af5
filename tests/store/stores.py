"""What the tests of the store share: ids, trees from a dict of files, real processes, damage."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import traceback
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from unittest import mock

import zstandard
from hypothesis import strategies as st

from vcs_ml import paths
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import catalog, condemn, download, manifest, objects, pack, page, recipe, upload
from vcs_ml.store.ingest import Folder, stat_numbers
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.records import Record, Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Backend, Item
from vcs_ml.store.transfer import Moved, Need

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


def start(work: Callable[[], object], *, gate: int | None = None) -> int:
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


# --- What a remote really holds ----------------------------------------------------------------------------


def packed(place: Path, algorithm: Algorithm = XXH128) -> dict[bytes, bytes]:
    """Every object in the packs of a remote, by the packs' own tables (docs/formats.md), each one hashed."""
    found = {}
    for path in (place / "packs").rglob("*.pack"):
        data = path.read_bytes()
        magic, version, code, width, count, digest = struct.unpack("<4sBBBxQ32s", data[-48:])
        assert (magic, version, code) == (b"VMLP", 1, algorithm.code)
        table = data[-48 - count * (width + 26) : -48]
        assert hashlib.sha256(table).digest() == digest
        keys, flags, numbers = width + 1, count * (width + 1), count * (width + 2)
        for i in range(count):
            key = table[i * keys : (i + 1) * keys]
            oid = key[: algorithm.size if key[-1] in (objects.BLOB, objects.RECIPE) else 32] + key[-1:]
            offset, stored, raw = (struct.unpack_from("<Q", table, numbers + 8 * (n * count + i))[0] for n in range(3))
            content = data[offset : offset + stored]
            if table[flags + i]:
                content = zstandard.decompress(content)
            assert len(content) == raw
            found[oid] = content
            if key[-1] == objects.RECIPE:
                continue  # checked where it is used
            assert (algorithm.digest(content) if key[-1] == objects.BLOB else SHA256.digest(content)) == oid[:-1]
    return found


def pack_with(place: Path, kind: int) -> Path:
    """The largest pack that holds an object of this kind."""

    def kinds(path: Path) -> set[int]:
        size = path.stat().st_size
        name = pack.parse_name(path.stem)
        assert name is not None

        def read(start: int, length: int) -> bytes:
            return path.read_bytes()[start : start + length]

        return {row.oid[-1] for row in pack.read_table(name, size, read, XXH128, source="").rows}

    return max(
        (path for path in place.glob("packs/*/*.pack") if kind in kinds(path)), key=lambda path: path.stat().st_size
    )


def assert_whole(place: Path, roots: Iterable[Root], algorithm: Algorithm = XXH128) -> None:
    """Every object below these roots is in a pack of the remote, and in an index."""
    held, index = packed(place, algorithm), catalog.Catalog(place / "index", algorithm)
    there = {path.name for path in (place / "packs").rglob("*.pack")}
    todo = [root.oid for root in roots]
    seen = set()
    while todo:
        oid = todo.pop()
        if oid in seen:
            continue
        seen.add(oid)
        if oid[-1] == objects.BLOB and oid not in held:
            todo.append(objects.recipe(ObjectId(oid)))
            continue
        assert oid in held, objects.describe(oid, algorithm)
        assert any(Path(pack.key(name)).name in there for name, _ in index.places(oid)), "not in an index"
        if oid[-1] == objects.NODE:
            here = page.decode(held[oid], oid, algorithm)
            todo += [child.oid for child in here.children]
            todo += [objects.blob(entry.digest) for entry in here.entries]
        if oid[-1] == objects.RECIPE:
            made = recipe.decode(held[oid], ObjectId(oid), algorithm)
            todo += made.chunks
            assert algorithm.digest(b"".join(held[each] for each in made.chunks)) == oid[:-1]


def recorded(place: Path, algorithm: Algorithm = XXH128, *, without: str = "") -> list[Root]:
    """The roots of every confirmed push, but for those of one project."""
    found = []
    for path in (place / "roots").glob("*.json"):
        content = json.loads(path.read_bytes())
        if content["project"] != without:
            found += [
                Root(each["path"], objects.parse_hash(each["hash"], algorithm, source="")) for each in content["roots"]
            ]
    return found


class Clone:
    """A local store and its view of the remote, as `vml push` and `vml fetch` use them."""

    def __init__(self, place: Path, name: str, algorithm: Algorithm = XXH128, backend: Backend | None = None) -> None:
        self.store = LocalStore(place / name, algorithm)
        (place / "remote").mkdir(exist_ok=True)
        self.remote = Remote("origin", backend or Directory(place / "remote"), algorithm, place / name)
        self.remote.open(create=True)

    def push(self, *roots: Root, project: str = "p", check: bool = False, meter: Meter = SILENT) -> Moved:
        def send(needs: Sequence[Need], doomed: Collection[bytes]) -> Moved:
            return upload.push(self.store, self.remote, needs, doomed, jobs=2, meter=meter)

        record = Record(project, None, roots)
        return upload.make_complete(self.store, self.remote, record, send, check=check)[0]

    def fetch(self, *roots: Root) -> Moved:
        self.remote.refresh_index()
        download.fetch_nodes(self.store, self.remote, [root.oid for root in roots], jobs=2)
        return self.fetch_blobs(
            *(
                Need(objects.blob(entry.digest), entry.size, root.path, entry.path)
                for root in roots
                for entry in manifest.load(root.oid, self.store.algorithm, self.store.read)
            )
        )

    def fetch_blobs(self, *needs: Need) -> Moved:
        lacking = download.plan(self.store, needs)
        return download.fetch(self.store, self.remote, lacking, jobs=2, meter=SILENT)

    def gc(self, *roots: Root, grace: float = 0, forget: str = "", later: float = 0) -> condemn.Plan:
        """One run, so many seconds `later`; what it planned."""
        real = self.remote.backend.now
        with mock.patch.object(self.remote.backend, "now", lambda: real() + later):
            found = condemn.survey(self.remote, self.store, roots, jobs=2, forgotten=[forget] if forget else [])
        todo = condemn.plan(found, grace=grace)
        look = self.remote.backend.stat

        def stat(key: str) -> Item | None:
            item = look(key)
            return item._replace(modified=item.modified + later) if item and key.startswith("tmp/") else item

        with mock.patch.object(self.remote.backend, "stat", stat):
            condemn.carry_out(found, todo)
        return todo
