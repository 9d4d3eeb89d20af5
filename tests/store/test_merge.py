"""Three-way merges of trees against a plain dict of files, on trees of many levels."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.test_manifest import NAMES, PATHS, TREES, A, Files, Store, clashes, dense, entry, in_order
from vcs_ml.errors import CorruptError
from vcs_ml.store import manifest, merge
from vcs_ml.store.merge import Merged
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import EXECUTABLE, FILE, SYMLINK, Entry

EDITS = st.dictionaries(PATHS, st.one_of(st.none(), st.integers(0, 5)), max_size=12)


def edited(files: Files, changes: dict[bytes, int | None]) -> Files:
    """The files with these changes, each making room for itself."""
    files = dict(files)
    for path, content in changes.items():
        files.pop(path, None)
        if content is not None:
            for other in [other for other in files if clashes({other: files[other]}, path)]:
                del files[other]
            files[path] = entry(path, content)
    return files


def merged(store: Store, base: Files | None, ours: Files, theirs: Files, unsure: Collection[bytes] = ()) -> Merged:
    roots = [store.build(files).root if files is not None else None for files in (base, ours, theirs)]
    assert roots[1] is not None
    assert roots[2] is not None
    store.forget()
    return merge.merge(roots[0], roots[1], roots[2], algorithm=A, read=store.read, write=store.write, unsure=unsure)


def load(store: Store, root: merge.ObjectId) -> Files:
    return {each.path: each for each in manifest.load(root, A, store.read)}


def below(path: bytes, place: bytes) -> bool:
    return path == place or path.startswith(place + b"/")


def choose(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> tuple[Entry | None, bool]:
    """What becomes of one file, and whether that is a conflict, case by case."""
    if theirs in (ours, base):
        return ours, False
    if ours == base:
        return theirs, False
    if base and ours and theirs and SYMLINK not in {base.kind, ours.kind, theirs.kind}:
        contents = {each.digest for each in (base, ours, theirs)}
        if len(contents) < 3:
            content = theirs if ours.digest == base.digest else ours
            kind = theirs.kind if ours.kind == base.kind else ours.kind
            return content._replace(kind=kind), False
    return ours, True


def model(base: Files, ours: Files, theirs: Files) -> tuple[Files, set[bytes]]:
    """The files that a merge leaves, and where it could not."""
    kept: Files = {}
    conflicts = set()
    for path in base.keys() | ours.keys() | theirs.keys():
        was = base.get(path)
        file, conflict = choose(was, ours.get(path), theirs.get(path))
        if file is not None:
            kept[path] = file
        if conflict:
            conflicts.add(path)
    # A file of one side where the other has a directory, both new: all of it stays as we have it.
    new = [{path for path, each in side.items() if base.get(path) != each} for side in (ours, theirs)]
    meeting = {
        min(one, other, key=len)
        for one in new[0]
        for other in new[1]
        if one != other and (below(one, other) or below(other, one))
    }
    for place in meeting:
        kept = {path: each for path, each in kept.items() if not below(path, place)}
        kept |= {path: each for path, each in ours.items() if below(path, place)}
    return kept, {path for path in conflicts if not any(below(path, place) for place in meeting)} | meeting


@settings(max_examples=400)
@given(TREES, EDITS, EDITS)
def test_a_merge_is_what_the_model_says(
    base: Files, here: dict[bytes, int | None], there: dict[bytes, int | None]
) -> None:
    with dense():
        store = Store()
        ours, theirs = edited(base, here), edited(base, there)
        found = merged(store, base, ours, theirs)
        files, conflicts = model(base, ours, theirs)
        assert load(store, found.summary.root) == files
        assert found.summary == store.build(files)
        assert set(found.conflicts) == conflicts
        for path, word in found.conflicts.items():
            if word.startswith("deleted by"):
                assert path not in (ours if word == "deleted by us" else theirs)


@settings(max_examples=150)
@given(TREES, EDITS, EDITS)
def test_the_other_way_round_it_has_the_same_conflicts(
    base: Files, here: dict[bytes, int | None], there: dict[bytes, int | None]
) -> None:
    with dense():
        store = Store()
        one, other = edited(base, here), edited(base, there)
        found, turned = merged(store, base, one, other), merged(store, base, other, one)
        assert found.conflicts.keys() == turned.conflicts.keys()
        clean = {path for path in base.keys() | one.keys() | other.keys() if not merge.covers(found.conflicts, path)}
        files, around = load(store, found.summary.root), load(store, turned.summary.root)
        assert {path: files.get(path) for path in clean} == {path: around.get(path) for path in clean}


@settings(max_examples=150)
@given(TREES, TREES)
def test_without_a_base_everything_was_added(ours: Files, theirs: Files) -> None:
    with dense():
        store = Store()
        found = merged(store, None, ours, theirs)
        assert (load(store, found.summary.root), set(found.conflicts)) == model({}, ours, theirs)
        assert set(found.conflicts.values()) <= {"both added"}


@settings(max_examples=300)
@given(TREES, EDITS, EDITS, st.sets(PATHS, max_size=3))
def test_each_conflict_settled_either_way(
    base: Files, here: dict[bytes, int | None], there: dict[bytes, int | None], unsure: set[bytes]
) -> None:
    """Also where the base is itself a merge with conflicts: what differs there is never decided for one side."""
    with dense():
        store = Store()
        ours, theirs = edited(base, here), edited(base, there)
        found = merged(store, base, ours, theirs, unsure)
        files = load(store, found.summary.root)
        differing = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
        for path in differing:
            if merge.covers(unsure, path):
                assert merge.covers(found.conflicts, path)
        for place in found.conflicts:
            assert {p: f for p, f in files.items() if below(p, place)} == {
                p: f for p, f in ours.items() if below(p, place)
            }
        theirs_root = store.build(theirs).root
        done = merge.take(
            found.summary.root, theirs_root, set(found.conflicts), algorithm=A, read=store.read, write=store.write
        )
        settled = load(store, done.root)
        for path in files.keys() | theirs.keys():
            side = theirs if merge.covers(found.conflicts, path) else files
            assert settled.get(path) == side.get(path)
        everything = merge.take(found.summary.root, theirs_root, {b""}, algorithm=A, read=store.read, write=store.write)
        assert everything.root == theirs_root


@given(TREES, TREES, st.sets(PATHS, max_size=4))
def test_taking_any_path_leaves_a_tree(root: Files, theirs: Files, at: set[bytes]) -> None:
    with dense():
        store = Store()
        roots = [store.build(files).root for files in (root, theirs)]
        done = load(store, merge.take(*roots, at, algorithm=A, read=store.read, write=store.write).root)
        taken = {path: each for path, each in theirs.items() if merge.covers(at, path)}
        assert {path: each for path, each in done.items() if merge.covers(at, path)} == taken
        others = {path for path in root if not merge.covers(at, path)}
        assert {path for path in others if path not in done} == {p for p in others if any(below(t, p) for t in taken)}


def test_words_and_bits() -> None:
    store = Store()
    names = [b"both", b"gone here", b"gone there", b"bit", b"same"]
    base = {name: Entry(name, FILE, 1, bytes(16)) for name in names}
    one, other = (
        {name: Entry(name, FILE, 2, bytes([side]) * 16) for name in names if name != gone}
        | {b"new": entry(b"new", side)}
        for side, gone in ((1, b"gone here"), (2, b"gone there"))
    )
    one[b"bit"] = base[b"bit"]._replace(kind=EXECUTABLE)
    one[b"same"] = other[b"same"]
    found = merged(store, base, one, other)
    assert merge.words(found.conflicts) == {
        "both": "both modified",
        "gone here": "deleted by us",
        "gone there": "deleted by them",
        "new": "both added",
    }
    assert load(store, found.summary.root)[b"bit"] == other[b"bit"]._replace(kind=EXECUTABLE)


def test_pages_that_nobody_changed_are_not_read() -> None:
    store = Store()
    base = {name: entry(name, 1) for name in (b"%d/%d.png" % (i // 100, i) for i in range(40_000))}
    one = base | {b"3/310.png": entry(b"3/310.png", 2)}
    other = base | {b"390/39001.png": entry(b"390/39001.png", 2), b"3/310.png": entry(b"3/310.png", 3)}
    found = merged(store, base, one, other)
    assert merge.words(found.conflicts) == {"3/310.png": "both modified"}
    assert len(set(store.reads)) < 12 < len(store.nodes(found.summary.root))
    assert len(store.writes) <= 2
    assert load(store, found.summary.root) == one | {b"390/39001.png": other[b"390/39001.png"]}


@settings(max_examples=60)
@given(TREES, EDITS, EDITS, st.data())
def test_what_is_not_here_or_damaged_is_an_error(
    base: Files, here: dict[bytes, int | None], there: dict[bytes, int | None], data: st.DataObject
) -> None:
    with dense():
        store = Store()
        roots = [store.build(files).root for files in (base, edited(base, here), edited(base, there))]
        known = sorted(store)
        bad = data.draw(st.sampled_from(known))
        damaged = data.draw(st.booleans())

        def read(oid: merge.ObjectId) -> bytes:
            if oid != bad:
                return store.read(oid)
            if damaged:
                raise CorruptError("damaged")
            raise MissingObject(oid, "not here")

        try:
            found = merge.merge(*roots, algorithm=A, read=read, write=store.write)
        except (CorruptError, MissingObject):
            return
        files, conflicts = model(base, edited(base, here), edited(base, there))
        assert (load(store, found.summary.root), set(found.conflicts)) == (files, conflicts)


@settings(max_examples=25)
@given(
    st.dictionaries(st.sampled_from(NAMES[:4]), st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from(NAMES[:4]), st.one_of(st.none(), st.integers(0, 3)), max_size=3),
    st.dictionaries(st.sampled_from(NAMES[:4]), st.one_of(st.none(), st.integers(0, 3)), max_size=3),
)
def test_git_has_the_same_conflicts(
    tmp_path_factory: pytest.TempPathFactory,
    base: dict[bytes, int],
    here: dict[bytes, int | None],
    there: dict[bytes, int | None],
) -> None:
    """Whole files that no textual merge can put together: there, Git and we agree on every path."""
    place = tmp_path_factory.mktemp("git")

    def git(*args: str, ok: tuple[int, ...] = (0,), stdin: bytes = b"") -> bytes:
        done = subprocess.run(["git", *args], cwd=place, input=stdin, capture_output=True, check=False)
        assert done.returncode in ok, done
        return done.stdout

    def tree(files: Files) -> str:
        lines = b""
        for each in in_order(files):
            blob = git("hash-object", "-w", "--stdin", stdin=b"\0%d" % each.size).strip()
            lines += b"100644 blob " + blob + b"\t" + each.path + b"\0"
        return git("mktree", "-z", stdin=lines).decode().strip()

    def plain(files: Files) -> Files:
        return {path: each._replace(kind=FILE) for path, each in files.items()}

    git("init", "-q")
    whole = {path: entry(path, content) for path, content in base.items()}
    sides = [plain(files) for files in (whole, edited(whole, here), edited(whole, there))]
    git("read-tree", "-i", "-m", "--aggressive", *map(tree, sides), ok=(0, 128))
    unmerged = {line.partition(b"\t")[2] for line in git("ls-files", "-u", "-z").split(b"\0") if line}
    store = Store()
    assert set(merged(store, *sides).conflicts) == unmerged


def test_where_only_one_side_changed_it_is_that_side() -> None:
    store = Store()
    base = {b"a": entry(b"a", 1)}
    theirs = {b"a": entry(b"a", 2), b"b/c": entry(b"b/c", 3)}
    assert merged(store, base, base, theirs).summary == store.build(theirs)
    assert merged(store, base, theirs, base).summary == store.build(theirs)
