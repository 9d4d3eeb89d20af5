"""Two tables compared, beside a plain model of what changed."""

from __future__ import annotations

import csv
import gc
import io
import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.rows.tables import Row, compare, model, opener, text
from tests.store import stores
from vcs_ml.errors import UserError
from vcs_ml.rows import apart, comparison, delimited, lines, pairing, spill, words
from vcs_ml.rows.result import ChangedRow, Retyped, Sides, TableDiff

CELLS = st.sampled_from(["", "a", "b", "1", "2.5", "é", "x,y", 'q"q', "two\nlines", "cr\r\nlf", " ", ";", "NA", "true"])
PLAIN = st.sampled_from(["", "a", "b", "1", "2.5", "é", "0", "NA"])
NAMES = ("k", "v", "w")


def tables(cells: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[list[Row], list[Row]]]:
    """Two tables of three columns, the second made of rows of the first, changed ones and new ones."""
    row = st.tuples(cells, cells, cells)
    return st.lists(row, max_size=12).flatmap(
        lambda old: st.tuples(st.just(old), st.lists(st.sampled_from(old) | row if old else row, max_size=12))
    )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks, parts and buffers so small that a table of ten rows has several of each."""
    monkeypatch.setattr(lines, "_BLOCK", 16)
    monkeypatch.setattr(delimited, "_BATCH", 16)
    monkeypatch.setattr(apart, "_PART", 2)
    monkeypatch.setattr(pairing, "_PART", 16)
    monkeypatch.setattr(spill, "_PAIRS_HELD", 4)
    monkeypatch.setattr(spill, "_BYTES_HELD", 50)
    yield


def counted(found: TableDiff) -> tuple[int, int, int, dict[str, int], tuple[int, int]]:
    """As much of a comparison as the model knows."""
    cells = {each.name: each.cells for each in found.columns if each.cells}
    return found.added, found.removed, found.changed or 0, cells, tuple(found.duplicates or (0, 0))  # type: ignore[return-value]


def expected(old: Sequence[Row], new: Sequence[Row], key: Sequence[str]) -> tuple[object, ...]:
    added, removed, changed, cells, duplicates = model(NAMES, old, new, key)
    return added, removed, changed, {name: count for name, count in cells.items() if count}, duplicates


@pytest.mark.usefixtures("tiny")
@given(tables(CELLS), st.sampled_from([(), ("k",), ("v", "k")]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_as_the_model(
    tmp_path: Path, pair: tuple[list[Row], list[Row]], key: tuple[str, ...], end: str, quoted: bool
) -> None:
    old, new = pair
    found = compare(
        tmp_path,
        text(NAMES, old, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL),
        text(NAMES, new, end=end),
        key=key,
    )
    assert found.rows == (len(old), len(new))
    assert counted(found) == expected(old, new, key)


@pytest.mark.usefixtures("tiny")
@settings(max_examples=50)
@given(tables(PLAIN), st.sampled_from([(), ("k",)]), st.permutations(range(3)))
def test_lines_as_they_stand_and_parsed_rows_give_the_same(
    tmp_path: Path, pair: tuple[list[Row], list[Row]], key: tuple[str, ...], order: list[int]
) -> None:
    old, new = pair
    quick = compare(tmp_path, text(NAMES, old), text(NAMES, new), key=key)
    quoted = compare(tmp_path, text(NAMES, old), text(NAMES, new, quoting=csv.QUOTE_ALL), key=key)
    turned = [tuple(row[place] for place in order) for row in old]
    reordered = compare(tmp_path, text([NAMES[place] for place in order], turned), text(NAMES, new), key=key)
    assert quick == quoted == reordered._replace(examples=quick.examples)
    assert counted(quick) == expected(old, new, key)


@pytest.mark.usefixtures("tiny")
@settings(max_examples=20)
@given(tables(CELLS), st.sampled_from([(), ("k",)]))
def test_forked_processes_find_the_same(
    tmp_path: Path, pair: tuple[list[Row], list[Row]], key: tuple[str, ...]
) -> None:
    old, new = (text(NAMES, rows) + "ragged\n1,2,3,4\n" * len(rows) for rows in pair)
    alone = compare(tmp_path, old, new, key=key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "_ALONE_BELOW", -1)
        together = compare(tmp_path, old, new, key=key)
    assert together == alone


def test_a_large_table_keeps_to_its_batches(tmp_path: Path) -> None:
    rng = random.Random(5)
    old = [(str(i), f"{rng.random():.6f}", rng.choice("abc")) for i in range(120_000)]
    new = [row if rng.random() > 0.01 else (row[0], "7", row[2]) for row in old[:-7]]
    rng.shuffle(new)
    found = compare(tmp_path, text(NAMES, old), text(NAMES, new), key=["k"])
    changed = sum(row[1] == "7" for row in new)
    assert (found.rows, found.removed, found.added, found.changed) == ((120_000, 119_993), 7, 0, changed)
    assert {each.name: each.cells for each in found.columns if each.cells} == {"v": changed}
    assert gc.isenabled()


def test_order_is_no_change(tmp_path: Path) -> None:
    found = compare(tmp_path, "a,b\n1,x\n2,y\n3,z\n", "b,a\nz,3\nx,1\ny,2\n")
    assert (found.added, found.removed, found.columns, found.retyped) == (0, 0, (), ())
    assert found.columns_added == found.columns_removed == ()


def test_rows_by_key(tmp_path: Path) -> None:
    old, new = "id,price,city\n1,10,Rome\n2,20,Oslo\n3,30,Lima\n", "id,price,city\n3,30,Lima\n1,11.5,Rome\n4,40,Cairo\n"
    found = compare(tmp_path, old, new, key=["id"])
    assert (found.added, found.removed, found.changed, found.duplicates) == (1, 1, 1, (0, 0))
    assert found.examples.changed == (ChangedRow({"id": "1"}, {"price": Sides("10", "11.5")}),)
    assert found.examples.added == ({"id": "4", "price": "40", "city": "Cairo"},)
    assert found.examples.removed == ({"id": "2", "price": "20", "city": "Oslo"},)
    assert found.retyped == (Retyped("price", "integer", "number"),)
    whole = compare(tmp_path, old, new)
    assert (whole.added, whole.removed, whole.changed, whole.duplicates) == (2, 2, None, None)


def test_a_key_that_rows_share(tmp_path: Path) -> None:
    old = "id,v\n1,a\n1,b\n1,c\n2,d\n"
    found = compare(tmp_path, old, "id,v\n1,a\n1,x\n2,d\n2,d\n", key=["id"])
    assert (found.changed, found.removed, found.added, found.duplicates) == (1, 1, 1, (2, 2))
    assert found.examples.changed == (ChangedRow({"id": "1"}, {"v": Sides("b", "x")}),)


@pytest.mark.parametrize("limit", ["_BYTES_MAX", "_ROWS_MAX"])
def test_a_key_that_says_too_little(tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, limit, 100)
    rows = "".join(f"same,{i}\n" for i in range(200))
    with pytest.raises(UserError, match="too many rows have the same value of kind"):
        compare(tmp_path, f"kind,v\n{rows}", "kind,v\nsame,x\n", key=["kind"])
    assert compare(tmp_path, f"kind,v\n{rows}", f"kind,v\n{rows}same,x\n", key=["kind"]).added == 1


@pytest.mark.parametrize(("key", "hint"), [("pice", "price"), ("zzz", "it has id, price")])
def test_a_key_that_is_not_there(tmp_path: Path, key: str, hint: str) -> None:
    with pytest.raises(UserError, match="in its old version") as error:
        compare(tmp_path, "id,price\n1,2\n", f"id,price,{key}\n1,2,3\n", key=["id", key])
    assert hint in str(error.value.hint)


def test_columns_that_come_and_go(tmp_path: Path) -> None:
    old, new = "id,gone,v\n1,5,a\n2,7,b\n3,9,c\n", "v,come,id\na,true,1\nb,,2\nx,false,3\n"
    found = compare(tmp_path, old, new)
    assert (found.columns_added, found.columns_removed) == (("come",), ("gone",))
    assert (found.added, found.removed) == (1, 1)  # by the columns that both have
    assert found.examples.added == ({"v": "x", "come": "false", "id": "3"},)
    by_name = {each.name: each for each in found.columns}
    assert by_name.keys() == {"v", "come", "gone"} - {"v"}
    gone, come = by_name["gone"].old, by_name["come"].new
    assert gone and gone.numbers and (gone.numbers.minimum, gone.numbers.mean, gone.numbers.maximum) == (5, 7, 9)
    assert come and (come.type, come.missing, come.distinct) == ("boolean", 1, 2)
    assert by_name["gone"].new is None and by_name["come"].old is None


def test_nothing_in_common(tmp_path: Path) -> None:
    found = compare(tmp_path, "a,b\n1,2\n3,4\n", "c\nx\n", key=[])
    assert (found.rows, found.added, found.removed) == ((2, 1), 1, 2)
    assert [each.name for each in found.columns] == ["c", "a", "b"]


def test_one_file_only(tmp_path: Path) -> None:
    for old, new in ((None, "a,b\n1,x\n,y\n"), ("a,b\n1,x\n,y\n", None)):
        found = compare(tmp_path, old, new, key=["a"], examples=1)
        here = found.columns[0].new if old is None else found.columns[0].old
        assert here and (here.type, here.missing, here.distinct, here.exact) == ("integer", 1, 1, True)
        assert found.rows == ((None, 2) if old is None else (2, None))
        assert (found.added, found.removed) == ((2, 0) if old is None else (0, 2))
        assert len(found.examples.added + found.examples.removed) == 1


def test_examples_are_short(tmp_path: Path) -> None:
    wide = [f"c{i}" for i in range(300)]
    found = compare(tmp_path, text(wide, [("x" * 1000,) * 300]), text(wide, [("y" * 1000,) * 300] * 9), examples=2)
    assert [len(row) for row in found.examples.added] == [100, 100]
    assert {cell for row in found.examples.added for cell in row.values()} == {"y" * 199 + "…"}
    assert compare(tmp_path, "a\n1\n", "a\n2\n", examples=0).examples == ((), (), ())


def test_statistics_that_stay_are_not_shown(tmp_path: Path) -> None:
    rng = random.Random(1)
    old = [(str(i), f"{rng.gauss(1e6, 0.1)}", rng.choice("ab")) for i in range(2000)]
    new = [(k, v, "a" if i % 50 == 0 else w) for i, (k, v, w) in enumerate(old)]
    found = compare(tmp_path, text(NAMES, old), text(NAMES, [*new[1000:], *new[:1000]]))
    assert [each.name for each in found.columns] == ["w"]


def test_texts_in_json(tmp_path: Path) -> None:
    found: Any = compare(tmp_path, "label\nplum\nplum\nfig\n", "label\nplum\nfig\nfig\n").as_json()
    (column,) = found["columns"]
    assert column["old"]["texts"] == {
        "shortest": 3,
        "longest": 4,
        "frequent": [{"value": "plum", "count": 2}],
        "exact": True,
    }


def test_which_files_are_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no table") as error:
        compare(tmp_path, "a\n", "a\n", "a.txt")
    assert error.value.hint and ".csv, .tsv, .jsonl" in error.value.hint
    assert all(map(comparison.is_table, ("a.csv", "d/B.TSV", "x.jsonl", "x.ndjson", "x.parquet")))
    assert not any(map(comparison.is_table, ("csv", ".csv", "a.csv.gz", "a.json", "a.csv/b", "")))


def test_what_a_killed_comparison_left_goes_with_the_next(tmp_path: Path) -> None:
    ends, hold = os.pipe(), threading.Event()

    def work() -> None:
        with spill.directory(tmp_path) as place:
            (place / "part").write_bytes(b"x")
            os.write(ends[1], b"1")
            hold.wait()

    pid = stores.start(work)
    try:
        assert os.read(ends[0], 1) == b"1"
        with spill.directory(tmp_path) as ours, spill.directory(tmp_path):
            assert len(list(tmp_path.iterdir())) == 3
            assert ours.exists()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for end in ends:
            os.close(end)
    assert len(list(tmp_path.iterdir())) == 1
    compare(tmp_path, "a\n1\n", "a\n2\n")  # which leaves nothing


def test_tables_larger_than_they_may_be_are_not_compared(tmp_path: Path) -> None:
    texts, numbers = io.BytesIO(), io.BytesIO()
    parquet.write_table(pyarrow.table({"a": ["x" * 10_000] * 1000}), texts)
    parquet.write_table(pyarrow.table({"a": [7] * 1_000_000}), numbers)
    for file in (texts, numbers):
        raw = file.getvalue()
        assert len(raw) < 100_000
        with pytest.raises(UserError, match=r"larger than .* together"):
            comparison.compare("a.parquet", opener(raw), None, scratch=tmp_path, largest=1_000_000)
    with pytest.raises(UserError, match="larger"):
        wide = ",".join(map(str, range(5000))) + "\n" + "1\n" * 100
        comparison.compare("a.csv", opener(wide), None, scratch=tmp_path, largest=1_000_000)
    comparison.compare("a.csv", opener("a\n1\n"), None, scratch=tmp_path, largest=1_000_000)


def test_words_leave_out_what_nobody_knows(tmp_path: Path) -> None:
    names = [f"name {i}" for i in range(30_000)]
    long = "n" * 500
    old = f"{long},one\n" + "".join(f"{each},\n" for each in names) + "x,1\n"
    new = f"{long},one\n" + "".join(f"{each}.,\n" for each in names) + "x,1\nx,2\n"
    found = compare(tmp_path, old, new)
    for column in found.columns:
        assert column.new
        assert column.new.distinct <= 30_002
    said = "\n".join(words.lines(found))
    assert "nan" not in said
    assert "about" not in said
    assert "n" * 79 + "…" in said
    assert "n" * 80 not in said
