"""Statistics of a column beside those of the standard library, whatever batches its cells come in."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.rows.column import MISSING, Column
from vcs_ml.rows.result import Statistics
from vcs_ml.rows.sketch import Distinct, Frequent
from vcs_ml.rows.table import Cell

NUMBERS = st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9)
TEXTS = st.sampled_from(["a", "b", "1_000", "0x10", "٣", "1,5", "é" * 150, "x\ny", "-", "1e", "\udcff"])


def measured(batches: Sequence[Sequence[Cell]], *, typed: bool = False, bound: int = 1000) -> Statistics:
    """The statistics by way of every second batch in another column, joined at the end."""
    columns = [Column(typed=typed, bound=bound) for _ in range(2)]
    for turn, batch in enumerate(batches):
        if batch:
            columns[turn % 2].add(batch)
    columns[0].merge(columns[1])
    return columns[0].statistics(None)


@given(st.lists(st.lists(NUMBERS, max_size=8), max_size=4), st.integers(0, 3), st.booleans())
def test_numbers(batches: list[list[float]], missing: int, typed: bool) -> None:
    flat = [number for batch in batches for number in batch]
    cells = [[*(batch if typed else map(str, batch)), *([None] if typed else [""]) * missing] for batch in batches]
    found = measured(cells, typed=typed)
    assert (found.missing, found.distinct, found.exact) == (missing * len(batches), len(set(map(str, flat))), True)
    if not flat:
        assert (found.type, found.numbers, found.texts) == ("empty", None, None)
        return
    assert found.type == ("integer" if all(isinstance(each, int) for each in flat) else "number")
    assert found.numbers and found.texts is None
    assert (found.numbers.minimum, found.numbers.maximum) == (min(flat), max(flat))
    spread = max(map(abs, flat), default=0)
    assert found.numbers.mean == pytest.approx(statistics.fmean(flat), rel=1e-9, abs=1e-9 * spread)
    std = statistics.stdev(map(float, flat)) if len(flat) > 1 else math.nan
    assert found.numbers.std == pytest.approx(std, rel=1e-6, abs=1e-9 * spread, nan_ok=True)


@given(st.lists(st.lists(TEXTS | st.sampled_from(sorted(MISSING)), max_size=8), max_size=4))
def test_texts(batches: list[list[str]]) -> None:
    counts = Counter(cell for batch in batches for cell in batch if cell not in MISSING)
    found = measured(batches)
    assert found.missing == sum(len(batch) for batch in batches) - counts.total()
    assert found.distinct == len(counts)
    if not counts:
        assert found.type == "empty"
        return
    assert found.texts and found.type == "text"
    assert (found.texts.shortest, found.texts.longest) == (min(map(len, counts)), max(map(len, counts)))
    top = sorted(((-n, text) for text, n in counts.items() if n > 1 and len(text) <= 100))[:5]
    assert found.texts.frequent == tuple((text.replace("\udcff", "\\udcff"), -n) for n, text in top)


@pytest.mark.parametrize(
    ("cells", "typed", "kind"),
    [
        (["1", "+2", "-3", " 4 ", "NA"], False, "integer"),
        (["1", "2.", ".5", "1e5", "-inf", "nan"], False, "number"),
        (["true", "False", ""], False, "boolean"),
        (["true", "1"], False, "mixed"),
        (["1", "2", "n.a."], False, "mixed"),
        (["Smith", "1984", "Jones"], False, "text"),
        (["1_000"], False, "text"),
        (["", "NULL"], False, "empty"),
        ([1, True, None], True, "mixed"),
        ([1, 2.5, math.nan], True, "number"),
        (["1", "", "NA"], True, "text"),
        ([("[1]",), "x"], True, "text"),
        ([b"\xff"], True, "text"),
        ([None, math.nan], True, "empty"),
    ],
)
def test_types(cells: list[Cell], typed: bool, kind: str) -> None:
    assert measured([cells], typed=typed).type == kind
    assert measured([[cell] for cell in cells], typed=typed).type == kind


def test_numbers_that_are_too_large() -> None:
    found = measured([["9" * 400, "1"], ["1e308", "-1e308", "1e308"]])
    assert found.numbers and found.numbers.maximum == int("9" * 400)
    assert math.isnan(found.numbers.mean) and math.isnan(found.numbers.std)
    found = measured([["inf", "1"]])
    assert found.numbers and found.numbers.mean == math.inf and math.isnan(found.numbers.std)
    assert measured([["9" * 5000]]).type == "number"
    assert measured([["1" * 1_000_000 + "x", " " * 1_000_000 + "x"]]).type == "text"  # in no time


def test_many_values_are_estimated() -> None:
    rng = random.Random(3)
    cells = [
        f"{'rare' if rng.random() < 0.7 else 'often'}{int(rng.expovariate(0.5))}-{i % 70_000}" for i in range(90_000)
    ]
    cells += ["top"] * 4000 + ["next"] * 3000
    rng.shuffle(cells)
    found = measured([cells[i : i + 10_000] for i in range(0, len(cells), 10_000)], bound=2000)
    assert not found.exact
    assert found.distinct == pytest.approx(len(set(cells)), rel=0.1)
    assert found.texts and not found.texts.exact
    assert [text for text, _ in found.texts.frequent[:2]] == ["top", "next"]
    assert 3500 < found.texts.frequent[0][1] <= 4000


def test_what_is_remembered_is_bounded() -> None:
    distinct, frequent = Distinct(100), Frequent(100)
    for start in range(0, 100_000, 1000):
        distinct.add(map(str, range(start, start + 1000)))
        frequent.add({str(each): 1 for each in range(start, start + 1000)})
    assert len(distinct._kept) <= 100 and len(frequent._counts) <= 100
    assert (distinct.exact, frequent.exact, frequent.top()) == (False, False, ())
    assert distinct.count == pytest.approx(100_000, rel=0.4)
