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
        expected = {
            f"data/{name}": "modified" if name in self.model else "added"
            for name, content in self.here.items()
            if self.model.get(name) != content
        }
        changes = self.repo.changes()
        if not self.here:
            changes.pop("data", None)
        assert changes == expected, "; ".join(self.done)


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
