"""JUnit XML: well-formed whatever a command wrote, with what CI systems count."""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.pipeline.junit import clean, render, tail
from vcs_ml.pipeline.scheduler import Row, State


def test_rows_become_tests(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(b"\x1b[31mError:\x1b[0m a < b & c \x07 \xff ]]> \xf0\x9f\x92\xa5\n")
    rows = [
        Row("prepare", "skipped", 0.001, "unchanged"),
        Row("features@a", "cached", 0.5, ""),
        Row("train", "failed", 12.3456, "exit code 1"),
        Row("evaluate", "not run", 0.0, "upstream failed: train"),
        Row("lost", "failed", 1, "killed"),
    ]
    raw = render(rows, logs={"train": log, "lost": tmp_path / "none"})
    assert raw.startswith(b"<?xml version='1.0' encoding='utf-8'?>\n<testsuites ")
    top = ElementTree.fromstring(raw)
    suite = top[0]
    for each in (top, suite):
        assert {key: value for key, value in each.attrib.items() if key != "name"} == {
            "tests": "5", "failures": "2", "errors": "0", "skipped": "1", "time": "13.847",
        }  # fmt: skip
    assert [(case.get("name"), case.get("classname"), case.get("time")) for case in suite] == [
        ("prepare", "vml repro", "0.001"),
        ("features@a", "vml repro", "0.500"),
        ("train", "vml repro", "12.346"),
        ("evaluate", "vml repro", "0.000"),
        ("lost", "vml repro", "1.000"),
    ]
    assert [suite[0].findtext("system-out"), suite[1].findtext("system-out")] == ["skipped: unchanged", "cached"]
    failure = suite[2][0]
    assert (failure.tag, failure.get("message")) == ("failure", "exit code 1")
    assert failure.text == "Error: a < b & c \\x07 \\xff ]]> \U0001f4a5\n"
    assert (suite[3][0].tag, suite[3][0].get("message")) == ("skipped", "upstream failed: train")
    assert not suite[4][0].text


@given(
    st.lists(st.tuples(st.text(st.characters()), st.sampled_from(get_args(State)), st.text(st.characters()))),
    st.binary(),
)
def test_anything_is_well_formed(tmp_path_factory: object, found: list[tuple[str, State, str]], log: bytes) -> None:
    path = tmp_path_factory.mktemp("t") / "log"  # type: ignore[attr-defined]
    path.write_bytes(log)
    rows = [Row(name, state, 1, why) for name, state, why in found]
    suite = ElementTree.fromstring(render(rows, logs={row.name: path for row in rows}))[0]
    assert [case.get("name") for case in suite] == [clean(row.name) for row in rows]
    for case, row in zip(suite, rows, strict=True):
        if row.state == "failed":
            assert (case[0].text or "") == clean(tail(path))


def test_what_xml_cannot_hold() -> None:
    assert clean("a\x00b\x1b\ud800\ufffe\x7f\x9b\t\n") == "a\\x00b\\x1b\\ud800\\ufffe\\x7f\\x9b\t\n"
    assert clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b[2K") == "red x"
    assert clean("10%\r20%\r\n") == "10%\\x0d20%\n"


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {i}\n" for i in range(10_000)))
    lines = tail(log).splitlines()
    assert lines[-1] == "line 9999"
    assert lines == [f"line {i}" for i in range(10_000 - len(lines), 10_000)]
    assert 16_000 < len(tail(log)) <= 16_384
    log.write_text("x" * 50_000)
    assert tail(log) == "x" * 16_384
