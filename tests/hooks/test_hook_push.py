"""What `git push` takes to another repository, its data is on the remote, or the push does not happen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.hooked import bare, commit, git, install, version

NOTHING = "vml: these commits name no new data\n"


@pytest.fixture
def origin(repo: Repo, remote: Path) -> Repo:
    """A bare repository that `repo` pushes to, with hooks in place; its first commits are there."""
    made = bare(repo)
    repo.git("remote", "add", "origin", str(made.path))
    version(repo, {"base": "base"})
    install(repo)
    git(repo, "push", "-q", "-u", "origin", "main")
    return made


def pulled(origin: Repo, name: str, revision: str) -> Repo:
    """A clone of what was pushed, at a revision, with its data from the remote alone."""
    clone = origin.clone(name)
    clone.git("checkout", "-q", revision)
    clone.run("pull")
    return clone


def test_data_travels_with_its_commits(repo: Repo, origin: Repo) -> None:
    version(repo, {"a": "1"})

    said = git(repo, "push")

    assert "vml: pushed to origin: 1 object" in said.err
    assert pulled(origin, "clone", "main").read("a") == b"1"
    assert git(repo, "push").err == f"{NOTHING}Everything up-to-date\n"


def test_the_commits_count_and_not_the_workspace(repo: Repo, origin: Repo) -> None:
    git(repo, "checkout", "-q", "-b", "side")
    first = version(repo, {"a": "first"})
    version(repo, {"a": "second"})
    git(repo, "checkout", "-q", "main")
    repo.write("uncommitted", "x" * 10)
    repo.run("add", "uncommitted")

    said = git(repo, "push", "origin", "side")

    assert "2 objects" in said.err
    assert pulled(origin, "second", "side").read("a") == b"second"
    assert pulled(origin, "first", first).read("a") == b"first"


def test_all_refs_of_a_push_count(repo: Repo, origin: Repo) -> None:
    git(repo, "push", "-q", "origin", "main:gone")
    for name in ("one", "two", "three"):
        git(repo, "checkout", "-q", "-b", name, "main")
        version(repo, {"a": name})
    repo.git("tag", "-a", "-m", "tag", "v3")
    repo.git("tag", "blob", repo.git("rev-parse", "HEAD:a.vml").strip())

    said = git(repo, "push", "origin", "one", "two", "v3", "blob", ":gone")

    assert "3 objects" in said.err
    for revision, content in (("origin/one", b"one"), ("origin/two", b"two"), ("v3", b"three")):
        assert pulled(origin, content.decode(), revision).read("a") == content


@pytest.mark.parametrize("how", ["--tags", "--mirror"])
def test_tags_and_mirrors(repo: Repo, origin: Repo, how: str) -> None:
    git(repo, "checkout", "-q", "--detach")
    version(repo, {"a": "tagged"})
    repo.git("tag", "v1")

    git(repo, "push", "-q", how, "origin")

    assert pulled(origin, "clone", "v1").read("a") == b"tagged"


def test_a_deleted_ref_takes_nothing(repo: Repo, origin: Repo) -> None:
    git(repo, "push", "-q", "origin", "main:gone")
    shutil.rmtree(repo.path / ".vml/cache")

    assert NOTHING in git(repo, "push", "origin", ":gone").err


def test_a_forced_push_over_commits_that_are_not_here(repo: Repo, origin: Repo, tmp_path: Path) -> None:
    other = origin.clone("other")
    version(other, {"a": "theirs"})
    git(other, "push", "-q", "origin", "HEAD:main", VML_SKIP_HOOKS="1")
    version(repo, {"a": "ours"})

    git(repo, "push", "-q", "--force")

    assert pulled(origin, "clone", "main").read("a") == b"ours"


def test_a_push_to_an_address(repo: Repo, origin: Repo) -> None:
    version(repo, {"a": "1"})
    other = bare(repo, "other.git")

    git(repo, "push", "-q", str(other.path), "main")

    assert pulled(other, "clone", "main").read("a") == b"1"


def test_data_that_is_nowhere_stops_the_push(repo: Repo, origin: Repo) -> None:
    version(repo, {"a": "1", "b": "2"})
    shutil.rmtree(repo.path / ".vml/cache")

    said = git(repo, "push", ok=False)

    assert said.code == 1
    assert "neither the local store nor origin has all data of 2 paths:\n  a\n  b\n" in said.err
    assert "VML_SKIP_HOOKS=push git push goes past this" in said.err
    git(repo, "push", VML_SKIP_HOOKS="push")


def test_data_that_the_remote_has_need_not_be_here(repo: Repo, origin: Repo) -> None:
    version(repo, {"a": "1"})
    repo.run("push")
    shutil.rmtree(repo.path / ".vml/cache")

    assert "vml: origin has everything already" in git(repo, "push").err


def test_what_another_branch_brought_is_not_asked_of_a_merge(repo: Repo, origin: Repo) -> None:
    other = origin.clone("other")
    version(other, {"theirs/a": "forgotten"})
    git(other, "push", "-q", "origin", "HEAD:main", VML_SKIP_HOOKS="1")
    version(repo, {"mine/b": "mine"})
    git(repo, "pull", "-q", "--no-rebase", "--no-edit")

    said = git(repo, "push")

    assert "1 object" in said.err


def test_without_a_remote_only_data_stops_a_push(repo: Repo) -> None:
    bare(repo)
    repo.git("remote", "add", "origin", str(repo.path.parent / "origin.git"))
    install(repo)
    assert NOTHING in git(repo, "push", "origin", "main").err
    version(repo, {"a": "1"})

    said = git(repo, "push", "origin", "main", ok=False)

    assert said.code == 1
    assert "error: a has no remote to go to" in said.err
    assert "hint: vml remote add -d NAME URL; VML_SKIP_HOOKS=push git push goes past this" in said.err


def test_a_remote_that_cannot_be_reached_stops_a_push(repo: Repo, origin: Repo, remote: Path) -> None:
    version(repo, {"a": "1"})
    shutil.rmtree(remote)
    remote.write_bytes(b"")

    said = git(repo, "push", ok=False)

    assert said.code == 1
    assert "VML_SKIP_HOOKS=push git push goes past this" in said.err


def test_a_project_that_is_not_checked_out(repo: Repo, origin: Repo, tmp_path: Path) -> None:
    git(repo, "checkout", "-q", "-b", "side")
    (repo.path / "sub").mkdir()
    repo.run("init", cwd="sub")
    repo.run("remote", "add", "-d", "own", str(tmp_path / "own"), cwd="sub")
    repo.write("sub/a", "sub")
    repo.run("add", "a", cwd="sub")
    commit(repo)
    git(repo, "checkout", "-q", "main")

    said = git(repo, "push", "origin", "side")

    assert "vml: sub: pushed to own: 1 object" in said.err
    clone = origin.clone("clone")
    clone.git("checkout", "-q", "side")
    clone.run("pull", cwd="sub")
    assert clone.read("sub/a") == b"sub"


def test_commits_of_a_project_that_was_never_here(repo: Repo, origin: Repo) -> None:
    other = origin.clone("other")
    (other.path / "sub").mkdir()
    other.run("init", cwd="sub")
    other.write("sub/a", "sub")
    other.run("add", "a", cwd="sub")
    commit(other)
    repo.git("fetch", "-q", str(other.path), "HEAD:theirs")

    said = git(repo, "push", "origin", "theirs", ok=False)

    assert said.code == 1
    assert "error: sub/a cannot be sent: the project sub is not in this clone" in said.err
    assert "VML_SKIP_HOOKS=push git push goes past this" in said.err

    repo.git("remote", "add", "colleague", str(other.path))
    repo.git("fetch", "-q", "colleague")
    said = git(repo, "push", "origin", "theirs")

    assert "was not looked at: the project sub is not in this clone" in said.err
    assert NOTHING not in said.err


@pytest.mark.parametrize("elsewhere", ["plain", "other"])
def test_the_repository_is_the_one_that_git_names(repo: Repo, origin: Repo, elsewhere: str) -> None:
    place = repo.beside(elsewhere)
    place.path.mkdir()
    if elsewhere == "other":
        place.git("init", "-q")
        place.run("init")
    version(repo, {"a": "1"})
    git_dir = f"--git-dir={repo.path / '.git'}"

    said = git(place, git_dir, "push", str(origin.path), "main")

    assert "vml: pushed to origin: 1 object" in said.err
    version(repo, {"a": "2"})
    said = git(place, git_dir, f"--work-tree={place.path}", "push", str(origin.path), "main")
    assert "vml: pushed to origin: 1 object" in said.err


def test_without_a_repository_nothing_is_pushed(repo: Repo, tmp_path: Path) -> None:
    nowhere = repo.beside("nowhere")
    nowhere.path.mkdir()

    said = nowhere.fails("hook", "pre-push", "origin", "url", code=3)

    assert "is not in a repository of Git" in said.err
    assert "VML_SKIP_HOOKS=push git push goes past this" in said.err


def test_worktrees_beside_a_bare_repository(repo: Repo, origin: Repo, tmp_path: Path) -> None:
    around = repo.beside("around")
    around.path.mkdir()
    repo.git("clone", "-q", "--bare", str(origin.path), str(around.path / ".bare"))
    around.write(".git", "gitdir: ./.bare\n")
    around.git("worktree", "add", "-q", "-b", "feat", "feat")
    feat = repo.beside("around/feat")
    feat.run("install")
    version(feat, {"a": "feat"})

    said = git(around, "push", str(origin.path), "feat")

    assert "vml: pushed to origin: 1 object" in said.err
    assert pulled(origin, "clone", "feat").read("a") == b"feat"
    feat.git("push", "-q", "--no-verify", str(origin.path), "feat:main")
    around.git("fetch", "-q", "origin", "+main:main")
    assert len(around.json("log", "a")["versions"]) == 1


def test_worktrees_push_too(repo: Repo, origin: Repo, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    linked = repo.beside("linked")
    version(linked, {"a": "linked"})

    git(repo, "-C", str(linked.path), "push", "-q", "origin", "side")

    assert pulled(origin, "clone", "side").read("a") == b"linked"


def test_outputs_go_where_they_belong(repo: Repo, origin: Repo, tmp_path: Path) -> None:
    repo.run("remote", "add", "second", str(tmp_path / "second"))
    repo.write(
        "vml.yaml",
        "stages:\n  s:\n    cmd: for f in a b c; do echo $f > $f; done\n"
        "    outs:\n    - a\n    - b: {remote: second}\n    - c: {push: false}\n",
    )
    repo.run("repro")
    commit(repo)

    said = git(repo, "push")

    assert "pushed to origin: 1 object" in said.err
    assert "pushed to second: 1 object" in said.err


def test_a_line_that_git_does_not_write(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("refs/heads/main $(rm -rf ~) refs/heads/main 0\n")
    with (tmp_path / "lines").open() as lines:
        monkeypatch.setattr("sys.stdin", lines)
        said = repo.fails("hook", "pre-push", "origin", "url", code=3)

    assert "a line that Git does not write" in said.err


# ---------------------------------------------------------------------- the pre-commit framework, and by hand


def test_the_framework_tells_of_a_push_by_its_variables(
    repo: Repo, origin: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = repo.git("rev-parse", "HEAD").strip()
    version(repo, {"a": "1"})
    after = version(repo, {"a": "2"})
    for name, value in {
        "FROM_REF": before,
        "TO_REF": after,
        "REMOTE_NAME": "origin",
        "REMOTE_URL": str(origin.path),
        "LOCAL_BRANCH": "refs/heads/main",
        "REMOTE_BRANCH": "refs/heads/main",
    }.items():
        monkeypatch.setenv(f"PRE_COMMIT_{name}", value)

    forgotten = repo.fails("hook", "verify-remote", code=1)
    assert "origin does not have all data of 1 path:\n  a\n" in forgotten.err
    assert "hint: vml push --all-commits; VML_SKIP_HOOKS=verify-remote git push goes past this" in forgotten.err
    assert "2 objects" in repo.run("hook", "push").err
    assert repo.run("hook", "verify-remote").err == "vml: origin has everything\n"


def test_the_framework_names_no_commit_where_all_is_new(
    repo: Repo, origin: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(repo, {"a": "1"})
    monkeypatch.setenv("PRE_COMMIT_LOCAL_BRANCH", "refs/heads/main")
    monkeypatch.setenv("PRE_COMMIT_REMOTE_NAME", "elsewhere")
    monkeypatch.setenv("PRE_COMMIT_REMOTE_URL", "elsewhere")

    assert "1 object" in repo.run("hook", "push").err


def test_by_hand_head_counts(repo: Repo, origin: Repo) -> None:
    version(repo, {"a": "1"})
    repo.write("b", "2")
    repo.run("add", "b")

    forgotten = repo.fails("hook", "verify-remote", code=1)
    assert "1 path:\n  a\nhint: vml push\n" in forgotten.err
    assert "1 object" in repo.run("hook", "push").err
    assert repo.run("hook", "verify-remote").err == "vml: origin has everything\n"


def test_the_data_of_every_project_is_looked_for(repo: Repo, tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        (repo.path / name).mkdir()
        repo.run("init", cwd=name)
        repo.run("remote", "add", "-d", "origin", str(tmp_path / f"of-{name}"), cwd=name)
        repo.write(f"{name}/x.csv", name)
        repo.run("add", "x.csv", cwd=name)
    commit(repo)

    said = repo.fails("hook", "verify-remote", code=1).err

    assert "error: origin does not have all data of 1 path:\n  p1/x.csv\nhint: vml -C p1 push\n" in said
    assert "error: origin does not have all data of 1 path:\n  p2/x.csv\nhint: vml -C p2 push\n" in said
    assert "hint: vml push\n" in repo.fails("hook", "verify-remote", code=1, cwd="p1").err
    for name in ("p1", "p2"):
        repo.run("-C", name, "push")
    assert repo.run("hook", "verify-remote").err == "vml: p1: origin has everything\nvml: p2: origin has everything\n"


# ---------------------------------------------------------------------- setting up


def elsewhere(repo: Repo, remote: Path) -> Repo:
    """A clone that lies deeper than `repo`, whose remote has a relative url."""
    repo.run("remote", "modify", "origin", "url", "../remote")
    install(repo)
    version(repo, {"base": "base"})
    made = bare(repo)
    repo.git("remote", "add", "origin", str(made.path))
    assert "vml: set up a new remote at " in git(repo, "push", "-u", "origin", "main").err
    assert (remote / "vml.json").is_file()
    clone = repo.beside("deep/er")
    git(repo, "clone", "-q", str(made.path), str(clone.path))
    return clone


def test_no_remote_is_set_up_where_earlier_commits_record_data(repo: Repo, remote: Path) -> None:
    clone = elsewhere(repo, remote)
    clone.run("install")
    version(clone, {"new": "new"})

    said = git(clone, "push", ok=False)

    wrong = clone.path.parent / "remote"
    assert said.code != 0
    assert f"error: remote 'origin': nothing is at {wrong}, though earlier commits" in said.err
    assert "vml remote modify origin url URL" in said.err
    assert "vml push sets up a new one" in said.err
    assert not wrong.exists()
    git(clone, "push", "-q", str(bare(repo, "fork.git").path), "HEAD:refs/heads/main", ok=False)
    assert not wrong.exists()
    clone.run("remote", "modify", "--local", "origin", "url", str(remote))
    assert "pushed to origin: 1 object" in git(clone, "push").err


def test_a_remote_that_commits_name_anew_is_set_up(repo: Repo, remote: Path, tmp_path: Path) -> None:
    clone = elsewhere(repo, remote)
    clone.run("install")
    clone.run("remote", "modify", "origin", "url", str(tmp_path / "moved"))
    version(clone, {"new": "new"})

    assert f"vml: set up a new remote at {tmp_path / 'moved'}" in git(clone, "push").err


def test_by_hand_a_new_remote_is_set_up(repo: Repo, remote: Path) -> None:
    clone = elsewhere(repo, remote)
    clone.run("install")
    version(clone, {"new": "new"})

    assert "set up a new remote" in clone.run("push", "new").err
    assert "vml: origin has everything already" in git(clone, "push").err


def test_a_push_that_fails_makes_no_directory(repo: Repo, origin: Repo, remote: Path) -> None:
    version(repo, {"a": "1"})
    remote.rename(remote.with_name("away"))

    said = git(repo, "push", ok=False)

    assert f"{remote} was a vml remote, and is none any more" in said.err
    assert not remote.exists()
