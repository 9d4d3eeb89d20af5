"""Link types against a plain model: whatever is done in whatever order, no bytes are lost and status is right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Repo
from vcs_ml.errors import VmlError
from vcs_ml.hashing import XXH128
from vcs_ml.store import objects
from vcs_ml.store.local import LocalStore

PATHS = ["data/a", "data/b", "data/d/a", "one"]
CONTENTS = [b"", b"1", b"22", b"33", b"large" * 70_000]
PATH, CONTENT = st.sampled_from(PATHS), st.integers(0, len(CONTENTS) - 1)
STEPS = st.one_of(
    st.tuples(st.just("replace"), PATH, CONTENT),
    st.tuples(st.just("edit"), PATH, CONTENT),
    st.tuples(st.just("edit"), PATH, CONTENT),
    st.tuples(st.just("chmod"), PATH),
    st.tuples(st.just("delete"), PATH),
    st.tuples(st.just("vml"), st.sampled_from(["add data one", "add data/a", "commit", "commit"])),
    st.tuples(
        st.just("vml"), st.sampled_from(["checkout", "checkout data/d", "checkout --force", "checkout --relink"])
    ),
    st.tuples(st.just("vml"), st.sampled_from(["unprotect data one", "unprotect data/d", "rm data/b", "mv one other"])),
    st.tuples(st.just("link"), st.sampled_from(["hardlink", "symlink", "reflink,copy"])),
    st.tuples(st.just("back"), st.integers(0, 3)),
)

File = tuple[bytes, bool]  # what it holds, whether it is executable


class Model:
    """What must be in the workspace, what was recorded, and what somebody changed through a link."""

    def __init__(self, repo: Repo, kind: str) -> None:
        for name in ("data", ".vml/index", ".vml/saved", ".vml/cache"):
            shutil.rmtree(repo.path / name, ignore_errors=True)
        for name in ("data.vml", "one", "one.vml", "other", "other.vml", ".gitignore"):
            (repo.path / name).unlink(missing_ok=True)
        self.repo = repo
        self.ever: set[bytes] = set()
        self.spoiled: set[bytes] = set()
        repo.run("config", "--local", "cache.link", kind)
        for i, path in enumerate(PATHS):
            repo.write(path, CONTENTS[i])
        repo.run("add", "data", "one")
        self.commits = [repo.commit()]
        self.recorded = self.look()
        self.check()

    def look(self) -> dict[str, File]:
        """Every workspace file, links into the store as what they stand for."""
        found = {}
        top = self.repo.path
        for name in ["one", "other", *(f"data/{each}" for each in self.repo.files("data"))]:
            file = top / name
            if file.exists():
                linked = file.is_symlink()
                found[name] = (file.read_bytes(), not linked and bool(file.stat().st_mode & 0o100))
        return found

    def loose(self) -> dict[bytes, Path]:
        """Loose blobs: digest -> file."""
        top = self.repo.path / ".vml/cache/loose/xxh128"
        return {bytes.fromhex(file.parent.name + file.name): file for file in top.glob("*/*")}

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.repo.path / ".vml/cache", XXH128)

    def step(self, what: str, *args: object) -> None:
        if what == "vml":
            self.vml(str(args[0]).split())
        elif what == "link":
            self.repo.run("config", "--local", "cache.link", str(args[0]))
        elif what == "back":
            assert isinstance(args[0], int)
            self.repo.git("checkout", "-q", self.commits[args[0] % len(self.commits)], "--", "data.vml")
            self.vml(["checkout"])
        elif (file := self.repo.path / str(args[0])).exists():
            self.touch(file, what, *args[1:])
        elif what == "replace":
            self.repo.write(str(args[0]), CONTENTS[int(str(args[1]))])
        self.check()

    def touch(self, file: Path, what: str, *args: object) -> None:
        """What people do to files."""
        if what in ("replace", "delete"):
            file.unlink()
            if what == "replace":
                file.write_bytes(CONTENTS[int(str(args[0]))])
        elif what == "edit":
            if file.stat().st_nlink > 1 or file.is_symlink():
                self.spoiled |= {digest for digest, place in self.loose().items() if place.samefile(file)}
            file.chmod(0o644)
            with file.open("r+b") as opened:
                opened.truncate()
                opened.write(CONTENTS[int(str(args[0]))])
        elif what == "chmod" and not file.is_symlink():
            file.chmod(file.stat().st_mode ^ 0o111)

    def vml(self, args: list[str]) -> None:
        before = self.look()
        result = self.repo.run(*args, ok=False)
        assert result.code in (0, 3), result
        after = self.look()
        left = {content for content, _ in after.values()}
        assert all(content in left or self.is_stored(content) for content, _ in before.values()), result
        if args[0] in ("add", "commit", "unprotect") or "--relink" in args:
            assert after == before, result
        if result.code == 0 and args[0] == "checkout" and "--relink" not in args:
            self.check_checked_out(args, after)

    def check_checked_out(self, args: list[str], after: dict[str, File]) -> None:
        prefix = args[-1] if args[-1].startswith("data") else ""
        changes = {path: change for path, change in self.repo.changes().items() if path.startswith(prefix)}
        assert all(change == "added" for change in changes.values()), changes

    def is_stored(self, content: bytes) -> bool:
        try:
            return self.store.read(objects.blob(XXH128.digest(content))) == content
        except VmlError:
            return False

    def check(self) -> None:
        store = self.store
        for digest, place in self.loose().items():
            if XXH128.digest(place.read_bytes()) != digest:
                assert digest in self.spoiled, "an object was changed by nobody"
                assert store.is_damaged(objects.blob(digest)), "a damaged object is believed"
        said = self.said()
        pointers = self.pointers()
        here = self.look()
        assert said == {
            path
            for path in here.keys() | pointers.keys()
            if here.get(path) != pointers.get(path) and (path in pointers or path.startswith("data/"))
        }

    def said(self) -> set[str]:
        found = set()
        for each in self.repo.json("status")["data"]:
            found |= {each["path"], each.get("from", each["path"])}
        if "data" in found:  # the whole directory is gone
            found = found - {"data"} | {path for path in self.pointers() if path.startswith("data/")}
        return found

    def pointers(self) -> dict[str, File]:
        """What is recorded, by its hash."""
        known = {XXH128.digest(content).hex(): content for content in CONTENTS}
        rows = self.repo.json("ls", "-R")["entries"]
        return {row["path"]: (known[row["hash"].partition(":")[2]], row["kind"] == "executable") for row in rows}


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
@settings(max_examples=25)
@given(steps=st.lists(STEPS, max_size=10))
def test_nothing_is_lost_and_status_is_right(repo: Repo, kind: str, steps: list[tuple[object, ...]]) -> None:
    model = Model(repo, kind)
    for what, *args in steps:
        model.step(str(what), *args)
