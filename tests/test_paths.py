"""Which paths are refused, and that the fast check of many paths agrees with the slow one of each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcs_ml import paths
from vcs_ml.errors import UserError

GOOD = [
    "a",
    "a/b/c.jpg",
    "...",
    "..a",
    ".gitignore",
    "a/.gitkeep",
    ".vmlx",
    ".vml-tmp",
    "git~",
    "git~1x",
    "agit~1",
    "x.git",
    "a/.hidden/.b",
    "a b",
    "back\\slash",
    "new\nline",
    "\x01",
    "\x7f",
    "日本/é/e\u0301",
    "“quoted”\u2013",
    ".g\u0131t",  # a dotless i is no i
    "n" * 255,
    "/".join(["n" * 200] * 20),
    "/".join("d" * 256),
]
BAD = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/.",
    "../../x",
    "a\0b",
    ".git",
    ".GIT/config",
    "a/.giT",
    ".git.",
    ".git ...",
    ".git::$INDEX_ALLOCATION",
    ".git:x\ny",
    "git~1",
    "a/GIT~2/b",
    ".vml",
    "x/.Vml/y",
    ".vml-tmp-0123456789abcdef",
    "a/.VML-tmp-",
    "a/.vml-tmp-\n/b",
    ".g\u200cit",
    "\ufeff.git",
    "a/\u206a.\u202evml",
    "n" * 256,
    "é" * 128,
    "/".join(["n" * 200] * 21),
    "/".join("d" * 257),
    "\udcff",
]
# Parts that are bad, nearly bad, or change what a neighbour means when joined.
PARTS = st.sampled_from(
    [
        "a",
        "b.c",
        "",
        ".",
        "..",
        "...",
        ".git",
        ".Git",
        ".gitx",
        "git~1",
        "git~",
        ".vml",
        ".v",
        "-tmp-",
        "\u200c",
        "é",
        "\n",
    ]
)
PATHS = st.lists(st.one_of(PARTS, st.lists(PARTS, min_size=2, max_size=3).map("".join)), min_size=1).map("/".join)


@pytest.mark.parametrize("path", GOOD)
def test_good_paths_pass(path: str) -> None:
    assert paths.problem(path) is None
    assert paths.check(path, source="here") is path
    assert paths.check_joined(b"x\0" + path.encode() + b"\0y", source="here") == [b"x", path.encode(), b"y"]


@pytest.mark.parametrize("path", BAD)
def test_bad_paths_are_refused_by_name(path: str) -> None:
    with pytest.raises(UserError, match=r"^here: refusing the path "):
        paths.check(path, source="here")


@pytest.mark.parametrize("path", [path for path in BAD if path not in ("a\0b", "\udcff")])
def test_bad_paths_are_found_among_good_ones(path: str) -> None:
    for joined in (path, f"x\0{path}", f"{path}\0y", f"x\0{path}\0y"):
        with pytest.raises(UserError, match="refusing the path"):
            paths.check_joined(joined.encode(), source="here")


@settings(deadline=None)
@given(st.lists(PATHS, min_size=1, max_size=5))
def test_joined_check_agrees_with_the_check_of_each(names: list[str]) -> None:
    joined = "\0".join(names).encode()
    bad = [name for name in names if paths.problem(name)]
    if bad:
        with pytest.raises(UserError) as caught:
            paths.check_joined(joined, source="here")
        assert repr(bad[0]) in caught.value.message
    else:
        assert paths.check_joined(joined, source="here") == [name.encode() for name in names]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=4))
def test_any_text_is_judged_the_same_way(names: list[str]) -> None:
    joined = "\0".join(names).encode()
    try:
        paths.check_joined(joined, source="here")
    except UserError:
        assert any(map(paths.problem, names))
    else:
        assert not any(map(paths.problem, names))


def test_a_name_that_is_not_utf8_is_shown() -> None:
    assert not paths.is_utf8(b"caf\xe9")
    with pytest.raises(UserError, match=r"caf\\xe9.*not UTF-8"):
        paths.check_joined(b"ok\0dir/caf\xe9", source="here")


def test_a_directory_is_one_run_in_key_order() -> None:
    names = [b"a/c", b"a.b", b"a-", b"a/b/x", b"a\x01", b"a", b"b"]
    assert sorted(names, key=paths.key) == [b"a", b"a/b/x", b"a/c", b"a\x01", b"a-", b"a.b", b"b"]
