"""The benchmark harness: its files are reproducible, its tables right, its goals told from its misses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import compare, measure, pipelines, report, rows, run, tools, workload
from benchmarks.measure import Sample
from benchmarks.rows import Goal


def samples(*seconds: float) -> list[Sample]:
    return [Sample(value, 50_000_000) for value in seconds]


def test_workload_is_the_same_every_time(tmp_path: Path) -> None:
    sizes = [workload.write_tree(tmp_path / name, files=20, directories=3) for name in ("a", "b")]

    assert sizes[0] == sizes[1]
    assert workload.same(tmp_path / "a", tmp_path / "b")
    assert len(list((tmp_path / "a").rglob("*.bin"))) == 20

    workload.replace_one(tmp_path / "b", seed=1)
    assert not workload.same(tmp_path / "a", tmp_path / "b")


def test_steps_bring_what_they_need() -> None:
    assert [row.step for row in rows.with_needs({"push-again"})] == ["add", "commit", "push", "push-again"]
    assert [row.step for row in rows.with_needs(set())] == []


def test_goals_read_as_they_are_met() -> None:
    assert str(Goal("DVC", 1 / 8)) == "DVC / 8"
    assert Goal("DVC", 1 / 8).limit(8.0) == 1.0
    assert str(Goal("cp -r")) == "1.0 x cp -r"
    assert str(Goal("python", extra=0.06)) == "python + 60 ms"
    assert Goal("python", extra=0.06).limit(0.01) == pytest.approx(0.07)


def test_table_shows_medians_ratios_and_whether_goals_are_met() -> None:
    results = {
        "add": {"cp -r": samples(1.0), "DVC": samples(8.0, 9.0, 100.0), "vml": samples(0.5, 0.9, 0.7)},
        "status": {"DVC": samples(1.0), "vml": samples(0.5)},
        "version": {"python": samples(0.010), "vml": samples(0.060)},
    }

    times, start_up, memory = report.tables(results)

    assert times.header == ["step", "vml", "cp -r", "DVC", "cp -r : vml", "DVC : vml", "goal", "met"]
    assert times.rows == [
        ["add, cold", "700 ms", "1.00 s", "9.00 s", "1.4", "12.9", "DVC / 8 and 1.0 x cp -r", "yes"],
        ["status, nothing changed", "500 ms", "", "1.00 s", "", "2.0", "DVC / 8", "NO"],
    ]
    assert start_up.rows == [["--version", "60 ms", "10 ms", "+50 ms", "python + 60 ms", "yes"]]
    assert memory.rows[0] == ["add, cold", "50 MB", "50 MB", "50 MB", ""]
    assert report.missed(results) == ["status, nothing changed: vml took 500 ms, the goal is DVC / 8 = 125 ms"]


def test_markdown_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (begin, end), (other, other_end) = report.markers("scale"), report.markers("benchmark")
    rest = f"before\n{other}\nstays\n{other_end}\n"
    page.write_text(f"{rest}{begin}\nold\n{end}\nafter\n")

    report.write_between_markers(page, "scale", "new")

    assert page.read_text() == f"{rest}{begin}\n\nnew\n\n{end}\nafter\n"


def test_page_without_markers_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers\n")

    assert run.main(["--write", str(page)]) == 2
    assert report.markers("benchmark")[0] in capsys.readouterr().err
    assert run.main(["--scale", "--write", str(page)]) == 2
    assert report.markers("scale")[0] in capsys.readouterr().err


def test_failing_command_is_not_a_measurement(tmp_path: Path) -> None:
    with pytest.raises(measure.CommandFailed, match="exited with 3:\nno disk"):
        measure.run(
            [[sys.executable, "-c", "print('no disk'); raise SystemExit(3)"]],
            cwd=tmp_path,
            env=tools.environment(tmp_path),
            log=tmp_path / "log",
        )


def test_memory_of_the_child_is_measured(tmp_path: Path) -> None:
    env = tools.environment(tmp_path)
    big = [[sys.executable, "-c", "x = b'x' * 300_000_000"]]

    assert measure.run(big, cwd=tmp_path, env=env, log=tmp_path / "log").peak > 300_000_000


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells it")
def test_memory_of_all_processes_is_added_up(tmp_path: Path) -> None:
    hold = "import os, sys; x = b'x' * 100_000_000; print('.', flush=True); sys.stdin.read()"
    start = f"import subprocess, sys; p = [subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=-1, stdout=-1)"
    both = [
        [sys.executable, "-c", f"{start} for _ in 'ab']; [q.stdout.read(1) for q in p]; import time; time.sleep(1)"]
    ]

    found = measure.run(both, cwd=tmp_path, env=tools.environment(tmp_path), log=tmp_path / "log", together=True)

    assert found.together > 200_000_000
    assert found.processor > 0


def test_every_step_works_with_every_tool_on_a_small_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--files", "12", "--directories", "3", "--runs", "1", "--tools", "cp,git,vml"]
    steps = [row.step for row in rows.STORY]

    assert run.main([*arguments, "--dir", str(tmp_path), *steps]) == 0

    shown = capsys.readouterr().out
    assert all(row.title in shown for row in rows.STORY)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_scale_grows_as_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--scale", "0.0001", "--tools", "vml", "--dir", str(tmp_path), "history", "many-files"]) == 0

    shown = capsys.readouterr().out
    assert "Files of 1 KiB in one flat directory" in shown
    assert "push --all-commits, nothing new" in shown
    assert list(tmp_path.iterdir()) == []
    assert run.main(["--scale", "--dir", str(tmp_path), "add"]) == 2
    assert "there are history, large-file, many-files, one-by-one" in capsys.readouterr().err


def test_bucket_is_measured_with_a_small_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--s3", "0.0005", "--tools", "rclone", "--dir", str(tmp_path)]) == 0

    shown = capsys.readouterr().out
    assert "5 files of 10 KB: number of requests" in shown
    assert "A CSV of 0 MB: bytes sent to the server" in shown
    assert "Peak memory of all processes, one file of 2 MB" in shown
    assert list(tmp_path.iterdir()) == []


def test_pipelines_are_measured_with_a_small_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--pipelines", "0.002", "--runs", "1", "--tools", "vml", "--dir", str(tmp_path)]

    assert run.main(options) == 0

    shown = capsys.readouterr().out
    assert "A chain of 4 stages that copy a file" in shown
    assert "8 independent stages that sleep for 0.002 s" in shown
    assert "A chain of 10 stages, which ran in" in shown
    assert [line.split()[0] for line in shown.partition("sh -c cp alone")[2].splitlines()[2:7]] == ["4"] * 5
    assert list(tmp_path.iterdir()) == []


def test_comparisons_are_measured_with_a_small_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--compare", "0.08", "--runs", "1", "--tools", "vml", "--dir", str(tmp_path)]

    assert run.main([*options, "metrics"]) == 0

    shown = capsys.readouterr().out
    assert "4 files of 200 metrics, 4 commits" in shown
    assert "metrics show, every commit" in shown
    assert list(tmp_path.iterdir()) == []


def test_hooks_and_merges_are_measured_with_a_small_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--git", "0.002", "--runs", "1", "--tools", "vml", "--dir", str(tmp_path)]

    assert run.main(options) == 0

    shown = capsys.readouterr().out
    assert "40 files with a pointer each" in shown
    assert "after a checkout, one file differs" in shown
    assert "A directory of 200 files" in shown
    assert list(tmp_path.iterdir()) == []


def test_series_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        compare.write_series(tmp_path / name, "vml.yaml", files=2)
        compare.change_series(tmp_path / name, files=2, points=50, seed=1)
    assert workload.same(tmp_path / "a", tmp_path / "b")
    before = (tmp_path / "a/series/000.csv").read_text()
    compare.change_series(tmp_path / "a", files=2, points=50, seed=2)
    assert (tmp_path / "a/series/000.csv").read_text() != before
    assert len(before.splitlines()) == 51


def test_pipeline_rows_tell_whether_their_goals_are_met() -> None:
    assert pipelines.row("cold", 0.5, 5.0, Goal("DVC", 1 / 10)) == [
        "cold",
        "500 ms",
        "5.00 s",
        "10.0",
        "DVC / 10",
        "yes",
    ]
    assert pipelines.row("cold", 0.5, 4.9, Goal("DVC", 1 / 10))[-1] == "NO"
    assert pipelines.row("cold", 0.5, None, Goal("DVC", 1 / 10)) == ["cold", "500 ms", "", "", "DVC / 10", ""]
    assert pipelines.row("status", 0.3, None, 0.25) == ["status", "300 ms", "", "", "250 ms", "NO"]
    lines = [pipelines.row(step, took, None, 0.25) for step, took in (("repro", 0.2), ("status", 0.3))]
    assert pipelines.missed([report.Table("A chain", pipelines.HEADER, lines)]) == ["A chain: status"]


def test_csv_grows_by_one_row_where_told(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    workload.write_csv(path, 1_000_000)
    rows = path.read_text().splitlines()
    assert len(set(rows)) == len(rows)

    workload.insert_row(path, at=1.0)
    workload.insert_row(path, at=0.5)

    changed = path.read_text().splitlines()
    assert [row for row in changed if row.startswith("-1,")] == ["-1,0.500000,0,0", "-1,1.000000,0,0"]
    assert changed[-1].startswith("-1,")
    assert [row for row in changed if not row.startswith("-1,")] == rows
