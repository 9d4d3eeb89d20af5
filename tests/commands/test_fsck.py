"""`vml fsck` on the local store: each kind of damage is found, and mended where good bytes are anywhere."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import oscalls
from tests.conftest import Repo
from tests.store.stores import flip, rewrite
from vcs_ml import locks
from vcs_ml.hashing import SHA256, XXH128
from vcs_ml.store import catalog, holdings, objects, pack, page
from vcs_ml.store.catalog import Index
from vcs_ml.store.local import loose_name
from vcs_ml.store.pack import Pack

FOOTER = 48
STORE = ".vml/cache"


def fill(repo: Repo) -> dict[str, bytes]:
    """A tracked directory and a file, in packs and loose, committed; what is in them."""
    for i in range(30):
        repo.write(f"data/{i % 3}/{i}", f"file {i}\n" * 20)
    repo.write("data/big", random.Random(1).randbytes(600_000))
    repo.write("one", random.Random(2).randbytes(1000))
    repo.run("add", "data", "one")
    repo.commit("data")
    return repo.files("data")


def lose_workspace(repo: Repo) -> None:
    """Remove the data and all that is remembered of it: nothing but the store and remotes has it."""
    shutil.rmtree(repo.path / "data", ignore_errors=True)
    (repo.path / "one").unlink(missing_ok=True)
    shutil.rmtree(repo.path / ".vml/index", ignore_errors=True)


def files(repo: Repo, pattern: str) -> list[Path]:
    return sorted((repo.path / STORE).glob(pattern))


def blob_pack(repo: Repo) -> Path:
    """The pack that holds the small files."""
    return max(files(repo, "packs/*/*.pack"), key=lambda path: path.stat().st_size)


def node_pack(repo: Repo) -> Path:
    return min(files(repo, "packs/*/*.pack"), key=lambda path: path.stat().st_size)


def big(repo: Repo) -> Path:
    return max(files(repo, "loose/*/*/*"), key=lambda path: path.stat().st_size)


def fsck(repo: Repo, *args: str, code: int | None = None) -> Any:
    """The JSON of `vml fsck`; its exit code must fit what it says."""
    result = repo.run("fsck", *args, "--json", ok=False)
    assert "Traceback" not in result.err, result.err
    found = json.loads(result.out)
    assert found["schema"] == 1
    assert found["clean"] == all(each["repaired"] for each in found["problems"])
    assert result.code == (not found["clean"]) == (result.code if code is None else code), found
    return found


def kinds(found: Any) -> set[str]:
    return {each["kind"] for each in found["problems"]}


def restored(repo: Repo, content: dict[str, bytes]) -> None:
    """Everything can be had from the store again."""
    assert fsck(repo, code=0)["problems"] == []
    lose_workspace(repo)
    repo.run("checkout")
    assert repo.files("data") == content


def test_a_good_store_is_clean(repo: Repo) -> None:
    assert fsck(repo, code=0)["checked"]["objects"] == 0
    fill(repo)
    found = fsck(repo, code=0)
    assert found["problems"] == found["info"] == []
    size = sum(
        path.stat().st_size for path in files(repo, "packs/*/*") + files(repo, "index/*") + files(repo, "loose/*/*/*")
    )
    assert found["checked"] == {
        "packs": 3, "indexes": 1, "loose": 1, "objects": 33, "bytes": size, "roots": 2,
    }  # fmt: skip
    assert "no damage found" in repo.run("fsck").out
    assert fsck(repo, "--repair", code=0)["problems"] == []
    assert not files(repo, "quarantine")


def test_commands_that_meet_damage_name_fsck(repo: Repo) -> None:
    fill(repo)
    lose_workspace(repo)
    flip(blob_pack(repo), 10)
    assert "hint: vml fsck --repair" in repo.fails("checkout", code=3).err
    flip(files(repo, "index/*.idx")[0], 0)
    assert "hint: vml fsck --repair" in repo.fails("status", code=3).err
    rewrite(repo.path / STORE / "vml.json", b"{}")
    assert "hint: vml fsck --repair" in repo.fails("status", code=3).err


# --- Each kind of damage, found, and mended from the remote -------------------------------------------------


def truncate(path: Path, to: int) -> None:
    rewrite(path, path.read_bytes()[:to])


def forge_row(repo: Repo) -> None:
    """An index with a good name in which one object lies elsewhere than in the pack's own table."""
    (path,) = files(repo, "index/*.idx")
    index = Index(path, pack.parse_name(path.stem) or b"", XXH128)
    packs = catalog.merged_packs([index])
    worst = max(packs, key=lambda each: len(each.rows))
    rows = [worst.rows[0]._replace(offset=worst.rows[0].offset + 1), *worst.rows[1:]]
    name, content = catalog.encode([Pack(worst.name, rows), *(each for each in packs if each is not worst)], XXH128)
    path.unlink()
    catalog.publish(path.parent, name, content)


DAMAGE: dict[str, tuple[str, Callable[[Repo], None]]] = {
    "a byte of a small file": ("object", lambda repo: flip(blob_pack(repo), 10)),
    "a byte of a list of files": ("object", lambda repo: flip(node_pack(repo), 30)),
    "a byte of a table": ("pack", lambda repo: flip(blob_pack(repo), blob_pack(repo).stat().st_size - FOOTER - 10)),
    "each byte of the footer": ("pack", lambda repo: flip(blob_pack(repo), blob_pack(repo).stat().st_size - 1)),
    "the unused byte of the footer": ("pack", lambda repo: flip(blob_pack(repo), blob_pack(repo).stat().st_size - 41)),
    "half a pack": ("pack", lambda repo: truncate(blob_pack(repo), blob_pack(repo).stat().st_size // 2)),
    "an empty pack": ("pack", lambda repo: rewrite(blob_pack(repo), b"")),
    "a pack gone": ("pack", lambda repo: blob_pack(repo).unlink()),
    "a pack of lists gone": ("pack", lambda repo: node_pack(repo).unlink()),
    "an index flipped in its header": ("index", lambda repo: flip(files(repo, "index/*.idx")[0], 8)),
    "an index flipped in its rows": ("index", lambda repo: flip(files(repo, "index/*.idx")[0], -20)),
    "an empty index": ("index", lambda repo: rewrite(files(repo, "index/*.idx")[0], b"")),
    "a forged row": ("index", forge_row),
    "a loose file flipped": ("object", lambda repo: flip(big(repo), 1000)),
    "a loose file cut": ("object", lambda repo: truncate(big(repo), 1000)),
    "an empty loose file": ("object", lambda repo: rewrite(big(repo), b"")),
    "a stranger in loose": ("name", lambda repo: (big(repo).parent / "zz").write_bytes(b"x") and None),
    "a stranger in packs": ("name", lambda repo: (blob_pack(repo).parent / "x.pack").write_bytes(b"x") and None),
    "a link in packs": ("name", lambda repo: (blob_pack(repo).parent / "x").symlink_to("/etc/passwd")),
    "vml.json": ("format", lambda repo: rewrite(repo.path / STORE / "vml.json", b'{"algorithm": "xx')),
    "vml.json gone": ("format", lambda repo: (repo.path / STORE / "vml.json").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_mended_from_a_remote(repo: Repo, remote: Path, what: str) -> None:
    content = fill(repo)
    repo.run("push")
    lose_workspace(repo)
    kind, damage = DAMAGE[what]
    damage(repo)
    found = fsck(repo, code=1)
    assert kind in kinds(found), found
    mended = fsck(repo, "--repair", code=0)
    assert {(e["kind"], e["path"], e["object"]) for e in found["problems"]} <= {
        (e["kind"], e["path"], e["object"]) for e in mended["problems"]
    }
    restored(repo, content)


@pytest.mark.parametrize("what", [*list(DAMAGE)[:3], "a pack of lists gone", "a loose file flipped"])
def test_damage_is_mended_from_the_workspace(repo: Repo, what: str) -> None:
    content = fill(repo)
    DAMAGE[what][1](repo)
    fsck(repo, code=1)
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_a_pack_that_is_gone_comes_back_from_the_workspace(repo: Repo) -> None:
    content = fill(repo)
    blob_pack(repo).unlink()
    found = fsck(repo, code=1)
    assert kinds(found) == {"pack", "missing"}
    assert {each["needed_by"] for each in found["problems"] if each["object"]} == {
        f"data/{name}" for name in content if name != "big"
    }
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_a_workspace_file_that_changed_is_not_taken(repo: Repo) -> None:
    fill(repo)
    flip(big(repo), 5)
    repo.write("data/big", b"other")
    found = fsck(repo, "--repair", code=1)
    assert [each["needed_by"] for each in found["problems"]] == ["data/big"]


def test_without_the_stat_index_the_paths_are_tried(repo: Repo) -> None:
    content = fill(repo)
    flip(big(repo), 5)
    flip(blob_pack(repo), 5)
    shutil.rmtree(repo.path / ".vml/index")
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_an_index_that_is_gone_is_made_again_from_the_packs(repo: Repo) -> None:
    content = fill(repo)
    lose_workspace(repo)
    files(repo, "index/*.idx")[0].unlink()
    assert "index" in kinds(fsck(repo, code=1))
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_what_comes_to_light_during_the_repair_is_sought_too(repo: Repo) -> None:
    """Without the index, the list of files that names the large file cannot be read at first."""
    content = fill(repo)
    files(repo, "index/*.idx")[0].unlink()
    big(repo).unlink()
    assert "missing" not in kinds(fsck(repo, code=1))
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_what_is_good_in_a_damaged_pack_survives_without_any_source(repo: Repo) -> None:
    content = fill(repo)
    lose_workspace(repo)
    pack_ = blob_pack(repo)
    good = pack_.read_bytes()
    at = good.index(b"file 7\n")
    flip(pack_, at)
    rewrite(pack_, pack_.read_bytes()[:-1])  # and its footer
    found = fsck(repo, "--repair", code=1)
    lost = [each for each in found["problems"] if not each["repaired"]]
    assert [(each["kind"], each["needed_by"], each["revision"]) for each in lost] == [
        ("object", "data/1/7", "workspace")
    ]
    assert (repo.path / STORE / "quarantine" / pack_.relative_to(repo.path / STORE)).stat().st_size == len(good) - 1
    again = fsck(repo, code=1)
    assert [(each["kind"], each["path"]) for each in again["problems"]] == [("missing", "data/1/7")]
    repo.write("data/1/7", content["1/7"])
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_damage_that_nothing_needs_is_set_aside(repo: Repo) -> None:
    fill(repo)
    path = repo.path / STORE / "loose/xxh128/ab" / ("0" * 30)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no such object")
    assert kinds(fsck(repo, "--repair", code=0)) == {"object"}
    path.write_bytes(b"another")
    assert kinds(fsck(repo, "--repair", code=0)) == {"object"}
    kept = files(repo, "quarantine/loose/xxh128/ab/*")
    assert [each.read_bytes() for each in kept] == [b"no such object", b"another"]
    assert fsck(repo, code=0)["problems"] == []


def test_in_a_shared_store_what_is_lost_is_lost_for_somebody(repo: Repo, tmp_path: Path) -> None:
    repo.run("config", "--local", "cache.dir", str(tmp_path / "shared"))
    path = tmp_path / "shared" / "loose/xxh128/ab" / ("0" * 30)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of another project")
    assert kinds(fsck(repo, "--repair", code=1)) == {"object", "format"}
    assert fsck(repo, code=0)["problems"] == []


def test_history_is_followed_and_the_commit_named(repo: Repo) -> None:
    fill(repo)
    old = big(repo)
    first = repo.git("rev-parse", "HEAD").strip()
    repo.git("checkout", "-q", "-b", "other")
    repo.write("data/big", b"small now")
    repo.run("add", "data")
    repo.commit("second")
    old.unlink()
    found = fsck(repo, code=1)
    assert [(each["kind"], each["path"]) for each in found["problems"]] == [("missing", "data/big")]
    second = repo.git("rev-parse", "HEAD").strip()
    assert found["problems"][0]["revision"] in (first, second)  # it came with one and went with the other


def test_what_was_only_staged_is_followed(repo: Repo) -> None:
    repo.write("one", b"1" * 1000)
    repo.run("add", "one")
    repo.git("add", "-A")
    repo.write("one", b"2" * 1000)
    repo.run("add", "one")
    for path in files(repo, "loose/*/*/*"):
        if path.read_bytes().startswith(b"1"):
            path.unlink()
    assert [each["revision"] for each in fsck(repo, code=1)["problems"]] == ["index"]


def test_a_partial_clone_is_no_damage(repo: Repo, remote: Path) -> None:
    fill(repo)
    repo.run("push")
    clone = repo.clone("clone")
    found = fsck(clone, code=0)
    assert [(each["kind"], each["hint"]) for each in found["info"]] == [("unknown", "vml fsck --remote origin")]
    clone.run("fetch", "--metadata")
    assert [each["kind"] for each in fsck(clone, code=0)["info"]] == ["elsewhere"]
    fsck(clone, "--remote", code=0)
    clone.run("pull", "data/0")
    found = fsck(clone, code=0)
    assert [(each["kind"], each["message"]) for each in found["info"]] == [
        ("elsewhere", "22 objects not here, on origin as of the last look")
    ]


def test_a_remote_asked_by_fsck_is_known_afterwards(repo: Repo, remote: Path) -> None:
    fill(repo)
    repo.run("push")
    clone = repo.clone("clone")
    fsck(clone, "--remote", code=0)
    assert [each["kind"] for each in fsck(clone, code=0)["info"]] == ["elsewhere"]


def test_a_broken_pointer_is_a_problem(repo: Repo) -> None:
    fill(repo)
    repo.write("one.vml", "{}")
    found = fsck(repo, code=1)
    assert [(each["kind"], each["path"]) for each in found["problems"]] == [("pointer", "one.vml")]
    assert kinds(fsck(repo, "--repair", code=1)) == {"pointer"}


def test_what_a_proof_says_is_here_is_sought(repo: Repo, remote: Path) -> None:
    content = fill(repo)
    repo.run("push")
    root = json.loads(repo.read("data.vml"))["hash"].removeprefix("tree:sha256:")
    big(repo).unlink()
    assert fsck(repo, code=0)["info"][0]["kind"] == "elsewhere"
    repo.write(f"{STORE}/complete/{root}", "complete 0\n")
    assert repo.json("status")["missing"] == []
    assert kinds(fsck(repo, code=1)) == {"missing"}
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_a_list_of_files_that_is_none_of_ours(repo: Repo) -> None:
    """Its bytes are what its id says: no other copy would be better."""
    fill(repo)
    rows = [page.Entry(b"../x", page.FILE, 1, XXH128.digest(b"x"))]
    raw = page.encode(0, rows, XXH128)
    oid = objects.node(SHA256.digest(raw))
    path = repo.path / STORE / loose_name(oid, XXH128)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    pointer = json.loads(repo.read("data.vml")) | {"hash": objects.format_hash(oid, XXH128)}
    repo.write("data.vml", json.dumps(pointer))
    found = fsck(repo, code=1)
    assert "refusing the path '../x'" in found["problems"][0]["message"]
    assert not fsck(repo, "--repair", code=1)["clean"]
    assert kinds(fsck(repo, code=1)) == {"missing"}


def test_a_tree_that_contradicts_itself(repo: Repo) -> None:
    leaf = page.encode(0, [page.Entry(b"a", page.FILE, 1, XXH128.digest(b"a"))], XXH128)
    last = page.encode(0, [page.Entry(b"b", page.FILE, 1, XXH128.digest(b"b"))], XXH128)
    ids = [objects.node(SHA256.digest(raw)) for raw in (leaf, last)]
    top = page.encode(1, [page.Child(b"a", ids[0], 2, 1), page.Child(b"b", ids[1], 1, 1)], XXH128)
    root = objects.node(SHA256.digest(top))
    for oid, raw in (*zip(ids, (leaf, last), strict=True), (root, top)):
        path = repo.path / STORE / loose_name(oid, XXH128)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    content = {"schema": 1, "path": "t", "kind": "tree", "size": 2, "hash": objects.format_hash(root, XXH128)}
    repo.write("t.vml", json.dumps(content))
    assert {"tree", "missing"} <= kinds(fsck(repo, code=1))
    assert {"tree", "missing"} <= kinds(fsck(repo, "--repair", code=1))


@pytest.mark.parametrize("part", ["packs", "index", "loose", "quarantine", "complete", "tmp"])
def test_a_link_in_place_of_a_part_is_not_followed(repo: Repo, tmp_path: Path, part: str) -> None:
    fill(repo)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"x")
    place = repo.path / STORE / part
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(outside)
    for args in ((), ("--repair",)):
        repo.fails("fsck", *args, code=3)
    assert [each.name for each in outside.iterdir()] == ["x"]


def test_a_store_of_another_algorithm_is_refused(repo: Repo) -> None:
    fill(repo)
    rewrite(repo.path / STORE / "vml.json", b'{"algorithm": "sha256", "format": 1}')
    repo.fails("fsck", "--repair", code=3)
    rewrite(repo.path / STORE / "vml.json", b'{"algorithm": "xxh128", "format": 9}')
    repo.fails("fsck", "--repair", code=3)


def test_sha256_stores_are_checked_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    repo = Repo(path, lambda: tuple(capfd.readouterr()))  # type: ignore[arg-type]
    repo.run("init", "--hash", "sha256")
    content = fill(repo)
    fsck(repo, code=0)
    flip(big(repo), 3)
    flip(node_pack(repo), 30)
    fsck(repo, code=1)
    fsck(repo, "--repair", code=0)
    restored(repo, content)


def test_leftovers_of_killed_commands_are_no_damage(repo: Repo) -> None:
    content = fill(repo)
    repo.write(f"{STORE}/index/.vml-tmp-0123456789abcdef", "x")
    repo.write(f"{STORE}/tmp/.vml-tmp-0123456789abcdef", "x")
    stray = repo.path / STORE / "packs" / "00" / f"{'0' * 32}-{'1' * 16}.pack"
    found = fsck(repo, code=0)
    assert [each["kind"] for each in found["info"]] == ["leftover"]
    # A pack without an index, as `add` leaves it when it is killed before its end.
    whole = {path.name for path in files(repo, "packs/*/*")}
    index, saved = files(repo, "index/*.idx")[0], {p: p.read_bytes() for p in files(repo, "index/*.idx")}
    repo.write("more/a", "a")
    for i in range(10):
        repo.write(f"more/{i}", f"more {i}")
    repo.run("add", "more")
    for path in files(repo, "index/*.idx"):
        if path not in saved:
            path.unlink()
    (repo.path / "more.vml").unlink()
    assert index.exists() and not stray.exists() and len(whole) == 3
    found = fsck(repo, code=0)
    assert {each["kind"] for each in found["info"]} == {"leftover", "unlisted"}
    restored(repo, content)


# --- Whatever happens ---------------------------------------------------------------------------------------


@pytest.fixture
def pushed(repo: Repo, remote: Path) -> tuple[Repo, dict[str, bytes], Path]:
    """A filled project, pushed, without its workspace; and a copy of its store."""
    content = fill(repo)
    repo.write("data/0/new", "a second pack\n" * 50)
    for i in range(10):
        repo.write(f"data/new/{i}", f"new {i}")
    repo.run("add", "data")
    content = repo.files("data")
    repo.commit("more")
    repo.run("push", "--all-commits")
    lose_workspace(repo)
    copy = repo.path.parent / "copy"
    shutil.copytree(repo.path / STORE, copy)
    return repo, content, copy


def reset(repo: Repo, copy: Path) -> None:
    shutil.rmtree(repo.path / STORE)
    shutil.copytree(copy, repo.path / STORE)
    shutil.rmtree(repo.path / ".vml/index", ignore_errors=True)


def test_random_damage_is_found_and_mended(pushed: tuple[Repo, dict[str, bytes], Path], soak: int) -> None:
    repo, content, copy = pushed
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    for _ in range(soak):
        reset(repo, copy)
        parts = [path for part in ("packs", "index", "loose") for path in files(repo, f"{part}/**/*") if path.is_file()]
        chosen = generator.sample(parts, generator.randint(1, 3))
        for path in chosen:
            spoil(path, generator)
        found = fsck(repo, code=1)
        named = {each["path"] for each in found["problems"]}
        assert named >= {path.relative_to(repo.path / STORE).as_posix() for path in chosen}
        fsck(repo, "--repair", code=0)
        restored(repo, content)


def spoil(path: Path, generator: random.Random) -> None:
    """Flip, cut, fill or empty a file."""
    data = path.read_bytes()
    at = generator.randrange(len(data))
    length = generator.choice([1, 1, 40, len(data)])
    filled = data[:at] + b"\0" * min(length, len(data) - at) + data[at + length :]
    flipped = data[:at] + bytes([data[at] ^ 1 << generator.randrange(8)]) + data[at + 1 :]
    rewrite(path, generator.choice([flipped, flipped, data[:at], data + b"x", filled if filled != data else b""]))


def test_every_flipped_byte_of_small_files_is_found(pushed: tuple[Repo, dict[str, bytes], Path]) -> None:
    """In the tables, footers and headers, where not every byte is data."""
    repo, _, copy = pushed
    generator = random.Random(3)
    for path in sorted([*copy.glob("packs/*/*"), *copy.glob("index/*")]):
        target = repo.path / STORE / path.relative_to(copy)
        size = path.stat().st_size
        for at in {*range(size - FOOTER, size), *range(min(size, 24)), *generator.sample(range(size), 10)}:
            flip(target, at)
            found = holdings.scan(repo.path / STORE, XXH128, _Silent())
            assert found.damaged or found.bad_indexes, (target, at)
            rewrite(target, path.read_bytes())


class _Silent:
    def expect(self, files: int = 0, bytes: int = 0) -> None: ...
    def advance(self, files: int = 0, bytes: int = 0) -> None: ...


def test_a_killed_repair_is_completed(pushed: tuple[Repo, dict[str, bytes], Path], soak: int) -> None:
    repo, content, copy = pushed
    generator = random.Random(4)

    def harm() -> None:
        reset(repo, copy)
        flip(blob_pack(repo), 10)
        flip(node_pack(repo), 30)
        flip(files(repo, "index/*.idx")[0], -5)
        flip(big(repo), 100)

    def command() -> None:
        repo.run("fsck", "--repair", ok=False)

    log = repo.path.parent / "log"
    harm()
    length = oscalls.duration(command, log)
    for _ in range(soak):
        harm()
        good = _readable(repo)
        oscalls.killed_after(generator.uniform(0, length), command, log)
        assert _readable(repo) >= good
        fsck(repo, "--repair", code=0)
        restored(repo, content)


def _readable(repo: Repo) -> set[bytes]:
    """Every object of which a reader finds good bytes: all that is in the tables of packs and in loose files."""
    found = holdings.scan(repo.path / STORE, XXH128, _Silent())
    rows = {row.oid for index in found.indexes for row in index.rows() if row.oid in found}
    return rows | {bytes.fromhex("".join(path.split("/")[-2:])) for path in found.loose}


def test_writers_wait_for_a_repair(repo: Repo) -> None:
    fill(repo)
    repo.run("config", "lock.timeout", "0")
    with locks.lock(repo.path / ".vml/cache/lock", shared=True):
        assert "is locked" in repo.fails("fsck", "--repair", code=3).err
        repo.run("fsck")


def test_content_that_several_paths_share_is_no_damage(repo: Repo) -> None:
    for i in range(30):
        repo.write(f"one/{i}", f"{i}" * 1000)
        repo.write(f"two/{i}", f"{i}" * 1000)
    repo.run("add", "one", "two")
    found = fsck(repo, code=0)
    assert found["problems"] == found["info"] == []


def test_a_store_that_is_gone_is_filled_from_the_workspace(repo: Repo, remote: Path) -> None:
    content = {}
    for i in range(12):
        content[f"{i}"] = f"{i}".encode() * 100
        repo.write(f"data/{i}", content[f"{i}"])
    repo.run("add", "data")
    shutil.rmtree(repo.path / STORE)
    fsck(repo, "--repair")
    shutil.rmtree(repo.path / "data")
    repo.run("checkout")
    assert repo.files("data") == content
