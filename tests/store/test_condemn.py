"""gc of a remote: what nobody needs goes, in two steps; what anybody needs stays, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import (
    Clone,
    assert_whole,
    at_once,
    blob,
    files_below,
    flip,
    litter,
    packed,
    put_tree,
    read_tree,
    recorded,
    rewrite,
    start,
    status_of,
)

from vcs_ml.errors import CorruptError, RemoteError
from vcs_ml.hashing import XXH128
from vcs_ml.progress import SILENT
from vcs_ml.store import condemn, pack, pushes, upload
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.records import DAY, Doomed, Record, Root, encode_doomed, new_ulid
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Item

Files = dict[bytes, bytes]
OLD: Files = {b"old/%d" % i: b"old content %d " % i * (i + 3) for i in range(30)}
NEW: Files = {b"new/%d" % i: b"new content %d " % i * (i + 3) for i in range(30)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "remote"


def keys(place: Path, prefix: str) -> list[str]:
    return sorted(name for name in files_below(place) if name.startswith(prefix))


def age(place: Path, prefix: str, seconds: float) -> None:
    """Make what is there look older to the server."""
    for key in keys(place, prefix):
        stamp = (place / key).stat().st_mtime - seconds
        os.utime(place / key, (stamp, stamp))


# --- Two steps ---------------------------------------------------------------------------------------------


def test_a_healthy_remote_stays_as_it_is(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD))
    one.push(put_tree(one.store, OLD | NEW))
    one.gc()  # drops the announcements of confirmed pushes
    before = files_below(place)
    for _ in range(3):
        one.gc()
    assert files_below(place) == before


def test_what_nobody_needs_is_condemned_then_deleted(one: Clone, place: Path) -> None:
    old, new = put_tree(one.store, OLD), put_tree(one.store, NEW)
    one.push(old, project="past")
    one.push(new)
    todo = one.gc(forget="past")
    assert len(todo.condemn.packs) == 2  # files, list
    assert blob(OLD[b"old/1"]) in packed(place)  # a fetch may still read it
    assert one.gc(forget="past").delete.packs == todo.condemn.packs
    assert_whole(place, [new])
    assert set(packed(place)) == {new.oid, *(blob(data) for data in NEW.values())}
    assert keys(place, "pushing/") == []
    two = Clone(place.parent, "two")
    two.fetch(new)
    assert read_tree(two.store, new.oid) == NEW
    with pytest.raises(MissingObject):
        two.fetch(old)


def test_nothing_younger_than_the_grace_is_touched(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD), project="past")
    day = {"grace": DAY, "forget": "past"}
    assert one.gc(**day).condemn.packs == frozenset()
    age(place, "packs/", 2 * DAY)
    age(place, "index/", 2 * DAY)
    assert len(one.gc(**day).condemn.packs) == 2
    assert one.gc(**day).delete.packs == frozenset()  # condemned just now
    age(place, "gc/", 2 * DAY)
    assert len(one.gc(**day).delete.packs) == 2
    assert packed(place) == {}


def test_a_clock_that_is_ahead_of_the_storage_deletes_nothing(one: Clone, place: Path) -> None:
    """As a gateway may have it, whose answers say another time than what is written has."""

    class Ahead(Directory):
        def now(self) -> float:
            return super().now() + 200 * 86400

    one.push(put_tree(one.store, {b"a": b"1" * 1000}))
    before = files_below(place)
    hasty = Clone(place.parent, "hasty", backend=Ahead(place))
    for _ in range(2):
        with pytest.raises(RemoteError, match="by the dates of its answers"):
            hasty.gc(grace=condemn.GRACE, forget="p")
    assert files_below(place) == before


def test_a_plan_changes_nothing(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD), project="past")
    before = files_below(place)
    todo = condemn.plan(condemn.survey(one.remote, one.store, [], jobs=2, forgotten=["past"]), grace=0)
    assert todo.as_json()["condemn"]["packs"] == 2
    assert todo.as_json()["records"] == 1
    assert files_below(place) == before


def test_what_lives_in_a_mostly_dead_pack_is_copied_as_it_is_stored(one: Clone, place: Path) -> None:
    mixed = OLD | {b"keep/%d" % i: b"keep %d " % i * 20 for i in range(5)} | {b"keep/raw": os.urandom(50)}
    kept = {path: data for path, data in mixed.items() if path.startswith(b"keep/")}
    one.push(put_tree(one.store, mixed), project="past")
    root = put_tree(one.store, kept)
    assert one.push(root).objects == 1  # its list; the files are there
    todo = one.gc(forget="past")
    assert todo.copied.objects == len(kept)
    one.gc(forget="past")
    assert set(packed(place)) == {root.oid, *(blob(data) for data in kept.values())}
    assert_whole(place, [root])
    assert one.gc(forget="past").condemn.packs == frozenset()  # and that was all


def test_what_comes_alive_after_it_was_condemned_is_copied(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD), project="past")
    doomed = one.gc(forget="past").condemn.packs
    part = {path: OLD[path] for path in list(OLD)[:3]}
    root = put_tree(one.store, part)
    todo = one.gc(root, forget="past")  # some commit names it, nobody pushed it
    assert todo.delete.packs == doomed
    assert {blob(data) for data in part.values()} <= packed(place).keys()
    assert blob(OLD[b"old/9"]) not in packed(place)


def test_a_push_sends_again_what_is_condemned(one: Clone, place: Path) -> None:
    old = put_tree(one.store, OLD)
    one.push(old, project="past")
    one.gc(forget="past")
    assert one.push(old).objects == len(OLD) + 1
    one.gc()
    one.gc()
    assert_whole(place, [old])


@pytest.mark.parametrize("size", [9 << 20, 300_000])
def test_what_is_needed_of_a_pack_is_copied(
    one: Clone, place: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(size)
    large = Root("large", blob(data))
    one.store.put_loose(large.oid, data)
    rest = put_tree(one.store, OLD | {b"large": data, b"more": os.urandom(3 * size)})
    monkeypatch.setattr(pack, "TARGET", 100 << 20)
    one.push(rest, project="past")
    one.push(large)
    one.gc(forget="past")
    one.gc(forget="past")
    assert_whole(place, [large])
    # A pack of which half is alive stays.
    assert sum(map(len, packed(place).values())) < 2 * len(data) + 1000


def test_packs_that_a_killed_push_left_are_deleted(one: Clone, place: Path) -> None:
    root = put_tree(one.store, OLD)
    one.push(root)
    builder = pack.Builder(one.remote.backend, XXH128)
    builder.add(blob(b"x"), b"x")
    builder.finish()
    (place / "tmp" / ".vml-tmp-0123456789abcdef").write_bytes(b"half")
    age(place, "tmp/", 2 * DAY)
    one.gc()
    one.gc()
    assert blob(b"x") not in packed(place)
    assert not litter(place)
    assert_whole(place, [root])


def test_indexes_that_were_merged_are_deleted(one: Clone, place: Path) -> None:
    roots = [put_tree(one.store, {b"%d" % i: b"%d" % i}, f"d{i}") for i in range(20)]
    for root in roots:
        one.push(root)
    listed = len(keys(place, "index/"))
    one.gc()
    one.gc()
    assert len(keys(place, "index/")) < listed - 15
    two = Clone(place.parent, "two")
    two.fetch(*roots)
    assert_whole(place, roots)


def test_gc_files_go_after_ninety_days_and_empty_indexes_stay_small(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD), project="past")
    for _ in range(4):
        one.gc(forget="past")
    assert keys(place, "gc/")
    one.gc(later=91 * DAY)
    assert keys(place, "gc/") == keys(place, "packs/") == keys(place, "roots/") == []


# --- What is alive -----------------------------------------------------------------------------------------


def test_records_live_for_ninety_days_and_the_latest_for_ever(one: Clone, place: Path) -> None:
    first, second = put_tree(one.store, OLD, "first"), put_tree(one.store, NEW, "second")
    one.push(first)
    one.push(second)
    age(place, "roots/", 80 * DAY)
    one.gc()
    one.gc()
    assert_whole(place, [first, second])
    for _ in range(2):
        one.gc(later=20 * DAY)
    assert [root.path for root in recorded(place)] == ["second"]
    assert blob(OLD[b"old/1"]) not in packed(place)
    assert_whole(place, [second])


def test_the_roots_of_the_caller_are_kept(one: Clone, place: Path) -> None:
    old = put_tree(one.store, OLD)
    one.push(old, project="past")
    fresh = Clone(place.parent, "fresh")  # has no pages of its own: they are read over there
    for _ in range(3):
        assert fresh.gc(old, forget="past").incomplete == []
    assert_whole(place, [old])


def test_a_root_that_was_never_pushed_is_named(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD))
    never = put_tree(Clone(place.parent, "other").store, NEW, "never")
    todo = one.gc(never)
    assert todo.as_json()["incomplete"] == ["never"]


def test_projects_are_told(one: Clone) -> None:
    one.push(put_tree(one.store, OLD, "x"), project="a")
    one.push(put_tree(one.store, NEW, "y"), project="b")
    found = pushes.projects(pushes.read_pushes(one.remote, jobs=2))
    assert {project: each.paths for project, each in found.items()} == {"a": ["x"], "b": ["y"]}


def test_an_announced_push_keeps_what_is_there(one: Clone, place: Path) -> None:
    old = put_tree(one.store, OLD)
    one.push(old, project="past")
    one.remote.announce(Record("p", None, (old,)))  # and was killed
    for _ in range(3):
        one.gc(forget="past")
    assert_whole(place, [old])
    for _ in range(3):
        one.gc(later=91 * DAY)
    assert packed(place) == {}


# --- Damage ------------------------------------------------------------------------------------------------


def unchanged(clone: Clone, place: Path, words: str, **options: str) -> None:
    """A gc ends with an error that says what to do, and has deleted no data."""
    before = {key for key in files_below(place) if not key.startswith(("pushing/", "roots/", "gc/", "tmp/"))}
    for _ in range(2):
        with pytest.raises((CorruptError, RemoteError), match=words) as caught:
            clone.gc(**options)
        assert caught.value.hint
    assert before <= files_below(place).keys()


def test_a_page_that_is_lost_stops_it(one: Clone, place: Path) -> None:
    root = put_tree(one.store, OLD)
    one.push(root)
    packs = {blob_ in (place / key).read_bytes() for key in keys(place, "packs/") for blob_ in [b"VMLN"]}
    assert packs  # one of them holds the page
    for key in keys(place, "packs/"):
        if root.oid[:-1] in (place / key).read_bytes():
            (place / key).unlink()
    unchanged(Clone(place.parent, "fresh"), place, "data: node .* is not on remote 'origin'")
    one.gc()  # has the page itself


def test_a_damaged_page_stops_it(one: Clone, place: Path) -> None:
    root = put_tree(one.store, OLD)
    one.push(root)
    (key,) = (key for key in keys(place, "packs/") if root.oid[:-1] in (place / key).read_bytes())
    flip(place / key, 20)
    unchanged(Clone(place.parent, "fresh"), place, "origin")


def test_a_damaged_record_stops_it(one: Clone, place: Path) -> None:
    one.push(put_tree(one.store, OLD))
    (key,) = keys(place, "roots/")
    rewrite(place / key, b"{}")
    unchanged(one, place, "is damaged")


def test_a_damaged_gc_file_stops_gc_and_push(one: Clone, place: Path) -> None:
    root = put_tree(one.store, OLD)
    one.remote.backend.write_new(f"gc/condemned/{'0' * 26}.json", b"{")
    with pytest.raises(CorruptError, match="is damaged"):
        one.push(root)
    unchanged(one, place, "is damaged")


def test_a_damaged_object_that_is_alive_is_not_copied_and_stops_it(one: Clone, place: Path) -> None:
    raw = os.urandom(1000)
    one.push(put_tree(one.store, {b"raw": raw, b"rest": os.urandom(9000)}), project="past")
    one.push(put_tree(one.store, {b"raw": raw}))
    (key,) = (key for key in keys(place, "packs/") if raw in (place / key).read_bytes())
    flip(place / key, (place / key).read_bytes().index(raw) + 5)
    unchanged(one, place, "damaged object blob", forget="past")


def test_a_lost_index_does_not_cost_data(one: Clone, place: Path) -> None:
    root = put_tree(one.store, OLD)
    one.push(root)
    saved = {key: (place / key).read_bytes() for key in keys(place, "index/")}
    for key in saved:
        (place / key).unlink()
    for _ in range(3):
        assert one.gc().condemn.packs == frozenset()
    for key, content in saved.items():
        (place / key).write_bytes(content)
    assert_whole(place, [root])


# --- Others at the same time -------------------------------------------------------------------------------


class Meanwhile(Directory):
    """A directory where something happens just before a key with one of these beginnings is written."""

    def __init__(self, path: Path, prefix: str, event: Callable[[], object], times: int = 1) -> None:
        super().__init__(path)
        self.prefix, self.event, self.times = prefix, event, times

    def write_new(self, key: str, data: bytes | bytearray | memoryview) -> bool:
        if key.startswith(self.prefix) and self.times:
            self.times -= 1
            self.event()
        return super().write_new(key, data)


@pytest.mark.parametrize("runs", [1, 2, 3])
@pytest.mark.parametrize("moment", ["index/", "pushing/", "roots/"])
def test_a_gc_in_the_middle_of_a_push(one: Clone, tmp_path: Path, place: Path, moment: str, runs: int) -> None:
    """The push relies on what a forgotten project left; just then that is condemned, and deleted."""
    one.push(put_tree(one.store, OLD), project="past")
    other = Clone(tmp_path, "other")
    root = put_tree(one.store, OLD | NEW)
    event = Meanwhile(place, moment, lambda: [other.gc(forget="past") for _ in range(runs)])
    Clone(tmp_path, "one", backend=event).push(root)
    assert not event.times
    assert_whole(place, [root])
    for _ in range(3):
        other.gc(forget="past")
    assert_whole(place, [root])
    two = Clone(tmp_path, "two")
    two.fetch(root)
    assert read_tree(two.store, root.oid) == OLD | NEW


@pytest.mark.parametrize("moment", ["gc/condemned/", "gc/deleted/", "index/"])
def test_a_push_in_the_middle_of_a_gc(one: Clone, tmp_path: Path, place: Path, moment: str) -> None:
    one.push(put_tree(one.store, OLD), project="past")
    pusher = Clone(tmp_path, "one")
    root = put_tree(one.store, OLD | NEW)
    if moment != "gc/condemned/":
        one.gc(forget="past")
    event = Meanwhile(place, moment, lambda: pusher.push(root))
    Clone(tmp_path, "other", backend=event).gc(forget="past")
    assert not event.times
    for _ in range(3):
        assert_whole(place, [root])
        one.gc(forget="past")
    assert_whole(place, [root])


def test_a_push_that_believed_a_forgotten_record_is_seen_before_its_packs_go(
    one: Clone, tmp_path: Path, place: Path
) -> None:
    """The packs were condemned before that push began; the record went while it ran."""
    old = put_tree(one.store, OLD)
    one.push(old, project="past")
    one.gc(forget="past")
    past = Record("past", None, (old,))
    one.remote.confirm(one.remote.announce(past), past)  # a push that had its last look just before that
    record = Record("kept", None, (put_tree(one.store, OLD | NEW),))
    todo = upload.plan(one.store, one.remote, record.roots)
    assert len(todo.needs) == len(NEW) + 1

    def go_on() -> None:
        upload.push(one.store, one.remote, todo.needs, jobs=2, meter=SILENT)
        ulid = one.remote.announce(record)
        assert {item.key for item, _ in one.remote.read_gc()} <= todo.seen
        one.remote.confirm(ulid, record)

    event = Meanwhile(place, "gc/deleted/", go_on)
    for _ in range(3):
        Clone(tmp_path, "other", backend=event).gc(forget="past")
        assert not event.times
        assert_whole(place, record.roots)


def test_an_announced_push_of_a_forgotten_project_is_kept(one: Clone, place: Path) -> None:
    old = put_tree(one.store, OLD)
    one.push(old, project="past")
    one.remote.announce(Record("past", None, (old,)))
    for _ in range(3):
        one.gc(forget="past")
    assert_whole(place, [old])


def test_a_push_gets_through_whatever_a_gc_takes_away(one: Clone, tmp_path: Path, place: Path) -> None:
    other = Clone(tmp_path, "other")
    event = Meanwhile(place, "index/", other.gc, times=1000)
    root = put_tree(one.store, OLD)
    Clone(tmp_path, "one", backend=event).push(root)
    assert event.times < 999
    assert_whole(place, [root])


def test_a_push_from_which_everything_is_taken_ends(one: Clone, tmp_path: Path, place: Path) -> None:
    class Endless(Directory):
        def list(self, prefix: str) -> Iterator[Item]:
            if prefix == "gc/":
                names = {bytes.fromhex(Path(key).stem.replace("-", "")) for key in keys(place, "packs/")}
                content = encode_doomed(Doomed(frozenset(names), frozenset()))
                self.write_new(f"gc/condemned/{new_ulid()}.json", content)
            return super().list(prefix)

    with pytest.raises(RemoteError, match="as fast as it arrives"):
        Clone(tmp_path, "one", backend=Endless(place)).push(put_tree(one.store, OLD))
    assert keys(place, "roots/") == []


def test_a_fetch_goes_on_when_packs_move(one: Clone, tmp_path: Path, place: Path) -> None:
    one.push(put_tree(one.store, OLD | NEW), project="past")
    root = put_tree(one.store, {path: OLD[path] for path in list(OLD)[:12]})
    one.push(root)

    class Moving(Directory):
        left = 3

        def read_range(self, key: str, start: int, length: int) -> bytes:
            if self.left:
                self.left -= 1
                one.gc(forget="past")
            return super().read_range(key, start, length)

    two = Clone(tmp_path, "two", backend=Moving(place))
    two.fetch(root)
    assert len(read_tree(two.store, root.oid)) == 12


def test_runs_at_once_do_no_harm(one: Clone, tmp_path: Path, place: Path) -> None:
    keep = put_tree(one.store, {path: OLD[path] for path in list(OLD)[:12]})
    for _ in range(5):
        one.push(put_tree(one.store, OLD | NEW), project="past")
        one.push(keep)

        def run(name: str) -> None:
            mine = Clone(tmp_path, name)
            for _ in range(4):
                mine.gc(forget="past")

        at_once(*(lambda name=name: run(name) for name in ("a", "b", "c")))
        assert_whole(place, [keep])


# --- Kills -------------------------------------------------------------------------------------------------


class Dying(Directory):
    """A directory whose process is killed at the n-th thing it would change."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path)
        self.left = left

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_new(self, key: str, data: bytes | bytearray | memoryview) -> bool:
        self._step()
        return super().write_new(key, data)

    def create(self):  # type: ignore[no-untyped-def]
        self._step()
        return super().create()

    def delete(self, key: str) -> None:
        self._step()
        super().delete(key)


@pytest.mark.parametrize("left", range(16))
def test_a_gc_that_is_killed_at_any_step_is_completed_by_the_next(tmp_path: Path, left: int) -> None:
    one, place = Clone(tmp_path, "one"), tmp_path / "remote"
    keep = put_tree(one.store, {path: OLD[path] for path in list(OLD)[:12]})
    one.push(put_tree(one.store, OLD | NEW), project="past")
    one.push(keep)

    def run() -> None:
        mine = Clone(tmp_path, "gc", backend=Dying(place, left))
        for _ in range(3):
            mine.gc(forget="past")

    assert status_of(start(run)) in (-signal.SIGKILL, 0)
    assert_whole(place, [keep])
    for _ in range(3):
        one.gc(forget="past")
    assert_whole(place, [keep])
    assert set(packed(place)) == {keep.oid, *(blob(OLD[path]) for path in list(OLD)[:12])}


def killed_after(work: Callable[[], object], seconds: float) -> None:
    pid = start(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_kills_at_random_times(tmp_path: Path, soak: int) -> None:
    """Push, fetch and gc: whatever was killed, it completes when it is run again, and no record ever lies."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    place, one, two = tmp_path / "remote", Clone(tmp_path, "one"), Clone(tmp_path, "two")
    for i in range(4 * soak):
        files = {path: data for path, data in (OLD | NEW).items() if rng.random() < 0.4} | {b"turn": b"%d" % i}
        root = put_tree(one.store, files)
        project = rng.choice(["p", "past"])
        killed_after(partial(Clone(tmp_path, "one").push, root, project=project), rng.uniform(0, 0.03))
        assert_whole(place, recorded(place, without="past"))
        if rng.random() < 0.7:
            one.push(root, project=project)
            killed_after(partial(Clone(tmp_path, "two").fetch, root), rng.uniform(0, 0.03))
            two.fetch(root)
            assert read_tree(two.store, root.oid) == files
        killed_after(partial(Clone(tmp_path, "gc").gc, forget="past"), rng.uniform(0, 0.03))
        assert_whole(place, recorded(place, without="past"))
    for _ in range(3):
        one.gc(forget="past")
    assert_whole(place, recorded(place))
    assert not {key for key in files_below(place) if key.startswith("pushing/")} or recorded(place)


# --- A model -----------------------------------------------------------------------------------------------

CONTENTS = [b"content %d " % i * 9 for i in range(8)]
STEPS = st.one_of(
    st.tuples(st.just("push"), st.sampled_from("ab"), st.sampled_from("pq"), st.sets(st.integers(0, 7), min_size=1)),
    st.tuples(st.just("gc"), st.sampled_from(["", "p", "q"]), st.integers(0, 3), st.sampled_from([0.0, 85 * DAY])),
    st.tuples(st.just("killed"), st.integers(0, 6), st.sampled_from("pq"), st.sets(st.integers(0, 7), min_size=1)),
)


@settings(max_examples=25)
@given(st.lists(STEPS, max_size=12))
def test_every_recorded_root_is_whole_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    base = tmp_path_factory.mktemp("model")
    clones = {name: Clone(base, name) for name in "ab"}
    for step in steps:
        match step:
            case ("push", str(name), str(project), set(chosen)):
                root = put_tree(clones[name].store, {b"%d" % i: CONTENTS[i] for i in chosen})
                clones[name].push(root, project=project)
                assert_whole(base / "remote", [root])
            case ("gc", str(forget), int(runs), float(later)):
                for _ in range(runs):
                    clones["a"].gc(forget=forget, later=later)
            case ("killed", int(left), str(project), set(chosen)):
                root = put_tree(clones["a"].store, {b"%d" % i: CONTENTS[i] for i in chosen})
                dying = Clone(base, "a", backend=Dying(base / "remote", left))
                status_of(start(partial(dying.push, root, project=project)))
        assert_whole(base / "remote", recorded(base / "remote"))
