"""Templates: those that people know, and those that a project brings along."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.plots.charts import HOSTILE, chart, csv, curves
from vcs_ml.errors import UserError
from vcs_ml.plots import export, figures, templates, theme

OWN = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"values": "<DVC_METRIC_DATA>"},
    "title": "<DVC_METRIC_TITLE>",
    "width": 300,
    "mark": "area",
    "encoding": {
        "x": {"field": "<DVC_METRIC_X>", "type": "quantitative", "title": "<DVC_METRIC_X_LABEL>"},
        "y": {"field": "<DVC_METRIC_Y>", "type": "quantitative", "title": "<DVC_METRIC_Y_LABEL> (<DVC_METRIC_X>)"},
        "color": {"field": "rev", "type": "nominal"},
    },
}
# What the points of each of ours are like.
CLASSES = csv(["actual", "predicted"], [("cat", "dog"), ("cat", "cat"), ("dog", "dog")])
BARS = csv(["weight", "name"], [(0.5, "a"), (-0.2, "b")])


def template(**changes: Any) -> templates.Template:
    return templates.parse(json.dumps(OWN | changes).encode(), "own.json")


def refused(raw: bytes) -> UserError:
    with pytest.raises(UserError) as caught:
        templates.parse(raw, "own.json")
    assert "own.json" in caught.value.message
    assert caught.value.hint
    return caught.value


def drawn(name: str, *revs: str) -> figures.Chart:
    """One of our templates with what it is for."""
    if name.startswith("confusion"):
        raw, x, y = CLASSES, "predicted", "actual"
    elif name.startswith("bar"):
        raw, x, y = BARS, "weight", "name"
    else:
        return chart({"x": "step", "y": "loss", "template": name}, curves(*revs))
    return chart({"x": x, "y": y, "template": name}, {rev: {"data.csv": raw} for rev in revs})


@pytest.mark.parametrize("revs", [["main"], ["main", "workspace"]], ids=len)
@pytest.mark.parametrize("name", templates.NAMES)
def test_ours_are_vega_lite(name: str, revs: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    svg = export.svg(drawn(name, *revs))

    assert svg.startswith("<svg")
    assert svg.count("<path") > 3
    assert capfd.readouterr().err == ""  # vl-convert writes there what Vega complains of


@pytest.mark.parametrize("name", templates.NAMES)
def test_ours_with_nothing_and_with_one_point(name: str) -> None:
    files = {"main": {"data.csv": b"x,y\n1,2\n"}, "new": {"data.csv": b"x,y\n"}}

    assert export.svg(chart({"x": "x", "y": "y", "template": name}, files)).startswith("<svg")
    assert export.svg(chart({"x": "x", "y": "y", "template": name}, {"new": files["new"]})).startswith("<svg")


@pytest.mark.parametrize("name", templates.NAMES)
def test_ours_with_several_columns_at_several_revisions(name: str) -> None:
    files = curves("main", "v1", points=5, columns=["step", "loss", "error"])
    made = chart({"x": "step", "y": ["loss", "error"], "template": name}, files)

    assert export.png(made, scale=1).startswith(b"\x89PNG")


def test_smooth_line_is_between_the_points() -> None:
    rows = [(at, at % 2) for at in range(200)]
    made = chart({"x": "x", "y": "y", "template": "smooth"}, {"main": {"data.csv": csv(["x", "y"], rows)}})

    assert made.template["layer"][1]["transform"][0]["loess"] == "y"
    assert export.svg(made).count("<path") > 2


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no template confusoin") as caught:
        chart({"template": "confusoin"}, {"main": {}})
    assert caught.value.hint == "did you mean confusion?"


def test_own_template_is_filled_by_the_names_that_dvc_uses() -> None:
    made = chart({"x": "step", "y": "loss", "title": "T"}, curves("main", "v1", points=2), template())
    spec = figures.spec(made)

    assert spec["title"] == "T"
    assert spec["encoding"]["x"] == {"field": "step", "type": "quantitative", "title": "step"}
    assert spec["encoding"]["y"]["title"] == "loss (step)"
    assert [(row["rev"], row["step"]) for row in spec["data"]["values"]] == [
        ("main", 0),
        ("main", 1),
        ("v1", 0),
        ("v1", 1),
    ]
    assert export.svg(made).startswith("<svg")


def test_revisions_have_their_colours_in_an_own_template_too() -> None:
    made = chart({"x": "step", "y": "loss"}, curves("main", "v1") | {"main": {}}, template())

    assert made.template["encoding"]["color"]["scale"] == {"domain": ["v1"], "range": [theme.COLOURS[1]]}
    chosen = OWN["encoding"] | {"color": {"field": "rev", "scale": {"scheme": "dark2"}}}  # type: ignore[operator]
    made = chart({"x": "step", "y": "loss"}, curves("main"), template(encoding=chosen))
    assert made.template["encoding"]["color"]["scale"] == {"scheme": "dark2"}


def test_columns_that_only_an_own_template_names_come_along() -> None:
    size = OWN["encoding"] | {"size": {"field": "weight"}}  # type: ignore[operator]
    made = chart(
        {"x": "step", "y": "loss"}, curves("main", columns=["step", "loss", "weight", "other"]), template(encoding=size)
    )

    assert set(made.series[0].columns) == {"step", "loss", "weight"}


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"url": "https://example.org/x.csv", "name": "<VML_DATA>"}},
        {"layer": [{"data": {"url": "file:///etc/passwd"}, "mark": "bar"}]},
        {"transform": [{"lookup": "a", "from": {"data": {"url": "x"}, "key": "a"}}]},
        {"mark": "image", "encoding": {"url": {"value": "https://example.org/x.png"}}},
        {"encoding": {"href": {"value": "https://example.org"}}},
    ],
)
def test_template_that_loads_or_leads_elsewhere_is_refused(change: dict[str, Any]) -> None:
    assert "loads something" in refused(json.dumps(OWN | change).encode()).message


@pytest.mark.parametrize(
    "change",
    [
        {"layer": [{"data": {"sequence": {"start": 0, "stop": 3e7}}, "mark": "point"}]},
        {"layer": [{"data": {"graticule": True}, "mark": "geoshape"}]},
        {"transform": [{"impute": "a", "key": "b", "keyvals": {"start": 0, "stop": 1e9}}]},
        {"transform": [{"calculate": "length(sequence (1e9))", "as": "a"}]},
        {"transform": [{"calculate": "s\\u0065quence(1e9)", "as": "a"}]},
        {"transform": [{"density": "a", "steps": 1e9}]},
        {"height": 1e9},
    ],
)
def test_template_that_makes_data_is_refused(change: dict[str, Any]) -> None:
    assert "makes data" in refused(json.dumps(OWN | change).encode()).message


def test_template_with_rows_of_its_own_may_call_them_anything() -> None:
    rows = [{"height": 1_000_000, "mark": "best", "sequence": 1}]

    template(layer=[{"data": {"values": rows}, "mark": {"type": "rule"}}])


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_template_with_a_number_that_is_not_finite_is_refused(number: str) -> None:
    raw = json.dumps(OWN | {"scale": "X"}).replace('"X"', number).encode()
    assert "not finite" in refused(raw).message


def test_template_with_an_unknown_mark_is_refused_with_the_nearest() -> None:
    error = refused(json.dumps(OWN | {"layer": [{"mark": {"type": "lines"}}]}).encode())
    assert ("mark lines" in error.message, error.hint) == (True, "did you mean line?")


def test_template_that_becomes_too_large_is_refused() -> None:
    many = template(description=["<VML_TITLE>"] * 40_000)
    inside = template(description="<VML_TITLE>, " * 40_000)
    shared = template(description=["<VML_TOOLTIP>"] * 55_000)

    for each in many, inside, shared:
        with pytest.raises(UserError, match=r"own\.json of the plot data\.csv becomes larger") as caught:
            chart({"x": "step", "y": "loss", "title": "A" * 100_000}, curves("main"), each)
        assert caught.value.hint
    assert len(chart({"title": "A" * 100_000}, curves("main")).title) == 500


def test_what_is_no_template_is_refused() -> None:
    refused(b"{")
    refused(b"[1]")
    refused(b"[" * 100_000)
    assert "no place for data" in refused(b'{"mark": "bar"}').message
    assert "larger" in refused(b" " * 2_000_000).message


def test_anchors_in_a_stranger_s_words_are_words() -> None:
    made = chart(
        {"x": "step", "y": "loss", "title": "<VML_DATA>", "x_label": "<VML_Y>"}, curves("<VML_DATA>", points=1)
    )
    spec = figures.spec(made)

    assert spec["title"] == "<VML_DATA>"
    assert spec["encoding"]["x"]["title"] == "<VML_Y>"
    assert spec["data"]["values"][0]["rev"] == "<VML_DATA>"


def test_template_that_vega_cannot_draw_is_named() -> None:
    made = chart({"x": "step", "y": "loss"}, curves("main"), template(transform=[{"calculate": "(", "as": "a"}]))

    with pytest.raises(UserError, match=r"data\.csv cannot be drawn: ") as caught:
        export.svg(made)
    assert len(caught.value.message) < 400
    assert "own.json" in str(caught.value.hint)


def test_svg_holds_a_stranger_s_words_as_words() -> None:
    made = chart({"x": "step", "y": "loss", "title": HOSTILE}, curves(HOSTILE, "main"))

    assert "<script" not in export.svg(made)
    assert "<img" not in export.svg(made)


def test_without_vl_convert_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    with pytest.raises(UserError) as caught:
        export.png(drawn("linear", "main"))
    assert caught.value.hint == "pip install 'vcs-ml[plots]'"
