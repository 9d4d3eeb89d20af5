"""`vml diff`: file by file, between revisions and against the workspace."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from tests.conftest import Repo


def two_versions(repo: Repo) -> tuple[str, str]:
    repo.write("data/keep", "same")
    repo.write("data/edit", "1")
    repo.write("data/gone", "gone")
    repo.write("data/old", "renamed content")
    repo.write("model", "1")
    repo.run("add", "data", "model")
    first = repo.commit()
    repo.write("data/edit", "22")
    (repo.path / "data/gone").unlink()
    (repo.path / "data/old").rename(repo.path / "data/new")
    repo.write("data/more", "333")
    repo.write("model", "4444")
    repo.run("commit")
    return first, repo.commit()


def test_words(repo: Repo) -> None:
    first, second = two_versions(repo)
    assert repo.run("diff", first, second).out.splitlines() == [
        "modified:  data/edit  (1 B -> 2 B)",
        "deleted:   data/gone  (4 B)",
        "added:     data/more  (3 B)",
        "renamed:   data/old -> data/new  (15 B)",
        "modified:  model  (1 B -> 4 B)",
    ]
    assert "1 added, 2 modified, 1 deleted, 1 renamed (+3 B)" in repo.run("diff", first, second).err
    assert "no data changed" in repo.run("diff").err
    assert repo.run("diff", first).out == repo.run("diff", first, second).out


def test_json_and_markdown(repo: Repo) -> None:
    first, second = two_versions(repo)
    found = repo.json("diff", first, second)
    assert list(found) == ["schema", "a", "b", "added", "deleted", "modified", "renamed"]
    assert (found["a"], found["b"]) == (first, second)
    assert [(each["path"], each["size"]) for each in found["added"]] == [("data/more", 3)]
    assert [(each["path"], each["size"]) for each in found["deleted"]] == [("data/gone", 4)]
    assert [(m["path"], m["old"]["size"], m["new"]["size"]) for m in found["modified"]] == [
        ("data/edit", 1, 2), ("model", 1, 4),
    ]  # fmt: skip
    assert [(each["from"], each["to"]) for each in found["renamed"]] == [("data/old", "data/new")]
    assert all(each["hash"].startswith("xxh128:") for key in ("added", "deleted", "renamed") for each in found[key])
    table = repo.run("diff", first, second, "--md").out
    assert "| modified | `data/edit`" in table
    assert repo.json("diff")["b"] is None
    assert "No data changed" in repo.run("diff", "--md").out


def test_against_the_workspace(repo: Repo) -> None:
    two_versions(repo)
    repo.write("data/edit", "five5")
    repo.write("data/untracked", "x")
    repo.write("new.bin", "y")
    repo.run("add", "new.bin")
    assert repo.run("diff").out.splitlines() == [
        "modified:  data/edit  (2 B -> 5 B)",
        "added:     data/untracked  (1 B)",
        "added:     new.bin  (1 B)",
    ]
    shutil.rmtree(repo.path / "data")
    assert {each["path"] for each in repo.json("diff")["deleted"]} == {
        "data/edit", "data/keep", "data/more", "data/new",
    }  # fmt: skip


def test_things_come_and_go(repo: Repo) -> None:
    _, second = two_versions(repo)
    repo.run("rm", "data")
    repo.run("rm", "--cached", "model")
    repo.commit()
    assert len(repo.json("diff", second, "HEAD")["deleted"]) == 5
    assert len(repo.json("diff", "HEAD", second)["added"]) == 5


def test_a_file_became_a_directory(repo: Repo) -> None:
    repo.write("x", "file")
    repo.run("add", "x")
    first = repo.commit()
    (repo.path / "x").unlink()
    repo.write("x/deep", "in it")
    repo.run("add", "x")
    second = repo.commit()
    for pair in ((first, second), (first,)):
        found = repo.json("diff", *pair)
        assert [each["path"] for each in found["deleted"]] == ["x"]
        assert [each["path"] for each in found["added"]] == ["x/deep"]
    found = repo.json("diff", second, first)
    assert [each["path"] for each in found["deleted"]] == ["x/deep"]
    assert [each["path"] for each in found["added"]] == ["x"]


def test_a_mode_is_a_change(repo: Repo) -> None:
    repo.write("data/run", "x")
    repo.run("add", "data")
    repo.commit()
    (repo.path / "data/run").chmod(0o755)
    assert [each["path"] for each in repo.json("diff")["modified"]] == ["data/run"]


def test_in_a_fresh_clone(repo: Repo, remote: Path) -> None:
    first, second = two_versions(repo)
    repo.run("push", "--all-commits")
    clone = repo.clone("clone")
    # what was never brought here is not deleted
    assert "no data changed" in clone.run("diff").err
    result = clone.fails("diff", first, second, code=3)
    assert result.out == "modified:  model  (1 B -> 4 B)\n"  # which is known all the same
    assert "1 modified (+3 B) as far as is known" in result.err
    assert f"the list of files is not here of data (at {first}, {second})" in result.err
    assert f"hint: vml diff {first} {second} --fetch gets it" in result.err
    assert "xxh128" not in result.err
    found = json.loads(clone.fails("diff", first, second, "--json", code=3).out)
    assert [each["path"] for each in found["unlisted"]] == ["data"]
    assert [each["path"] for each in found["modified"]] == ["model"]
    assert "- `data`: its list of files is not here" in clone.fails("diff", first, second, "--md", code=3).out
    assert "as far" not in clone.run("diff", first, second, "-t", "model").err
    assert len(clone.json("diff", first, second, "--fetch")["modified"]) == 2
    clone.run("fetch", "--metadata", "--all-commits")
    assert clone.json("diff", first, second) == repo.json("diff", first, second)


def test_one_list_of_two_is_here(repo: Repo, remote: Path) -> None:
    first, second = two_versions(repo)
    repo.run("push", "--all-commits")
    clone = repo.clone("clone")
    clone.run("fetch", "--metadata")
    assert f"data (at {first})\n" in clone.fails("diff", first, second, code=3).err


def test_without_a_remote_where_nothing_is_missing(repo: Repo) -> None:
    first, second = two_versions(repo)
    assert repo.run("diff", first, second, "--fetch").out == repo.run("diff", first, second).out


def test_names_of_both_sides(repo: Repo) -> None:
    first, second = two_versions(repo)
    both = repo.json("diff", first, second)
    assert repo.json("diff", f"{first}..{second}") == both
    assert repo.json("diff", f"{first}..")["b"] == "HEAD"
    repo.write("model", "55555")
    assert repo.json("diff", "HEAD", "workspace") == repo.json("diff")
    assert repo.json("diff", "HEAD", "workspace", "--rows") == repo.json("diff", "--rows")
    assert "hint: vml diff HEAD\n" in repo.fails("diff", "workspace", "HEAD", code=2).err
    repo.git("branch", "workspace", first)
    assert repo.json("diff", "heads/workspace", second)["modified"] == both["modified"]
    assert repo.json("diff", second, "workspace")["b"] is None
    assert "hint: vml diff HEAD\n" in repo.fails("diff", "workspace", "HEAD", code=2).err


def test_from_where_both_parted(repo: Repo) -> None:
    repo.write("model", "1")
    repo.run("add", "model")
    base = repo.commit()
    repo.git("checkout", "-qb", "side")
    repo.write("model", "22")
    repo.run("commit")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("other", "1")
    repo.run("add", "other")
    repo.commit()
    found = repo.json("diff", "main...side")
    assert base.startswith(found["a"])
    assert [[each["path"] for each in found[kind]] for kind in ("added", "deleted", "modified")] == [[], [], ["model"]]
    repo.git("checkout", "-q", "--orphan", "apart")
    repo.commit()
    assert "hint: compare both as they are: main..apart" in repo.fails("diff", "main...apart", code=3).err


def test_in_a_bare_repository(repo: Repo, tmp_path: Path) -> None:
    first, second = two_versions(repo)
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", ".", str(bare))
    (bare / "vml").mkdir()
    shutil.copytree(repo.path / ".vml/cache", bare / "vml/cache")
    assert repo.json("diff", first, second, cwd=bare) == repo.json("diff", first, second)
    assert len(repo.json("ls", "-R", "data", cwd=bare)["entries"]) == 4


def test_bad_input(repo: Repo) -> None:
    two_versions(repo)
    assert "unknown revision" in repo.fails("diff", "nosuch", code=3).err
    assert "unknown revision" in repo.fails("diff", "HEAD", "nosuch", code=3).err
    repo.fails("diff", "a", "b", "c", code=2)
    repo.fails("diff", "--json", "--md", code=2)


def test_a_target_that_is_nowhere(repo: Repo) -> None:
    first, _ = two_versions(repo)
    for target in ("nosuch.csv", "data/nosuch", "dat", "model/x"):
        said = repo.fails("diff", "-t", "model", "-t", target, code=3).err
        assert f"error: {target} is nowhere in the data of HEAD, workspace\n" in said
        assert "hint: vml diff without it shows all" in said
        assert f"of {first}, HEAD\n" in repo.fails("diff", f"{first}..", "-t", target, code=3).err
    for target in ("data", "model", "data/keep", "data/gone", "."):  # unchanged, or in one of them only
        repo.run("diff", first, "-t", target)
        repo.run("diff", first, first, "-t", target)
    repo.write("data/.vmlignore", "x\n")
    repo.write("data/x", "left out")
    repo.run("diff", "-t", "data/x")


def test_as_a_diff_command_of_git(repo: Repo) -> None:
    repo.write("sub/data/a", "1")
    repo.run("add", "sub/data")
    repo.commit()
    repo.write("sub/data/b", "22")
    repo.run("add", "sub/data")
    vml = f"{shlex.quote(sys.executable)} -m vcs_ml diff --files"
    repo.git("config", "diff.vml.command", vml)
    repo.write(".git/info/attributes", "*.vml diff=vml\n")

    shown = "sub/data.vml\nadded:     sub/data/b  (2 B)\n"
    assert repo.git("diff") == shown
    assert repo.git("difftool", "-y", "-x", vml) == shown
    repo.commit()
    assert repo.git("diff", "HEAD~1", "HEAD") == shown
    assert repo.git("diff", "HEAD", "HEAD~1") == shown.replace("added:  ", "deleted:")
    repo.git("mv", "sub/data.vml", "other.vml")
    assert "other.vml" in repo.git("diff", "-M", "HEAD")
    repo.write("other.vml", "<<<<<<< ours\n")
    assert repo.git("diff") == "other.vml\n"


def test_as_the_diff_command_of_all_files(repo: Repo) -> None:
    vml = f"{shlex.quote(sys.executable)} -m vcs_ml diff --files"
    repo.write("metrics.json", "1\n")
    repo.commit()
    repo.write("metrics.json", "2\n")

    shown = repo.git("-c", f"diff.external={vml}", "diff")

    assert shown == "metrics.json\n@@ -1 +1 @@\n-1\n+2\n"


def test_versions_of_a_pointer_as_files(repo: Repo, tmp_path: Path) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    assert repo.run("diff", "--files", "/dev/null", "data.vml").out == "data.vml\nadded:     data/a  (1 B)\n"
    assert "--files takes two files" in repo.fails("diff", "--files", "data.vml", code=2).err
    assert "--files shows plain lines" in repo.fails("diff", "--files", "--json", "data.vml", "data.vml", code=2).err
    assert "'c' is a third" in repo.fails("diff", "a", "b", "c", code=2).err
