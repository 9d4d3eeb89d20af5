"""`vml fsck --remote`: damage over there is found, and mended by a clone that has the data."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import oscalls
from tests.commands.test_fsck import FOOTER, fill, fsck, kinds, lose_workspace, spoil
from tests.conftest import Repo
from tests.store.stores import flip, rewrite
from vcs_ml.hashing import XXH128
from vcs_ml.store import catalog, pack
from vcs_ml.store.catalog import Index
from vcs_ml.store.pack import Pack


@pytest.fixture
def content(repo: Repo, remote: Path) -> dict[str, bytes]:
    """What is tracked, and pushed."""
    files = fill(repo)
    repo.run("push")
    return files


def largest(remote: Path) -> Path:
    return max(remote.glob("packs/*/*.pack"), key=lambda path: path.stat().st_size)


def smallest(remote: Path) -> Path:
    return min(remote.glob("packs/*/*.pack"), key=lambda path: path.stat().st_size)


def index_of(remote: Path) -> Path:
    return next(remote.glob("index/*.idx"))


def record_of(remote: Path) -> Path:
    return next(remote.glob("roots/*.json"))


def truncate(path: Path) -> None:
    rewrite(path, path.read_bytes()[: path.stat().st_size // 2])


def forge_row(remote: Path) -> None:
    """An index with a good name in which objects lie elsewhere than in the pack's own table."""
    path = index_of(remote)
    index = Index(path, pack.parse_name(path.stem) or b"", XXH128)
    packs = [
        Pack(each.name, [row._replace(offset=row.offset + 1) for row in each.rows])
        for each in catalog.merged_packs([index])
    ]
    path.unlink()
    catalog.publish(path.parent, *catalog.encode(packs, XXH128))


# what -> (kind of the problem, found only with --deep, how)
DAMAGE: dict[str, tuple[str, bool, Callable[[Path], object]]] = {
    "a byte of an object": ("object", True, lambda remote: flip(largest(remote), 100)),
    "a byte of a list of files": ("object", True, lambda remote: flip(smallest(remote), 100)),
    "a table": ("pack", False, lambda remote: flip(largest(remote), -FOOTER - 10)),
    "a footer": ("pack", False, lambda remote: flip(largest(remote), -1)),
    "half a pack": ("pack", False, lambda remote: truncate(largest(remote))),
    "an empty pack": ("pack", False, lambda remote: rewrite(largest(remote), b"")),
    "a pack gone": ("pack", False, lambda remote: largest(remote).unlink()),
    "lists of files gone": ("pack", False, lambda remote: smallest(remote).unlink()),
    "an index": ("index", False, lambda remote: flip(index_of(remote), -10)),
    "an index gone": ("index", False, lambda remote: index_of(remote).unlink()),
    "an empty index": ("index", False, lambda remote: rewrite(index_of(remote), b"")),
    "a forged row": ("index", False, forge_row),
    "a record": ("record", False, lambda remote: rewrite(record_of(remote), b'{"roots": [{}]}')),
    "vml.json": ("format", False, lambda remote: rewrite(remote / "vml.json", b"{")),
    "vml.json gone": ("format", False, lambda remote: (remote / "vml.json").unlink()),
}


def has_all(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    """A fresh clone gets everything, and nothing over there is damaged."""
    assert fsck(repo, "--remote", "--deep", code=0)["problems"] == []
    clone = repo.clone("fresh")
    clone.run("pull")
    assert clone.files("data") == content
    shutil.rmtree(clone.path)


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_mended(repo: Repo, remote: Path, content: dict[str, bytes], what: str) -> None:
    kind, only_deep, damage = DAMAGE[what]
    damage(remote)
    assert (kind in kinds(fsck(repo, "--remote"))) == (not only_deep)
    found = fsck(repo, "--remote", "origin", *(["--deep"] * only_deep), "--repair", code=0)
    assert kind in kinds(found)
    assert found["remote"] == "origin"
    repo.run("push")  # of a record that could not be read, nothing is known
    has_all(repo, remote, content)


@pytest.mark.parametrize("left", [0, 40, 1000])
def test_a_pack_that_is_cut_short_is_called_that(
    repo: Repo, remote: Path, content: dict[str, bytes], left: int
) -> None:
    pack = largest(remote)
    rewrite(pack, pack.read_bytes()[:left])
    shown = repo.run("fsck", "--remote", ok=False).out
    assert f"pack: {pack.relative_to(remote)}: it is cut short" in shown
    assert "the pack" not in shown


def test_a_good_remote_is_clean(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    found = fsck(repo, "--remote", code=0)
    assert found["problems"] == found["info"] == []
    assert found["checked"]["packs"] == 2
    assert found["checked"]["roots"] == 2
    deep = fsck(repo, "--remote", "--deep", code=0)
    assert deep["checked"]["bytes"] > found["checked"]["bytes"]
    before = {path: path.stat().st_ino for path in remote.rglob("*")}
    fsck(repo, "--remote", "--deep", "--repair", code=0)
    assert before == {path: path.stat().st_ino for path in remote.rglob("*")}
    assert "no damage found" in repo.run("fsck", "--remote").out


def test_what_nobody_has_is_taken_from_the_damaged_pack(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    """A clone without data mends what it can; what is lost is named, and no record promises it any more."""
    clone = repo.clone("clone")
    pack = largest(remote)
    big = pack.read_bytes().index(content["big"][:20])
    flip(pack, big)
    found = fsck(clone, "--remote", "--deep", "--repair", code=1)
    assert [(each["kind"], each["needed_by"]) for each in found["problems"]] == [("object", "data/big")]
    assert pack.exists()
    (left,) = fsck(clone, "--remote", "--deep", code=1)["problems"]
    assert (left["kind"], left["path"]) == ("missing", "data/big")  # HEAD names it; `one` is still promised
    clone.run("pull", "one", *(f"data/{name}" for name in content if name != "big"))
    clone.fails("pull", "data/big", code=3)
    repo.run("push")
    has_all(repo, remote, content)


def test_a_damaged_pack_without_index_is_not_listed_again(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    """Also where its table is good, and only its bytes would tell."""
    flip(largest(remote), 100)
    index_of(remote).unlink()
    fsck(repo, "--remote", "--repair", code=0)
    has_all(repo, remote, content)


def test_a_record_that_promises_what_was_never_there(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    record = json.loads(record_of(remote).read_bytes())
    record["roots"].append({"hash": f"xxh128:{'0' * 32}", "path": "ghost"})
    record["roots"].append({"hash": f"tree:sha256:{'0' * 64}", "path": "tree"})
    rewrite(record_of(remote), json.dumps(record).encode())
    found = fsck(repo, "--remote", code=1)
    assert {(each["kind"], each["path"]) for each in found["problems"]} == {("missing", "ghost"), ("missing", "tree")}
    result = repo.run("fsck", "--remote", "--repair", ok=False)
    assert result.code == 1
    assert "promised what is not there" in result.err
    has_all(repo, remote, content)
    assert fsck(repo, "--remote", code=0)["checked"]["roots"] == 2


def test_a_forged_record_is_a_problem_not_a_crash(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    for i, raw in enumerate(
        (b"[" * 100_000, b"{}", b'{"roots": 3}', b'{"roots": [{"path": 1, "hash": "../x"}]}', b"\xff")
    ):
        (remote / f"roots/0{i}ARZ3NDEKTSV4RRFFQ69G5FAV.json").write_bytes(raw)
    newer = remote / "roots/0ZARZ3NDEKTSV4RRFFQ69G5FAV.json"
    newer.write_text('{"schema": 2, "project": "p", "commit": null}')
    found = fsck(repo, "--remote", code=1)
    assert [each["kind"] for each in found["problems"]] == ["record"] * 5
    fsck(repo, "--remote", "--repair", code=0)
    assert fsck(repo, "--remote", code=0)["problems"] == []
    assert len(list((repo.path / ".vml/cache/quarantine").rglob("*.json"))) == 5
    assert newer.exists()


def test_packs_that_no_index_names_are_left_alone(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    extra = remote / "packs/00" / f"{'0' * 32}-{'1' * 16}.pack"
    extra.parent.mkdir(exist_ok=True)
    extra.write_bytes(b"on its way")
    (remote / "packs/readme").write_bytes(b"hello")
    found = fsck(repo, "--remote", "--deep", code=0)
    assert {each["kind"] for each in found["info"]} == {"unlisted", "name"}


def test_a_pack_that_gc_deleted_is_no_damage(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    """Its name still stands in an index; what was alive in it was sent again."""
    before = {*remote.glob("packs/*/*")}
    flip(smallest(remote), 100)
    fsck(repo, "--remote", "--deep", "--repair", code=0)
    (new,) = {*remote.glob("packs/*/*")} - before
    new.unlink()
    (remote / "gc/deleted").mkdir(parents=True)
    (remote / "gc/deleted/01ARZ3NDEKTSV4RRFFQ69G5FAV.json").write_text(json.dumps({"packs": [new.stem]}))
    assert kinds(fsck(repo, "--remote", "--deep", code=1)) == {"missing"}


def test_a_pack_without_index_that_gc_condemned_is_not_used(
    repo: Repo, remote: Path, content: dict[str, bytes]
) -> None:
    pack = largest(remote)
    (remote / "gc/condemned").mkdir(parents=True)
    (remote / "gc/condemned/01ARZ3NDEKTSV4RRFFQ69G5FAV.json").write_text(json.dumps({"packs": [pack.stem]}))
    index_of(remote).unlink()
    fsck(repo, "--remote", "--repair", code=0)
    pack.unlink()
    has_all(repo, remote, content)


def test_a_remote_that_is_gone(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    shutil.move(remote, remote.with_name("away"))
    repo.fails("fsck", "--remote", code=4)
    remote.mkdir()
    repo.fails("fsck", "--remote", "--repair", code=4)
    assert list(remote.iterdir()) == []
    repo.fails("fsck", "--remote", "nobody", code=3)


def test_errors_of_transfers_name_fsck(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    clone = repo.clone("clone")
    flip(largest(remote), 100)
    assert "vml fsck --remote origin --repair --deep" in clone.fails("pull", code=3).err
    repo.run("fsck", "--remote", "origin", "--repair", "--deep")  # does what the hint says
    clone.run("pull")
    flip(index_of(remote), -10)
    clone = repo.clone("another")
    assert "vml fsck --remote origin --repair" in clone.fails("pull", code=3).err


def test_a_damaged_store_does_not_reach_the_remote(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    """Neither side has a good copy of one file: it is not sent, and everything else is mended."""
    lose_workspace(repo)
    local = max((repo.path / ".vml/cache/loose").rglob("*"), key=lambda path: path.stat().st_size)
    flip(local, 7)
    truncate(largest(remote))
    found = fsck(repo, "--remote", "--repair", code=1)
    assert {each["needed_by"] for each in found["problems"] if not each["repaired"]} == {"data/big"}
    assert {each["path"] for each in fsck(repo, "--remote", "--deep", code=1)["problems"]} == {"data/big"}


def test_random_damage_over_there(repo: Repo, remote: Path, content: dict[str, bytes], soak: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    copy = remote.with_name("copy")
    shutil.copytree(remote, copy)
    for _ in range(soak):
        shutil.rmtree(remote)
        shutil.copytree(copy, remote)
        parts = sorted([*remote.glob("packs/*/*"), *remote.glob("index/*")])
        chosen = generator.sample(parts, generator.randint(1, 2))
        for path in chosen:
            spoil(path, generator)
        found = fsck(repo, "--remote", "--deep", code=1)
        named = {each["path"] for each in found["problems"]}
        assert named >= {path.relative_to(remote).as_posix() for path in chosen if "index" in str(path)}
        fsck(repo, "--remote", "--deep", "--repair", code=0)
        assert fsck(repo, "--remote", "--deep", code=0)["problems"] == []
    has_all(repo, remote, content)


def test_a_killed_repair_is_completed(repo: Repo, remote: Path, content: dict[str, bytes], soak: int) -> None:
    copy = remote.with_name("copy")
    shutil.copytree(remote, copy)
    generator = random.Random(5)

    def harm() -> None:
        shutil.rmtree(remote)
        shutil.copytree(copy, remote)
        flip(largest(remote), 100)
        flip(index_of(remote), -10)

    def command() -> None:
        repo.run("fsck", "--remote", "--deep", "--repair", ok=False)

    log = repo.path.parent / "log"
    harm()
    length = oscalls.duration(command, log)
    for _ in range(soak):
        harm()
        oscalls.killed_after(generator.uniform(0, length), command, log)
        fsck(repo, "--remote", "--deep", "--repair", code=0)
        assert fsck(repo, "--remote", "--deep", code=0)["problems"] == []
    has_all(repo, remote, content)


def lose_indexes(remote: Path) -> None:
    for path in remote.glob("index/*"):
        path.unlink()


@pytest.mark.parametrize("deep", [False, True])
def test_without_any_index_every_pack_is_listed_again(
    repo: Repo, remote: Path, content: dict[str, bytes], deep: bool
) -> None:
    """By a clone that has nothing, so that the lists of files, too, are only in packs that nobody names."""
    repo.write("large", random.Random(5).randbytes(9 << 20))
    repo.run("add", "large")
    repo.commit("large")
    repo.run("push")
    lose_indexes(remote)
    records = sorted(remote.glob("roots/*"))
    clone = repo.clone("clone")
    found = fsck(clone, "--remote", *(["--deep"] * deep), "--repair", code=0)
    assert kinds(found) == {"index"}
    assert {each["path"] for each in found["problems"]} == {
        path.relative_to(remote).as_posix() for path in remote.glob("packs/*/*")
    }
    assert found["info"] == []
    assert sorted(remote.glob("roots/*")) == records
    has_all(repo, remote, content)


@pytest.mark.parametrize("deep", [False, True])
def test_without_any_index_what_is_good_in_a_damaged_pack_is_kept(
    repo: Repo, remote: Path, content: dict[str, bytes], deep: bool
) -> None:
    pack = largest(remote)
    flip(pack, pack.read_bytes().index(content["big"][:20]))
    lose_indexes(remote)
    clone = repo.clone("clone")
    found = fsck(clone, "--remote", *(["--deep"] * deep), "--repair", code=1)
    assert {each["needed_by"] for each in found["problems"] if not each["repaired"] and each["object"]} == {"data/big"}
    assert {each["path"] for each in fsck(clone, "--remote", "--deep", code=1)["problems"]} == {"data/big"}
    clone.run("pull", "one", *(f"data/{name}" for name in content if name != "big"))
    fsck(repo, "--remote", "--repair", code=0)
    has_all(repo, remote, content)


def test_what_a_repair_gave_up_is_still_damage_for_those_who_need_it(
    repo: Repo, remote: Path, content: dict[str, bytes]
) -> None:
    largest(remote).unlink()
    clone = repo.clone("clone")
    fsck(clone, "--remote", "--repair", code=1)
    repo.json("status", "--remote")  # after which nothing is remembered here of the record that is gone
    for each in (repo, clone):
        found = fsck(each, "--remote", "--deep", code=1)
        assert kinds(found) == {"missing"}
        assert {problem["needed_by"].split("/")[0] for problem in found["problems"]} == {"data", "one"}
    shown = repo.run("fsck", "--remote", ok=False)
    assert "no damage found" not in shown.out
    assert "hint: vml push --check -r origin" in shown.err
    repo.run("push", "--check")
    has_all(repo, remote, content)


def test_what_a_repair_gave_up_is_sent_by_those_who_have_it(
    repo: Repo, remote: Path, content: dict[str, bytes]
) -> None:
    largest(remote).unlink()
    fsck(repo.clone("clone"), "--remote", "--repair", code=1)
    fsck(repo, "--remote", "--repair", code=0)
    has_all(repo, remote, content)


def test_what_was_never_pushed_is_no_damage_but_is_said(repo: Repo, remote: Path, content: dict[str, bytes]) -> None:
    repo.write("one", "another")
    repo.run("commit")
    repo.commit("another")
    found = fsck(repo, "--remote", code=0)
    (info,) = found["info"]
    assert info["kind"] == "unpushed"
    assert "1 of 3 versions that pointers name (one)" in info["message"]
    assert info["hint"].startswith("vml push -r origin")
    shown = repo.run("fsck", "--remote")
    assert "not wholly on origin" in shown.err
    repo.write("one", "a third")
    repo.run("commit")
    assert fsck(repo, "--remote", code=0)["info"][0]["hint"].startswith("vml push --all-commits -r origin")
    repo.run("push", "--all-commits", "-r", "origin")
    assert fsck(repo, "--remote", code=0)["info"] == []


@pytest.fixture
def large(repo: Repo, remote: Path) -> bytes:
    """A file in chunks, which compress well, and in another version a few more; both are pushed."""
    content = b"".join(b"%d,%d\n" % (i, i * 7919 % 100_003) for i in range(1_000_000))
    repo.write("large.csv", content)
    repo.run("add", "large.csv")
    repo.commit("large")
    repo.run("push")
    return content


def test_lost_chunks_are_summed_up(repo: Repo, remote: Path, large: bytes) -> None:
    packs = {*remote.glob("packs/*/*")}
    largest(remote).unlink()
    found = fsck(repo, "--remote", code=1)
    lost = [each for each in found["problems"] if each["kind"] == "missing"]
    assert len(lost) > 1
    assert {each["object"].partition(":")[0] for each in lost} == {"sha256"}
    shown = repo.run("fsck", "--remote", ok=False).out
    assert shown.count("large.csv: ") == 1
    (line,) = [line for line in shown.splitlines() if line.startswith("missing: ")]
    assert line.startswith(f"missing: large.csv: {len(lost)} of ")
    assert " chunks: promised by a root record, and not there" in line
    assert len(packs) > 1


def test_what_is_damaged_is_sent_once(repo: Repo, remote: Path, large: bytes) -> None:
    before = {*remote.glob("packs/*/*")}
    flip(largest(remote), 1000)
    lost = largest(remote).stat().st_size
    result = repo.run("fsck", "--remote", "--deep", "--repair")
    sent = {*remote.glob("packs/*/*")} - before
    assert sum(path.stat().st_size for path in sent) < lost * 1.02
    assert "written anew from packs of origin: " in result.err
    assert "written anew from the local store: 1 object (" in result.err
    assert fsck(repo, "--remote", "--deep", code=0)["problems"] == []
