"""How things look: sizes, counts, tables, quoted paths, colour."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcs_ml import output


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (999_949, "999.9 kB"),
        (999_950, "1.0 MB"), (5_000_000_000, "5.0 GB"), (10**12, "1.0 TB"), (10**16, "10,000.0 TB"),
    ],
)  # fmt: skip
def test_size(n: int, text: str) -> None:
    assert output.size(n) == text


def test_count() -> None:
    assert output.count(1797, "file") == "1,797 files"
    assert output.count(1, "directory") == "1 directory"
    assert output.count(0, "directory") == "0 directories"
    assert output.count(2, "key") == "2 keys"
    assert output.count(2, "branch") == "2 branches"


def test_table_is_aligned_and_keeps_text_as_it_is() -> None:
    text = output.table([["007", 5], ["1e5", None]], ["name", "size"], align="lr")
    assert text.splitlines() == ["name      size", "007          5", "1e5"]


def test_table_markdown_escapes_bars() -> None:
    lines = output.table([["a|b", "1"]], ["na|me", "n"], markdown=True, align="lr").splitlines()
    assert lines == ["| na\\|me   |   n |", "|:---------|----:|", "| a\\|b     |   1 |"]


def test_table_without_rows() -> None:
    assert output.table([], ["name", "size"], align="lr").split() == ["name", "size"]


CELLS = st.text("ab |.1é", max_size=9)


@given(st.lists(st.tuples(CELLS.map("x{}".format), CELLS, CELLS), min_size=1, max_size=6), st.booleans())
def test_long_tables_look_like_short_ones(rows: list[tuple[str, str, str]], markdown: bool) -> None:
    heads = ["name", "a|b", "a longer one"]
    with pytest.MonkeyPatch.context() as patch:
        for align in ("lrc", "crl"):
            short = output.table(rows, heads, markdown=markdown, align=align)
            patch.setattr(output, "_SHORT", 0)
            assert output.table(rows, heads, markdown=markdown, align=align) == short
            patch.undo()


def test_code_cannot_be_left() -> None:
    assert output.code("a") == "`a`"
    assert output.code("a`b``") == "``` a`b`` ```"
    assert output.code("\x1b\n") == "`\\x1b\\x0a`"
    assert output.code(" ") == ""


@pytest.mark.parametrize("name", ["a", "a b", "größe", "数据.csv", "😀", "#x", "a'b", "m/*.pt", "${a}", "-q", "main~1"])
def test_harmless_names_are_not_quoted(name: str) -> None:
    assert output.quote(name) == name
    assert output.quote(Path(name)) == name


@pytest.mark.parametrize(
    "name", ["a$(touch x)", "a`touch x`", "a;touch x", "a\n$(touch x)", "a|touch x", "a>x", 'a"b', "a\\"]
)
def test_names_that_a_shell_would_act_upon_are_quoted(name: str, tmp_path: Path) -> None:
    assert in_bash(output.quote(name)) == name.encode()


def in_bash(text: str) -> bytes:
    """What a shell takes a word for."""
    done = subprocess.run(["bash", "-c", f"printf %s {text}"], check=True, capture_output=True)
    assert not done.stderr
    return done.stdout


@settings(max_examples=60)
@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw) | st.text("a$`'\"\\!*?~# \n(){}|&;<>é", min_size=1))
def test_names_are_one_word_of_a_shell(name: bytes | str) -> None:
    raw = os.fsencode(name)
    argument = output.argument(os.fsdecode(raw))
    assert argument.isprintable()
    assert in_bash(argument) == raw


def test_invisible_characters_are_quoted() -> None:
    assert output.quote("a\u202eb") == "$'a\\342\\200\\256b'"
    assert output.quote("a ") == "'a '"
    assert output.quote("") == "''"
    assert output.quote("a\nb'c") == r"$'a\nb\'c'"


@pytest.mark.parametrize(
    ("path", "word"), [("-x", "./-x"), (":x", "./:x"), ("a b", "'a b'"), ("- x", "'./- x'"), ("a", "a")]
)
def test_paths_as_arguments(path: str, word: str) -> None:
    assert output.word(path) == word


def test_writing_never_fails_on_odd_text() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    output.write("ä\udcff\n", stream)
    stream.flush()
    assert raw.getvalue() == b"\\xe4\\udcff\n"


def test_colour_needs_a_terminal_and_consent() -> None:
    assert output.wants_colour({}, tty=True)
    assert output.wants_colour({"NO_COLOR": ""}, tty=True)
    assert not output.wants_colour({"NO_COLOR": "1"}, tty=True)
    assert not output.wants_colour({"TERM": "dumb"}, tty=True)
    assert not output.wants_colour({}, tty=False)
    assert output.paint("x", "red", on=True) == "\x1b[31mx\x1b[0m"
    assert output.paint("x", "red", on=False) == "x"
    assert output.problem("error", "no", "do", colour=False) == "error: no\nhint: do\n"


def test_json_keeps_order_and_letters() -> None:
    assert output.json_text({"b": "ä", "a": 1}) == '{\n  "b": "ä",\n  "a": 1\n}'


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_json_is_indented_as_pythons_own(value: object) -> None:
    assert output.json_text(value) == json.dumps(value, indent=2, ensure_ascii=False)


def test_control_characters_of_strangers_are_escaped() -> None:
    text = output.problem("error", "\x1b[31m is no name\n  of\x9b\r", "run \x07", colour=False)
    assert text == "error: \\x1b[31m is no name\n  of\\x9b\\x0d\nhint: run \\x07\n"
    text = output.problem("error", "no\nerror: fake\t\u202eli", "a\n  b", colour=False)
    assert text == "error: no\\x0aerror: fake\\x09\\u202eli\nhint: a\\x0a  b\n"


ACTIONS = {"GITHUB_ACTIONS": "true"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a ##[error]b", "a # #[error]b"),
        ("###[a]", "## #[a]"),
        ("#\u200b#\u200b[a]", "# \u200b#\u200b[a]"),
        ("a\n  ::set-output name=a::/f\nb", "a\n  : :set-output name=a::/f\nb"),
        ("a\r::b::c", "a\r: :b::c"),
        ("\u2028\u200b:\u200b:b", "\u2028\u200b: \u200b:b"),
        ("# ## [a] a::b\n:b\n", "# ## [a] a::b\n:b\n"),
    ],
)
def test_a_runner_of_actions_is_given_no_commands(text: str, shown: str) -> None:
    assert output.inert(text, ACTIONS) == shown
    assert output.inert(text, {}) == text


def test_json_says_the_same_to_a_runner_of_actions() -> None:
    value = {"##[error]a": ["\\##[", "###[", "#"]}
    text = output.inert_json(output.json_text(value), ACTIONS)
    assert "##[" not in text
    assert json.loads(text) == value
