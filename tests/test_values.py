"""Files of values in four formats, and looking up one value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml import values
from vcs_ml.errors import UserError

PYTHON = b'''
"""Settings."""
import os
lr = 1e-3
layers: list = [1, 2]
neg = -3
pair = (1, "two")
names = {"b", "a"}
table = {"x": {"y": 1}, 2: "int key"}
declared: int
home = os.environ["HOME"]
total = lr * 2
a = b = 5
raw = b"bytes"
pattern = "\\d"

def f():
    hidden = 1

class Train:
    """Of training."""
    epochs = 70
    class Inner:
        deep = True
    def __init__(self):
        self.batch = 32
        self.batch = 64
        local = 1
        other.x = 2

class Empty:
    pass
'''


def test_the_suffix_is_the_format() -> None:
    expected = {"train": {"lr": 0.1, "sizes": [1, 2]}, "name": "x"}
    assert values.parse(b"train: {lr: 0.1, sizes: [1, 2]}\nname: x", "p.yaml") == expected
    assert values.parse(b"train: {lr: 0.1, sizes: [1, 2]}\nname: x", "noext") == expected
    assert values.parse(b'{"train": {"lr": 0.1, "sizes": [1, 2]}, "name": "x"}', "p.json") == expected
    assert values.parse(b'name = "x"\n[train]\nlr = 0.1\nsizes = [1, 2]', "p.toml") == expected
    assert values.parse(b'name = "x"\nclass train:\n  lr = 0.1\n  sizes = [1, 2]', "dir.json/p.py") == expected


def test_python_constants() -> None:
    assert values.parse(PYTHON, "p.py") == {
        "lr": 0.001,
        "layers": [1, 2],
        "neg": -3,
        "pair": [1, "two"],
        "names": ["a", "b"],
        "table": {"x": {"y": 1}, "2": "int key"},
        "raw": "b'bytes'",
        "pattern": "\\d",
        "Train": {"epochs": 70, "Inner": {"deep": True}, "batch": 64},
    }


BINDINGS = [
    "x += 1",
    "x = x * 2",
    "x: int = f()",
    "del x",
    "x, y = 1, 2",
    "[x, *y] = 1, 2",
    "x = y = 2",
    "print(x := 2)",
    "y = [x := 2 for _ in f()]",
    "for x in f(): pass",
    "with f() as x: pass",
    "import x",
    "import x.y",
    "import y as x",
    "from y import z as x",
    "from y import *",
    "def x(): pass",
    "async def x(): pass",
    "@f(x := 2)\ndef y(): pass",
    "def y(z=(x := 2)): pass",
    "class x: pass",
    "if f():\n  x = 2",
    "if f(): pass\nelse:\n  x = 2",
    "while f():\n  x = 2",
    "try:\n  x = 2\nexcept OSError as y: pass",
    "try: pass\nexcept OSError as x: pass",
    "match f():\n  case [x]: pass",
    "match f():\n  case [*x]: pass",
    "match f():\n  case {'y': 1, **x}: pass",
    "def y():\n  global x\n  x = 2",
    "def y():\n  def z():\n    global x\n    x += 2",
    "class y:\n  global x\n  x = 2",
    "x[0] = 2",
    "x[0].y += 2",
    "del x[0]",
    "x.y = 2",
    "x.append(2)",
    "x['y'].update(z=2)",
]


@pytest.mark.parametrize("text", BINDINGS)
def test_a_constant_that_is_bound_or_changed_again_is_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "p.py"
    file.write_text(f"x = 1\n{text}\nkept = 3\n")
    found = values.parse(file.read_bytes(), "p.py")
    assert "x" not in found
    assert found["kept"] == 3
    assert values.is_computed(file, "x")
    assert values.is_computed(file, "x.inner")
    assert not values.is_computed(file, "z")


@pytest.mark.parametrize(
    "text",
    [
        "y = x + 1",
        "print(x, x[0], x.y, x.count(2))",
        "y = [x for x in f()]",
        "y = lambda x: x",
        "def y(x):\n  x = 2",
        "def y():\n  x = 2",
        "def y():\n  global x\n  print(x)",
        "class y:\n  x = f()",
        "x: int",
        "z.x = 2",
    ],
)
def test_a_constant_that_is_only_read(text: str) -> None:
    assert values.parse(f"x = 1\n{text}\n".encode(), "p.py")["x"] == 1


def test_a_literal_after_what_was_computed_is_a_constant() -> None:
    assert values.parse(b"x = 1\nx += 1\nx = 5\n", "p.py") == {"x": 5}


def test_constants_of_classes_that_are_bound_again() -> None:
    text = b"""
class T:
    a = b = None
    lr = 0.1
    lr *= 2
    kept = 1
    def __init__(self):
        self.n = 1
        self.n += 1
        self.m = 2
        if f():
            self.m = 3
        self.held = 4
T.kept = 2
T.rate = f()
T.held = f()
"""
    assert values.parse(text, "p.py") == {"T": {"kept": 2}}


def test_python_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    source = f"open({str(trap)!r}, 'w')\nx = open({str(trap)!r}, 'w')\ny: open({str(trap)!r}, 'w') = 1\n"
    assert values.parse(source.encode(), "p.py") == {"y": 1}
    assert not trap.exists()


def test_a_large_python_file_is_refused() -> None:
    with pytest.raises(UserError, match=r"p\.py is larger than 256\.0 kB"):
        values.parse(b"a = 1\n" * 50_000, "p.py")


LONG = ".".join(["a"] * 3000)


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG} = 1",
        f"[{LONG}]\na = 1",
        f"x = {{{LONG} = 1}}",
        " . ".join(["'a#=b'"] * 3000) + " = 1",
        ".".join(['"a,\\"b"'] * 3000) + " = 1",
        f"x = ['''\n''', {{{LONG} = 1}}, '']",
        f"x = ['''''', {{{LONG} = 1}}]",
        f'x = ["""a""""", {{{LONG} = 1}}]',
        f"x = [ # '''\n{{{LONG} = 1}}]",
        f"x = 'a\\'\n{LONG} = 1",
    ],
)
def test_keys_of_toml_that_would_take_for_ever(text: str) -> None:
    with pytest.raises(UserError, match="nested too deeply"):
        values.parse(text.encode(), "p.toml")


def test_dots_that_are_no_keys_of_toml() -> None:
    many = "a." * 200
    text = f"""x = [{"1.5, " * 200}] # {many}
# {many}
a = '{many}'
b = "{many}\\""
c = '''
{many}''''
[t] # {"." * 200}
{"k." * 50}e = 1
"""
    found = values.parse(text.encode(), "p.toml")
    assert {**found, "t": 0} == {"x": [1.5] * 200, "a": many, "b": f'{many}"', "c": f"{many}'", "t": 0}


@pytest.mark.parametrize("raw", [b'{"a": {"acc": 0.95, "b": 1, "acc": 0.1}}', b'[1, {"acc": 1, "\\u0061cc": 1}]'])
def test_key_of_json_that_stands_twice_is_named(raw: bytes) -> None:
    with pytest.raises(UserError) as error:
        values.parse(raw, "m.json")
    assert error.value.message == "m.json: the key 'acc' stands there twice"


def test_dates_of_toml_are_text() -> None:
    assert values.parse(b"a = 2024-01-31\nb = 10:00:00\nc = 2024-01-31T10:00:00Z", "p.toml") == {
        "a": "2024-01-31",
        "b": "10:00:00",
        "c": "2024-01-31T10:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("p.json", b"{"),
        ("p.json", b"\xff"),
        ("p.json", b'{"a": "\\ud800"}'),
        ("p.json", b'{"\\ud800": 1}'),
        ("p.json", b"[" * 100_000),
        ("p.json", b"[" * 200 + b"]" * 200),
        ("p.json", b"1" * 5_000),
        ("p.toml", b"a = "),
        ("p.toml", b"a = 0x" + b"1" * 5_000),
        ("p.py", b"a = 0x" + b"1" * 5_000),
        ("p.toml", b"a = \xff"),
        ("p.toml", b"a = " + b"[" * 10_000),
        ("p.py", b"a = ("),
        ("p.py", b"a = '\0'"),
        ("p.py", b"a = " + b"(" * 10_000),
        ("p.py", b"a = " + b"[" * 150 + b"]" * 150),
        ("p.py", b"a = '\\ud800'"),
        ("p.yaml", b"a: {"),
    ],
)
def test_what_is_not_of_its_format(name: str, raw: bytes) -> None:
    with pytest.raises(UserError) as caught:
        values.parse(raw, name)
    assert caught.value.message.startswith(name)
    assert caught.value.hint


def test_errors_of_python_name_the_line() -> None:
    with pytest.raises(UserError, match=r"^p\.py:2: this is not Python: "):
        values.parse(b"a = 1\nb = (\n", "p.py")


def test_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", values.MAX_SIZE + 1)
    assert values.read(tmp_path / "a") == b"x"
    assert values.read(tmp_path / "none") is None
    assert values.read(tmp_path / "a" / "below") is None
    for name in ("fifo", "large"):
        with pytest.raises(UserError, match=name):
            values.read(tmp_path / name)
    with pytest.raises(UserError, match="no regular file"):
        values.read(tmp_path)
    with pytest.raises(UserError, match="no regular file"):
        values.read(Path(os.devnull))


TREE = {"train": {"lr": 0.1, "layers": [{"size": 3}, {"size": 4}]}, "a.b": 1, "none": None}


def test_select() -> None:
    assert values.select(TREE, "train.lr") == 0.1
    assert values.select(TREE, "train.layers[1].size") == 4
    assert values.select(TREE, "train.layers.1.size") == 4
    assert values.select(TREE, "train[lr]") == 0.1
    assert values.select(TREE, "a.b") == 1
    assert values.select(TREE, "none") is None
    assert values.select([5], "0") == 5
    for key in (
        "",
        "x",
        "train.x",
        "train.lr.x",
        "train.layers[2]",
        "train.layers[-1]",
        "train.",
        ".train",
        "train..lr",
        "train.layers[0",
        "train.layers[9999999999999999999999]",
        "train.layers[\u0661]",
        "a b",
        "train lr",
    ):
        with pytest.raises(KeyError):
            values.select(TREE, key)


@pytest.mark.parametrize("name", ["m.json", "m.toml", "m.py", "m.yaml"])
def test_conflict_markers_are_named(name: str) -> None:
    raw = b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n"
    with pytest.raises(UserError, match=f"^{name} has conflict markers of a merge$") as caught:
        values.parse(raw, name)
    assert "git status" in str(caught.value.hint)


@given(
    st.recursive(
        st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
        max_leaves=15,
    )
)
def test_every_key_is_found(tree: object) -> None:
    def at(value: object, key: str) -> object:
        for part in key.replace("[", ".").replace("]", "").split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]  # type: ignore[index]
        return value

    for key in values.keys(tree):
        if not key.startswith("["):  # a list at the top has no name to begin with
            assert values.select(tree, key) == at(tree, key)


def test_nearest() -> None:
    assert values.nearest(TREE, "train.lrr") == "train.lr"
    assert values.nearest(TREE, "lr") == "train.lr"
    assert values.nearest(TREE, "trian") == "train"
    assert values.nearest(TREE, "zzz") is None
    assert values.nearest({}, "a") is None
