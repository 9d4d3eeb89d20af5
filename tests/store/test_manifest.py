"""Trees against a dict and a rebuild from scratch: same files, same root, no page read or written in vain."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcs_ml import paths
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, XXH128
from vcs_ml.store import manifest, objects, page
from vcs_ml.store.manifest import Entry, Summary
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.page import Child

A = XXH128
Files = dict[bytes, Entry]


class Store(dict[ObjectId, bytes]):
    """Nodes in memory; counts what is read and written."""

    def __init__(self) -> None:
        self.reads: list[ObjectId] = []
        self.writes: list[ObjectId] = []

    def read(self, oid: ObjectId) -> bytes:
        self.reads.append(oid)
        if oid not in self:
            raise MissingObject(oid, "not here")
        return self[oid]

    def write(self, oid: ObjectId, data: bytes) -> None:
        objects.verify(oid, data, A)
        assert all(child.oid in self for child in page.decode(data, oid, A).children)
        self.writes.append(oid)
        self[oid] = data

    def forget(self) -> None:
        self.reads.clear()
        self.writes.clear()

    def build(self, files: Files) -> Summary:
        return manifest.build(in_order(files), A, self.write)

    def nodes(self, root: ObjectId) -> set[ObjectId]:
        return {oid for oid, _ in manifest.closure(root, A, self.read)}


def in_order(files: Files) -> list[Entry]:
    return [files[path] for path in sorted(files, key=paths.key)]


def entry(path: bytes, content: int = 0) -> Entry:
    return Entry(path, content % 3, content, content.to_bytes(16, "big"))


def files_of(names: Iterable[bytes]) -> Files:
    return {name: entry(name, i) for i, name in enumerate(names)}


@contextmanager
def dense(*, level_max: int = 30) -> Iterator[None]:
    """Pages of about four entries, at most six, and two bits of h a level: a few names make a deep tree."""

    def natural_ends(level: int, keys: Iterable[bytes]) -> list[int]:
        hashes = (int.from_bytes(hashlib.sha256(key).digest()[:8], "big") for key in keys)
        return [i for i, h in enumerate(hashes, 1) if not h >> 2 * level & 3]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "natural_ends", natural_ends)
        patch.setattr(page, "PAGE_MAX", 6)
        patch.setattr(page, "LEVEL_MAX", level_max)
        yield


NAMES = [name.encode() for name in ("a", "b", "c", "a.b", "a-", "a\x01", "é", "日本", "\U0001f600", "0", "A", "n\nl")]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
ENTRIES = st.builds(entry, PATHS, st.integers(0, 5))


def without_clashes(entries: Iterable[Entry]) -> Files:
    files: Files = {}
    for new in entries:
        if not clashes(files, new.path):
            files[new.path] = new
    return files


def clashes(files: Files, path: bytes) -> bool:
    return any(a != path and (a.startswith(path + b"/") or path.startswith(a + b"/")) for a in files)


TREES = st.lists(ENTRIES, max_size=60).map(without_clashes)
CHANGES = st.dictionaries(PATHS, st.one_of(st.none(), st.integers(0, 5)), max_size=12).map(
    lambda changes: {path: None if c is None else entry(path, c) for path, c in changes.items()}
)


# --- Same files, same root ---------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(TREES, st.lists(CHANGES, max_size=5))
def test_edits_in_any_order_are_a_rebuild_from_scratch(files: Files, edits: list[dict[bytes, Any]]) -> None:
    with dense():
        store = Store()
        root = store.build(files)
        for changes in edits:
            wanted = {k: v for k, v in (files | changes).items() if v is not None}
            before = store.nodes(root.root)
            store.forget()
            if any(clashes(wanted, path) for path in wanted):
                with pytest.raises(UserError, match="is a file, so there can be no"):
                    manifest.edit(root.root, changes, A, store.read, store.write)
                continue
            files, root = wanted, manifest.edit(root.root, changes, A, store.read, store.write)
            assert not before & set(store.writes)
            assert set(store.reads) <= before
            assert set(store.writes) <= store.nodes(root.root)
            assert root == Store().build(files)
            assert manifest.load(root.root, A, store.read) == in_order(files)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 150), st.data())
def test_large_edits_of_deep_trees(salt: int, count: int, data: st.DataObject) -> None:
    with dense():
        names = [b"%d/%d" % (i * i % 7, salt + i) for i in range(count)]
        store, files = Store(), files_of(names)
        root = store.build(files)
        kept = set(data.draw(st.lists(st.sampled_from(names), max_size=5))) if names else set()
        for changes in (
            {name: None for name in names if name not in kept},  # all but a few: whole levels vanish
            {name: entry(name, 9) for name in names[::2]},
            dict.fromkeys(names),
            files,
        ):
            before = store.nodes(root.root)
            store.forget()
            root = manifest.edit(root.root, changes, A, store.read, store.write)
            assert not before & set(store.writes)
            assert set(store.writes) <= store.nodes(root.root)
            files = {k: v for k, v in (files | changes).items() if v is not None}
            assert root == Store().build(files)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 200),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 200) | st.just(1), st.booleans()), max_size=6),
)
def test_edits_of_stretches_of_deep_trees(salt: int, count: int, edits: list[tuple[int, int, bool]]) -> None:
    """Deleting and putting back what is side by side moves cuts to the left and takes whole levels away."""
    with dense():
        everything = files_of(b"%d" % (10**7 + salt + i) for i in range(count))
        store, files = Store(), everything
        root = store.build(files)
        for start, length, is_delete in edits:
            names = list(everything)[start : start + length]
            changes = {name: None if is_delete else everything[name] for name in names}
            store.forget()
            root = manifest.edit(root.root, changes, A, store.read, store.write)
            assert set(store.writes) <= store.nodes(root.root)
            files = {k: v for k, v in (files | changes).items() if v is not None}
            assert root == Store().build(files)


@pytest.mark.parametrize("salt", range(5))
def test_what_is_left_is_one_page_of_any_level(salt: int) -> None:
    with dense():
        store, files = Store(), files_of(b"%d-%03d" % (salt, i) for i in range(150))
        root = store.build(files)
        for oid in store.nodes(root.root):
            left = in_tree(store, oid)
            store.forget()
            changes = dict.fromkeys(files.keys() - left.keys())
            edited = manifest.edit(root.root, changes, A, store.read, store.write)
            assert edited == Store().build(left)
            assert set(store.writes) <= store.nodes(edited.root)


def in_tree(store: Store, oid: ObjectId) -> Files:
    here = page.decode(store[oid], oid, A)
    files = {e.path: e for e in here.entries}
    for child in here.children:
        files |= in_tree(store, child.oid)
    return files


@settings(max_examples=50, deadline=None)
@given(TREES, CHANGES)
def test_edit_with_the_real_rule(files: Files, changes: dict[bytes, Entry | None]) -> None:
    store = Store()
    root = store.build(files)
    files = {k: v for k, v in (files | changes).items() if v is not None}
    if not any(clashes(files, path) for path in files):
        assert manifest.edit(root.root, changes, A, store.read, store.write) == Store().build(files)


def test_golden_roots() -> None:
    small = files_of([b"a", b"data/x.csv", b"data/y.csv", "é/日本".encode()])
    large = files_of(b"d%d/f%d" % (i % 7, i) for i in range(3000))

    def root(files: Files) -> str:
        summary = Store().build(files)
        return objects.format_hash(summary.root, A)

    assert root({}) == "tree:sha256:de31f60bf41ed1b6e146eccc19eb6e9482a780ad07b75fa2b7727cf34dd177f7"
    assert root(small) == "tree:sha256:06be7f8fd3eb54faeee2dac5ecc2945394ba37880662b0542b02eaf0889820e4"
    assert root(large) == "tree:sha256:fec53ed0db2e8e0a90b9d2fc143f8a09892161f381fd89945d90e45750206d3b"
    wide = [Entry(path, kind, size, digest * 2) for path, kind, size, digest in in_order(small)]
    assert (
        manifest.build(wide, SHA256, lambda oid, data: None).root[:-1].hex()
        == "b1cd45e40d677a3a0977c7b3c6a33be88096152d78dccec0920ca74849ac473b"
    )


def test_the_empty_tree_is_one_empty_page() -> None:
    store = Store()
    assert store.build({}) == (manifest.empty(A), 0, 0)
    assert store.writes == [manifest.empty(A)]
    root = manifest.empty(A)
    assert manifest.summary(root, A, store.read) == (root, 0, 0)
    assert manifest.load(root, A, store.read) == []
    assert manifest.lookup(root, b"a", A, store.read) is None
    assert list(manifest.under(root, b"", A, store.read)) == []
    assert list(manifest.closure(root, A, store.read)) == [(root, [])]
    assert list(manifest.diff(root, None, A, store.read)) == []
    assert manifest.edit(root, {b"a": None}, A, store.read, store.write) == (root, 0, 0)


# --- What is refused ---------------------------------------------------------------------------------------


def test_build_refuses_what_cannot_be_tracked() -> None:
    for names in ([b"a", b"a/b"], [b"../a"], [b".git"], [b""], [b"caf\xe9"]):
        with pytest.raises(UserError):
            Store().build(files_of(names))
    for entries in ([entry(b"b"), entry(b"a")], [entry(b"a"), entry(b"a")], [entry(b"a\0b")]):
        with pytest.raises(ValueError):
            manifest.build(entries, A, Store().write)
    far = [entry(b"%05d" % i) for i in range(4096)]
    with pytest.raises(UserError, match="'04095' is a file, so there can be no '04095/x'"):
        manifest.build([*far, entry(b"04095/x")], A, Store().write)


def test_edit_refuses_what_cannot_be_tracked() -> None:
    store = Store()
    root = store.build(files_of([b"a/b", b"c"])).root
    for name, match in (
        (b"a", "'a' is a file.*'a/b'"),
        (b"c/d", "'c' is a file.*'c/d'"),
        (b"..", "refusing"),
    ):
        with pytest.raises(UserError, match=match):
            manifest.edit(root, {name: entry(name)}, A, store.read, store.write)
    with pytest.raises(ValueError):
        manifest.edit(root, {b"x": entry(b"y")}, A, store.read, store.write)
    with pytest.raises(ValueError):
        manifest.edit(root, {b"x\0y": None}, A, store.read, store.write)
    moved = manifest.edit(root, {b"a/b": None, b"a": entry(b"a")}, A, store.read, store.write)
    assert moved == Store().build({b"a": entry(b"a"), b"c": entry(b"c", 1)})


def test_names_made_to_nest_without_end_are_refused() -> None:
    files = files_of(b"%03d" % i for i in range(200))
    with dense():
        store = Store()
        assert store[store.build(files).root][5] >= 3  # the level: such trees are deep
    with dense(level_max=1), pytest.raises(UserError, match="more than 2 levels of pages"):
        store.build(files)


# --- Reading -----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(TREES, PATHS)
def test_reading_is_reading_a_dict(files: Files, probe: bytes) -> None:
    with dense():
        store = Store()
        root = store.build(files)
        assert root[1:] == (len(files), sum(e.size for e in files.values()))
        assert manifest.summary(root.root, A, store.read) == root
        assert manifest.load(root.root, A, store.read) == in_order(files)
        assert list(manifest.under(root.root, b"", A, store.read)) == in_order(files)
        for path in {probe, *files, *(path.rpartition(b"/")[0] for path in files)} - {b""}:
            assert manifest.lookup(root.root, path, A, store.read) == files.get(path)
            below = {p: e for p, e in files.items() if p == path or p.startswith(path + b"/")}
            assert list(manifest.under(root.root, path, A, store.read)) == in_order(below)
            if path in files:
                with pytest.raises(UserError, match="is a file"):
                    manifest.extract(root.root, path, A, store.read, store.write)
            else:
                stripped = {p[len(path) + 1 :]: e._replace(path=p[len(path) + 1 :]) for p, e in below.items()}
                assert manifest.extract(root.root, path, A, store.read, store.write) == Store().build(stripped)
        assert manifest.extract(root.root, b"", A, store.read, store.write) == root


@settings(max_examples=200, deadline=None)
@given(TREES, TREES, CHANGES, st.booleans())
def test_diff_and_closure_of_two_trees(a: Files, b: Files, changes: dict[bytes, Any], near: bool) -> None:
    if near:  # else two trees with nothing in common
        b = without_clashes(e for e in (a | changes).values() if e is not None)
    with dense():
        store = Store()
        x, y = store.build(a).root, store.build(b).root
        both = store.nodes(x) & store.nodes(y)
        # Skipped: what also follows the same path in both. Of a root only its page tells the level.
        skipped = {oid for oid, _ in spans(store, x) & spans(store, y)} - {x, y}
        store.forget()
        assert list(manifest.diff(x, y, A, store.read)) == naive_diff(a, b)
        assert not skipped & set(store.reads)
        assert list(manifest.diff(None, y, A, store.read)) == naive_diff({}, b)
        assert list(manifest.diff(x, None, A, store.read)) == naive_diff(a, {})

        whole = list(manifest.closure(y, A, store.read))
        assert {oid for oid, _ in whole} == reachable(store, y)
        assert sorted(e for _, entries in whole for e in entries) == sorted(b.values())
        store.forget()
        news = list(manifest.closure(y, A, store.read, base=x))
        assert not skipped & set(store.reads)
        assert store.nodes(y) - both <= {oid for oid, _ in news} <= store.nodes(y) - skipped
        digests = {e.digest for e in a.values()} | {e.digest for _, entries in news for e in entries}
        assert digests >= {e.digest for e in b.values()}
        for listing in (whole, news):
            order = {oid: i for i, (oid, _) in enumerate(listing)}
            for oid, at in order.items():
                for child in page.decode(store[oid], oid, A).children:
                    assert order.get(child.oid, -1) < at


def spans(store: Store, oid: ObjectId, low: bytes = b"") -> set[tuple[ObjectId, bytes]]:
    """Each page with the last path before it."""
    rows = page.decode(store[oid], oid, A).children
    lows = [low, *(row.path for row in rows)]
    return {(oid, low)}.union(*(spans(store, row.oid, before) for row, before in zip(rows, lows, strict=False)))


def naive_diff(a: Files, b: Files) -> list[tuple[Entry | None, Entry | None]]:
    return [(a.get(p), b.get(p)) for p in sorted(a | b, key=paths.key) if a.get(p) != b.get(p)]


def reachable(store: Store, oid: ObjectId) -> set[ObjectId]:
    return {oid}.union(*(reachable(store, child.oid) for child in page.decode(store[oid], oid, A).children))


def test_closure_lists_no_blob_of_a_renamed_directory() -> None:
    store = Store()
    old = store.build(files_of(b"old/%d" % i for i in range(2000))).root
    new = store.build(files_of(b"new/%d" % i for i in range(2000))).root
    assert not [e for _, entries in manifest.closure(new, A, store.read, base=old) for e in entries]


def test_what_read_raises_comes_through() -> None:
    store = Store()
    root = objects.node(b"\7" * 32)
    for call in (manifest.load, manifest.summary):
        with pytest.raises(MissingObject):
            call(root, A, store.read)
    with pytest.raises(MissingObject):
        list(manifest.diff(root, None, A, store.read))


# --- The real rule on 20,000 files: how many pages it takes ------------------------------------------------


@cache
def large() -> tuple[Store, Summary, Files]:
    store = Store()
    files = files_of(b"train/class%02d/image_%06d.jpg" % (i % 40, i) for i in range(20_000))
    return store, store.build(files), files


@cache
def without_ends() -> tuple[Store, Summary, Files]:
    """20,000 names none of which ends a page: only the cap cuts."""
    names = (b"%06d" % i for i in range(30_000))
    names = (name for name in names if not page.natural_ends(0, [name]))
    store, files = Store(), files_of(name for name, _ in zip(names, range(20_000), strict=False))
    return store, store.build(files), files


def test_pages_have_a_sensible_size() -> None:
    store, root, files = large()
    counts = [len(entries) for _, entries in manifest.closure(root.root, A, store.read) if entries]
    assert 20 < len(counts) < 80
    assert manifest.load(root.root, A, store.read) == in_order(files)


def test_one_file_takes_one_page_a_level() -> None:
    store, root, files = large()
    path = b"train/class17/image_001017.jpg"
    store.forget()
    assert manifest.lookup(root.root, path, A, store.read) == files[path]
    assert len(store.reads) == 2
    store.forget()
    assert manifest.lookup(root.root, b"zzz", A, store.read) is None
    assert len(store.reads) == 1
    store.forget()
    edited = manifest.edit(root.root, {path: entry(path, 99)}, A, store.read, store.write)
    assert (len(store.reads), len(store.writes)) == (2, 2)
    store.forget()
    assert list(manifest.diff(root.root, edited.root, A, store.read)) == [(files[path], entry(path, 99))]
    assert len(store.reads) == 4
    assert [e for _, es in manifest.closure(edited.root, A, store.read, base=root.root) for e in es] == [
        entry(path, 99)
    ]
    store.forget()
    assert len(list(manifest.under(root.root, b"train/class17", A, store.read))) == 500
    assert len(store.reads) <= 5


def test_an_edit_that_changes_nothing_writes_nothing() -> None:
    store, root, files = large()
    store.forget()
    some = {path: files[path] for path in list(files)[::100]} | {b"absent": None, b"train/class01": None}
    assert manifest.edit(root.root, some, A, store.read, store.write) == root
    assert manifest.edit(root.root, {}, A, store.read, store.write) == root
    assert not store.writes


@pytest.mark.parametrize("tree", [large, without_ends])
def test_many_edits_of_a_large_tree(tree: Any) -> None:
    store, root, files = tree()
    names = list(files)
    ends = [page.decode(store[oid], oid, A) for oid in store.nodes(root.root)]
    lasts = {read.rows[-1].path for read in ends}
    for changes in (
        dict.fromkeys(names[5000:15_000]),
        {name: None for name in lasts if name in files},  # every end of a page
        {name: entry(name, 7) for name in names[::50]},
        {name + b"x": entry(name + b"x", 8) for name in names[::3]},
        {names[0]: None},
        {b"zzz": entry(b"zzz", 1)},
    ):
        changed = {k: v for k, v in (files | changes).items() if v is not None}
        assert manifest.edit(root.root, changes, A, store.read, store.write) == Store().build(changed)


def test_a_page_without_ends_is_capped() -> None:
    store, root, files = without_ends()
    sizes = [len(entries) for _, entries in manifest.closure(root.root, A, store.read) if entries]
    assert len(sizes) > 4
    assert max(sizes) <= page.PAGE_MAX
    assert manifest.load(root.root, A, store.read) == in_order(files)
    assert list(manifest.diff(None, root.root, A, store.read)) == naive_diff({}, files)


# --- Hostile trees -----------------------------------------------------------------------------------------


def put(store: Store, level: int, rows: list[Any]) -> Child:
    """A page as its author likes it, and a row that tells the truth about it."""
    data = page.encode(level, rows, A)
    oid = objects.node(SHA256.digest(data))
    store[oid] = data
    count = sum(row.count for row in rows) if level else len(rows)
    return Child(rows[-1].path, oid, count, sum(row.size for row in rows))


def names_that_end() -> Iterator[bytes]:
    return (name for name in (b"m%d" % i for i in range(10**6)) if page.natural_ends(0, [name]))


END = next(names_that_end())
LEFT, RIGHT = [entry(b"a"), entry(END)], [entry(b"x"), entry(b"y")]


def hostile() -> dict[str, tuple[Store, ObjectId]]:
    trees: dict[str, tuple[Store, ObjectId]] = {}

    def add(name: str, left: Child, right: Child, store: Store, level: int = 1) -> None:
        trees[name] = store, put(store, level, [left, right]).oid

    store = Store()
    left, right = put(store, 0, LEFT), put(store, 0, RIGHT)
    add("sound", left, right, store)
    add("last path", left, right._replace(path=b"z"), store)
    add("last path, too early", left, right._replace(path=b"xx"), store)
    add("count", left, right._replace(count=1), store)
    add("bytes", left._replace(size=1), right, store)
    add("level", left, right, store, level=2)
    add("child of a higher level", left, put(store, 1, [right, put(store, 0, [entry(b"z")])]), store)
    add("overlap", left, put(store, 0, [entry(b"a"), entry(b"y")]), store)
    add("clash across pages", left, put(store, 0, [entry(END + b"/x"), entry(b"y")]), store)
    add("twice the same", left, left._replace(path=b"z"), store)
    trees["single child"] = store, put(store, 1, [left]).oid
    empty = store.build({})
    add("empty page", left, Child(b"z", empty.root, 1, 0), store)
    above = put(store, 1, [left, right])
    add("twice the same upper page", above, above._replace(path=b"z"), store, level=2)
    # Pages that the rule would not have cut here.
    trees["cut too early"] = (
        store,
        put(store, 1, [put(store, 0, [entry(b"a")]), put(store, 0, [entry(b"b")])]).oid,
    )
    both = sorted([END, next(name for name in names_that_end() if name != END)])
    upper = [put(store, 1, [put(store, 0, [entry(name)])]) for name in both]
    trees["upper level cut too early"] = store, put(store, 2, upper).oid
    return trees


HOSTILE = hostile()


def test_a_page_of_a_good_tree_is_no_excuse_in_a_bad_one() -> None:
    """`diff` does not read what both trees have; it notices nevertheless where the bad tree lies about it."""
    store = Store()
    left, right = put(store, 0, LEFT), put(store, 0, RIGHT)
    good = put(store, 1, [left, right]).oid
    longer = put(store, 0, [*LEFT[:1], entry(b"x")])
    for rows in ([left, right._replace(count=9)], [left, right._replace(path=b"z")], [longer, right]):
        bad = put(store, 1, rows).oid
        for trees in ((good, bad), (bad, good)):
            with pytest.raises(CorruptError):
                list(manifest.diff(*trees, A, store.read))
        with pytest.raises(CorruptError):
            list(manifest.closure(bad, A, store.read, base=good))


@pytest.mark.parametrize("name", HOSTILE.keys())
def test_a_tree_that_is_not_canonical_is_refused(name: str) -> None:
    store, root = HOSTILE[name]
    full = (
        lambda: manifest.load(root, A, store.read),
        lambda: list(manifest.closure(root, A, store.read)),
    )
    partial = (
        lambda: list(manifest.under(root, b"", A, store.read)),
        lambda: manifest.edit(root, {b"a": None, b"y": None}, A, store.read, store.write),
        lambda: list(manifest.diff(None, root, A, store.read)),
    )
    if name == "sound":
        assert manifest.load(root, A, store.read) == LEFT + RIGHT
        assert manifest.build(LEFT + RIGHT, A, store.write).root == root
        return
    for call in full if "cut too early" in name else full + partial:
        with pytest.raises(CorruptError):
            call()


def test_a_cap_split_elsewhere_is_refused() -> None:
    store, _, files = without_ends()
    entries = in_order(files)[:5000]
    good = manifest.build(entries, A, store.write)
    [at] = page.cut(0, [e.path for e in entries])[:-1]
    bad = put(store, 1, [put(store, 0, entries[:1000]), put(store, 0, entries[1000:])])
    assert put(store, 1, [put(store, 0, entries[:at]), put(store, 0, entries[at:])]).oid == good.root
    with pytest.raises(CorruptError, match="does not end where it has to"):
        manifest.load(bad.oid, A, store.read)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_of_a_page_goes_unnoticed(data: st.DataObject) -> None:
    """Bytes that are not the tree's are refused, or are themselves a tree; nothing else is raised."""
    with dense():
        store = Store()
        root = store.build(files_of(b"%d/%d" % (i % 5, i) for i in range(40))).root
        oid = data.draw(st.sampled_from(sorted(store)))
        mutated = bytearray(store[oid])
        for _ in range(data.draw(st.integers(1, 3))):
            mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
        store[oid] = bytes(mutated)
        try:
            entries = manifest.load(root, A, store.read)
            assert len(entries) == 40
            edited = manifest.edit(root, {b"0/0": None}, A, store.read, store.write)
            list(manifest.diff(root, edited.root, A, store.read))
        except (CorruptError, MissingObject):
            return


def test_a_claim_of_many_entries_costs_nothing() -> None:
    head = struct.pack("<4sBBBBII", b"VMLN", 1, 0, A.code, 0, 2**32 - 1, 2**32 - 1)
    with pytest.raises(CorruptError):
        manifest.load(objects.node(bytes(32)), A, lambda oid: head)
