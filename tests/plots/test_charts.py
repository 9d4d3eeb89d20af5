"""Charts: columns of files at several revisions, and what is said of those that are missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plots.charts import chart, csv, curves
from vcs_ml.errors import UserError
from vcs_ml.plots import figures, theme
from vcs_ml.plots.definition import Column, Pair, define


def rows(made: figures.Chart) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = figures.spec(made)["data"]["values"]
    return found


def test_file_named_alone_is_its_last_column_over_the_row() -> None:
    made = chart({}, {"main": {"data.csv": b"loss,accuracy\n3,0.5\n2,0.6\n"}})

    assert [(row["step"], row["accuracy"]) for row in rows(made)] == [(0, 0.5), (1, 0.6)]
    assert made.title == "data.csv"
    assert made.label == "line chart of accuracy over step: main"


def test_revisions_are_overlaid_in_the_colours_of_their_places() -> None:
    made = chart({"x": "step", "y": "loss"}, curves("main", "gone", "workspace") | {"gone": {}})

    assert [each.labels["rev"] for each in made.series] == ["main", "workspace"]
    colour = made.template["encoding"]["color"]
    assert colour["field"] == "rev"
    assert colour["scale"] == {"domain": ["main", "workspace"], "range": [theme.COLOURS[0], theme.COLOURS[2]]}
    assert made.notes == ["gone: there is no data.csv"]


def test_columns_of_one_revision_have_colours_and_of_several_dashes() -> None:
    files = curves("main", "workspace", columns=["step", "loss", "val_loss"])
    plot = {"x": "step", "y": ["loss", "val_loss"]}

    one, two = chart(plot, {"main": files["main"]}), chart(plot, files)

    assert one.template["encoding"]["color"]["field"] == "field"
    assert "strokeDash" not in one.template["encoding"]
    assert two.template["encoding"]["color"]["field"] == "rev"
    assert two.template["encoding"]["strokeDash"]["scale"]["domain"] == ["loss", "val_loss"]
    assert [each.labels["series"] for each in two.series] == [
        "main: loss",
        "main: val_loss",
        "workspace: loss",
        "workspace: val_loss",
    ]


def test_more_revisions_than_colours_differ_in_dashes() -> None:
    made = chart({"x": "step", "y": "loss"}, curves(*map(str, range(9)), points=2))

    encoding = made.template["encoding"]
    looks = zip(encoding["color"]["scale"]["range"], map(str, encoding["strokeDash"]["scale"]["range"]), strict=True)
    assert len(set(looks)) == 9


def test_several_files_are_one_chart() -> None:
    files = {"main": {"train.csv": b"step,loss\n1,3\n", "test.csv": b"epoch,loss\n1,4\n"}}
    made = chart({"x": {"train.csv": "step"}, "y": {"train.csv": "loss", "test.csv": "loss"}}, files)

    assert [(row["field"], row["step"], row["loss"]) for row in rows(made)] == [("train.csv", 1, 3), ("test.csv", 1, 4)]


def test_column_missing_at_one_revision_is_noted_and_the_rest_shown() -> None:
    files = curves("main") | {"old": {"data.csv": b"step,error\n1,2\n"}, "new": {"data.csv": b""}}
    made = chart({"x": "step", "y": "loss"}, files)

    assert [each.labels["rev"] for each in made.series] == ["main"]
    assert made.notes == ["old: data.csv has no column loss", "new: data.csv is empty"]


def test_nothing_at_all_is_a_chart_of_nothing() -> None:
    made = chart({"x": "epoch", "y": "loss"}, {"main": {"data.csv": b"step\n1\n"}, "new": {}})

    assert not made.series
    assert made.notes == [
        "main: data.csv has no column loss",
        "main: data.csv has no column epoch",
        "new: there is no data.csv",
    ]


def test_a_column_that_is_not_there_is_noted_with_the_nearest() -> None:
    made = chart({"y": "los"}, {"main": {"data.csv": b"step,loss\n1,2\n"}})

    assert made.notes == ["main: data.csv has no column los (did you mean loss?)"]


def test_values_that_have_no_place_are_gaps_in_a_line_and_counted() -> None:
    made = chart({"x": "step", "y": "loss"}, {"main": {"data.csv": b"step,loss\n1,1\n2,nan\n3,inf\n,4\n5,5\n6,bad\n"}})

    assert [(row["step"], row["loss"]) for row in rows(made)] == [(1, 1), (2, None), (3, None), (5, 5), (6, None)]
    assert made.notes == ["main: 4 points without a finite value, the first in row 2"]
    assert made.summaries[0][1:] == (2, 5, 1, 5)


def test_points_without_a_value_are_left_out_of_a_scatter_plot() -> None:
    made = chart({"x": "a", "y": "b", "template": "scatter"}, {"main": {"data.csv": b"a,b\n1,1\n2,nan\n3,3\n"}})

    assert [(row["a"], row["b"]) for row in rows(made)] == [(1, 1), (3, 3)]


@pytest.mark.parametrize(
    ("cells", "type"),
    [
        (["1", "2.5", ""], "quantitative"),
        (["2024-01-01", "2024-01-02T10:00:00Z"], "temporal"),
        (["conv1", "conv2"], "nominal"),
        (["1", "2", "total"], "quantitative"),
    ],
)
def test_axis_goes_by_what_is_on_it(cells: list[str], type: str) -> None:
    made = chart({"x": "x", "y": "y"}, {"main": {"data.csv": csv(["x", "y"], ((cell, 1) for cell in cells))}})

    assert made.template["encoding"]["x"]["type"] == type


def test_columns_with_our_own_names_and_with_dots_are_told_apart() -> None:
    made = chart({"x": "rev", "y": "loss.total[0]"}, {"main": {"data.csv": b"rev,loss.total[0]\n1,2\n"}})

    assert made.template["encoding"]["x"]["field"] == "rev_"
    assert made.template["encoding"]["x"]["title"] == "rev"
    assert made.template["encoding"]["y"]["field"] == "loss\\.total\\[0\\]"
    assert rows(made)[0] | {"rev": "main", "rev_": 1, "loss.total[0]": 2} == rows(made)[0]


def test_only_columns_that_are_drawn_are_in_it() -> None:
    made = chart({"x": "step", "y": "loss"}, curves("main", columns=["step", "loss", "secret"]))

    assert set(rows(made)[0]) == {"step", "loss", "rev", "filename", "field", "series"}


def test_x_and_y_of_different_length_are_cut_and_noted() -> None:
    files = {"main": {"x.csv": b"t\n1\n2\n3\n", "y.csv": b"v\n5\n6\n"}}
    made = chart({"x": {"x.csv": "t"}, "y": {"y.csv": "v"}}, files)

    assert [(row["t"], row["v"]) for row in rows(made)] == [(1, 5), (2, 6)]
    assert "3 values for x and 2 for y" in made.notes[0]


def test_revisions_with_the_same_values_are_named() -> None:
    same, other = curves("main")["main"], curves("a", "v2")["v2"]
    made = chart({"x": "step", "y": "loss"}, {"main": same, "v1": same, "v2": other, "v3": same})

    assert made.notes == ["v1, v3: the same as main"]


def test_plot_is_what_vml_yaml_says() -> None:
    assert define("a.csv", {}).pairs == (Pair(Column("a.csv", None)),)
    assert define("a.csv", {"x": "s", "y": ["l", "m"]}).pairs == (
        Pair(Column("a.csv", "l"), Column("a.csv", "s")),
        Pair(Column("a.csv", "m"), Column("a.csv", "s")),
    )
    both = define("name", {"x": {"a.csv": "s", "b.csv": "t"}, "y": {"a.csv": "l", "b.csv": ["m"]}, "title": "T"})
    assert both.pairs == (
        Pair(Column("a.csv", "l"), Column("a.csv", "s")),
        Pair(Column("b.csv", "m"), Column("b.csv", "t")),
    )
    assert (both.title, both.template, both.sources) == ("T", "linear", {"a.csv": ["l", "s"], "b.csv": ["m", "t"]})


def test_columns_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(UserError, match="2 columns for x and 3 for y"):
        define("name", {"x": {"a.csv": "s", "b.csv": "t"}, "y": {"a.csv": ["l", "m", "n"]}})


def test_booleans_among_numbers_are_gaps() -> None:
    for cells in ([1.5, True, 2], [1.5, True, 2, None]):
        made = figures.draw(define("p.csv", {"y": "v"}), {"main": {"p.csv": {"v": cells}}})
        assert made.series[0].columns["v"] == [1.5, None, *cells[2:]]


CELL = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.booleans()


@settings(max_examples=80)
@given(
    st.dictionaries(
        st.sampled_from(["main", "v1", "<b>"]), st.none() | st.lists(st.tuples(CELL, CELL), max_size=6), min_size=1
    ),
    st.sampled_from(figures.templates.NAMES),
)
def test_any_cells_make_a_chart(found: dict[str, list[tuple[Any, Any]] | None], template: str) -> None:
    tables = {
        rev: {} if cells is None else {"p.csv": {"x": [x for x, _ in cells], "y": [y for _, y in cells]}}
        for rev, cells in found.items()
    }
    made = figures.draw(define("p.csv", {"x": "x", "y": "y", "template": template}), tables)

    assert "VML_" not in str(made.template)
    for row in figures.spec(made)["data"]["values"]:
        assert row["x"] is not None
