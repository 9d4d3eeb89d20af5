"""Pages of plots in a browser: drawn, quiet, offline, fit for a phone, and deaf to what strangers wrote."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.browser import Browser, Page
from tests.plots.charts import HOSTILE, chart, csv, curves, png
from tests.plots.test_images import SVG
from tests.plots.test_templates import OWN
from vcs_ml.plots import figures, images, page, series, templates
from vcs_ml.plots.definition import define
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images

DRAWN = "document.documentElement.dataset.charts === 'drawn'"
REVS = ("main", "feature/attention", "workspace")


def everything() -> list[Chart | Images]:
    """One figure of every kind."""
    chance = random.Random(1)
    names = ["cat", "dog", "horse"]
    classes = [
        (each := chance.choice(names), each if chance.random() < 0.7 else chance.choice(names)) for _ in range(300)
    ]
    bars = [(chance.random(), f"feature {at}") for at in range(6)]
    cloud = [(x := chance.random(), x + chance.gauss(0, 0.2)) for _ in range(200)]
    steps = [(chance.randint(1, 5), chance.randint(1, 4)) for _ in range(200)]
    noisy = [(at, "nan" if at == 5000 else 1 / (1 + at / 900) + chance.gauss(0, 0.05)) for at in range(9_000)]

    def made(title: str, template: str, columns: list[str], rows: list[tuple[object, object]]) -> Chart:
        raw = csv(columns, rows)
        plot = {"x": columns[0], "y": columns[1], "template": template, "title": title}
        return chart(plot, {rev: {"data.csv": raw} for rev in REVS[:2]})

    own = templates.parse(json.dumps(OWN).encode(), "own.json")
    columns = ["step", "loss", "val_loss"]
    return [
        chart({"x": "step", "y": "loss", "title": "Loss"}, curves(*REVS)),
        chart({"x": "step", "y": columns[1:], "title": "Two columns"}, curves(*REVS, columns=columns)),
        chart({"x": "step", "y": columns[1:], "title": "One revision"}, curves("main", columns=columns)),
        made("Many points", "simple", ["step", "gradient"], noisy),
        made("Smoothed", "smooth", ["step", "gradient"], noisy),
        made("Scatter", "scatter", ["predicted", "actual"], cloud),
        made("Jitter", "scatter_jitter", ["stars", "rooms"], steps),
        made("Confusion", "confusion", ["predicted", "actual"], classes),
        made("Confusion, normalised", "confusion_normalized", ["predicted", "actual"], classes),
        made("Bars", "bar_horizontal", ["weight", "feature"], bars),
        made("Bars, sorted", "bar_horizontal_sorted", ["weight", "feature"], bars),
        made("Dates", "linear", ["day", "value"], [(f"2024-01-0{at}", at) for at in range(1, 9)]),
        made("Names", "linear", ["layer", "value"], [(f"block {at}", at) for at in range(1, 9)]),
        chart({"x": "step", "y": "loss", "title": "Own template"}, curves(*REVS), own),
        chart({"y": "accuracy", "title": "Nothing"}, curves("main")),
        images.compare("saliency.png", {"main": png(300, 200), "workspace": png(300, 200, grey=90)}),
        images.compare("graph.svg", {"main": SVG}),
    ]


def opened(browser: Browser, path: Path, text: str, width: int = 1280) -> Page:
    path.write_text(text, encoding="utf-8")
    tab = browser.open(path, width)
    if 'class="chart' in text:
        tab.wait(DRAWN)
    return tab


def is_quiet(tab: Page) -> None:
    assert tab.problems == []
    assert tab.requests == []
    assert tab.run("document.querySelectorAll('.chart .bad').length") == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_every_kind_is_drawn(chromium: Browser, tmp_path: Path, width: int) -> None:
    figures = everything()
    tab = opened(chromium, tmp_path / "page.html", page.write(figures, title="Plots"), width)

    is_quiet(tab)
    assert tab.run("document.documentElement.scrollWidth") == width
    marks = tab.run(
        "[...document.querySelectorAll('.chart')].map((each) =>"
        " each.querySelectorAll('[class*=mark-] :is(path, rect, text)[d], [class*=mark-] path').length)"
    )
    assert len(marks) == sum(isinstance(each, Chart) and bool(each.series) for each in figures)
    assert min(marks) > 0
    assert tab.run("[...document.images].every((each) => each.complete && each.naturalWidth)")
    assert tab.run("document.querySelectorAll('.apart img').length") == 2
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    tab.picture(shots / f"plots-{width}-light.png")
    light = tab.run("getComputedStyle(document.body).color")
    tab.size(width, dark=True)
    assert tab.run("getComputedStyle(document.querySelector('.role-axis-label text')).fill") != light
    tab.picture(shots / f"plots-{width}-dark.png")
    assert tab.problems == []


def test_words_of_strangers_stay_words(chromium: Browser, tmp_path: Path) -> None:
    cells = [(HOSTILE.replace("'", "").replace('"', ""), 1), ("b", 2)]
    files = {HOSTILE: {"data.csv": csv([f"{HOSTILE.replace(chr(34), '')}", "loss"], cells)}, "main": {}}
    words = {"title": HOSTILE, "x_label": HOSTILE, "y_label": HOSTILE}
    tip = OWN | {"mark": {"type": "bar", "tooltip": HOSTILE}, "description": HOSTILE}
    figures: list[Chart | Images] = [
        chart(words | {"y": "loss"}, files),
        chart(words, curves(HOSTILE, "main") | {"gone": {}}, templates.parse(json.dumps(tip).encode(), "own.json")),
        images.compare(
            HOSTILE, {HOSTILE: png(3, 3), "main": None, "v1": SVG.replace(b"/>", b' onload="window.hacked=1"/>')}
        ),
    ]
    text = page.write(figures, title=HOSTILE, about=HOSTILE)
    tab = opened(chromium, tmp_path / "page.html", text)

    is_quiet(tab)
    assert tab.run("window.hacked") is None
    assert tab.run("document.querySelectorAll('img').length") == 2
    assert "<script>window.hacked" not in text


def test_long_names_fit_on_a_phone(chromium: Browser, tmp_path: Path) -> None:
    long = "x" * 300
    words = {"title": long, "x_label": long, "y_label": long}
    bars = csv(["weight", "name"], [(1, long), (2, f"b{long}")])
    figures: list[Chart | Images] = [
        chart(words | {"x": "step", "y": "loss"}, curves(long, f"b{long}")),
        chart({"x": "weight", "y": "name", "template": "bar_horizontal"}, {long: {"data.csv": bars}}),
        chart({"x": "weight", "y": "name", "template": "confusion"}, {long: {"data.csv": bars}}),
        images.compare(long, {long: png(3, 3), "main": png(3, 3, grey=1)}),
    ]
    tab = opened(chromium, tmp_path / "page.html", page.write(figures, title=long, about=long), 390)

    is_quiet(tab)
    assert tab.run("document.documentElement.scrollWidth") == 390


def test_own_template_runs_no_code_and_asks_for_nothing(chromium: Browser, tmp_path: Path) -> None:
    evil = OWN | {
        "transform": [
            {"calculate": "datum.constructor.constructor('window.hacked = 1')()", "as": "a"},
            {"calculate": "warn(datum) || modify('x', null) || window.alert(1)", "as": "b"},
        ],
    }
    figures = [
        chart({"x": "step", "y": "loss"}, curves("main"), templates.parse(json.dumps(evil).encode(), "own.json")),
        chart({"x": "step", "y": "loss"}, curves("main")),
    ]
    tab = opened(chromium, tmp_path / "page.html", page.write(figures, title="T"))

    assert tab.run("window.hacked") is None
    assert tab.requests == []
    assert "cannot be drawn" in tab.run("document.querySelectorAll('.chart')[0].textContent")
    assert tab.run("document.querySelectorAll('.chart')[1].querySelectorAll('path').length") > 3


def test_policy_holds_where_a_script_gets_in(chromium: Browser, tmp_path: Path) -> None:
    text = page.write([chart({"x": "step", "y": "loss"}, curves("main"))], title="T")
    broken = text.replace("</main>", "<script>window.hacked = 1</script><img src=http://127.0.0.1:9/x.png></main>")
    tab = opened(chromium, tmp_path / "page.html", broken)

    assert tab.run("window.hacked") is None
    assert len(tab.problems) == 2
    assert all("Content Security Policy" in each for each in tab.problems)


def test_pointer_reads_every_line(chromium: Browser, tmp_path: Path) -> None:
    text = page.write([chart({"x": "step", "y": "loss"}, curves("main", "v1", points=11))], title="T")
    tab = opened(chromium, tmp_path / "page.html", text)
    left, top, width, height = tab.run(
        "(({left, top, width, height}) => [left, top, width, height])(document.querySelector("
        "'.chart .background').getBoundingClientRect())"
    )

    tab.move(left + width * 0.52, top + height / 2)

    assert tab.run("document.querySelector('.tip').innerText").split("\n") == [
        "step 5",
        "main",
        "0.285714",
        "v1",
        "0.25",
    ]
    assert tab.run("document.querySelector('.rule').getBoundingClientRect().left") == pytest.approx(
        left + width / 2, abs=2
    )
    tab.move(1, 1)
    assert tab.run("document.querySelector('.tip').hidden")


def columns(made: Chart) -> dict[str, list[Any]]:
    """The columns of the only series, as a page has them."""
    (block,) = re.findall(r'data-block="charts">([^<]*)<', page.write([made], title="T"))
    (there,) = json.loads(gzip.decompress(base64.b64decode(block)))["charts"][0]["series"]
    return {
        name: each
        if isinstance(each, list)
        else [cell if cell is None else cell / each["scale"] for cell in each["values"]]
        for name, each in there["columns"].items()
    }


@given(
    st.lists(
        st.none()
        | st.integers(-(10**6), 10**6)
        | st.floats(-10, 10)
        | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e308, max_value=1e308),
        min_size=1,
        max_size=50,
    ).filter(lambda cells: any(each is not None for each in cells))
)
@example([1e17 + 16, 1e17])
@example([1e-30, 3e-30])
@example([0.5, 2**62])
def test_numbers_of_a_page_are_those_of_the_points(cells: list[float | None]) -> None:
    raw = json.dumps([{"y": each} for each in cells]).encode()
    plot = {"y": {"data.json": "y"}, "template": "linear"}
    made = figures.draw(
        define("p", plot), {"main": {"data.json": series.read(raw, "data.json")}}, templates.built_in("linear")
    )

    column = columns(made)["y"]
    known = [each for each in cells if each is not None]
    nearly = (max(known) / 1e5 - min(known) / 1e5) or abs(known[0]) / 1e5
    assert [each is None for each in column] == [each is None for each in cells]
    assert all(isinstance(a, int) == isinstance(b, int) or a == b for a, b in zip(column, cells, strict=True))
    assert all(abs(a - b) <= nearly for a, b in zip(column, cells, strict=True) if b is not None)


@pytest.mark.parametrize("template", ["confusion", "confusion_normalized", "bar_horizontal", "scatter_jitter"])
def test_numbers_that_are_names_are_exact(template: str) -> None:
    rows = [(10.0**-at / 3, 1 / (at + 3)) for at in range(20)]
    made = chart({"x": "a", "y": "b", "template": template}, {"main": {"data.csv": csv(["a", "b"], rows)}})
    found = columns(made)
    assert sorted(zip(found["a"], found["b"], strict=True)) == sorted(rows)


def test_templates_of_others_get_all_digits() -> None:
    rows = [(at, 10.0 ** (-at / 10)) for at in range(100)]
    own = templates.parse(json.dumps(OWN).encode(), "own.json")
    assert columns(chart({"x": "step", "y": "loss"}, {"main": {"data.csv": csv(["step", "loss"], rows)}}, own))[
        "loss"
    ] == [loss for _, loss in rows]


@pytest.mark.parametrize("template", ["linear", "scatter"])
def test_points_at_the_edges_are_whole(chromium: Browser, tmp_path: Path, template: str) -> None:
    raw = csv(["x", "y"], [(0, 0), (1, 5), (5, 2), (10, 10)])
    made = chart({"x": "x", "y": "y", "template": template}, {"main": {"data.csv": raw}})
    tab = opened(chromium, tmp_path / "page.html", page.write([made], title="T"))

    edges = "(({left, top, right, bottom}) => [left, top, right, bottom])(%s.getBoundingClientRect())"
    left, top, right, bottom = tab.run(edges % "document.querySelector('.chart .background')")
    points = tab.run(
        f"[...document.querySelectorAll('.mark-symbol path')].map((each) => {edges.replace('%s', 'each')})"
    )
    assert len(points) == 4
    for point in points:
        assert left <= point[0] < point[2] <= right
        assert top <= point[1] < point[3] <= bottom
    assert tab.run("document.querySelector('.chart').clientWidth") > 1100  # alone, it has the whole page


def test_axes_are_numbered_as_people_count(chromium: Browser, tmp_path: Path) -> None:
    epochs, flat = [(1, 0.25), (2, 1.5), (3, 0.5)], [(1, 0.5), (2, 0.5)]
    plots: list[tuple[str, list[tuple[float, float]]]] = [
        *((each, epochs) for each in ("linear", "simple", "smooth", "scatter")),
        ("linear", flat),
        ("scatter", [(2000, 5e-9)]),
        ("bar_horizontal", [(1, 1), (2, 2)]),
        ("bar_horizontal", [(0, 1), (0, 2)]),
    ]
    figures = [
        chart({"x": "x", "y": "y", "template": name}, {"main": {"data.csv": csv(["x", "y"], rows)}})
        for name, rows in plots
    ]
    tab = opened(chromium, tmp_path / "page.html", page.write(figures, title="T"))

    labels = tab.run(
        "[...document.querySelectorAll('.chart')].map((chart) => [...chart.querySelectorAll('.role-axis-label')]"
        ".map((axis) => [...axis.querySelectorAll('text')].map((each) => each.textContent)))"
    )
    assert [each[0] for each in labels[:4]] == [["1", "2", "3"]] * 4
    assert labels[4] == [["1", "2"], ["0.5"]]
    assert labels[5] == [["2,000"], ["5e-9"]]
    assert [each[0] for each in labels[6:]] == [["0", "1", "2"], ["0"]]


def test_titles_like_our_own_names_do_no_harm(chromium: Browser, tmp_path: Path) -> None:
    titles = ["vega", "charts", "chart-0", "tip", "vml_vega", "scripts"]
    figures = [chart({"x": "step", "y": "loss", "title": each}, curves("main")) for each in titles]
    tab = opened(chromium, tmp_path / "page.html", page.write(figures, title="T"))

    is_quiet(tab)
    assert tab.run("document.querySelectorAll('.chart svg').length") == len(titles)


def test_vega_carries_its_licences() -> None:
    folder = Path(page.__file__).parent
    licences = (folder / "vega.LICENCES.txt").read_text()

    assert gzip.decompress((folder / "vega.js.gz").read_bytes()).decode().startswith(f"/*\n{licences}*/")


def test_page_without_charts_carries_no_vega() -> None:
    pictures = page.write([images.compare("a.png", {"main": png(3, 3)})], title="T")
    nothing = page.write([chart({"y": "accuracy"}, curves("main"))], title="T")

    assert len(pictures) < 20_000
    assert len(nothing) < 20_000


def test_same_figures_are_the_same_bytes() -> None:
    assert page.write(everything(), title="T") == page.write(everything(), title="T")


def test_confusion_matrix_with_long_labels_fits_a_phone(chromium: Browser, tmp_path: Path) -> None:
    names = [f"a label of many words, of which this is number {at}" for at in range(4)]
    raw = csv(["actual", "predicted"], [(names[at % 4], names[at * at % 4]) for at in range(40)])
    made = chart({"x": "predicted", "y": "actual", "template": "confusion"}, {"main": {"data.csv": raw}})
    tab = opened(chromium, tmp_path / "page.html", page.write([made], title="T"), 390)

    assert tab.run("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.chart'))")


@pytest.mark.parametrize("name", ["confusion", "confusion_normalized"])
def test_numbers_in_cells_can_be_read(name: str) -> None:
    cells, numbers = json.loads(templates.text(name))["spec"]["layer"]
    most = cells["encoding"]["opacity"]["scale"]["range"][1]
    shade = [int(cells["mark"]["color"][at : at + 2], 16) for at in (1, 3, 5)]

    def light(colour: list[float]) -> float:
        parts = [each / 255 for each in colour]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert "color" not in numbers["encoding"]  # they have that of text
    for ink, paper in (([0x1C, 0x24, 0x30], [255] * 3), ([0xE4, 0xE8, 0xED], [0x11, 0x15, 0x1A])):
        cell = [most * over + (1 - most) * under for over, under in zip(shade, paper, strict=True)]
        low, high = sorted([light(ink), light(cell)])
        assert (high + 0.05) / (low + 0.05) >= 4.5
