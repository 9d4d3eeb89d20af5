"""Large files on a remote: cut, shared between versions, files and pushers, put together again, killed and damaged."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import (
    Clone,
    assert_whole,
    at_once,
    blob,
    flip,
    litter,
    pack_with,
    packed,
    put_tree,
    read_tree,
    start,
    status_of,
)

from vcs_ml import fs
from vcs_ml.errors import CorruptError, RemoteError, UserError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.progress import SILENT
from vcs_ml.store import chunk, compress, cutting, download, gc, objects, pack, recipe, transfer, upload
from vcs_ml.store.gc import Kept
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.records import Root
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.transfer import Need

MIB = 1 << 20


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "remote"


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def put(clone: Clone, data: bytes, path: str = "large") -> Root:
    """A large file as `vml add` stores it."""
    root = Root(path, blob(data, clone.store.algorithm))
    clone.store.put_loose(root.oid, data)
    return root


def fetched(clone: Clone, root: Root, size: int) -> transfer.Moved:
    clone.remote.refresh_index()
    return clone.fetch_blobs(Need(root.oid, size, root.path))


def part_of(clone: Clone, root: Root) -> Path:
    return clone.store.directory / "tmp" / f"{fs.TMP_PREFIX}{root.oid[:-1].hex()}.part"


# --- Round trips -------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.integers(-2, 2).map(lambda n: chunk.ABOVE + n) | st.integers(chunk.ABOVE, 14 * MIB), st.integers(0, 99),
    st.lists(st.tuples(st.integers(0, 14 * MIB), st.binary(max_size=2000), st.integers(0, 5000)), max_size=3),
)  # fmt: skip
@pytest.mark.parametrize("algorithm", [XXH128, SHA256], ids=lambda each: each.name)
def test_any_file_of_any_edits_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    algorithm: Algorithm,
    size: int,
    seed: int,
    edits: list[tuple[int, bytes, int]],
) -> None:
    base = tmp_path_factory.mktemp("trip")
    ours, theirs = Clone(base, "ours", algorithm), Clone(base, "theirs", algorithm)
    data = noise(size, seed)
    for at, new, gone in [(0, b"", 0), *edits]:
        data = data[:at] + new + data[at + gone :]
        root = put_tree(ours.store, {b"large": data, b"twin": data, b"small": b"small"})
        sent = ours.push(root)
        assert sent.bytes + 100_000 > sent.stored + sent.deduped + sent.squeezed >= sent.bytes
        assert sent.stored <= len(data) + 100_000
        assert ours.push(root) == transfer.NOTHING
        got = theirs.fetch(root)
        assert got.bytes == got.stored + got.deduped + got.squeezed
        assert read_tree(theirs.store, root.oid)[b"large"] == data
        assert_whole(base / "remote", [root], algorithm)
    for name in ("ours", "theirs", "remote"):
        assert not litter(base / name)
    shutil.rmtree(base)


def rows(count: int) -> list[bytes]:
    chance = random.Random(4)
    return [b"%d,%d,%d,%d\n" % (i, *(chance.getrandbits(64) for _ in range(3))) for i in range(count)]


@pytest.mark.parametrize("kind", ["noise", "table"])
def test_what_did_not_change_is_not_sent(one: Clone, two: Clone, kind: str) -> None:
    """A row more in the middle, and one at the end, of 50 MB."""
    table = rows(720_000) if kind == "table" else [noise(1000, i) for i in range(50_000)]
    data = b"".join(table)
    assert len(data) > 45_000_000
    first = one.push(put(one, data))
    assert first.deduped == 0
    assert (first.squeezed > len(data) // 3) == (kind == "table")
    table.insert(len(table) // 2, b"300000,1,2,3\n")
    table.append(b"999999,1,2,3\n")
    edited = b"".join(table)
    root = put(one, edited)
    second = one.push(root)
    assert second.stored < 4 * chunk.MAXIMUM
    assert second.deduped > len(data) - 4 * chunk.MAXIMUM
    fetched(two, root, len(edited))
    assert two.store.holds(root.oid)


def test_files_and_people_share_chunks(one: Clone, two: Clone, place: Path) -> None:
    shared = noise(12 * MIB)
    one.push(put(one, shared + b"one"))
    assert two.push(put(two, shared + b"two")).stored < 3 * chunk.MAXIMUM
    assert one.push(put_tree(one.store, {b"x": b"x" + shared, b"y": shared + b"y" * 9})).stored < 5 * chunk.MAXIMUM
    assert_whole(place, [Root("", blob(shared + end)) for end in (b"one", b"two")])


def test_a_chunk_that_occurs_often_travels_once(one: Clone, two: Clone) -> None:
    data = bytes(40 * MIB)
    root = put(one, data)
    assert one.push(root).stored < 10_000
    assert fetched(two, root, len(data)).deduped == 36 * MIB
    assert two.store.holds(root.oid)


def test_holes_stay_holes(one: Clone, two: Clone) -> None:
    data = b"head" + bytes(40 * MIB) + noise(MIB) + bytes(20 * MIB)
    root = put(one, data)
    one.push(root)
    fetched(two, root, len(data))
    assert two.store.holds(root.oid)
    assert two.store.loose_path(root.oid).stat().st_blocks * 512 < 16 * MIB


@pytest.mark.parametrize("left", [0, 1])
def test_what_was_written_where_zeros_belong_is_written_over(one: Clone, two: Clone, left: int) -> None:
    data = bytes(20 * MIB)
    root = put(one, data)
    one.push(root)
    with two.store.batch():
        pass
    part_of(two, root).parent.mkdir(parents=True, exist_ok=True)
    part_of(two, root).write_bytes(bytes(9 * MIB) + noise(9 * MIB) * left + bytes((11 - 9 * left) * MIB))
    fetched(two, root, len(data))
    assert two.store.holds(root.oid)


def test_packs_stay_small(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, {b"%d" % i: noise(30 * MIB, i) for i in range(3)}))
    sizes = [path.stat().st_size for path in place.glob("packs/*/*")]
    assert max(sizes) < pack.TARGET + transfer.LARGE
    assert len(sizes) <= 9


def test_a_damaged_file_is_not_given_a_recipe(one: Clone, place: Path) -> None:
    data = noise(9 * MIB)
    root = put(one, data)
    flip(one.store.loose_path(root.oid), 5 * MIB)
    with pytest.raises(CorruptError, match="large: damaged object blob"):
        one.push(root)
    assert not [oid for oid in packed(place) if oid[-1] == objects.RECIPE]
    assert not litter(place)


@pytest.mark.parametrize("text_at", [None, 0, 2 * MIB])
def test_only_what_shrinks_is_compressed(text_at: int | None) -> None:
    """Whatever came before: a file may be half text, half pictures."""
    squeezer = compress.Squeezer()
    data = bytearray(noise(3 * MIB))
    for _ in range(20):
        assert squeezer.squeeze(noise(MIB)) is None
    if text_at is None:
        assert squeezer.squeeze(data) is None
    else:
        data[text_at : text_at + MIB] = b"text " * (MIB // 5) + b"."
        squeezed = squeezer.squeeze(data)
        assert squeezed is not None
        assert len(squeezed) < 2.1 * MIB
        assert compress.expand(squeezed, len(data)) == data


# --- A recipe proves nothing ---------------------------------------------------------------------------------


def test_a_push_looks_at_every_chunk(one: Clone, two: Clone, place: Path) -> None:
    data = noise(20 * MIB)
    root = put(one, data)
    one.push(root)
    pack_with(place, objects.CHUNK).unlink()
    for path in place.glob("roots/*"):
        path.unlink()
    assert one.push(root).stored > 5 * MIB
    assert_whole(place, [root])
    fetched(two, root, len(data))


def test_chunks_that_a_gc_will_delete_are_sent_again(one: Clone, place: Path) -> None:
    root = put(one, noise(20 * MIB))
    one.push(root, project="past")
    one.gc(forget="past")  # condemned, and there
    assert one.push(root).deduped == 0
    one.gc()
    assert_whole(place, [root])


@pytest.mark.parametrize("grace", [0, 100])
def test_gc_keeps_what_a_living_file_is_made_of(one: Clone, two: Clone, place: Path, grace: float) -> None:
    """Also where most of a pack is dead and the rest has to be copied."""
    shared = noise(9 * MIB)
    dead = put_tree(one.store, {b"dead": noise(30 * MIB, 2) + shared}, "dead")
    one.push(dead, project="past")
    living = put(one, shared + b"end")
    one.push(living)
    for _ in range(3):
        one.gc(forget="past", later=grace * 2)
    assert_whole(place, [living])
    held = packed(place)
    assert objects.recipe(living.oid) in held
    assert sum(map(len, held.values())) < 9 * MIB + 2 * chunk.MAXIMUM
    fetched(two, living, 9 * MIB + 3)
    one.gc()
    one.gc(later=10)
    assert_whole(place, [living])


def test_gc_over_there_stops_where_a_recipe_is_lost(one: Clone, place: Path) -> None:
    root = put_tree(one.store, {b"large": noise(9 * MIB)})
    one.push(root)
    oid = objects.recipe(blob(noise(9 * MIB)))
    place_of = one.remote.find(oid)
    assert place_of is not None
    (place / pack.key(place_of[0])).unlink()
    with pytest.raises(CorruptError, match=r"data: recipe xxh128:.* no data was deleted|though a push recorded it"):
        Clone(place.parent, "two").gc()


def test_gc_here_knows_what_is_over_there(one: Clone, place: Path) -> None:
    """What the remote has whole may go here; not what lost a chunk over there, though its recipe is there."""
    root = put(one, noise(9 * MIB))
    one.push(root)
    nothing = Kept({}, set())
    planned = gc.plan(one.store, gc.mark(one.store, nothing), [one.remote.cache])
    assert (planned.dead, planned.unpushed) == (1, (0, 0))
    chunks = [oid for oid in packed(place) if oid[-1] == objects.CHUNK]
    held = one.remote.find(ObjectId(chunks[0]))
    assert held is not None
    doomed = f'{{"schema": 1, "packs": ["{pack.key(held[0])}"], "indexes": []}}'
    one.remote.backend.write_new("gc/condemned/01ARZ3NDEKTSV4RRFFQ69G5FAV.json", doomed.encode())
    one.remote.read_gc()
    planned = gc.plan(one.store, gc.mark(one.store, nothing), [one.remote.cache])
    assert (planned.dead, planned.unpushed) == (0, (1, 9 * MIB))


# --- Kills ---------------------------------------------------------------------------------------------------


class Mortal(Directory):
    """A remote of which the n-th write or read of packs ends the process."""

    def __init__(self, path: Path, *, commits: int = 10**9, reads: int = 10**9) -> None:
        super().__init__(path)
        self._commits, self._reads = commits, reads

    def write_new(self, key: str, data: bytes | bytearray | memoryview) -> bool:
        if key.startswith("index/"):
            self._commits -= 1
            if self._commits < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().write_new(key, data)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length > MIB:
            self._reads -= 1
            if self._reads < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().read_range(key, start, length)


def test_a_killed_push_goes_on_where_it_was(one: Clone, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_TARGET", 4 * MIB)
    monkeypatch.setattr(upload, "ROUND", 12 * MIB)
    data = noise(60 * MIB)
    root = put(one, data)

    def push() -> None:
        Clone(place.parent, "one", backend=Mortal(place, commits=1)).push(root)

    assert status_of(start(push)) == -signal.SIGKILL
    done = Clone(place.parent, "one").push(root)
    assert done.deduped >= 12 * MIB
    assert done.stored < len(data) - 12 * MIB + 10_000
    assert_whole(place, [root])


def test_an_interrupted_push_goes_on_where_it_was(one: Clone, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_TARGET", 4 * MIB)
    data = noise(60 * MIB)
    root = put(one, data)

    class Impatient:
        """Ctrl-C, once most of it is done."""

        done = 0

        def expect(self, files: int = 0, bytes: int = 0) -> None:
            pass

        def advance(self, files: int = 0, bytes: int = 0) -> None:
            self.done += bytes
            if self.done > 40 * MIB:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.push(root, meter=Impatient())
    done = Clone(place.parent, "one").push(root)
    assert done.deduped >= 16 * MIB
    assert done.stored < len(data) - 16 * MIB + 10_000
    assert_whole(place, [root])


def test_a_fetch_takes_chunks_from_other_versions_here(one: Clone, two: Clone) -> None:
    old = noise(30 * MIB)
    first = put(one, old)
    one.push(first)
    fetched(two, first, len(old))
    new = old[: 9 * MIB] + b"inserted" + old[9 * MIB :]
    second = put(one, new)
    one.push(second)
    done = fetched(two, second, len(new))
    assert done.stored <= 2 * chunk.MAXIMUM
    assert done.stored + done.deduped == len(new)
    assert two.store.holds(second.oid)


def test_a_damaged_version_here_does_no_harm(one: Clone, two: Clone) -> None:
    old = noise(12 * MIB)
    first = put(one, old)
    one.push(first)
    fetched(two, first, len(old))
    flip(two.store.loose_path(first.oid), 6 * MIB)
    second = put(one, old + b"more")
    one.push(second)
    done = fetched(two, second, len(old) + 4)
    assert 0 < done.deduped < len(old)
    assert two.store.holds(second.oid)


def test_a_killed_fetch_goes_on_where_it_was(one: Clone, two: Clone, place: Path) -> None:
    data = noise(60 * MIB)
    root = put(one, data)
    one.push(root)

    def fetch() -> None:
        fetched(Clone(place.parent, "two", backend=Mortal(place, reads=5)), root, len(data))

    assert status_of(start(fetch)) == -signal.SIGKILL
    assert part_of(two, root).exists()
    done = fetched(two, root, len(data))
    assert 10 * MIB < done.deduped < len(data)
    assert done.stored == len(data) - done.deduped
    assert two.store.holds(root.oid)
    assert not litter(two.store.directory)


@pytest.mark.parametrize("left", [b"", b"short", bytes(9 * MIB), noise(9 * MIB, 7), noise(9 * MIB)[: 9 * MIB - 1]])
def test_what_lies_in_a_part_file_is_not_believed(one: Clone, two: Clone, left: bytes) -> None:
    root = put(one, noise(9 * MIB))
    one.push(root)
    with two.store.batch():
        pass
    part_of(two, root).parent.mkdir(parents=True, exist_ok=True)
    part_of(two, root).write_bytes(left)
    fetched(two, root, 9 * MIB)
    assert two.store.holds(root.oid)
    assert not litter(two.store.directory)


def test_a_part_file_that_is_not_for_us_is_left_alone(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = put(one, noise(9 * MIB))
    one.push(root)
    outside = tmp_path / "outside"
    outside.write_bytes(b"not yours")
    part_of(two, root).parent.mkdir(parents=True, exist_ok=True)
    part_of(two, root).symlink_to(outside)
    fetched(two, root, 9 * MIB)
    assert two.store.holds(root.oid)
    assert outside.read_bytes() == b"not yours"
    assert not litter(two.store.directory)


def test_several_fetch_the_same_at_once(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = put(one, noise(20 * MIB))
    one.push(root)

    def fetch() -> None:
        fetched(Clone(tmp_path, "two"), root, 20 * MIB)

    at_once(fetch, fetch, fetch)
    assert two.store.holds(root.oid)
    assert not litter(two.store.directory)


def test_who_has_the_part_file_is_waited_for_no_longer_than_wished(one: Clone, two: Clone) -> None:
    root = put(one, noise(9 * MIB))
    one.push(root)
    said: list[str] = []
    store = LocalStore(two.store.directory, XXH128, lock_timeout=2.2, waiting=said.append)
    with store.batch():
        pass
    path = part_of(two, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    two.remote.refresh_index()
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is locked by another process that fetches large"):
            download.fetch(store, two.remote, [Need(root.oid, 9 * MIB, root.path)], jobs=2, meter=SILENT)
    assert said == ["waiting for another process that fetches large (lock.timeout limits how long)"]


def test_several_fetch_many_large_files_in_other_orders(one: Clone, place: Path) -> None:
    """Fetches in other orders, each of which has begun with what another waits for, do not block."""
    files = {b"%d" % i: noise(9 * MIB, i) for i in range(8)}
    root = put_tree(one.store, files)
    one.push(root)

    needs = [Need(blob(data), len(data), name.decode()) for name, data in files.items()]

    def fetch(needs: list[Need]) -> None:
        clone = Clone(place.parent, "two")
        clone.remote.refresh_index()
        clone.fetch_blobs(*needs)

    at_once(lambda: fetch(needs), lambda: fetch(needs[::-1]), lambda: fetch(needs[3:] + needs[:3]))
    two = Clone(place.parent, "two")
    assert all(two.store.holds(need.oid) for need in needs)
    assert not litter(two.store.directory)


def test_several_push_the_same_at_once(one: Clone, two: Clone, tmp_path: Path, place: Path) -> None:
    roots = [put(each, noise(20 * MIB)) for each in (one, two)]
    at_once(
        lambda: void(Clone(tmp_path, "one").push(roots[0])),
        lambda: void(Clone(tmp_path, "two").push(roots[1])),
    )
    assert_whole(place, roots)


def void(_: object) -> None:
    """For what gives something that nobody wants."""


# --- Damage and lies -----------------------------------------------------------------------------------------


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a chunk": lambda place: flip(pack_with(place, objects.CHUNK), 3 * MIB),
    "a recipe": lambda place: flip(pack_with(place, objects.RECIPE), 60),
    "chunks gone": lambda place: pack_with(place, objects.CHUNK).unlink(),
    "recipe gone": lambda place: pack_with(place, objects.RECIPE).unlink(),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_over_there_is_named_and_nothing_enters(one: Clone, two: Clone, place: Path, what: str) -> None:
    root = put(one, noise(9 * MIB), "dir/large")
    one.push(root)
    DAMAGE[what](place)
    with pytest.raises((CorruptError, MissingObject), match="dir/large"):
        fetched(two, root, 9 * MIB)
    assert root.oid not in two.store


def forged(clone: Clone, blob_: ObjectId, made: Recipe, chunks: dict[ObjectId, bytes]) -> None:
    """What a stranger may put on a remote."""
    packs = []
    for found in (chunks, {objects.recipe(blob_): recipe.encode(made)}):
        builder = Builder(clone.remote.backend, XXH128)
        for oid, data in found.items():
            builder.add(oid, data)
        packs += builder.finish()
    clone.remote.publish_index(packs)


def test_a_recipe_of_another_file_enters_nowhere(one: Clone, two: Clone) -> None:
    data, other = noise(9 * MIB), noise(9 * MIB, 2)
    pieces = [other[at : at + MIB] for at in range(0, len(other), MIB)]
    chunks = {objects.chunk(SHA256.digest(piece)): piece for piece in pieces}
    forged(one, blob(data), Recipe(list(chunks), [MIB] * 9), chunks)
    with pytest.raises(CorruptError, match="do not make"):
        fetched(two, Root("x", blob(data)), len(data))
    assert blob(data) not in two.store
    assert not litter(two.store.directory)


@pytest.mark.parametrize("lengths", [[4 * MIB, 4 * MIB, MIB + 1], [4 * MIB, 4 * MIB - 1, MIB + 1]])
def test_lengths_that_are_not_those_of_the_chunks(one: Clone, two: Clone, lengths: list[int]) -> None:
    data = noise(9 * MIB)
    pieces = [data[: 4 * MIB], data[4 * MIB : 8 * MIB], data[8 * MIB :]]
    chunks = {objects.chunk(SHA256.digest(piece)): piece for piece in pieces}
    forged(one, blob(data), Recipe(list(chunks), lengths), chunks)
    with pytest.raises(CorruptError, match="are recorded"):
        fetched(two, Root("x", blob(data)), len(data))
    assert blob(data) not in two.store


def test_a_large_file_in_one_piece_does_not_count(one: Clone, two: Clone, place: Path) -> None:
    data = noise(9 * MIB)
    root = put(one, data)
    builder = Builder(one.remote.backend, XXH128)
    builder.add(root.oid, data)
    one.remote.publish_index(builder.finish())
    with pytest.raises((CorruptError, MissingObject)):
        fetched(two, root, len(data))
    assert one.push(root).deduped == 0
    fetched(two, root, len(data))
    assert two.store.holds(root.oid)


def test_a_fetch_takes_little_memory(one: Clone, tmp_path: Path) -> None:
    """A range of chunks that expand to a lot is expanded one chunk at a time."""
    data = b"".join(struct.pack("<I", i) * 250_000 for i in range(120))
    root = put(one, data)
    assert one.push(root).stored < MIB

    def fetch() -> None:
        import resource

        clone = Clone(tmp_path, "two")
        resource.setrlimit(resource.RLIMIT_AS, (_mapped() + (80 << 20),) * 2)
        fetched(clone, root, len(data))

    assert status_of(start(fetch)) == 0


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")


def test_a_remote_that_fails_leaves_what_arrived(one: Clone, two: Clone, place: Path) -> None:
    class Broken(Directory):
        left = 3

        def read_range(self, key: str, start: int, length: int) -> bytes:
            if length > MIB:
                self.left -= 1
                if self.left < 0:
                    raise RemoteError("the cable is out", hint="put it in")
            return super().read_range(key, start, length)

    data = noise(60 * MIB)
    root = put(one, data)
    one.push(root)
    with pytest.raises(RemoteError, match="cable"):
        fetched(Clone(place.parent, "two", backend=Broken(place)), root, len(data))
    assert fetched(two, root, len(data)).deduped > 0
    assert two.store.holds(root.oid)


def test_no_space_leaves_no_part_file(one: Clone, two: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put(one, noise(9 * MIB))
    one.push(root)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "pwrite", full)
        fetched(two, root, 9 * MIB)
    assert not litter(two.store.directory)
    fetched(two, root, 9 * MIB)
