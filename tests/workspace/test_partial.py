"""Work in clones that hold only a part of a directory, against a plain dict of what the directory should be."""

from __future__ import annotations

import random

import pytest

from tests.commands.test_add import metadata_clone
from tests.conftest import Repo

NAMES = ("a", "b", "sub/a", "sub/b", "sub/deep/c", "old/a", "old/b", "x/y/z")


def listed(repo: Repo) -> dict[str, int]:
    """What the pointer's list of files has: path -> size."""
    return {each["path"].removeprefix("data/"): each["size"] for each in repo.json("ls", "-R", "data")["entries"]}


def below(files: dict[str, bytes], path: str) -> list[str]:
    return [name for name in files if name == path or name.startswith(f"{path}/")]


class Clone:
    """A partial clone and its model: what the pointer must name, and what must lie in the workspace."""

    def __init__(self, repo: Repo, upstream: Repo, files: dict[str, bytes], rng: random.Random) -> None:
        self.repo, self.upstream, self.rng, self.count = repo, upstream, rng, 0
        self.model, self.here = dict(files), dict[str, bytes]()
        self.done = list[str]()

    def fits(self, path: str) -> bool:
        """Whether nothing is in the way of a new file or directory at `path`."""
        every = self.model.keys() | self.here.keys()
        return not any(name == path or path.startswith(f"{name}/") or name.startswith(f"{path}/") for name in every)

    def place(self) -> str:
        """Some file or directory of the model."""
        parts = self.rng.choice(sorted(self.model)).split("/")
        return "/".join(parts[: self.rng.randint(1, len(parts))])

    def content(self) -> bytes:
        self.count += 1
        return b"%d" % self.count * 3

    def run(self, *args: str) -> None:
        self.done.append(" ".join(args))
        self.repo.run(*args)

    def add(self) -> None:
        path = self.rng.choice([name for name in NAMES if self.fits(name)] or sorted(self.here))
        self.model[path] = self.here[path] = self.content()
        self.repo.write(f"data/{path}", self.here[path])
        self.run("add", f"data/{path}")

    def add_a_directory(self) -> None:
        top = f"dir{self.count}"
        new = {f"{top}/{name}": self.content() for name in ("p", "q/r")}
        for name, content in new.items():
            self.repo.write(f"data/{name}", content)
        self.run("add", f"data/{top}")
        self.model |= new
        self.here |= new

    def delete_and_add(self) -> None:
        gone = self.rng.choice(sorted(self.here.keys() & self.model.keys()) or [""])
        if gone:
            (self.repo.path / "data" / gone).unlink()
            del self.model[gone], self.here[gone]
            self.run("add", f"data/{gone}")

    def add_all(self) -> None:
        if self.here:
            self.run("add", "data")
            self.model |= self.here

    def remove(self) -> None:
        path = self.place()
        if len(below(self.model, path)) < len(self.model):
            self.run("rm", f"data/{path}")
            for files in (self.model, self.here):
                for name in below(files, path):
                    del files[name]

    def move(self) -> None:
        old = self.place()
        new = self.rng.choice([*NAMES, "", *(name.rpartition("/")[0] for name in self.model)])
        if new == old or new.startswith(f"{old}/"):
            return
        target = new
        if not new or (below(self.model, new) and new not in self.model):
            target = f"{new}/{old.rpartition('/')[2]}".lstrip("/")
        if target == old or target.startswith(f"{old}/") or not self.fits(target):
            return
        self.run("mv", f"data/{old}", f"data/{new}")
        for files in (self.model, self.here):
            for name in below(files, old):
                files[target + name[len(old) :]] = files.pop(name)

    def checkout_a_part(self) -> None:
        path = self.place()
        self.run("pull", f"data/{path}")
        for name in below(self.here, path):
            del self.here[name]
        self.here |= {name: self.model[name] for name in below(self.model, path)}

    def fall_behind(self) -> None:
        """Others take what this clone has, change it, and this clone takes their pointer, but not their data."""
        self.done.append("fall behind")
        self.repo.commit()
        self.repo.run("push")
        self.upstream.git("pull", "-q", str(self.repo.path), "main")
        self.upstream.run("pull")
        assert self.upstream.files("data") == self.model
        names = sorted(self.model)
        self.model[f"new{self.count}"] = self.content()
        self.model[self.rng.choice(names)] = self.content()
        if len(names) > 2:
            gone = self.rng.choice(names)
            del self.model[gone]
            (self.upstream.path / "data" / gone).unlink()
        for name, content in self.model.items():
            self.upstream.write(f"data/{name}", content)
        self.upstream.run("add", "data")
        self.upstream.commit()
        self.upstream.run("push")
        self.repo.git("pull", "-q")
        self.repo.run("fetch", "--metadata")

    def check(self) -> None:
        assert listed(self.repo) == {name: len(content) for name, content in self.model.items()}, "; ".join(self.done)
        assert self.repo.files("data") == self.here, "; ".join(self.done)
        expected = {f"data/{name}": "behind" for name, content in self.here.items() if self.model.get(name) != content}
        changes = self.repo.changes()
        if not self.here:
            changes.pop("data", None)
        assert changes == expected, "; ".join(self.done)


@pytest.fixture
def clone(repo: Repo, remote: object) -> Repo:
    """A clone without files, and without the lists of them."""
    for path in ("top", "sub/a", "sub/b", "old/a", "old/b"):
        repo.write(f"data/{path}", path)
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    return repo.clone("clone")


def test_without_the_list_of_files(clone: Repo) -> None:
    clone.write("data/new", "new")
    for command in (
        ("add", "data/new"),
        ("rm", "data/old"),
        ("rm", "--cached", "data/old"),
        ("mv", "data/sub", "data/x"),
    ):
        assert "vml fetch --metadata data brings it" in clone.fails(*command, code=3).err
    assert clone.files("data") == {"new": b"new"}
    assert clone.git("status", "--short") == ""


def test_into_directories_that_are_not_here(clone: Repo) -> None:
    clone.run("fetch", "--metadata")
    assert "data/top -> data/sub/top" in clone.run("mv", "data/top", "data/sub").err
    assert "data/sub/a -> data/a" in clone.run("mv", "data/sub/a", "data/").err
    assert "data/old -> data/sub/old" in clone.run("mv", "data/old", "data/sub").err
    clone.fails("mv", "data/sub/b", "data/a", code=3)
    clone.fails("mv", "data/sub/b", "data/a/b", code=3)
    clone.fails("mv", "data/sub", "data", code=3)
    assert sorted(listed(clone)) == ["a", "sub/b", "sub/old/a", "sub/old/b", "sub/top"]
    (clone.path / "data/here").mkdir(parents=True)
    clone.run("mv", "data/a", "data/here")  # a directory that only the workspace has
    clone.write("data/untracked", "precious")
    clone.fails("mv", "data/sub/b", "data/untracked", code=3)
    clone.fails("mv", "data/sub/b", "data/untracked/b", code=3)
    assert sorted(listed(clone)) == ["here/a", "sub/b", "sub/old/a", "sub/old/b", "sub/top"]
    assert clone.files("data") == {"untracked": b"precious"}


def test_moving_in_a_directory_that_is_behind(clone: Repo, repo: Repo) -> None:
    clone.run("pull")
    repo.write("data/late", "late")
    repo.write("data/sub/a", "newer")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone.git("pull", "-q")
    clone.run("fetch", "--metadata")
    clone.run("mv", "data/sub", "data/moved")
    clone.run("rm", "data/old/a")
    assert clone.changes() == {"data/moved/a": "behind", "data/late": "behind"}
    clone.run("pull")
    assert clone.files("data") == {
        "top": b"top", "late": b"late", "moved/a": b"newer", "moved/b": b"sub/b", "old/b": b"old/b",
    }  # fmt: skip


def test_status_of_a_part_is_quiet_and_true(clone: Repo) -> None:
    clone.run("pull", "data/sub")
    found = clone.json("status")
    assert (found["clean"], found["data"], found["missing"]) == (True, [], [])
    assert found["partial"] == [{"path": "data", "here": 2, "files": 5}]
    assert "data: 2 of 5 files here (vml pull data brings all)" in clone.run("status", "--exit-code").out
    clone.write("data/new", "new")
    clone.run("add", "data/new")
    assert [each["path"] for each in clone.json("status")["not_pushed"]] == ["data"]
    for pack in (clone.path / ".vml/cache").glob("loose/xxh128/*/*"):
        pack.unlink()
    assert clone.json("status")["missing"][0]["objects"] == 3


def test_diff_of_what_is_not_here(clone: Repo) -> None:
    clone.run("fetch", "--metadata")
    clone.run("mv", "data/sub", "data/moved")

    def renamed() -> set[tuple[str, str]]:
        return {(each["from"], each["to"]) for each in clone.json("diff")["renamed"]}

    assert renamed() == {("data/sub/a", "data/moved/a"), ("data/sub/b", "data/moved/b")}
    clone.run("pull", "data/top")
    assert renamed() == {("data/sub/a", "data/moved/a"), ("data/sub/b", "data/moved/b")}
    assert clone.json("diff")["deleted"] == []


def test_the_list_of_the_older_version_is_not_needed(repo: Repo, remote: object) -> None:
    for i in range(3000):  # several pages
        repo.write(f"data/{i % 30:02}/{i:04}", f"{i}")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull", "data/03")
    for i in range(0, 3000, 300):
        repo.write(f"data/{i % 30:02}/{i:04}", "newer")
    repo.write("data/03/0003", "newer")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone.git("pull", "-q")
    clone.run("fetch", "--metadata")
    clone.write("data/03/new", "new")
    clone.run("add", "data/03/new")
    assert clone.changes() == {"data/03/0003": "behind"}
    assert len(listed(clone)) == 3001
    assert listed(clone)["00/0000"] == len("newer")


@pytest.mark.parametrize("seed", range(6))
def test_a_partial_clone_is_its_model(repo: Repo, remote: object, seed: int) -> None:
    rng = random.Random(seed)
    files = {f"{folder}{name}": f"{folder}{name}".encode() for folder in ("", "sub/", "old/", "t/") for name in "cde"}
    for name, content in files.items():
        repo.write(f"data/{name}", content)
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = Clone(metadata_clone(repo), repo, files, rng)
    acts = (
        clone.add, clone.add_a_directory, clone.delete_and_add, clone.add_all, clone.remove, clone.move,
        clone.move, clone.checkout_a_part, clone.checkout_a_part, clone.fall_behind,
    )  # fmt: skip
    for _ in range(12):
        rng.choice(acts)()
        clone.check()
    clone.repo.commit()
    clone.repo.run("push")
    other = clone.repo.clone("other")
    other.run("pull")
    assert other.files("data") == clone.model
    clone.repo.run("pull")
    assert clone.repo.files("data") == clone.model
    assert clone.repo.json("status")["clean"]
