"""Files of commits and of the workspace, wherever their bytes are, and what must not be read through them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import stages
from tests.conftest import Repo
from vcs_ml import values
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.metrics import committed, revision
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.pipeline import patterns
from vcs_ml.progress import SILENT
from vcs_ml.store.objects import MissingObject
from vcs_ml.workspace import opening
from vcs_ml.workspace.lockfile import Flags

Look = Callable[[Reader], Revision]


@contextmanager
def reading(repo: Repo, at: str = "", *, fetch: bool = False) -> Iterator[Reader]:
    project = stages.project_of(repo, at)
    with Reader(project, opening.open_store(project), (lambda label: SILENT) if fetch else None) as reader:
        yield reader


@pytest.fixture(params=["HEAD", "workspace"])
def look(request: pytest.FixtureRequest) -> Look:
    """Both kinds of a revision, of which most tests want the same."""
    return lambda reader: reader.workspace() if request.param == "workspace" else reader.at("HEAD")


def files_of(at: Revision, path: str = "") -> dict[str, bytes | None]:
    return {file: revision.read(at, file) for file in at.listed(path)}


def fill(repo: Repo) -> dict[str, bytes]:
    """Files in Git, tracked files, tracked directories and outputs of stages; what they hold."""
    content = {
        "in-git.json": b"git",
        "sub/in-git.json": b"git in a directory",
        "sub/tracked.json": b"tracked",
        "data/deep/a.json": b"a",
        "data/b.json": b"b",
        "out.json": b"out",
        "outs/one.json": b"one",
        "plain.json": b"not cached",
    }
    for path, text in content.items():
        repo.write(path, text)
    repo.run("add", "sub/tracked.json", "data")
    stages.record(repo, "make", {"out.json": Flags(), "outs": Flags(), "plain.json": Flags(cache=False)})
    repo.commit("all kinds of files")
    return content


def test_every_kind_of_file(repo: Repo, look: Look) -> None:
    content = fill(repo)
    with reading(repo) as reader:
        at = look(reader)
        assert {path: revision.read(at, path) for path in content} == content
        assert files_of(at) == content
        assert at.listed("sub") == ["sub/in-git.json", "sub/tracked.json"]
        assert at.listed("data") == ["data/b.json", "data/deep/a.json"]
        assert at.listed("data/deep") == ["data/deep/a.json"]
        assert at.listed("outs") == ["outs/one.json"]
        assert at.listed("sub/tracked.json") == ["sub/tracked.json"]
        assert at.listed("*.json") == ["in-git.json", "out.json", "plain.json"]
        assert at.listed("**/*.json") == sorted(content)
        assert at.listed("d*/**/a.json") == ["data/deep/a.json"]
        assert at.listed("su[b]") == ["sub/in-git.json", "sub/tracked.json"]
        for nothing in ("nosuch", "data/nosuch", "in-git.json/x", "sub/tracked.json/x", "out.json/x", "nosuch/*"):
            assert at.listed(nothing) == []
            assert revision.read(at, nothing) is None
        assert revision.read(at, "data") is None
        assert revision.read(at, "sub") is None


def test_a_clone_that_never_checked_out(repo: Repo, remote: Path, look: Look) -> None:
    content = fill(repo)
    repo.run("push")
    clone = repo.clone("clone")
    here = {path: content[path] for path in ("in-git.json", "sub/in-git.json", "plain.json")}
    with reading(clone) as reader:
        at = look(reader)
        assert {path: revision.read(at, path) for path in here} == here
        for path in ("sub/tracked.json", "out.json"):
            assert at.listed(path) == [path]
            with pytest.raises(UserError, match="is not in the local store"):
                revision.read(at, path)
        for path in ("data", "data/deep", "outs", "**/*.json", "data/*.json"):
            with pytest.raises(MissingObject, match=r"the list of files of (data|outs) is not in the local store"):
                at.listed(path)
        # What is asked for decides which lists of files are needed.
        assert at.listed("*.json") == ["in-git.json", "out.json", "plain.json"]
        assert at.listed("s*/*.json") == ["sub/in-git.json", "sub/tracked.json"]
    with reading(clone, fetch=True) as reader:
        at = look(reader)
        assert at.listed("") == sorted(content)
        reader.bring(filter(None, map(at.stored, at.listed(""))))
        assert files_of(at) == content
    with reading(clone) as reader:
        assert {path: revision.read(look(reader), path) for path in content} == content
    assert not (clone.path / "data").exists()  # nothing was checked out


def test_only_what_is_asked_for_is_fetched(repo: Repo, remote: Path, look: Look) -> None:
    fill(repo)
    repo.run("push")
    clone = repo.clone("clone")
    with reading(clone, fetch=True) as reader:
        at = look(reader)
        reader.bring(filter(None, (at.stored(path) for path in ("data/b.json", "data/nosuch.json", "in-git.json"))))
        assert revision.read(at, "data/b.json") == b"b"
    with reading(clone) as reader, pytest.raises(UserError, match="is not in the local store"):
        revision.read(look(reader), "data/deep/a.json")


def test_what_the_remote_lacks_does_not_keep_the_rest_away(repo: Repo, remote: Path, look: Look) -> None:
    content = fill(repo)
    repo.run("push", "data", "out.json")
    clone = repo.clone("clone")
    with reading(clone, fetch=True) as reader:
        at = look(reader)
        reader.bring(filter(None, map(at.stored, content)))
        assert revision.read(at, "data/b.json") == b"b"
        assert revision.read(at, "out.json") == b"out"
        with pytest.raises(UserError, match=r"sub/tracked\.json is not in the local store") as caught:
            revision.read(at, "sub/tracked.json")
        assert "vml push" in (caught.value.hint or "")


def test_outputs_that_stay_here_are_not_asked_for(repo: Repo, remote: Path, look: Look) -> None:
    repo.write("stays.json", "1")
    stages.record(repo, "make", {"stays.json": Flags(push=False)})
    repo.commit()
    repo.run("push")
    with reading(repo.clone("clone"), fetch=True) as reader:
        at = look(reader)
        reader.bring(filter(None, [at.stored("stays.json")]))
        with pytest.raises(UserError, match="is not in the local store"):
            revision.read(at, "stays.json")


def test_a_part_of_a_directory_was_checked_out(repo: Repo, remote: Path) -> None:
    fill(repo)
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull", "data/b.json")
    (clone.path / "data/mine.json").write_bytes(b"mine")
    clone.run("fetch")
    with reading(clone) as reader:
        at = reader.workspace()
        assert files_of(at, "data") == {"data/b.json": b"b", "data/deep/a.json": b"a", "data/mine.json": b"mine"}
        assert at.listed("data/*/*.json") == ["data/deep/a.json"]
        assert at.listed("data/deep") == ["data/deep/a.json"]
        (clone.path / "data/b.json").unlink()  # it was here, so it was deleted
        assert files_of(at, "data") == {"data/deep/a.json": b"a", "data/mine.json": b"mine"}
        assert revision.read(at, "data/b.json") is None


def test_what_was_deleted_or_changed_in_the_workspace(repo: Repo) -> None:
    content = fill(repo)
    for path in ("in-git.json", "sub/tracked.json", "out.json"):
        (repo.path / path).unlink()
    shutil.rmtree(repo.path / "data")
    repo.write("outs/one.json", "changed")
    with reading(repo) as reader:
        now, then = reader.workspace(), reader.at("HEAD")
        assert files_of(now) == {
            "sub/in-git.json": b"git in a directory", "plain.json": b"not cached", "outs/one.json": b"changed",
        }  # fmt: skip
        assert now.listed("data") == []
        assert files_of(then) == content


def test_older_commits(repo: Repo) -> None:
    content = fill(repo)
    repo.run("rm", "data")
    repo.run("mv", "sub/tracked.json", "moved.json")
    repo.write("data", "a file now")
    repo.git("mv", "in-git.json", "renamed.json")
    repo.commit()
    with reading(repo) as reader:
        assert files_of(reader.at("HEAD~1")) == content
        assert files_of(reader.at("HEAD~2")) == {}
        new = files_of(reader.at("HEAD"))
        assert new["moved.json"] == b"tracked"
        assert new["data"] == b"a file now"
        assert new["renamed.json"] == b"git"
        assert reader.at("HEAD~1").listed("data") == ["data/b.json", "data/deep/a.json"]
        assert reader.at("HEAD").listed("data") == ["data"]


def test_directories_have_nothing_that_belongs_to_git_and_vml(repo: Repo, look: Look) -> None:
    for path in ("res/m.json", "res/t.json"):
        repo.write(path, "1")
    repo.run("add", "res/t.json")  # which brings a pointer and a .gitignore
    for path in ("res/vml.yaml", "res/vml.lock", "res/.vmlignore"):
        repo.write(path, '{"schema": 1, "stages": {}}' if path.endswith("lock") else "")
    repo.commit()
    with reading(repo) as reader:
        assert look(reader).listed("res") == ["res/m.json", "res/t.json"]
        assert look(reader).listed("res/*") == ["res/m.json", "res/t.json"]
        assert look(reader).listed("*/.*") == []


def test_data_may_be_named_like_a_pointer(repo: Repo, look: Look) -> None:
    repo.write("data/x.vml", "data")
    repo.write("data/vml.yaml", "data")
    repo.run("add", "data")
    repo.commit()
    with reading(repo) as reader:
        at = look(reader)
        assert revision.read(at, "data/x.vml") == b"data"
        assert revision.read(at, "data/x") is None
        assert at.stage_files() == []


def test_brackets_in_a_name(repo: Repo, look: Look) -> None:
    repo.write("a[1].json", "1")
    repo.write("b[1]/x", "x")
    repo.write("a1.json", "2")
    repo.commit()
    with reading(repo) as reader:
        assert look(reader).listed("a[1].json") == ["a[1].json"]
        assert look(reader).listed("b[1]") == ["b[1]/x"]
        assert look(reader).listed("a[12].json") == ["a1.json"]


# --- What lies elsewhere ---------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A directory beside the repository, with a file in it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.yaml").write_text("password: hunter2\n")
    return tmp_path / "outside"


def test_paths_that_lead_out(repo: Repo, secret: Path, look: Look) -> None:
    repo.commit()
    with reading(repo) as reader:
        at = look(reader)
        for path in (str(secret / "secret.yaml"), str(secret), f"{secret}/*.yaml", "/*", "/"):
            for ask in (at.listed, at.stored, at.opener):
                with pytest.raises(UserError, match="leads out of the project"):
                    ask(path)


def test_links_that_lead_out(repo: Repo, secret: Path, look: Look) -> None:
    (repo.path / "file.yaml").symlink_to(secret / "secret.yaml")
    (repo.path / "up.yaml").symlink_to("../outside/secret.yaml")
    (repo.path / "dir").symlink_to(secret)
    (repo.path / "null.yaml").symlink_to("/dev/null")
    (repo.path / "inner").mkdir()
    (repo.path / "inner/again").symlink_to("../dir")
    repo.write("inner/plain.yaml", "1")
    repo.commit()
    with reading(repo) as reader:
        at = look(reader)
        for path in ("file.yaml", "up.yaml", "dir", "null.yaml", "dir/secret.yaml", "inner/again/secret.yaml"):
            with pytest.raises(UserError, match=r"leads out of the project|is a symbolic link"):
                revision.read(at, path)
        for path in ("dir/secret.yaml", "dir/*.yaml", "dir/sub", "inner/again/*"):
            with pytest.raises(UserError, match=r"leads out of the project|is a symbolic link"):
                for file in at.listed(path):
                    revision.read(at, file)
        assert files_of(at, "inner") == {"inner/plain.yaml": b"1"}
        assert at.listed("*.yaml") == []
        assert at.listed("**/*.yaml") == ["inner/plain.yaml"]


def test_links_to_keys(repo: Repo, look: Look) -> None:
    repo.run("remote", "add", "s", "s3://bucket/x")
    repo.run("remote", "modify", "--local", "s", "secret_access_key", "hunter2", ok=False)
    (repo.path / "keys.toml").symlink_to(".vml/config.local.toml")
    (repo.path / "head").symlink_to(".git/HEAD")
    (repo.path / "state").symlink_to(".vml")
    repo.commit()
    with reading(repo) as reader:
        for path in ("keys.toml", "head", "state", "state/config.toml", "state/config.local.toml"):
            with pytest.raises(UserError, match=r"belongs to Git or vml|is a symbolic link"):
                revision.read(look(reader), path)
        for path in ("state/*", "state/cache"):
            with pytest.raises(UserError, match=r"belongs to Git or vml|is a symbolic link"):
                look(reader).listed(path)
        with pytest.raises(UserError, match="belongs to Git or vml"):
            revision.read(reader.workspace(), ".vml/config.toml")


def test_links_inside_the_project(repo: Repo) -> None:
    repo.write("run-12/m.json", "12")
    (repo.path / "latest").symlink_to("run-12")
    (repo.path / "m.json").symlink_to("latest/m.json")
    (repo.path / "loop").symlink_to("loop")
    (repo.path / "gone").symlink_to("nosuch")
    repo.commit()
    with reading(repo) as reader:
        now, then = reader.workspace(), reader.at("HEAD")
        assert revision.read(now, "m.json") == revision.read(now, "latest/m.json") == b"12"
        assert now.listed("latest/*.json") == ["latest/m.json"]
        # A commit says that it does not know, and not that nothing is there.
        for path in ("m.json", "latest/m.json", "latest"):
            with pytest.raises(UserError, match=r"is a symbolic link at HEAD"):
                revision.read(then, path)
        with pytest.raises(UserError, match=r"latest is a symbolic link at HEAD"):
            then.listed("latest/*.json")
        with pytest.raises(UserError, match="is a link to a directory"):
            revision.read(now, "latest")
        for path in ("loop", "gone"):
            with pytest.raises(UserError, match=r"is no regular file|cannot be read"):
                revision.read(now, path)


def test_links_into_the_store_are_the_files_themselves(repo: Repo, tmp_path: Path) -> None:
    for place in ("", str(tmp_path / "shared")):
        repo.run("config", "--local", "cache.link", "symlink")
        if place:
            repo.run("config", "--local", "cache.dir", place)
        repo.write("data/a.json", "a")
        repo.write("b.json", "b")
        repo.run("add", "data", "b.json")
        assert (repo.path / "b.json").is_symlink()
        with reading(repo) as reader:
            assert files_of(reader.workspace()) == {"data/a.json": b"a", "b.json": b"b"}
        repo.run("rm", "data", "b.json")


def test_what_is_no_file(repo: Repo) -> None:
    os.mkfifo(repo.path / "fifo.json")
    repo.write("res/m.json", "1")
    os.mkfifo(repo.path / "res/fifo")
    with reading(repo) as reader:
        at = reader.workspace()
        with pytest.raises(UserError, match="is no regular file"):
            revision.read(at, "fifo.json")
        assert at.listed("res") == ["res/m.json"]


def test_submodules(repo: Repo) -> None:
    commit = repo.git("rev-parse", "HEAD").strip()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
    repo.git("commit", "-qm", "submodule")
    with reading(repo) as reader, pytest.raises(UserError, match="sub is a submodule at HEAD"):
        revision.read(reader.at("HEAD"), "sub")
    with reading(repo) as reader, pytest.raises(UserError, match="sub is a submodule at HEAD"):
        revision.read(reader.at("HEAD"), "sub/m.json")


# --- Large, many, broken ---------------------------------------------------------------------------------


def test_sizes(repo: Repo, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    with (repo.path / "large.json").open("wb") as file:
        file.truncate(values.MAX_SIZE + 1)
    repo.write("tracked.json", bytes(1001))
    repo.run("add", "tracked.json")
    repo.commit()
    with reading(repo) as reader:
        at = look(reader)
        with pytest.raises(UserError, match=r"large\.json is larger than 32\.0 MB"):
            revision.read(at, "large.json")
        raw = revision.read(at, "large.json", limit=values.MAX_SIZE + 1)
        assert raw is not None and len(raw) == values.MAX_SIZE + 1
        with pytest.raises(UserError, match=r"tracked\.json is larger than 1\.0 kB"):
            revision.read(at, "tracked.json", limit=1000)
        monkeypatch.setattr(committed, "LARGEST", values.MAX_SIZE)
        with pytest.raises(UserError, match=r"is larger than 32\.0 MB"):
            revision.read(reader.at("HEAD"), "large.json", limit=values.MAX_SIZE + 1)


def test_too_many_files(repo: Repo, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcs_ml.metrics.naming.FILES_MAX", 3)
    for n in range(4):
        repo.write(f"a/{n}", "")
    repo.commit()
    with reading(repo) as reader:
        for path in ("a", "a/*", ""):
            with pytest.raises(UserError, match="more than 3 files"):
                look(reader).listed(path)
        assert look(reader).listed("a/[012]") == ["a/0", "a/1", "a/2"]


def test_broken_pointers_and_lock_files(repo: Repo, look: Look) -> None:
    fill(repo)
    for path in ("sub/tracked.json", "out.json"):
        (repo.path / path).unlink()
    repo.write("sub/tracked.json.vml", "{")
    repo.write("vml.lock", "<<<<<<< ours\n")
    repo.commit()
    with reading(repo) as reader:
        at = look(reader)
        assert revision.read(at, "in-git.json") == b"git"
        assert revision.read(at, "data/b.json") == b"b"
        for path, source in (("sub/tracked.json", "sub/tracked.json.vml"), ("out.json", "vml.lock")):
            with pytest.raises(UserError, match=source):
                revision.read(at, path)
        with pytest.raises(UserError, match=r"tracked\.json\.vml"):
            at.listed("sub")
        with pytest.raises(UserError, match=r"tracked\.json\.vml"):
            at.listed("s*/*.json")
        assert at.listed("data") == ["data/b.json", "data/deep/a.json"]


def test_damaged_objects(repo: Repo) -> None:
    repo.write("m.json", "content")
    repo.run("add", "m.json")
    repo.commit()
    for place in filter(Path.is_file, (repo.path / ".vml/cache").rglob("*")):
        place.chmod(0o644)
        place.write_bytes(place.read_bytes().replace(b"content", b"CONTENT"))
    with reading(repo) as reader, pytest.raises(CorruptError):
        revision.read(reader.at("HEAD"), "m.json")


def test_a_pointer_cannot_make_a_large_object_small(repo: Repo) -> None:
    repo.write("large.json", bytes(3_000_000))
    repo.run("add", "large.json")
    repo.write("large.json.vml", repo.read("large.json.vml").replace(b"3000000", b"3"))
    repo.commit()
    with reading(repo) as reader, pytest.raises(UserError, match="is larger than"):
        revision.read(reader.at("HEAD"), "large.json", limit=1000)


def test_names_that_are_not_utf8(repo: Repo, look: Look) -> None:
    name = os.fsdecode(b"res/\xff.json")
    repo.write(name, "1")
    repo.write("res/ä.json", "2")
    repo.commit()
    with reading(repo) as reader:
        assert look(reader).listed("res") == ["res/ä.json"]


def test_projects_in_this_one_and_around_it(repo: Repo, look: Look) -> None:
    for place in ("", "inner/", "inner/deep/"):
        repo.write(f"{place}vml.yaml", "metrics: [m.json]\n")
        repo.write(f"{place}m.json", place)
    repo.write("inner/deep/t", "t")
    repo.run("init", cwd="inner")
    repo.run("add", "t", cwd="inner/deep")
    repo.commit()
    with reading(repo) as reader:
        assert look(reader).stage_files() == ["vml.yaml"]
    with reading(repo, "inner") as reader:
        at = look(reader)
        assert at.stage_files() == ["deep/vml.yaml", "vml.yaml"]
        assert revision.read(at, "m.json") == b"inner/"
        assert files_of(at, "deep") == {"deep/m.json": b"inner/deep/", "deep/t": b"t"}
    with reading(repo, "inner") as reader:
        assert files_of(reader.at("HEAD~1")) == {}  # when it was not there yet
        assert reader.at("HEAD~1").stage_files() == []


# --- Against a model -------------------------------------------------------------------------------------

PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**", "[ab]", "x?", "*.json"]), min_size=1, max_size=4)


@settings(max_examples=60)
@given(st.lists(PATTERNS.map("/".join), min_size=1, max_size=5))
def test_patterns_list_what_they_match(grove: tuple[Repo, list[str]], wanted: list[str]) -> None:
    repo, every = grove
    with reading(repo) as reader:
        for at in (reader.at("HEAD"), reader.workspace()):
            for pattern in wanted:
                expected = [path for path in every if patterns.matches(path, pattern)]
                if not patterns.is_pattern(pattern):
                    expected = [path for path in every if path == pattern or path.startswith(f"{pattern}/")]
                assert at.listed(pattern) == expected


@pytest.fixture
def grove(repo: Repo) -> tuple[Repo, list[str]]:
    every = ["a/a/m.json", "a/b/x1/m.json", "a/x2", "b/a/b/a", "b/b/deep/er/a", "m.json", "x1/b/m.json", "x3"]
    for path in every:
        repo.write(path, path)
    repo.run("add", "a/b", "b/b/deep", "x3")
    stages.record(repo, "make", ["b/a", "x1"])
    repo.commit()
    return repo, sorted(every)


def test_stars_without_end(repo: Repo, look: Look) -> None:
    repo.write("/".join("a" * 60) + "/x.json", "")
    repo.commit()
    with reading(repo) as reader:
        assert look(reader).listed("/".join(["**", "a"] * 40) + "/y.json") == []
        assert len(look(reader).listed("/".join(["**", "a"] * 40) + "/**/x.json")) == 1
