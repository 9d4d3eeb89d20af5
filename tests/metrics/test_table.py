"""How values look: cells, tables, Markdown that a stranger's text cannot get out of, JSON."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vcs_ml.errors import UsageError, UserError
from vcs_ml.metrics import table
from vcs_ml.metrics.compare import MISSING, Comparison, Row, Values, rows

NAN, INF = math.nan, math.inf
NASTY = [
    "a|b", "\\|", "`", "``x``", "` `", "<img src=x onerror=alert(1)>", "two\nlines", "\r", "@someone", "[a](http://x)",
    "\x1b[31mred", "\x9b1m", "\u202eltr", "\u2028", "![](x)", "| --- |", "\\", "\\\\|x", "# head", "-", "", " ", "$x$",
    "&amp;", "https://example.org", "www.example.org", "#1", "x" * 1000, "`" * 100, "\udcff", "\0",
]  # fmt: skip
texts = st.sampled_from(NASTY) | st.text("a|`\\ \n<@$-", max_size=8)


def row(old: Any, new: Any) -> Row:
    return Row("m.json", "key", old, new)


def comparison(old: dict[str, Any], new: dict[str, Any], *, every: bool = False) -> Comparison:
    a, b = Values("HEAD", {"m.json": old}, {}, "a" * 40), Values("workspace", {"m.json": new}, {})
    return Comparison(a, b, rows(a, b, every=every))


def pipes(line: str) -> int:
    """The number of cells of a line as GitHub reads it: backslashes hide the `|` after them, also in code."""
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_the_table_of_a_comparison() -> None:
    found = comparison(
        {"acc": 0.9123456, "n": 10, "name": "a", "gone": 1, "same": 5, "zero": 0.0},
        {"acc": 0.9223456, "n": 8, "name": "b", "new": [1, 2], "same": 5.0, "zero": 2.5},
    )
    assert table.of_rows(found, "metrics", precision=5).splitlines() == [
        "file    metric       HEAD    workspace    change        %",
        "m.json  acc       0.91235      0.92235     +0.01   +1.1 %",
        "m.json  n              10            8        -2  -20.0 %",
        "m.json  name            a            b",
        "m.json  new             -       [1, 2]",
        "m.json  zero            0          2.5      +2.5",
        "m.json  gone            1            -",
    ]
    assert table.of_rows(found, "params", by="change", precision=2, markdown=True).splitlines() == [
        "| file     | param   |   `HEAD` |   `workspace` |   change |       % |",
        "|:---------|:--------|---------:|--------------:|---------:|--------:|",
        "| `m.json` | `zero`  |        0 |           2.5 |     +2.5 |         |",
        "| `m.json` | `n`     |       10 |             8 |       -2 | -20.0 % |",
        "| `m.json` | `acc`   |     0.91 |          0.92 |    +0.01 |  +1.1 % |",
        "| `m.json` | `name`  |      `a` |           `b` |          |         |",
        "| `m.json` | `new`   |        - |      `[1, 2]` |          |         |",
        "| `m.json` | `gone`  |        1 |             - |          |         |",
    ]


def test_text_beside_what_is_none_is_in_quotes() -> None:
    cases: list[tuple[Any, Any, tuple[str, str]]] = [
        (1.0, "1.0", ("1", '"1.0"')), ("relu", None, ('"relu"', "null")), ("true", False, ('"true"', "false")),
        (["1"], [1.23456], ('["1"]', "[1.23]")), ("x", ["x"], ("x", "[x]")), ("1", MISSING, ("1", "-")),
        ("1", "2", ("1", "2")), (["a", 1], ["a", 2], ("[a, 1]", "[a, 2]")), (1, 2.5, ("1", "2.5")),
    ]  # fmt: skip
    for old, new, shown in cases:
        assert table.pair(row(old, new), 3) == shown, (old, new)


def test_change_and_percent() -> None:
    cases: list[tuple[Any, Any, str, str]] = [
        (1, 2, "+1", "+100.0 %"), (2.0, 1, "-1", "-50.0 %"), (-1, 1, "+2", "+200.0 %"), (0, 1, "+1", ""),
        (1, "1", "", ""), (1, True, "", ""), (1, MISSING, "", ""), (NAN, 1, "", ""), (1, NAN, "", ""),
        (1, INF, "+Infinity", ""), (INF, 1, "-Infinity", ""), (-INF, INF, "+Infinity", ""),
        (1e308, -1e308, "-Infinity", ""),
        (10**400, 10**400 + 1, "+1", ""), (10**400, 0.5, "", ""), (1, 10**9, "+999999999", "+1.0e+11 %"),
        (5e-324, 1.0, "+1", ""), (1, 1.0, "", ""), ([1], [2], "", ""), (None, 1, "", ""),
    ]  # fmt: skip
    for old, new, change, percent in cases:
        assert (table.change(row(old, new)), table.percent(row(old, new))) == (change, percent), (old, new)
    assert len(table.change(row(0, 10**900))) == 60


def test_cells() -> None:
    assert table.cell(MISSING) == table.cell(MISSING, markdown=True) == "-"
    assert table.cell(0.123456789) == "0.12346"
    assert table.cell(0.123456789, None) == "0.123456789"
    assert table.cell(True, markdown=True) == "`true`"
    assert table.cell("x" * 61) == "x" * 59 + "…"
    assert len(table.cell(10**900)) == 60
    assert table.cell("\x1b]0;x\a\nb") == "\\x1b]0;x\\x07\\x0ab"
    assert table.cell("a`b", markdown=True) == "``a`b``"


def test_values_that_differ_do_not_look_the_same() -> None:
    pairs: list[tuple[Any, Any, tuple[str, str]]] = [
        (0.1234561, 0.1234562, ("0.1234561", "0.1234562")),
        (1, "1", ("1", '"1"')),
        (True, "true", ("true", '"true"')),
        (None, "null", ("null", '"null"')),
        (NAN, "NaN", ("NaN", '"NaN"')),
        ("-", MISSING, ('"-"', "-")),
        ([1, "2"], [1, 2], ('[1, "2"]', "[1, 2]")),
        ("\x07", "\\x07", ('"\\u0007"', '"\\\\x07"')),
        ("a" * 99 + "b", "a" * 99 + "c", ('…aaaaaaaaaab"', '…aaaaaaaaaac"')),
        (10**100, 10**100 + 1, ("…00000000000", "…00000000001")),
        (1, 1.0, ("1", "1")),
    ]
    for old, new, expected in pairs:
        assert table.pair(row(old, new), 5) == expected
        assert table.pair(row(new, old), 5) == expected[::-1]
        shown = table.pair(row(old, new), 5, markdown=True)
        assert (shown[0] == shown[1]) == (expected[0] == expected[1])


@given(
    *[
        st.none()
        | st.booleans()
        | st.integers(-3, 3)
        | st.floats()
        | texts
        | st.lists(st.integers() | texts, max_size=2)
    ]
    * 2
)
def test_no_two_values_look_the_same(old: Any, new: Any) -> None:
    one, other = table.pair(row(old, new), 3)
    assert (one == other) <= (not row(old, new).changed)
    assert all(cell.isprintable() or "\udcff" in cell for cell in (one, other))


@given(st.floats() | st.floats(-2, 2), st.floats() | st.floats(-2, 2), st.integers(1, 17))
@example(0.1, 0.1 + 1e-9, 5)
@example(1e300, -1e300, 5)
def test_a_line_of_floats_is_made_of_their_cells(old: float, new: float, precision: int) -> None:
    found = comparison({"key": old}, {"key": new}, every=True)
    cells = (
        *table.pair(row(old, new), precision),
        table.change(row(old, new), precision),
        table.percent(row(old, new)),
    )
    line = table.of_rows(found, "metrics", precision=precision).splitlines()[1]
    assert line.split() == ["m.json", "key", *" ".join(cells).split()]


@given(texts, texts, texts, texts)
def test_markdown_stays_in_its_cell(file: str, key: str, value: str, label: str) -> None:
    old, new = Values(label, {file: {key: value}}, {}), Values("b", {file: {key: 1}}, {})
    many = [old, new, *[Values(f"{label}{n}", {file: {key: n}}, {}) for n in range(4)]]
    for text, lines in [
        (table.of_rows(Comparison(old, new, rows(old, new)), "metrics", precision=5, markdown=True), 3),
        (table.of_values([old, new], "metrics", precision=5, markdown=True), 3),
        (table.of_values(many, "metrics", precision=5, markdown=True), 8),
    ]:
        found = text.splitlines()
        assert len(found) == lines
        assert len({pipes(line) for line in found}) == 1
        for line in found:
            for cell in re.split(r"(?<!\\)\|", line)[1:-1]:
                assert is_harmless(cell.strip()), cell


def is_harmless(cell: str) -> bool:
    """Whether a cell is nothing but a code span, or text of ours."""
    if re.fullmatch(r"[-+0-9.a-zA-Z %:]*", cell):
        return True
    fence = re.match("`+", cell)
    return (
        fence is not None and re.findall(f"(?<!`){fence[0]}(?!`)", cell)[1:] == [fence[0]] and cell.endswith(fence[0])
    )


@given(texts, texts, texts)
def test_terminals_obey_nothing(file: str, key: str, value: str) -> None:
    old, new = Values("a", {file: {key: value}}, {}), Values("b", {file: {key: 1}}, {})
    for text in (
        table.of_rows(Comparison(old, new, rows(old, new)), "metrics", precision=5),
        table.of_values([old, new], "metrics", precision=5, markdown=False),
    ):
        assert all(char.isprintable() or char == "\udcff" for line in text.split("\n") for char in line)
        assert len(text) < 2000


def test_revisions_side_by_side_and_below_each_other() -> None:
    found = [Values(f"v{n}", {"m.json": {"acc": n / 10}}, {}) for n in range(5)]
    found[3] = Values("v3", {}, {})
    assert table.of_values(found[:2], "metrics", precision=5, markdown=False).splitlines() == [
        "file    metric      v0    v1",
        "m.json  acc          0   0.1",
    ]
    assert table.of_values(found, "metrics", precision=5, markdown=False).splitlines() == [
        "revision      acc",
        "v0              0",
        "v1            0.1",
        "v2            0.2",
        "v3              -",
        "v4            0.4",
    ]
    two = [Values(each.label, {**each.files, "n.json": {"acc": 1}}, {}) for each in found]
    assert table.of_values(two, "metrics", precision=5, markdown=False).splitlines()[0].split() == [
        "revision", "m.json:acc", "n.json:acc",
    ]  # fmt: skip


def test_order_by_a_value() -> None:
    numbers = {"a": 2, "b": 10**400, "c": -INF, "d": 0.5, "e": NAN, "f": "9", "g": True}
    found = [Values(name, {"m.json": {"x": value}}, {}) for name, value in numbers.items()] + [Values("h", {}, {})]
    for wanted in ("x", "m.json:x"):
        assert [each.label for each in table.by_value(found, wanted, descending=False)] == list("cdabefgh")
        assert [each.label for each in table.by_value(found, wanted, descending=True)] == list("badcefgh")
    with pytest.raises(UsageError, match="no revision has the value 'y'"):
        table.by_value(found, "y", descending=False)
    found.append(Values("i", {"n.json": {"x": 1}}, {}))
    with pytest.raises(UsageError, match="several files have the value 'x'"):
        table.by_value(found, "x", descending=False)
    assert table.by_value(found, "n.json:x", descending=False)[0].label == "i"


def test_order_of_changes() -> None:
    changes = [row(1, 2), row(0, 3), row("a", "b"), row(-8, -9), row(1, INF), row(10**400, 0), row(1, NAN)]
    assert [each.new for each in table.ordered(changes, "change")][:4] == [INF, 0, 3, 2]
    assert [each.new for each in table.ordered(changes, "percent")][:3] == [2, 0, -9]
    assert table.ordered(changes, "name") == changes


def test_json() -> None:
    found = comparison({"a": 1, "b": NAN, "c": "x", "d": [INF, None]}, {"a": 3, "b": 1, "d": [1], "e": {}})
    wrong = found.old._replace(errors={"n.json": UserError("n.json is not JSON")})
    shown = table.as_json(found._replace(old=wrong))
    assert json.loads(json.dumps(shown, allow_nan=False)) == {
        "a": "HEAD",
        "b": None,
        "files": {
            "m.json": {
                "a": {"old": 1, "new": 3, "diff": 2, "percent": 200.0},
                "b": {"old": "NaN", "new": 1},
                "d": {"old": ["Infinity", None], "new": [1]},
                "e": {"new": {}},
                "c": {"old": "x"},
            }
        },
        "errors": {"a": {"n.json": "n.json is not JSON"}, "b": {}},
    }
    assert table.values_json(wrong)["errors"] == {"n.json": "n.json is not JSON"}
    assert table.values_json(found.new) == {
        "rev": None, "commit": None, "files": {"m.json": {"a": 3, "b": 1, "d": [1], "e": {}}}, "errors": {},
    }  # fmt: skip


def test_problems_are_told_once() -> None:
    error = UserError("m.json is not JSON", hint="mend it")
    found = [
        Values(f"v{n}", {}, {"m.json": error, f"{n}": UserError("x")} if n else {"m.json": error}) for n in range(7)
    ]
    assert table.problems(found) == [
        ("m.json is not JSON (at v0, v1, v2, v3, v4, ...)", "mend it"), ("x (at v1, v2, v3, v4, v5, ...)", None),
    ]  # fmt: skip
