"""Edits of a vml.yaml: what they say, and that everything else stays as it was."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml import yaml
from vcs_ml.errors import UserError
from vcs_ml.pipeline import edit, schema

TRAIN = {"cmd": "python train.py", "deps": ["train.py"]}


def added(before: str, name: str = "train", definition: dict[str, Any] = TRAIN) -> str:
    return edit.with_stage(textwrap.dedent(before).encode(), "vml.yaml", name, definition).decode()


def frozen(before: str, name: str, on: bool) -> str:
    return edit.with_frozen(textwrap.dedent(before).encode(), "vml.yaml", name, frozen=on).decode()


def test_first_stage_of_a_file() -> None:
    stages = "stages:\n  train:\n    cmd: python train.py\n    deps:\n      - train.py\n"
    assert added("") == stages
    assert added("stages:\n") == stages
    assert added("stages: {}\n") == stages
    assert added("stages: null  # none yet") == stages.replace("stages:", "stages:  # none yet")
    assert added("vars:\n  - a: 1\n\n\n") == f"vars:\n  - a: 1\n\n\n{stages}"
    assert added("# ours\nparams: [p.yaml]") == f"# ours\nparams: [p.yaml]\n\n{stages}"


def test_behind_the_others() -> None:
    before = """\
        # The pipeline.
        stages:
            # first
            prepare:
                cmd: |
                    # not a comment of YAML
                    make raw   # and this neither
                    # nor this
                # about prepare
        \n            clean: {cmd: make clean,
          outs: [x]}

            # about what comes last

        # about metrics
        metrics: [a.json]  # in Git
    """
    after = added(before)
    new = "    train:\n        cmd: python train.py\n"
    assert "    clean: {cmd: make clean,\n  outs: [x]}\n\n    train:\n      cmd: python train.py\n" in after, after
    assert new not in after
    assert after.replace("\n    train:\n      cmd: python train.py\n      deps:\n        - train.py\n", "", 1) == (
        textwrap.dedent(before)
    )


def test_in_the_place_of_one() -> None:
    before = """\
        stages:
          # about train
          train:
            # deeper
            cmd: old
            foreach: x

          # about eval
          eval: {cmd: e}
    """
    assert added(before) == textwrap.dedent(
        """\
        stages:
          # about train
          train:
            cmd: python train.py
            deps:
              - train.py

          # about eval
          eval: {cmd: e}
        """
    )


def test_line_ends_stay() -> None:
    after = edit.with_stage(b"stages:\r\n  a:\r\n    cmd: x", "vml.yaml", "b", {"cmd": "y"})
    assert after == b"stages:\r\n  a:\r\n    cmd: x\r\n  b:\r\n    cmd: y\r\n"
    assert edit.with_frozen(after, "vml.yaml", "a", frozen=True) == (
        b"stages:\r\n  a:\r\n    cmd: x\r\n    frozen: true\r\n  b:\r\n    cmd: y\r\n"
    )


@pytest.mark.parametrize(
    "before",
    [
        "stages: {a: {cmd: x}}\n",
        "{stages: {a: {cmd: x}}}\n",
        "stages: &all\n  a: &a\n    cmd: x\n...\n",
        "stages:\n  a:\n    cmd: |+\n      x\n\n\n",
    ],
)
def test_what_is_written_otherwise_is_refused(before: str) -> None:
    with pytest.raises(UserError, match="a way that vml does not edit") as caught:
        added(before)
    assert "train:\n  cmd: python train.py\n" in textwrap.dedent(caught.value.message.partition("\n")[2])


def test_a_name_that_no_text_can_hold() -> None:
    with pytest.raises(UserError, match="does not edit"):
        added("", definition={"cmd": "cat \udcff"})
    with pytest.raises(UserError, match="is not UTF-8"):
        edit.with_stage("# ü\nstages:\n".encode("utf-16"), "vml.yaml", "a", TRAIN)


def test_freezing() -> None:
    before = """\
        stages:
          a:
            cmd: x  # the command

          # about b
          b:
            cmd: |
              y
              # z

          each:
            foreach: [1, 2]
            do:
              cmd: y
          c:
            frozen: false  # for now
            cmd: x
    """
    clean = textwrap.dedent(before)
    assert frozen(clean, "a", True) == clean.replace("command\n", "command\n    frozen: true\n")
    assert frozen(clean, "b", True) == clean.replace("# z\n", "# z\n    frozen: true\n")
    assert frozen(clean, "each", True) == clean.replace("cmd: y\n  c", "cmd: y\n      frozen: true\n  c")
    assert frozen(clean, "c", True) == clean.replace("    frozen: false  # for now\n", "") + "    frozen: true\n"
    assert frozen(clean, "c", False) == clean
    for name in "a", "b", "each":
        assert frozen(frozen(clean, name, True), name, False) == clean
        assert frozen(frozen(clean, name, True), name, True) == frozen(clean, name, True)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("stages:\n  a:\n    cmd: x\n    frozen: ${slow}\n", "vml.yaml:4: a template decides whether a is frozen"),
        ("stages:\n  a: {cmd: x}\n", "does not edit"),
        ("vars: [base: &b {cmd: x}]\nstages:\n  a: *b\n", "does not edit"),
        ("stages:\n  a: &a\n    cmd: x\n  b: *a\n", "does not edit"),
    ],
)
def test_what_cannot_be_frozen(before: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        frozen(before, "a", True)
    assert why in caught.value.message
    assert caught.value.hint


WORDS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [
        "no",
        "1e3",
        "null",
        "",
        "- a",
        "a: b",
        "#x",
        "x #y",
        "${a}",
        "a\nb\n",
        " a\n b",
        "a\n",
        "'q'",
        "!t",
        "<<",
        "?",
        "~",
    ]
)
FLAGS = st.dictionaries(WORDS, st.booleans(), min_size=1, max_size=2)
DEFINITIONS = st.dictionaries(
    WORDS,
    WORDS
    | st.booleans()
    | st.lists(
        WORDS | st.dictionaries(WORDS, st.none() | FLAGS | st.lists(WORDS, min_size=1), min_size=1, max_size=1),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=4,
)
LINES = st.sampled_from(
    ["", "# comment", "  # deeper", "metrics: [x]", "stages:", "  a:", "    cmd: |", "      sh", "\t", "  b: {cmd: y}"]
)


@given(definition=DEFINITIONS)
def test_whatever_is_written_is_read_again(definition: dict[str, Any]) -> None:
    before = b"# mine\nstages:\n  a: # here\n    cmd: x\n# end\n"
    after = edit.with_stage(before, "vml.yaml", "new", definition)
    assert yaml.parse(after, "vml.yaml").value == {"stages": {"a": {"cmd": "x"}, "new": definition}}
    kept = after.decode().splitlines(keepends=True)
    assert [line for line in before.decode().splitlines(keepends=True) if line not in kept] == []


@given(lines=st.lists(LINES, max_size=12), name=st.sampled_from("abc"))
def test_other_lines_stay_whatever_they_are(lines: list[str], name: str) -> None:
    raw = "".join(f"{line}\n" for line in lines).encode()
    try:
        old = yaml.parse(raw, "vml.yaml").value
        schema.validate(old)
        after = edit.with_stage(raw, "vml.yaml", name, {"cmd": "new"})
    except UserError:
        return
    new = yaml.parse(after, "vml.yaml").value
    assert new == {**(old or {}), "stages": {**((old or {}).get("stages") or {}), name: {"cmd": "new"}}}
