"""Git: finding repositories and reading them, with real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vcs_ml import git as vgit
from vcs_ml import history
from vcs_ml.errors import UserError
from vcs_ml.git import FileStatus, GitRoot


@pytest.fixture(autouse=True)
def plain_git(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }.items():
        monkeypatch.setenv(name, value)


def sh(cwd: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(repo: Path, files: dict[str, str], message: str = "x") -> str:
    for name, text in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sh(repo, "add", "-A")
    sh(repo, "commit", "-q", "-m", message)
    return sh(repo, "rev-parse", "HEAD")


def blob(repo: Path, rev_path: str) -> str:
    return sh(repo, "rev-parse", rev_path)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    sh(path, "init", "-q", "-b", "main")
    return path


def found(path: Path) -> GitRoot:
    root = vgit.root(path)
    assert root is not None
    return root


def status_of(root: vgit.GitRoot, pathspecs: list[str]) -> list[vgit.FileStatus]:
    with vgit.start([*vgit.STATUS, "--untracked-files=all", "--", *pathspecs], root.cwd) as running:
        return vgit.parse_status(running.wait())


def test_root_of_a_plain_repository(repo: Path, tmp_path: Path) -> None:
    (repo / "a" / "b").mkdir(parents=True)
    expected = GitRoot(repo, repo / ".git", repo / ".git")
    assert vgit.root(repo) == vgit.root(repo / "a" / "b") == vgit.root(repo / ".git" / "hooks") == expected
    assert vgit.root(tmp_path) is None


def test_root_of_a_bare_repository(tmp_path: Path) -> None:
    sh(tmp_path, "init", "-q", "--bare", "bare.git")
    bare = tmp_path / "bare.git"
    assert vgit.root(bare) == vgit.root(bare / "hooks") == GitRoot(None, bare, bare)


def test_root_of_a_linked_worktree_and_a_submodule(repo: Path, tmp_path: Path) -> None:
    commit(repo, {"a": "1"})
    sh(repo, "worktree", "add", "-q", "../linked")
    linked = tmp_path / "linked"
    assert vgit.root(linked) == GitRoot(linked, repo / ".git" / "worktrees" / "linked", repo / ".git")
    sh(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo), "sub")
    sub = found(repo / "sub")
    assert sub.worktree == repo / "sub"
    assert sub.git_dir.resolve() == repo / ".git" / "modules" / "sub"
    assert vgit.head(sub) == sh(repo, "rev-parse", "HEAD")


def test_run_names_what_failed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"git failed in .*revision") as caught:
        vgit.run(["log", "nope", "--"], repo)
    assert "git -C" in (caught.value.hint or "")
    with pytest.raises(FileNotFoundError):
        vgit.run(["status"], repo / "missing")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="git is not installed"):
        vgit.run(["status"], repo)


def test_foreign_owner_is_explained(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match="does not trust the repository") as caught:
        vgit.run(["status"], repo)
    assert caught.value.hint == f"git config --global --add safe.directory {repo}"


def test_start_overlaps_and_is_ended(repo: Path) -> None:
    with vgit.start([*vgit.STATUS, "--", "*.vml"], repo) as running:
        (repo / "x").write_text("")
        assert vgit.parse_status(running.wait()) == []
    with vgit.start(["cat-file", "--batch"], repo):
        pass  # never waited for, and still no process is left (pytest would warn)
    with pytest.raises(UserError), vgit.start(["nope"], repo) as running:
        running.wait()


def test_inside_a_hook_the_index_of_the_commit_is_used(repo: Path, tmp_path: Path) -> None:
    commit(repo, {"old": "1", "sub/keep": "1"})
    other = tmp_path / "other"
    other.mkdir()
    sh(other, "init", "-q")
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"""#!{sys.executable}
import sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from vcs_ml import git
root = git.root(Path.cwd() / "sub")
print("here", sorted(git.tracked(root, ["old", "new"])), file=sys.stderr)
print("there", git.tracked(git.root(Path({str(other)!r})), ["old", "new"]), file=sys.stderr)
""")
    hook.chmod(0o755)
    (repo / "old").write_text("2")
    (repo / "new").write_text("2")
    sh(repo, "add", "new")
    done = subprocess.run(
        ["git", "commit", "-m", "x", "--only", "old"], cwd=repo, capture_output=True, text=True, check=True
    )
    # `commit --only` works on an index of its own, in which `new` was not added.
    assert "here ['old']\n" in done.stderr
    assert "there set()\n" in done.stderr


def test_tracked(repo: Path) -> None:
    commit(repo, {"data/a": "1", "w*ld": "1", "ü b": "1"})
    (repo / "wild").write_text("")
    root = found(repo)
    assert vgit.tracked(root, ["data", "data/a", "dat", "w*ld", "wild", "ü b"]) == {
        "data",
        "data/a",
        "w*ld",
        "ü b",
    }
    assert vgit.tracked(root, [f"x{n}" for n in range(1200)] + ["data"]) == {"data"}
    assert vgit.is_tracked(root, "")
    assert not vgit.is_tracked(root, "wild")
    assert vgit.tracked(root, []) == set()


def test_head_and_resolve(repo: Path) -> None:
    root = found(repo)
    assert vgit.head(root) is None
    first = commit(repo, {"a": "1"})
    assert vgit.head(root) == first
    sh(repo, "tag", "-a", "v1", "-m", "x")
    assert vgit.resolve(root, "HEAD") == vgit.resolve(root, "v1") == vgit.resolve(root, first[:8]) == first
    second = commit(repo, {"a": "2"})
    message = sh(repo, "log", "-1", "--format=%s").strip()
    assert vgit.resolve(root, f":/{message}") == vgit.resolve(root, f"HEAD^{{/{message}}}") == second
    for rev in (":/mian", ":a", "mian", "", "-h", "--all", "HEAD:a", "a..b", "HEAD~9", "x\0y", "x\ny"):
        with pytest.raises(UserError, match="unknown revision") as caught:
            vgit.resolve(root, rev)
        assert caught.value.hint
    with pytest.raises(UserError) as caught:
        vgit.resolve(root, "mian")
    assert caught.value.hint == "did you mean main?"


def test_why_there_is_no_such_commit(repo: Path, tmp_path: Path) -> None:
    def hint(root: vgit.GitRoot, rev: str) -> str | None:
        with pytest.raises(UserError, match="unknown revision") as caught:
            vgit.resolve(root, rev)
        return caught.value.hint

    commit(repo, {"a": "1"})
    assert hint(found(repo), "HEAD^") == "HEAD is the first commit"
    for n in range(2):
        commit(repo, {"a": f"{n}2"})
    root = found(repo)
    assert hint(root, "HEAD~99") == hint(root, "HEAD^^^~2") == "the first commit is HEAD~2"
    vgit.resolve(root, "HEAD~2")
    assert hint(root, "main..HEAD") == "one revision is meant here, and not a range"
    assert hint(root, "nosuch~1") == hint(root, "x\0~1") == hint(root, "-x~1")
    sh(repo, "clone", "-q", "--depth", "2", repo.as_uri(), str(tmp_path / "shallow"))
    said = hint(found(tmp_path / "shallow"), "HEAD~2")
    assert said == "the clone is shallow and ends before HEAD~2: git fetch --unshallow"


def test_ls_tree(repo: Path) -> None:
    commit(repo, {"a.vml": "1", "sub/b.vml": "2", "sub/vml.lock": "3", "c": "4", "ü\n.vml": "5"})
    root = found(repo)
    assert history.ls_tree(root, "HEAD", ["*.vml"]) == [
        (b"a.vml", 0o100644, blob(repo, "HEAD:a.vml")),
        (b"sub/b.vml", 0o100644, blob(repo, "HEAD:sub/b.vml")),
        ("ü\n.vml".encode(), 0o100644, blob(repo, "HEAD:ü\n.vml")),
    ]
    assert [path for path, _, _ in history.ls_tree(root, "HEAD", [":(glob)sub/**/*.vml", ":(glob)**/vml.lock"])] == [
        b"sub/b.vml",
        b"sub/vml.lock",
    ]


def test_sha256_repositories(tmp_path: Path) -> None:
    sh(tmp_path, "init", "-q", "--object-format=sha256")
    commit(tmp_path, {"a.vml": "1"})
    root = found(tmp_path)
    ((path, _, oid),) = history.ls_tree(root, "HEAD", ["*.vml"])
    assert (path, len(oid)) == (b"a.vml", 64)
    assert list(history.read_blobs(root, [oid])) == [b"1"]


def test_read_blobs(repo: Path) -> None:
    big = "x" * 3_000_000
    commit(repo, {"a": "one\n", "b": "", "c": big})
    root = found(repo)
    ids = [blob(repo, f"HEAD:{name}") for name in "abca"]
    assert list(history.read_blobs(root, ids)) == [b"one\n", b"", big.encode(), b"one\n"]
    assert [len(body) for body in history.read_blobs(root, ids, limit=10)] == [4, 0, 11, 4]
    assert list(history.read_blobs(root, [])) == []
    with pytest.raises(UserError, match=f"object {'0' * 40} is missing"):
        list(history.read_blobs(root, ["0" * 40]))
    half = history.read_blobs(root, ids * 20_000)
    assert next(half) == b"one\n"
    half.close()  # type: ignore[attr-defined]


def test_read_100_000_blobs_does_not_block(repo: Path) -> None:
    commit(repo, {"a": "one\n" * 50})
    sh(repo, "repack", "-a", "-d", "-q")  # git opens a loose object anew each time
    ids = [blob(repo, "HEAD:a")] * 100_000
    assert sum(map(len, history.read_blobs(found(repo), ids))) == 200 * 100_000


def test_history_sees_side_branches_and_evil_merges(repo: Path) -> None:
    texts = {}

    def write(text: str) -> None:
        commit(repo, {"a.vml": text, "other": text})
        texts[text] = blob(repo, "HEAD:a.vml")

    write("base")
    sh(repo, "checkout", "-q", "-b", "side")
    write("side")
    write("base ")
    sh(repo, "checkout", "-q", "main")
    write("main")
    # The merge drops everything the side branch did.
    sh(repo, "merge", "-q", "-s", "ours", "side")
    sh(repo, "branch", "-D", "side")
    sh(repo, "config", "log.showSignature", "true")
    sh(repo, "config", "log.follow", "true")
    root = found(repo)
    tip = vgit.resolve(root, "HEAD")
    assert history.contents(root, [tip], ["*.vml"]) == {("a.vml", oid) for oid in texts.values()}
    (repo / "a.vml").write_text("evil")
    sh(repo, "commit", "-q", "-a", "--amend", "-m", "x")
    evil = ("a.vml", blob(repo, "HEAD:a.vml"))
    assert evil in history.contents(root, [], ["*.vml"], every_ref=True)
    sh(repo, "reset", "-q", "--hard", "HEAD^1")
    assert evil not in history.contents(root, [], ["*.vml"], every_ref=True)
    assert evil in history.contents(root, [], ["*.vml"], every_ref=True, reflog=True)
    assert history.contents(root, [], ["*.vml"]) == set()
    assert history.contents(root, [tip], ["*.nothing"]) == set()


def test_history_sees_stashes_and_worktrees(repo: Path) -> None:
    commit(repo, {"a.vml": "1"})
    (repo / "a.vml").write_text("stashed")
    sh(repo, "stash")
    sh(repo, "worktree", "add", "-q", "--detach", "../linked")
    commit(repo.parent / "linked", {"a.vml": "linked"})
    ids = history.contents(found(repo), [], ["*.vml"], every_ref=True)
    assert set(history.read_blobs(found(repo), sorted(oid for _, oid in ids))) == {b"1", b"stashed", b"linked"}


def test_refs(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, {"a": "1"})
    sh(repo, "tag", "light")
    sh(repo, "tag", "-a", "heavy", "-m", "x")
    sh(repo, "tag", "tree", "HEAD^{tree}")
    sh(repo, "branch", "feature/x")
    sh(repo, "pack-refs", "--all")
    sh(tmp_path, "clone", "-q", str(repo), "clone")
    clone = found(tmp_path / "clone")
    assert history.refs(clone) == [
        ("heavy", first, "tag"),
        ("light", first, "tag"),
        ("main", first, "branch"),
        ("origin/feature/x", first, "remote"),
        ("origin/main", first, "remote"),
    ]
    assert [ref.name for ref in history.refs(clone, "tags")] == ["heavy", "light"]
    assert [ref.name for ref in history.refs(found(repo), "branches")] == ["feature/x", "main"]


def test_stage(repo: Path) -> None:
    commit(repo, {"gone": "1", "a*": "1"})
    (repo / "gone").unlink()
    (repo / "a*").write_text("2")
    (repo / "abc").write_text("3")
    root = found(repo)
    vgit.stage(root, ["gone", "a*"])
    vgit.stage(root, [])
    assert [(s.path, s.staged) for s in status_of(root, [])] == [
        ("a*", "M"),
        ("gone", "D"),
        ("abc", "?"),
    ]


def test_status(repo: Path) -> None:
    commit(
        repo,
        {"same.vml": "1", "mod.vml": "2", "mv a.vml": "a long text to recognise\n" * 9, "sub/gone.vml": "4"},
    )
    old = blob(repo, "HEAD:mod.vml")
    moved = blob(repo, "HEAD:mv a.vml")
    (repo / "mod.vml").write_text("changed")
    sh(repo, "mv", "mv a.vml", "sub/mv ö.vml")
    (repo / "sub" / "gone.vml").unlink()
    (repo / "sub" / "new\n.vml").write_text("")
    sh(repo, "add", "--intent-to-add", "sub/new\n.vml")
    (repo / "other").write_text("")
    root = found(repo)
    status = {entry.path: entry for entry in status_of(root, ["*.vml"])}
    assert status["mod.vml"] == FileStatus("mod.vml", ".", "M", None, old)
    assert status["sub/mv ö.vml"] == FileStatus("sub/mv ö.vml", "R", ".", "mv a.vml", moved)
    assert status["sub/gone.vml"].worktree == "D"
    assert status["sub/new\n.vml"] == FileStatus("sub/new\n.vml", ".", "A", None, None)
    assert len(status) == 4


def test_status_of_more_paths_than_a_command_line_holds(repo: Path) -> None:
    (repo / "a").mkdir()
    for name in ("a/in", "a/new", "other"):
        (repo / name).write_text("1")
    sh(repo, "add", "a/in", "other")
    sh(repo, "commit", "-q", "-m", "1")
    for name in ("a/in", "other"):
        (repo / name).write_text("22")
    root = found(repo)
    many = [f"{'x' * 95}{n:05}" for n in range(22_000)]

    few = vgit.status(root, ["a"])

    assert [(each.path, each.staged, each.worktree) for each in few] == [("a/in", ".", "M"), ("a/new", "?", "?")]
    assert vgit.status(root, ["a", *many]) == few
    assert vgit.status(root, [*many, ""]) == vgit.status(root, [""])


def test_status_of_a_conflict(repo: Path) -> None:
    commit(repo, {"a.vml": "1"})
    sh(repo, "checkout", "-q", "-b", "side")
    commit(repo, {"a.vml": "2"})
    sh(repo, "checkout", "-q", "main")
    commit(repo, {"a.vml": "3"})
    ours = blob(repo, "HEAD:a.vml")
    subprocess.run(["git", "merge", "side"], cwd=repo, capture_output=True, check=False)
    assert status_of(found(repo), ["*.vml"]) == [FileStatus("a.vml", "U", "U", None, ours)]


def test_head_before_the_first_commit(repo: Path) -> None:
    with pytest.raises(UserError, match="there is no commit yet") as caught:
        vgit.resolve(found(repo), "HEAD")
    assert caught.value.hint == "git commit first"


def test_the_paths_of_a_failure_are_told(repo: Path) -> None:
    commit(repo, {".gitignore": "/a\n/b\n"})
    (repo / "a").touch()
    (repo / "b").touch()
    with pytest.raises(UserError, match=r"ignored by one of your \.gitignore files: a b$"):
        vgit.run(["add", "a", "b"], repo)


def test_clones_that_do_not_know_everything(repo: Path, tmp_path: Path) -> None:
    commit(repo, {"one": "1"})
    commit(repo, {"one": "2"})
    sh(repo, "config", "uploadpack.allowFilter", "true")

    def lacks(name: str, *args: str) -> str | None:
        sh(tmp_path, "clone", "-q", *args, f"file://{repo}", name)
        answer = history.lacks_history(found(tmp_path / name))
        return answer[1] if answer else None

    assert history.lacks_history(found(repo)) is None
    assert lacks("whole") is None
    assert lacks("mirror", "--mirror") is None
    assert lacks("shallow", "--depth=1") == "git fetch --unshallow"
    assert lacks("single", "--single-branch") == "git remote set-branches origin '*' && git fetch origin"
    assert lacks("filtered", "--filter=blob:none") is not None


def test_tips_and_commits_by_age(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commits = []
    for at in (1_100_000_000, 1_200_000_000, 1_000_000_000):  # the last one was made with a wrong clock
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{at} +0000")
        commits.append(commit(repo, {"one": f"{at}"}))
    sh(repo, "tag", "blob", sh(repo, "rev-parse", "HEAD:one"))
    sh(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), commits[0])
    root = found(repo)
    assert history.tips(root) == sorted([commits[0], commits[2]])
    assert history.since(root, 1_050_000_000) == [commits[1], commits[0]]
    assert history.last(root, commits[2], 2) == [commits[2], commits[1]]
    assert vgit.worktrees(root) == [repo, tmp_path / "linked"]
    assert vgit.worktrees(found(tmp_path / "linked")) == [tmp_path / "linked", repo]
    changed = history.contents(root, [commits[1]], ["one"], walk=False)
    assert changed == {("one", sh(repo, "rev-parse", f"{commit}:one")) for commit in commits[:2]}


def test_staged_contents_with_both_sides_of_a_conflict(repo: Path) -> None:
    commit(repo, {"one": "base"})
    sh(repo, "checkout", "-q", "-b", "side")
    commit(repo, {"one": "side"})
    sh(repo, "checkout", "-q", "main")
    commit(repo, {"one": "main"})
    subprocess.run(["git", "merge", "-q", "side"], cwd=repo, check=False, capture_output=True)
    sides = [sh(repo, "rev-parse", rev) for rev in ("main~1:one", "main:one", "side:one")]
    assert history.staged(found(repo), ["one"]) == [("one", side) for side in sides]
