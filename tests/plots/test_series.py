"""Tables out of files."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcs_ml.errors import UserError
from vcs_ml.plots import series

NAMES = st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1, max_size=4, unique=True)
FLOATS = st.floats(allow_nan=False)
CELLS = st.integers(1 - 2**63, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.booleans()


def refused(raw: bytes, source: str) -> UserError:
    with pytest.raises(UserError) as caught:
        series.read(raw, source)
    assert source in caught.value.message
    assert caught.value.hint
    return caught.value


@settings(max_examples=60)
@given(st.data(), NAMES, st.sampled_from([".csv", ".tsv"]))
def test_what_csv_writes_is_read(data: st.DataObject, names: list[str], suffix: str) -> None:
    cell = (
        st.integers(-(2**53), 2**53)
        | FLOATS
        | st.text(st.characters(exclude_categories=["C"])).map(lambda text: f"x{text}")
    )
    rows = data.draw(st.lists(st.lists(cell, min_size=len(names), max_size=len(names)), max_size=8))
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if suffix == ".tsv" else ",").writerows([names, *rows])

    table = series.read(text.getvalue().encode(), f"p{suffix}")

    assert list(table) == names
    assert [list(row) for row in zip(*table.values(), strict=True)] == rows


@given(st.text("a1.,\r\n", min_size=1).filter(lambda text: text.strip("\r\n")))
def test_a_file_is_read_alike_with_and_without_quotes_in_it(text: str) -> None:
    plain = series.read(text.encode(), "p.csv", header=False)
    quoted = series.read(f'{text}\n"b"\n'.encode(), "p.csv", header=False)
    assert quoted.pop("0") == [*plain.pop("0"), "b"]
    assert quoted == {name: [*cells, None] for name, cells in plain.items()}


@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.text("ab.c"), CELLS), min_size=1))
def test_rows_of_json_and_yaml_become_columns(rows: list[dict[str, object]]) -> None:
    raw = json.dumps({"note": "x", "train": {"history": rows}}).encode()

    table = series.read(raw, "p.json")

    for at, row in enumerate(rows):
        for name, cells in table.items():
            assert cells[at] == row.get(name)
    assert set(table) == {name for row in rows for name, cell in row.items() if cell is not None}
    assert series.read(raw, "p.yaml") == table


def test_whole_numbers_that_no_chart_knows_are_drawn_as_near_as_can_be() -> None:
    rows = [{"a": 2**63}, {"a": -(2**70)}, {"a": 10**400}, {"a": -(10**400)}]
    cells = series.read(json.dumps(rows).encode(), "p.json")["a"]
    assert cells == [2.0**63, -(2.0**70), float("inf"), float("-inf")]
    assert all(type(each) is float for each in cells)


@settings(max_examples=150)
@given(st.binary(max_size=300), st.sampled_from(series.SUFFIXES))
def test_any_bytes_are_a_table_or_refused(raw: bytes, suffix: str) -> None:
    try:
        table = series.read(raw, f"p{suffix}")
    except UserError as error:
        assert f"p{suffix}" in error.message
    else:
        assert len({len(cells) for cells in table.values()}) <= 1


def test_gaps_words_and_numbers_in_one_column() -> None:
    table = series.read(b"\xef\xbb\xbfstep,loss\n1,\n\n2,nan\n3,-inf\n4,bad\n5\n6,1e3,more\n", "p.csv")

    assert list(table["step"]) == [1, 2, 3, 4, 5, 6]
    assert table["loss"][0] is None
    assert math.isnan(table["loss"][1])
    assert list(table["loss"][2:]) == [-math.inf, "bad", None, 1000.0]


def test_columns_without_header_are_numbered() -> None:
    assert series.read(b"1,2\n3,4\n", "p.csv", header=False) == {"0": [1, 3], "1": [2, 4]}


def test_empty_file_has_no_columns_and_a_header_alone_has_no_rows() -> None:
    assert series.read(b"", "p.csv") == {}
    assert series.read(b"a,b\n", "p.csv") == {"a": [], "b": []}


def test_of_several_lists_the_one_with_the_columns_is_taken() -> None:
    raw = b'{"n": [1, 2], "a": [{"x": 1}], "b": {"c": [[], [{"x": 2, "y": 3}]]}}'

    assert series.read(raw, "p.json") == {"x": [1]}
    assert series.read(raw, "p.json", columns=["x", "y"]) == {"x": [2], "y": [3]}
    assert series.read(raw, "p.json", columns=["z"]) == {"x": [1]}


def test_lists_inside_a_row_are_no_values() -> None:
    assert series.read(b'[{"x": 1, "y": [2]}, {"x": {"z": 1}}]', "p.json") == {"x": [1, None]}


@pytest.mark.parametrize("suffix", series.SUFFIXES)
def test_binary_data_is_no_plot(suffix: str) -> None:
    assert "binary" in refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", f"p{suffix}").message


def test_other_encodings_are_named() -> None:
    assert "UTF-8" in refused("größe\n1\n".encode("latin-1"), "p.csv").message


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"[1, 2]", b'{"a": 1}', b"null", b'[{"a": 1}, 2]'])
def test_file_without_a_list_of_mappings_is_refused(raw: bytes) -> None:
    assert "list of mappings" in refused(raw, "p.json").message


@pytest.mark.parametrize("source", ["p.json", "p.yaml"])
def test_what_does_not_parse_is_named(source: str) -> None:
    refused(b"{[", source)
    refused(b"[" * 100_000, source)


def test_few_bytes_do_not_become_many_cells() -> None:
    wide, tall = ",".join(map(str, range(3000))), "1\n" * 3000
    assert "5,000,000 cells" in refused(f"{wide}\n{tall}".encode(), "p.csv").message
    sparse = [{str(at): 1} for at in range(3000)]
    assert "5,000,000 cells" in refused(json.dumps(sparse).encode(), "p.json").message


def test_quote_without_an_end_is_named_with_its_line() -> None:
    assert "p.csv:" in refused(b'a,b\n1,"' + b"x" * 200_000, "p.csv").message


def test_key_of_json_that_stands_twice_is_refused() -> None:
    assert "the key 'loss' stands there twice" in refused(b'[{"loss": 1, "loss": 2}]', "l.json").message
