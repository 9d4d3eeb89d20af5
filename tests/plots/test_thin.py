"""Fewer points, none of which is missed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plots.charts import chart, csv
from vcs_ml.plots import thin

CELLS = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=300)


@settings(max_examples=100)
@given(CELLS, st.integers(2, 60))
def test_line_keeps_its_ends_its_peaks_and_its_gaps(y: list[float | None], limit: int) -> None:
    kept = thin.line(y, limit)

    assert list(kept) == sorted(set(kept))
    assert len(kept) <= max(3 * (limit // 2) + 2, limit)
    known = [cell for cell in y if cell is not None]
    shown = [y[at] for at in kept]
    if known:
        left = [cell for cell in shown if cell is not None]
        assert (min(left), max(left)) == (min(known), max(known))
    assert (None in shown) == (None in y)
    assert not y or (kept[0], kept[-1]) == (0, len(y) - 1)


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_points_are_taken_evenly(count: int, limit: int) -> None:
    kept = thin.evenly(count, limit)

    assert len(kept) <= limit
    assert not count or kept[0] == 0
    assert count > limit or list(kept) == list(range(count))


def test_line_of_many_points_says_what_is_drawn() -> None:
    rows = [(at, 5 if at == 4321 else at % 7 / 10) for at in range(10_000)]
    made = chart({"x": "step", "y": "loss"}, {"main": {"data.csv": csv(["step", "loss"], rows)}})

    (line,) = made.series
    assert len(line.columns["loss"]) <= thin.LINE_MAX + 2
    assert line.columns["step"][line.columns["loss"].index(5)] == 4321
    assert made.notes == [
        "main: not all of 10,000 points are drawn, but the lowest and highest of each of 1,000 stretches"
    ]
    assert made.summaries[0][1:] == (10_000, rows[-1][1], 0.0, 5.0)


def test_line_is_drawn_in_the_order_of_x() -> None:
    made = chart({"x": "step", "y": "loss"}, {"main": {"data.csv": b"step,loss\n3,1\n1,2\n2,\n"}})

    assert made.series[0].columns == {"step": [1, 2, 3], "loss": [2, None, 1]}


def test_many_bars_leave_the_longest() -> None:
    rows = [(-at if at % 2 else at, f"f{at}") for at in range(300)]
    made = chart(
        {"x": "weight", "y": "name", "template": "bar_horizontal"},
        {"main": {"data.csv": csv(["weight", "name"], rows)}},
    )

    assert made.series[0].columns["name"] == [f"f{at}" for at in range(200, 300)]
    assert "100 largest of 300" in made.notes[0]


def test_classes_are_counted_not_listed() -> None:
    rows = [("cat", "cat")] * 900 + [("cat", "dog")] * 100 + [("dog", "dog")] * 1000
    made = chart(
        {"x": "predicted", "y": "actual", "template": "confusion"},
        {"main": {"data.csv": csv(["actual", "predicted"], rows)}},
    )

    columns = made.series[0].columns
    assert sorted(zip(columns["actual"], columns["predicted"], columns["count"], strict=True)) == [
        ("cat", "cat", 900),
        ("cat", "dog", 100),
        ("dog", "dog", 1000),
    ]


def test_matrix_of_too_many_classes_keeps_the_most_frequent() -> None:
    rows = [(at, at) for at in range(200) for _ in range(2 if at >= 150 else 1)]
    made = chart(
        {"x": "predicted", "y": "actual", "template": "confusion"},
        {"main": {"data.csv": csv(["actual", "predicted"], rows)}},
    )

    assert len(made.series[0].columns["actual"]) == thin.CLASSES_MAX
    assert set(range(150, 200)) <= set(made.series[0].columns["actual"])
    assert "of 200 classes" in made.notes[0]
