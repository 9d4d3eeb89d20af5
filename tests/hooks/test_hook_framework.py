"""Our entry in a `.pre-commit-config.yaml`: it joins what people wrote, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Repo
from vcs_ml import __version__
from vcs_ml.errors import UserError
from vcs_ml.hooks import framework, scripts

REV = f"v{__version__}"
OURS = {"repo": framework.URL, "rev": REV, "hooks": [{"id": name} for name in framework.HOOKS]}
TYPES = "default_install_hook_types"


def read(raw: bytes) -> Any:
    """As the framework reads it (its yaml_load)."""
    return yaml.safe_load(raw)


def edited(text: str) -> str:
    return framework.with_ours(text.encode()).raw.decode()


# ---------------------------------------------------------------------- any configuration

comments = st.sampled_from(["# note", "#", "# see https://example.org: a", "#repos: []"])
gaps = st.lists(st.one_of(st.just(""), comments), max_size=2)
scalars = st.sampled_from(["true", "'3.2.0'", '"^docs/"', "[a, b]  # c", "{python: python3.11}", "~", "|-\n  a\n\n  b"])
keys = st.dictionaries(
    st.sampled_from(["fail_fast", "exclude", "default_stages", "ci", "minimum_pre_commit_version"]), scalars, max_size=3
)


@st.composite
def repositories(draw: st.DrawFn) -> list[str]:
    """The lines of `repos` with its items, as people and `pre-commit sample-config` write them."""
    form = draw(st.sampled_from(["empty", "null", "none", "block", "block", "block"]))
    if form != "block":
        after = draw(st.sampled_from(["", "  # none yet"]))
        return {"empty": [f"repos: []{after}"], "null": [f"repos:{after}"], "none": []}[form]
    indent = draw(st.sampled_from(["", "  ", "    "]))
    dash = draw(st.sampled_from(["- ", "-   "]))
    mark = draw(st.sampled_from(["", "'", '"']))
    lines = [f"repos:{draw(st.sampled_from(['', '   # ours']))}"]
    for i in range(draw(st.integers(1, 3))):
        lines += [indent + gap if gap else "" for gap in draw(gaps)]
        url = draw(
            st.sampled_from([f"https://github.com/x/y{i}", "local", "meta", framework.URL, f"{framework.URL}.git"])
        )
        if draw(st.booleans()):
            lines.append(f"{indent}{dash}{{repo: {url}, rev: {mark}v0{mark}, hooks: [{{id: a}}]}}")
            continue
        below = indent + " " * len(dash)
        lines += [f"{indent}{dash}repo: {url}", f"{below}rev: {mark}v0{mark}  # pinned", f"{below}hooks:"]
        lines += [f"{below}{draw(st.sampled_from(['', '  ']))}- id: a", *([""] * draw(st.integers(0, 1)))]
    return lines


@st.composite
def configurations(draw: st.DrawFn) -> str:
    blocks = [[f"{key}: {value}"] for key, value in draw(keys).items()]
    if draw(st.booleans()):
        blocks.append([f"{TYPES}: [{draw(st.sampled_from(['pre-commit', 'pre-commit, pre-push', '']))}]"])
    blocks.append(draw(repositories()))
    lines = ["---"] * draw(st.integers(0, 1)) + draw(gaps)
    for block in draw(st.permutations(blocks)):
        lines += [*block, *draw(gaps)]
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    text = "\n".join(lines).replace("\n", ending)
    return text + ending * draw(st.integers(0, 1)) if text else text


@given(configurations())
def test_nothing_but_ours_changes(text: str) -> None:
    before = read(text.encode()) or {}

    after = edited(text)

    repos = before.get("repos") or []
    ours = [each["repo"].removesuffix(".git") == framework.URL for each in repos]
    wanted = [{**each, "rev": REV} if our else each for each, our in zip(repos, ours, strict=True)]
    assert read(after.encode()) == {
        TYPES: list(scripts.NAMES),
        **before,
        "repos": wanted if any(ours) else [*wanted, OURS],
    }
    lines = iter(after.splitlines())
    kept = [each.strip() for each in text.splitlines() if "v0" not in each and not each.startswith("repos: [")]
    assert all(any(line.strip() == each for line in lines) for each in kept)
    assert ("\r" in after) == ("\r" in text and after.count("\r") == after.count("\n"))
    assert edited(after) == after


# ---------------------------------------------------------------------- by example


def test_a_new_file() -> None:
    hooks = "".join(f"  - id: {name}\n" for name in framework.HOOKS)
    types = "pre-commit, pre-push, post-checkout, post-merge, post-rewrite"

    assert edited("") == f"{TYPES}: [{types}]\nrepos:\n- repo: {framework.URL}\n  rev: {REV}\n  hooks:\n{hooks}"


def test_an_entry_is_written_as_its_neighbours_are() -> None:
    text = "# our checks\n\nrepos:\n  # style\n  - repo: https://x\n    rev: a\n    hooks: [{id: b}]\n\n# end\n"

    after = edited(text)

    assert after.startswith(f"# our checks\n\n{TYPES}: [pre-commit, ")
    assert f"    hooks: [{{id: b}}]\n  - repo: {framework.URL}\n    rev: {REV}\n    hooks:\n    - id: vml-" in after
    assert after.endswith("vml-checkout\n\n# end\n")


@pytest.mark.parametrize(
    "text",
    [
        "repos: [{repo: https://x, rev: a, hooks: [{id: b}]}]\n",
        "{repos: []}\n",
        "repos: &r []\n",
        "- repo: https://x\n",
        "repos: text\n",
        f"repos:\n- repo: {framework.URL}\n  hooks: [{{id: b}}]\n",
        f"repos:\n- repo: {framework.URL}\n  rev:\n    a\n  hooks: [{{id: b}}]\n",
        "fail_fast: |\n  a line without an end",
    ],
)
def test_what_cannot_be_edited_is_shown_to_be_pasted(text: str) -> None:
    with pytest.raises(UserError) as caught:
        edited(text)

    block = "\n".join(
        line.strip(" ") if i < 2 else line[2:] for i, line in enumerate(caught.value.message.splitlines()[1:])
    )
    assert read(block.encode()) == {TYPES: list(scripts.NAMES), "repos": [OURS]}
    assert "pre-commit install" in str(caught.value.hint)


def test_a_file_that_is_no_yaml_is_refused_by_its_line() -> None:
    with pytest.raises(UserError, match=r"\.pre-commit-config\.yaml:2: "):
        edited("repos:\n - a: b: c\n")


# ---------------------------------------------------------------------- the command


def test_install_writes_the_file_and_names_the_next_command(repo: Repo) -> None:
    repo.write(framework.NAME, f"{TYPES}: [pre-commit, pre-push]\nrepos: []\n").chmod(0o640)
    (repo.path / "sub").mkdir()

    said = repo.run("install", "--pre-commit", cwd="sub")

    next_line = (
        "next: git add .pre-commit-config.yaml && pre-commit install -t post-checkout -t post-merge -t post-rewrite"
    )
    assert next_line in said.err
    assert read(repo.read(framework.NAME))["repos"] == [OURS]
    assert (repo.path / framework.NAME).stat().st_mode & 0o777 == 0o640
    assert not (repo.path / ".git/hooks/pre-push").exists()
    assert repo.git("config", "merge.vml.driver")
    assert "names this version already" in repo.run("install", "--pre-commit").err


def test_doctor_tells_whether_the_framework_is_installed(repo: Repo) -> None:
    repo.run("install", "--pre-commit")
    before = repo.run("doctor").out
    assert "warning  hooks: .pre-commit-config.yaml names them, but the framework is not installed for pre-c" in before
    assert "ok       merges: vml merges pointers" in before

    subprocess.run([sys.executable, "-m", "pre_commit", "install"], cwd=repo.path, check=True, capture_output=True)
    assert "ok       hooks: the pre-commit framework runs them" in repo.run("doctor").out

    (repo.path / ".git/hooks/pre-push").unlink()
    said = repo.run("doctor").out
    assert "the framework is not installed for pre-push\n         hint: pre-commit install -t pre-push\n" in said


def test_both_ways_at_once_are_told(repo: Repo) -> None:
    repo.run("install")

    assert "vml uninstall takes them out" in repo.run("install", "--pre-commit").err
    assert "all of it is done twice" in repo.run("doctor").out


def test_a_link_is_not_written_through(repo: Repo, tmp_path: Path) -> None:
    (repo.path / framework.NAME).symlink_to(tmp_path / "elsewhere")

    repo.fails("install", "--pre-commit", code=3)

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("url", ["/srv/vcs-ml", "git@example.com:vcs-ml/vcs-ml.git"])
def test_hooks_of_a_copy_of_our_repository_are_known(repo: Repo, url: str) -> None:
    repo.write(framework.NAME, f"repos:\n- repo: {url}\n  rev: v0\n  hooks:\n  - id: vml-status\n")
    assert "vml install --pre-commit lets vml merge them" in repo.run("doctor").out

    repo.run("install", "--pre-commit")

    said = repo.read(framework.NAME).decode()
    assert said.count("repo:") == 1 and "rev: v0" in said and "default_install_hook_types" in said
    assert "the framework is not installed for pre-commit\n" in repo.run("doctor").out
    assert repo.git("config", "merge.vml.driver")
