"""What files of tables may look like: CSV as people write it, JSON Lines, Parquet, and what is none of them."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.rows.tables import compare, model, opener
from vcs_ml.errors import UserError
from vcs_ml.rows import delimited, jsonl, lines, table, words
from vcs_ml.rows import parquet as reader


def counts(found: Any) -> tuple[int, int]:
    return found.added, found.removed


@pytest.mark.parametrize(
    ("old", "new", "added", "removed"),
    [
        (b"a,b\n1,2\n3,4", b"a,b\n1,2\n3,4\n", 0, 0),  # no end of the last line
        (b"a,b\r\n1,2\r\n", b"a,b\n1,2\n", 0, 0),
        (b"a,b\r1,2\r3,4\r", b"a,b\n1,2\n3,4\n", 0, 0),
        (b"\xef\xbb\xbfa,b\n1,2\n", b"a,b\n1,2\n", 0, 0),
        (b'\xef\xbb\xbf"a",b\n1,2\n', b"a,b\n1,2\n", 0, 0),
        (b"a;b\n1,5;2\n", b'a,b\n"1,5",2\n', 0, 0),
        (b"\n\na,b\n\n1,2\n\n\n", b"a,b\n1,2\n", 0, 0),
        (b'a,b\n"1\n",2\n', b'a,b\n"1\r\n",2\n', 1, 1),
        (b'a,b\n5" pipe,2\n', b'a,b\n"5"" pipe",2\n', 0, 0),
        (b'a,b\n1,"never closed\n2,3\n', b"a,b\n1,2\n", 1, 1),
        (b"a,b\n" + b"1,2\n" * 3000 + b"\x00,\x00\n", b"a,b\n" + b"1,2\n" * 3000 + b"\x00,1\n", 1, 1),
        (b"a,b\n\xff\xfe,caf\xe9\n", b"a,b\n\xff\xfe,caf\xe8\n", 1, 1),
        (b"a,b\n1,\xe2\x80\xa8x\x0c\x1c\n", b"a,b\n1,x\n", 1, 1),  # what Python calls ends of lines
        (b"a,b\n 1,2\n", b"a,b\n1,2\n", 1, 1),
        (b"a,b\n007,2\n", b"a,b\n7,2\n", 1, 1),
        (b"", b"a,b\n1,2\n", 1, 0),
        (b"\n \n", b"", 0, 0),  # a column called " "
        (b"a,b\n", b"a,b\n1,2\n", 1, 0),
        (b"", b"", 0, 0),
    ],
)
def test_csv_as_it_is_found(tmp_path: Path, old: bytes, new: bytes, added: int, removed: int) -> None:
    assert counts(compare(tmp_path, old, new)) == (added, removed)


def test_tabs_and_semicolons(tmp_path: Path) -> None:
    assert counts(compare(tmp_path, "a\tb\n1\t2,5\n", "b\ta\n2,5\t1\n", "x.TSV")) == (0, 0)
    assert compare(tmp_path, None, "a;b\n1;2\n").columns_added == ("a", "b")
    assert compare(tmp_path, None, "a;b,c,d\n1,2,3\n").columns_added == ("a;b", "c", "d")


def test_names_that_are_no_names(tmp_path: Path) -> None:
    raw = b'a,,a,a (2),"x\ny",\xff\n1,2,3,4,5,6\n'
    found = compare(tmp_path, None, raw)
    assert found.columns_added == ("a", "column 2", "a (2)", "a (2) (2)", "x\ny", "\\udcff")
    assert counts(compare(tmp_path, raw, raw + b"1,2,3,4,5,7\n", key=["a", "column 2"])) == (1, 0)


def test_ragged_rows_are_counted(tmp_path: Path) -> None:
    old = "a,b,c\n1,2\n1,2,3,4\n1,2,3\n"
    found = compare(tmp_path, old, old + "1\n1,2,3,4,5\n")
    assert (found.ragged, counts(found)) == ((2, 4), (2, 0))
    assert found.examples.added == ({"a": "1", "b": None, "c": None}, {"a": "1", "b": "2", "c": "3,4,5"})
    quoted = compare(tmp_path, old, 'a,b,c\n1,2,\n1,2,"3,4"\n1,2,3\n')
    assert (quoted.ragged, counts(quoted)) == ((2, 0), (2, 2))
    fewer = compare(tmp_path, old, "a,b\n1,2\n1,2\n1,2\n")
    assert (fewer.ragged, counts(fewer)) == ((2, 0), (0, 0))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("a,b\n1," + "x" * 3000, "the row at byte 4 is longer"),
        ("a,b\n1," + "x" * 3000 + "\n", "the row at byte 4 is longer"),
        ('a,b\n1,2\n3,"' + "x\n" * 3000, r"the row at line \d+ is longer"),
        ("a,b\n3," + '"\n",' * 3000, r"the row at line \d+ is longer"),
    ],
)
def test_rows_too_long_to_hold(tmp_path: Path, raw: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (table, lines, delimited):
        monkeypatch.setattr(each, "ROW_MAX", 1000)
    monkeypatch.setattr(lines, "_BLOCK", 16)
    monkeypatch.setattr(delimited, "_BATCH", 16)
    with pytest.raises(UserError, match=message) as error:
        compare(tmp_path, "a,b\n", raw)
    assert error.value.hint


def test_more_columns_than_anybody_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10,001 columns"):
        compare(tmp_path, None, "," * 10_000 + "\n")
    with pytest.raises(UserError, match="columns"):
        compare(tmp_path, None, "".join(f'{{"{i}": 1}}\n' for i in range(10_500)), "a.jsonl")


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["a.csv", "a.tsv"]))
def test_any_bytes_are_some_csv(tmp_path: Path, old: bytes, new: bytes, path: str) -> None:
    if b"\0" in old + new:
        with pytest.raises(UserError, match="it is binary"):
            compare(tmp_path, old, new, path)
        return
    there, back = compare(tmp_path, old, new, path), compare(tmp_path, new, old, path)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert counts(compare(tmp_path, new, new, path)) == (0, 0)


NUMBERS = st.integers(-3, 3) | st.integers() | st.integers(-3, 3).map(float) | st.floats().map(lambda each: each + 0.0)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=3)
VALUES = SCALARS | st.lists(NUMBERS | st.sampled_from(["1.0", '"1.0, 2e+16']), max_size=2)
OBJECTS = st.lists(st.fixed_dictionaries({"k": st.integers(0, 3)}, optional={"v": VALUES, "w": VALUES}), max_size=6)


def plain(value: Any) -> str:
    """The same text of a number that is equal, as an integer or as a float."""
    if isinstance(value, list):
        return str(list(map(plain, value)))
    return repr(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e22 else value)


@given(OBJECTS, OBJECTS, st.sampled_from([(), ("k",)]), st.booleans())
def test_json_lines_as_the_model(
    tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], key: tuple[str, ...], ascii: bool
) -> None:
    names = [name for name in ("k", "v", "w") if all(any(name in each for each in side) for side in (old, new))]
    rows = [[tuple(plain(each.get(name)) for name in names) for each in side] for side in (old, new)]
    texts = ["\n".join(json.dumps(each, ensure_ascii=ascii) for each in side) for side in (old, new)]
    raws = [text.encode("utf-8", "surrogatepass") for text in texts]
    found = compare(tmp_path, *raws, "a.jsonl", key=key if names else ())
    if names:
        expected = model(names, *rows, key)
        assert (*counts(found), found.changed or 0) == (expected.added, expected.removed, expected.changed)


def test_json_values_are_what_they_are(tmp_path: Path) -> None:
    old = '{"a": 1, "n": {"y": [1], "x": 2}}\n{"a": "2"}\r\n\n  \n{"a": null, "z": true}'
    new = '{"n": {"x": 2, "y": [1]}, "a": 1}\n{"a": 2}\n{"z": true}\n'
    found = compare(tmp_path, old, new, "a.ndjson")
    assert counts(found) == (1, 1)  # "2" became 2; the order of keys is none, and null is the same as no key
    (column,) = found.columns
    assert column.old and column.new
    assert (column.name, column.old.type, column.new.type, column.old.missing) == ("a", "mixed", "integer", 1)


def test_json_numbers_that_are_equal(tmp_path: Path) -> None:
    old = '{"id": 1, "v": 1, "box": [1, 25]}\n{"id": 2, "v": 2, "box": [3, 4.5]}\n{"id": 3, "v": 3}\n'
    new = '{"id": 1.0, "v": 1.0, "box": [1.0, 2.5e1]}\n{"id": 2, "v": 2.0, "box": [3, 4.5]}\n{"id": 3, "v": 3.5}\n'
    found = compare(tmp_path, old, new, "a.jsonl", key=["id"])
    assert (*counts(found), found.changed) == (0, 0, 1)
    assert found.examples.changed[0].cells == {"v": ("3", "3.5")}
    assert [tuple(each) for each in found.retyped] == [("v", "integer", "number")]
    assert counts(compare(tmp_path, '{"v": 1}', '{"v": true}', "a.jsonl")) == (1, 1)
    floats = compare(tmp_path, '{"v": 1.0}\n{"v": 2.0}', '{"v": 1.0}\n{"v": 2.5}', "a.jsonl")
    assert (floats.retyped, floats.examples.removed) == ((), ({"v": "2.0"},))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "7",
        "{'a': 1}",
        '{"a": ' + "9" * 5000 + "}",
        '{"a": ' + "[" * 100_000,
        '{"a": ' + "[" * 900 + "]" * 900 + "}",
        "\x00",
        "a,b",
    ],
)
def test_lines_that_are_no_objects_are_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl, line 3 is n") as error:
        compare(tmp_path, None, f'{{"a": 1}}\n\n{line}\n{{"a": 2}}\n', "a.jsonl")
    assert error.value.hint


def test_line_with_a_key_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: the key 'a' stands there twice"):
        compare(tmp_path, None, '{"a": 1}\n{"a": 1, "a": 2}\n', "a.jsonl")


def written(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out, **options)
    return out.getvalue()


def test_parquet(tmp_path: Path) -> None:
    ids = pyarrow.array(range(30_000))
    old = written({"id": ids, "v": [0.5] * 30_000, "gone": ["x"] * 30_000}, row_group_size=7000)
    new = written({"v": [0.5] * 29_990 + [1.5, None], "id": pyarrow.array(range(29_992), pyarrow.int32())})
    found = compare(tmp_path, old, new, "a.parquet", key=["id"])
    assert (found.rows, found.removed, found.added, found.changed) == ((30_000, 29_992), 8, 0, 2)
    assert found.columns_removed == ("gone",)
    assert [tuple(each) for each in found.retyped] == [("id", "int64", "int32")]
    assert [row.cells["v"] for row in found.examples.changed] == [("0.5", "1.5"), ("0.5", None)]
    v = next(each.new for each in found.columns if each.name == "v")
    assert v and v.numbers and (v.type, v.missing, v.numbers.maximum) == ("double", 1, 1.5)


def test_a_parquet_column_that_becomes_one_of_floats(tmp_path: Path) -> None:
    ages = [at % 50 for at in range(1000)]
    old = written({"id": range(1000), "age": ages, "boxes": [[1, 2]] * 1000})
    floats = {"id": pyarrow.array(map(float, range(1000))), "boxes": [[1.0, 2.0]] * 1000}
    same = written({**floats, "age": list(map(float, ages))})
    less = written({**floats, "age": [*map(float, ages[:7]), None, *map(float, ages[8:])]})
    for key in ([], ["id"]):
        assert counts(compare(tmp_path, old, same, "a.parquet", key=key)) == (0, 0)
    assert counts(compare(tmp_path, old, less, "a.parquet")) == (1, 1)
    found = compare(tmp_path, old, less, "a.parquet", key=["id"])
    assert (*counts(found), found.changed) == (0, 0, 1)
    assert list(words.lines(found)) == [
        "rows 1,000 -> 1,000: 1 changed (by id)",
        "column id: int64 -> double",
        "column boxes: list<element: int64> -> list<element: double>",
        "column age: int64 -> double",
        "age: 1 cell changed, mean 24.5 -> 24.518, std 14.438 -> 14.435, missing 0 -> 1",
        "~ id=7: age 7 -> (none)",
    ]


def test_parquet_integers_that_no_float_holds(tmp_path: Path) -> None:
    old = written({"v": [2**53, 2**53 + 1, -1, 0]})
    new = written({"v": [2.0**53, float("nan"), -1.0, -0.0]})
    found = compare(tmp_path, old, new, "a.parquet")
    assert (found.examples.removed, found.examples.added) == (({"v": f"{2**53 + 1}"},), ({"v": "nan"},))
    assert counts(compare(tmp_path, new, new, "a.parquet")) == (0, 0)


def odd_columns(nanoseconds: int) -> dict[str, Any]:
    bad = [None, *map(pyarrow.py_buffer, (bytes([0] * 4 + [2, 0, 0, 0]), b"\xff\xfe"))]  # no UTF-8
    moment = datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    return {
        "ns": pyarrow.array([nanoseconds], pyarrow.timestamp("ns")),
        "zone": pyarrow.array([moment], pyarrow.timestamp("us", "No/Where")),
        "day": [datetime.date(2024, 1, 2)],
        "took": pyarrow.array([5], pyarrow.duration("ns")),
        "money": [decimal.Decimal("1.50")],
        "raw": [b"\xff\x00"],
        "list": [[1, None]],
        "struct": [{"b": moment, "a": float("nan")}],
        "map": pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int32())),
        "category": pyarrow.array(["x"]).dictionary_encode(),
        "half": pyarrow.array([1.5], pyarrow.float16()),
        "nothing": pyarrow.nulls(1),
        "large": pyarrow.array([2**63], pyarrow.uint64()),
        "text": pyarrow.Array.from_buffers(pyarrow.string(), 1, bad),
    }


def test_parquet_of_every_type(tmp_path: Path) -> None:
    old, new = (written(odd_columns(nanoseconds)) for nanoseconds in (1, 2))
    assert counts(compare(tmp_path, old, old, "a.parquet")) == (0, 0)
    found = compare(tmp_path, old, new, "a.parquet", key=["raw", "day"])
    (row,) = found.examples.changed
    assert row.cells == {"ns": ("1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000000002")}
    assert row.key == {"raw": "ff00", "day": "2024-01-02"}
    shown = compare(tmp_path, None, new, "a.parquet").examples.added[0]
    assert (shown["struct"], shown["list"]) == ('{"a": NaN, "b": "2024-01-02 00:00:00+00:00"}', "[1, null]")
    assert (shown["category"], shown["money"], shown["text"]) == ("x", "1.50", "\\udcff\\udcfe")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="without pyarrow") as error:
        compare(tmp_path, None, written({"a": [1]}), "a.parquet")
    assert error.value.hint == "pip install 'vcs-ml[parquet]'"


@settings(max_examples=200)
@given(st.data())
def test_damaged_parquet_is_an_error_or_a_table(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(written({"a": list(range(50)), "b": ["x", "y"] * 25}, compression="snappy"))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        compare(tmp_path, None, bytes(raw[: data.draw(st.integers(0, len(raw)))]), "a.parquet")
    except UserError as error:
        assert error.hint


@pytest.mark.parametrize("quote", ["", '"'])
def test_batches_are_bounded_in_cells_not_in_lines(quote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CELLS_MAX", 1000)
    header = {f"c{i}": 0 for i in range(100)}
    csv = opener(",".join(header) + f"\n{quote}1{quote}\n" * 95)
    assert csv
    found = delimited.read(csv, "a.csv")
    assert max(map(len, found.batches())) == 10
    assert sum(map(len, found.batches())) == 95
    objects = opener(json.dumps(header) + "\n{}\n" * 95)
    assert objects
    found = jsonl.read(objects, "a.jsonl")
    assert max(map(len, found.batches())) == 10


def test_parquet_batches_are_bounded_in_what_they_unfold_to(tmp_path: Path) -> None:
    text = "x" * 1_000_000
    plain = pyarrow.array([text] * 12)
    nested = pyarrow.array([[{"k": text}, {"k": None}]] * 12)
    mapped = pyarrow.array([[("k", text)]] * 12, pyarrow.map_(pyarrow.string(), pyarrow.string()))
    for column in (plain, plain.dictionary_encode(), nested, mapped):
        raw = opener(written({"a": column, "b": list(range(12))}, compression="zstd"))
        assert raw
        found = reader.read(raw, "a.parquet")
        assert sum(map(len, found.batches())) == 12
        assert 12_000_000 < sum(found.unfolded()) < 12_001_000
        assert max(found.unfolded()) <= table.ROW_MAX
    raw = opener(written({"a": plain}, compression="zstd"))
    assert raw
    batch = next(iter(reader.read(raw, "a.parquet").batches()))
    assert len({id(row[0]) for row in batch}) == 1


@pytest.mark.parametrize("wrapped", [lambda text: text, lambda text: [text], lambda text: {"k": text}])
def test_parquet_cells_too_long_to_hold(tmp_path: Path, wrapped: Any) -> None:
    raw = written({"a": [wrapped("x"), wrapped("y"), wrapped("x" * 5_000_000)]})
    with pytest.raises(UserError, match="row 3 is longer than 4") as error:
        compare(tmp_path, None, raw, "a.parquet")
    assert error.value.hint
