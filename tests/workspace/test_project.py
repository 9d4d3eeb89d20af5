"""Finding and making projects, in every kind of repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vcs_ml.errors import UsageError, UserError
from vcs_ml.workspace.project import Project

ENV: dict[str, str] = {}


def git(cwd: Path, *args: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *args], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


def committed(repo: Path) -> Project:
    project = Project.init(repo, ENV)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "x")
    return project


def test_init_and_find(repo: Path) -> None:
    project = Project.init(repo, ENV, "sha256")
    (repo / "a" / "b").mkdir(parents=True)
    found = Project.find(repo / "a" / "b", ENV)
    assert (found.root, found.prefix, found.id) == (repo, "", project.id)
    assert found.algorithm.name == "sha256"
    assert found.cache_dir == repo / ".vml" / "cache"
    assert found.store_lock == repo / ".vml" / "cache" / "lock"
    assert (found.index_dir, found.tmp_dir, found.lock_dir) == tuple(
        repo / ".vml" / name for name in ("index", "tmp", "lock")
    )
    assert found.in_git("x") == "x"
    for name in ("cache", "index", "lock", "saved", "tmp", "logs"):
        (repo / ".vml" / name).mkdir()
        (repo / ".vml" / name / "x").write_text("")
    (repo / ".vml" / "config.local.toml").write_text("")
    listed = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=repo, check=True, capture_output=True)
    assert listed.stdout == b"?? .vml/.gitignore\n?? .vml/config.toml\n"


def test_errors_say_what_to_do(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not inside a Git repository") as caught:
        Project.find(tmp_path, ENV)
    assert "git init" in (caught.value.hint or "")
    with pytest.raises(UserError, match="not inside a Git repository"):
        Project.init(tmp_path, ENV)
    with pytest.raises(UserError, match="no vml project") as caught:
        Project.find(repo, ENV)
    assert caught.value.hint == "vml init"
    with pytest.raises(UserError, match="belongs to Git"):
        Project.init(repo / ".git" / "hooks", ENV)
    with pytest.raises(UserError, match="unknown hash"):
        Project.init(repo, ENV, "md5")
    assert not (repo / ".vml").exists()
    Project.init(repo, ENV)
    with pytest.raises(UserError, match="already"):
        Project.init(repo, ENV)


def test_projects_in_sub_directories(repo: Path) -> None:
    outer = Project.init(repo, ENV)
    sub = repo / "models" / "ö"
    sub.mkdir(parents=True)
    inner = Project.init(sub, ENV)
    assert inner.id != outer.id
    assert Project.find(sub, ENV).prefix == "models/ö"
    assert inner.in_git("a/b") == "models/ö/a/b"
    assert inner.in_git("") == "models/ö"
    assert Project.find(sub.parent, ENV).root == repo


def test_another_repository_inside_is_not_ours(repo: Path) -> None:
    Project.init(repo, ENV)
    inner = repo / "vendor"
    inner.mkdir()
    git(inner, "init", "-q")
    with pytest.raises(UserError, match="no vml project"):
        Project.find(inner, ENV)


def test_linked_worktree_shares_the_store(repo: Path, tmp_path: Path) -> None:
    main = committed(repo)
    main.config.set("local", "transfer.jobs", "3")
    git(repo, "worktree", "add", "-q", "../linked")
    linked = Project.find(tmp_path / "linked", ENV)
    assert linked.root == tmp_path / "linked"
    assert (linked.cache_dir, linked.store_lock) == (main.cache_dir, main.store_lock)
    assert linked.index_dir == tmp_path / "linked" / ".vml" / "index"
    assert (linked.id, linked.config.jobs) == (main.id, 3)
    main.config.set("local", "cache.dir", "../shared")
    linked = Project.find(tmp_path / "linked", ENV)
    assert linked.cache_dir == tmp_path / "shared"
    assert linked.store_lock == tmp_path / "shared" / "lock"


def test_bare_repository_and_its_worktrees(repo: Path, tmp_path: Path) -> None:
    project = committed(repo)
    git(tmp_path, "clone", "-q", "--bare", "repo", "bare.git")
    bare = tmp_path / "bare.git"
    found = Project.find(bare, ENV)
    assert found.id == project.id
    assert found.cache_dir == bare / "vml" / "cache"
    git(bare, "worktree", "add", "-q", "../tree", "main")
    tree = Project.find(tmp_path / "tree", ENV)
    assert tree.cache_dir == found.cache_dir
    assert tree.store_lock == found.store_lock
    assert tree.index_dir == tmp_path / "tree" / ".vml" / "index"
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    with pytest.raises(UserError, match="no vml project at its HEAD"):
        Project.find(tmp_path / "empty.git", ENV)
    with pytest.raises(UserError, match="needs a working tree"):
        Project.init(bare, ENV)


def test_relative(repo: Path, tmp_path: Path) -> None:
    project = Project.init(repo, ENV)
    (repo / "data" / "sub").mkdir(parents=True)
    (repo / "link").symlink_to("data")
    (tmp_path / "door").symlink_to(repo)
    top, sub = repo, repo / "data" / "sub"
    for arg, start, path in [
        (".", top, ""), ("./", top, ""), ("..", repo / "data", ""), ("data/..", top, ""),
        ("data", top, "data"), ("data/", top, "data"), ("x", sub, "data/sub/x"), ("../y", sub, "data/y"),
        (str(repo / "z"), sub, "z"), (str(repo), sub, ""), ("not/yet/there", top, "not/yet/there"),
        ("link", top, "link"), ("link/x", top, "data/x"), (str(tmp_path / "door" / "x"), sub, "x"),
        ("x", tmp_path / "door", "x"), (".", tmp_path / "door", ""), ("a b*[", top, "a b*["),
        (str(tmp_path / "door"), sub, ""),
    ]:  # fmt: skip
        assert project.relative(arg, start) == path, (arg, start)
    for arg in ("..", "../x", "/", "/etc/passwd", "data/../../x", "../repository"):
        with pytest.raises(UserError, match="outside of the project") as caught:
            project.relative(arg, top)
        assert caught.value.hint
    for arg in (".git", ".git/config", ".vml/cache", "data/.GIT/x", ".vml-tmp-0", "\udcff"):
        with pytest.raises(UserError):
            project.relative(arg, top)
    with pytest.raises(UsageError, match="empty path"):
        project.relative("", top)


def test_what_lies_in_a_project_inside_is_that_ones(repo: Path) -> None:
    project = Project.init(repo, ENV)
    inner = repo / "services" / "ml"
    inner.mkdir(parents=True)
    Project.init(inner, ENV)
    for arg in ("services/ml", "services/ml/data/x"):
        with pytest.raises(UserError, match=r"x? ?belongs to the project services/ml$") as caught:
            project.relative(arg, repo)
        assert caught.value.hint == "vml -C services/ml …"
    with pytest.raises(UserError) as caught:
        project.relative("ml/x", repo / "services")
    assert caught.value.hint == "vml -C ml …"
    assert project.relative("services", repo) == "services"
    assert (project.own_path("services/x"), project.own_path("services/ml/x")) == ("services/x", None)


@pytest.mark.parametrize("name", ["", "cache", "index", "lock", "saved", "tmp", "logs"])
def test_links_in_the_place_of_our_directories_are_refused(repo: Path, tmp_path: Path, name: str) -> None:
    committed(repo)
    git(repo, "worktree", "add", "-q", "../linked")
    for root in (repo, tmp_path / "linked"):
        place = root / ".vml" / name
        if name:
            place.symlink_to(tmp_path / "nowhere")
        else:
            place.rename(tmp_path / f"moved-{root.name}")
            place.symlink_to(tmp_path / f"moved-{root.name}")
        with pytest.raises(UserError, match="is a symlink") as caught:
            Project.find(root, ENV)
        assert str(place) in caught.value.message
        assert caught.value.hint
        if root == repo:
            with pytest.raises(UserError, match="is a symlink"):
                Project.find(tmp_path / "linked", ENV)
            place.unlink()
            if not name:
                (tmp_path / "moved-repo").rename(place)


def test_cache_dir_settings(repo: Path) -> None:
    project = Project.init(repo, ENV)
    project.config.set("project", "cache.dir", "big/cache")
    assert Project.find(repo, ENV).cache_dir == repo / "big" / "cache"
    (repo / "big").symlink_to(repo.parent)
    with pytest.raises(UserError, match="leads out of the project"):
        _ = Project.find(repo, ENV).cache_dir
    project.config.set("local", "cache.dir", "../there")
    assert Project.find(repo, ENV).cache_dir == repo.parent / "there"
    assert Project.find(repo, {"VML_CACHE_DIR": "/big/cache"}).cache_dir == Path("/big/cache")


def test_remotes_are_located_from_the_project(repo: Path) -> None:
    project = Project.init(repo, ENV)
    for name, url in {"dir": "../store", "file": "file:///srv/a%20b", "s3": "s3://b/p"}.items():
        project.config.set("project", f"remote.{name}.url", url)
    assert project.remote("dir").url == str(repo.parent / "store")
    assert project.remote("file").url == "/srv/a b"
    assert project.remote("s3").url == "s3://b/p"


def test_a_project_without_id_is_an_error(repo: Path) -> None:
    project = Project.init(repo, ENV)
    (repo / ".vml" / "config.toml").write_text("")
    with pytest.raises(UserError, match=r"no core\.id"):
        _ = Project.find(repo, ENV).id
    assert project.id
