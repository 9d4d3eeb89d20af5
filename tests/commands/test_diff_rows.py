"""`vml diff --rows`: rows and columns of tables that changed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repo

OLD = "id,name,score\n1,ada,5\n2,bob,6\n3,cem,7\n"
NEW = "id,name,score,note\n1,ada,5,x\n2,bob,9,\n4,dia,8,y\n"
NASTY = "`x|<script>@all\x1b[31m\u202e"


def rows(repo: Repo, *args: str, cwd: str = "") -> dict[str, Any]:
    """The tables that `vml diff --rows ARGS --json` compares, by path."""
    return {each["path"]: each for each in repo.json("diff", "--rows", *args, cwd=cwd)["tables"]}


def changed(repo: Repo, *args: str, cwd: str = "") -> list[str]:
    found = repo.json("diff", *args, cwd=cwd)
    return sorted(
        each.get("path") or each["to"] for kind in ("added", "deleted", "modified", "renamed") for each in found[kind]
    )


@pytest.fixture
def tables(repo: Repo) -> Repo:
    """Two tables, in a directory and beside it, that differ from the last commit."""
    repo.write("a.csv", OLD)
    repo.write("data/deep/b.tsv", OLD.replace(",", "\t"))
    repo.write("data/c.jsonl", '{"id": 1, "v": 1}\n{"id": 2, "v": 2}\n')
    repo.write("data/notes.txt", "1")
    repo.run("add", "a.csv", "data")
    repo.commit()
    repo.write("a.csv", NEW)
    repo.write("data/deep/b.tsv", NEW.replace(",", "\t"))
    repo.write("data/c.jsonl", '{"id": 1, "v": 1}\n{"id": 2, "v": 3}\n')
    repo.write("data/notes.txt", "2")
    return repo


def test_words(tables: Repo) -> None:
    assert tables.run("diff", "--rows", "--key", "id", "-t", "a.csv").out.splitlines() == [
        "modified:  a.csv  (38 B -> 48 B)",
        "    rows 3 -> 3: 1 added, 1 removed, 1 changed (by id)",
        "    columns + note",
        "    id: mean 2 -> 2.3333, std 1 -> 1.5275, max 3 -> 4",
        "    score: 1 cell changed, mean 6 -> 7.3333, std 1 -> 2.0817, max 7 -> 9",
        "    + id=4, name=dia, score=8, note=y",
        "    - id=3, name=cem, score=7",
        "    ~ id=2: score 6 -> 9",
    ]
    assert "rows 3 -> 3: 2 added, 2 removed\n" in tables.run("diff", "--rows", "-t", "a.csv").out
    # Without --rows nothing of that.
    assert tables.run("diff", "-t", "a.csv").out == "modified:  a.csv  (38 B -> 48 B)\n"


def test_json(tables: Repo) -> None:
    found = rows(tables, "--key", "id")
    assert list(found) == ["a.csv", "data/c.jsonl", "data/deep/b.tsv"]
    assert {(each["added"], each["removed"], each["changed"]) for each in found.values()} == {(1, 1, 1), (0, 0, 1)}
    assert found["a.csv"]["rows"] == {"old": 3, "new": 3}
    assert found["a.csv"]["columns_added"] == ["note"]
    assert found["a.csv"]["examples"]["changed"] == [
        {"key": {"id": "2"}, "cells": {"score": {"old": "6", "new": "9"}}}
    ]  # fmt: skip
    assert "tables" not in tables.json("diff")
    tables.run("commit")
    tables.commit()
    assert rows(tables, "--key", "id", "HEAD~1", "HEAD") == found
    assert rows(tables) == {}


def test_markdown(tables: Repo) -> None:
    assert tables.run("diff", "--rows", "--md", "-t", "a.csv", "--key", "id").out.splitlines() == [
        "| change   | path    | size         |",
        "|:---------|:--------|:-------------|",
        "| modified | `a.csv` | 38 B -> 48 B |",
        "",
        "- `a.csv`",
        "  - `rows 3 -> 3: 1 added, 1 removed, 1 changed (by id)`",
        "  - `columns + note`",
        "  - `id: mean 2 -> 2.3333, std 1 -> 1.5275, max 3 -> 4`",
        "  - `score: 1 cell changed, mean 6 -> 7.3333, std 1 -> 2.0817, max 7 -> 9`",
        "  - `+ id=4, name=dia, score=8, note=y`",
        "  - `- id=3, name=cem, score=7`",
        "  - `~ id=2: score 6 -> 9`",
    ]
    assert tables.run("diff", "--md", "-t", "a.csv").out.count("\n") == 3


def test_hostile_cells_and_names(repo: Repo) -> None:
    name = f"{NASTY}.csv".replace("/", "")
    repo.write(name, f"id,{NASTY}\n1,a\n")
    repo.run("add", name)
    repo.commit()
    repo.write(name, f'id,{NASTY}\n1,"\n\n# {NASTY}\n"\n')
    for form in ((), ("--md",)):
        out = repo.run("diff", "--rows", *form).out
        assert "\x1b" not in out
        assert "\u202e" not in out
    # Without code spans, nothing of them is left.
    assert "<script" not in re.sub(r"(`+) ?.*?[^`]\1(?!`)", "", out)
    assert not [line for line in out.splitlines() if line.startswith("#")]
    assert "\x1b" not in repo.run("diff", "--rows", "--json").out


def test_files_that_came_went_and_moved(tables: Repo) -> None:
    tables.git("checkout", "-q", ".")
    tables.run("checkout", "--force")
    tables.write("data/new.csv", OLD + "5,e,5\n")
    (tables.path / "data/deep/b.tsv").rename(tables.path / "data/moved.tsv")
    (tables.path / "data/c.jsonl").unlink()
    result = tables.run("diff", "--rows")
    assert result.out.splitlines() == [
        "deleted:   data/c.jsonl  (36 B)",
        "renamed:   data/deep/b.tsv -> data/moved.tsv  (38 B)",
        "added:     data/new.csv  (44 B)",
    ]
    assert rows(tables) == {}
    assert tables.run("diff", "--rows", "--md").out.count("\n") == 5
    assert changed(tables, "-t", "data/moved.tsv") == changed(tables, "-t", "data/deep") == ["data/moved.tsv"]


def test_targets(tables: Repo) -> None:
    assert changed(tables, "-t", "data") == ["data/c.jsonl", "data/deep/b.tsv", "data/notes.txt"]
    assert changed(tables, "-t", "data/deep/b.tsv", "-t", "a.csv") == ["a.csv", "data/deep/b.tsv"]
    assert changed(tables, "-t", "b.tsv", "-t", "../../a.csv", cwd="data/deep") == ["a.csv", "data/deep/b.tsv"]
    assert changed(tables, "-t", ".") == changed(tables)
    assert list(rows(tables, "-t", ".", cwd="data/deep")) == ["data/deep/b.tsv"]
    assert "outside of the project" in tables.fails("diff", "-t", "../x", code=3).err
    tables.fails("diff", "-t", "", code=2)


def test_a_key_that_is_not_there(tables: Repo) -> None:
    result = tables.run("diff", "--rows", "--key", "nmae")
    assert "a.csv has no column nmae in its old version" in result.err
    assert "did you mean name?" in result.err
    # Of the others, files are told nonetheless.
    assert len(result.out.splitlines()) == 4
    found = rows(tables, "--key", "note")
    assert {path: list(each) for path, each in found.items()}["a.csv"] == ["path", "error"]
    tables.fails("diff", "--key", "id", code=2)


def test_tables_that_cannot_be_read(repo: Repo) -> None:
    before = {"bin.csv": b"\0\1" * 500, "long.csv": b"a\n1\n", "bad.jsonl": b'{"a": 1}\n', "fake.parquet": b"PAR1"}
    after = {
        "bin.csv": b"\0\2" * 500,
        "long.csv": b"a\n" + b"1" * 17_000_000,
        "bad.jsonl": b'{"a": 1}\n{\n',
        "fake.parquet": b"x",
    }
    for files in (before, after):
        for name, raw in files.items():
            repo.write(f"data/{name}", raw)
        repo.write("data/fine.csv", OLD if files is before else NEW)
        repo.run("add", "data")
        repo.commit()
    result = repo.run("diff", "--rows", "HEAD~1", "HEAD", "--key", "id")
    assert result.err.count("warning: ") == 4
    assert "rows 3 -> 3: 1 added, 1 removed, 1 changed (by id)" in result.out
    found = rows(repo, "HEAD~1", "HEAD")
    assert sorted(path for path, each in found.items() if "error" in each) == sorted(f"data/{name}" for name in before)
    markdown = repo.run("diff", "--rows", "HEAD~1", "HEAD", "--md").out
    for name in before:
        assert f"- `data/{name}`\n  - `data/{name}" in markdown


def test_parquet(repo: Repo) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    repo.write("data/x", "")
    for scores in ([1.5, 2.5], [1.5, 3.5]):
        pq.write_table(pa.table({"id": [1, 2], "score": scores}), repo.path / "data/t.parquet")
        repo.run("add", "data")
        repo.commit()
    found = rows(repo, "HEAD~1", "HEAD", "--key", "id")["data/t.parquet"]
    assert (found["changed"], found["columns"][0]["old"]["type"]) == (1, "double")
    assert "    ~ id=2: score 2.5 -> 3.5" in repo.run("diff", "--rows", "--key", "id", "HEAD~1").out.splitlines()


def test_data_that_is_in_the_store_only(tables: Repo, remote: Path) -> None:
    tables.run("commit")
    tables.commit()
    tables.run("push", "--all-commits")
    clone = tables.clone("clone")
    result = clone.fails("diff", "--rows", "HEAD~1", "HEAD", code=3)
    assert "--fetch" in result.err
    clone.run("fetch", "--metadata", "--all-commits")
    lacking = rows(clone, "HEAD~1", "HEAD")
    assert {path: list(each) for path, each in lacking.items()}["a.csv"] == ["path", "error"]
    assert "--fetch" in clone.run("diff", "--rows", "HEAD~1", "HEAD").err
    found = rows(clone, "HEAD~1", "HEAD", "--fetch", "--key", "id")
    assert found["a.csv"]["changed"] == 1
    assert not (clone.path / "a.csv").exists()
    assert rows(clone, "HEAD~1", "HEAD", "--key", "id") == found


def test_no_scratch_is_left(tables: Repo) -> None:
    tables.run("diff", "--rows", "--key", "id")
    assert not [path for path in os.listdir(tables.path / ".vml/tmp") if path.startswith("rows-")]
