"""The block in .gitignore, asked of Git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vcs_ml.errors import UserError
from vcs_ml.workspace import gitignore
from vcs_ml.workspace.gitignore import with_entries

ALPHABET = "ab.# !*?[]\\'\"{}~$\n\r\t-ä😀\u2028"
names = st.text(ALPHABET, min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
lines = st.text("a/#!*\\ \r", max_size=6).filter(lambda line: line not in (gitignore.BEGIN, gitignore.END))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def ignored(repo: Path, candidates: set[str]) -> set[str]:
    """Those of `candidates` that Git ignores, which need not exist."""
    done = subprocess.run(
        ["git", "check-ignore", "-z", "--no-index", "--stdin"],
        cwd=repo,
        input=b"".join(os.fsencode(f"./{name}") + b"\0" for name in candidates),
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return {os.fsdecode(raw).removeprefix("./") for raw in done.stdout.split(b"\0")[:-1]}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.sets(names, min_size=1, max_size=8), others=st.sets(names, max_size=20))
def test_exactly_these_names_are_ignored(repo: Path, wanted: set[str], others: set[str]) -> None:
    (repo / ".gitignore").unlink(missing_ok=True)
    gitignore.update(repo, wanted, set())
    near = {name + extra for name in wanted for extra in ("x", " ", ".vml")} | {name[:-1] for name in wanted}
    candidates = {name for name in wanted | others | near if name not in ("", ".", "..")}
    got = ignored(repo, candidates)
    assert wanted <= got
    if not any("\n" in name or "\r" in name for name in wanted):
        assert got == wanted
    assert gitignore.update(repo, set(), wanted)
    assert not (repo / ".gitignore").exists()


def test_names_that_are_no_utf8_and_directories(repo: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    (repo / "sub" / "data").mkdir(parents=True)
    gitignore.update(repo / "sub", {"data", odd}, set())
    assert ignored(repo, {"sub/data", "sub/data/x", "data", f"sub/{odd}", "sub/other"}) == {
        "sub/data",
        "sub/data/x",
        f"sub/{odd}",
    }


@given(
    st.lists(lines).map("\n".join) | st.lists(lines).map(lambda some: "".join(f"{line}\r\n" for line in some)),
    st.sets(names, min_size=1),
)
def test_what_is_added_can_be_removed_without_a_trace(text: str, added: set[str]) -> None:
    with_block = with_entries(text, added, set())
    assert with_entries(with_block, added, set()) == with_block
    assert with_entries(with_block, set(), set()) == with_block
    assert with_entries(with_block, set(), added) == text


def test_block_is_sorted_and_in_its_place() -> None:
    first = with_entries("*.pyc\n", {"b", "a"}, set())
    assert first == "*.pyc\n# >>> vml\n/a\n/b\n# <<< vml\n"
    assert with_entries(first + "later\n", {"aa"}, {"b"}) == "*.pyc\n# >>> vml\n/a\n/aa\n# <<< vml\nlater\n"
    assert with_entries("", {"a"}, set()) == "# >>> vml\n/a\n# <<< vml\n"
    assert with_entries("x\r\n", {"a"}, set()) == "x\r\n# >>> vml\r\n/a\r\n# <<< vml\r\n"


def test_merged_blocks_become_one() -> None:
    merged = "# >>> vml\n/a\n<<<<<<< HEAD\n/b\n=======\n/c\n>>>>>>> side\nmine\n# <<< vml\nrest\n# >>> vml\n/d\n"
    assert with_entries(merged, set(), {"a"}) == "# >>> vml\n/b\n/c\n/d\n# <<< vml\nmine\nrest\n"


def test_update_keeps_modes_and_refuses_symlinks(repo: Path) -> None:
    path = repo / ".gitignore"
    path.write_text("mine")
    path.chmod(0o600)
    assert gitignore.update(repo, {"a"}, set())
    assert not gitignore.update(repo, {"a"}, {"b"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert gitignore.update(repo, set(), {"a"})
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to("elsewhere")
    with pytest.raises(UserError, match="symlink"):
        gitignore.update(repo, {"a"}, set())
    assert not (repo / "elsewhere").exists()


def test_update_refuses_what_is_no_file(repo: Path) -> None:
    os.mkfifo(repo / ".gitignore")
    with pytest.raises(UserError, match=r"\.gitignore is no regular file") as caught:
        gitignore.update(repo, {"a"}, set())
    assert caught.value.hint
