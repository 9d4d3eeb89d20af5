"""The progress line: what it says, how often, and that it disappears."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from vcs_ml import progress
from vcs_ml.progress import SILENT, Progress, fit
from vcs_ml.session import Session


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_line_is_drawn_and_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress("hashing", files=10, bytes=2_000_000, stream=stream, enabled=True) as meter:
        clock.now += 1
        meter.advance(files=5, bytes=500_000)
        assert stream.getvalue() == "\r\x1b[Khashing: 5/10 files, 500.0 kB/2.0 MB, 500.0 kB/s, 0:03 left"
    assert stream.getvalue().endswith("left\r\x1b[K")


def test_at_most_ten_lines_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress("x", stream=stream, enabled=True) as meter:
        for _ in range(1000):
            clock.now += 0.001
            meter.advance(files=1)
    assert 8 <= stream.getvalue().count("files") <= 10


def test_quick_work_shows_nothing() -> None:
    stream = io.StringIO()
    with Progress("x", files=1, stream=stream, enabled=True) as meter:
        meter.advance(files=1)
    assert stream.getvalue() == ""


def test_disabled_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress("x", files=1, stream=stream, enabled=False) as meter, SILENT as silent:
        clock.now += 5
        meter.advance(files=1)
        silent.advance(bytes=1)
    assert stream.getvalue() == ""


def test_long_times_and_unknown_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress("x", files=36_001, stream=stream, enabled=True) as meter:
        clock.now += 1
        meter.advance(files=1)
    assert "1/36,001 files, 10:00:00 left" in stream.getvalue()


def test_the_first_second_foretells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress("x", files=100, stream=stream, enabled=True) as meter:
        clock.now += 0.9
        meter.advance(files=1)
    assert "1/100 files" in stream.getvalue()
    assert "left" not in stream.getvalue()


def test_nothing_is_drawn_on_a_dumb_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with Session(tmp_path, {"TERM": "dumb"}, stderr_tty=True).progress("x", files=2) as meter:
        clock.now += 1
        meter.advance(files=1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("width", range(80))
def test_line_never_exceeds_the_width(width: int) -> None:
    parts = [(0, "push:"), (3, "1/2 files"), (1, "3 MB/4 MB"), (4, "1 MB/s"), (2, "0:10 left")]
    assert len(fit(parts, width)) <= width


def test_narrow_lines_drop_the_least_important_first() -> None:
    parts = [(0, "push:"), (3, "1/2 files"), (1, "3 MB/4 MB"), (4, "1 MB/s"), (2, "0:10 left")]
    assert fit(parts, 40) == "push: 1/2 files, 3 MB/4 MB, 0:10 left"
    assert fit(parts, 30) == "push: 3 MB/4 MB, 0:10 left"
    assert fit(parts, 20) == "push: 3 MB/4 MB"


def test_messages_take_the_line_away_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    session = Session(tmp_path, {}, stderr_tty=True)
    with session.progress("x", files=2) as meter:
        clock.now += 1
        meter.advance(files=1)
        session.note("hello")
    assert capsys.readouterr().err == "\r\x1b[Kx: 1/2 files, 0:01 left\r\x1b[Khello\n"


def test_session_streams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loud = Session(tmp_path, {}, verbose=True)
    loud.out("data \udcff")
    loud.json({"a": "ä\udcff"})
    loud.note("note")
    loud.warn("careful", hint="do this")
    loud.debug("detail")
    out, err = capsys.readouterr()
    assert out == 'data \\udcff\n{\n  "a": "ä\\udcff"\n}\n'
    assert err == "note\nwarning: careful\nhint: do this\ndetail\n"
    quiet = Session(tmp_path, {}, quiet=True, stderr_tty=True)
    quiet.note("note")
    quiet.debug("detail")
    quiet.warn("careful")
    with quiet.progress("x") as meter:
        meter.advance(files=1)
    assert capsys.readouterr().err.replace("\x1b[33m", "").replace("\x1b[0m", "") == "warning: careful\n"
