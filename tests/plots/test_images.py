"""Pictures side by side, and what is no picture."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plots.charts import png
from vcs_ml.plots import images, pictures
from vcs_ml.plots.pictures import Picture

JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    b"\xff\xc0\x00\x0b\x08\x00\x05\x00\x07\x01\x01\x11\0\xff\xd9"
)
GIF = b"GIF89a" + struct.pack("<HH", 7, 5) + b"\0\0\0;"
SVG = b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg" width="7" height="5"/>'


@pytest.mark.parametrize(
    ("raw", "picture"),
    [
        (png(7, 5), Picture("image/png", 7, 5)),
        (JPEG, Picture("image/jpeg", 7, 5)),
        (GIF, Picture("image/gif", 7, 5)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x07\0\x05\0", Picture("image/webp", 7, 5)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 6 | 4 << 14), Picture("image/webp", 7, 5)),
        (b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x06\0\0\x04\0\0", Picture("image/webp", 7, 5)),
        (SVG, Picture("image/svg+xml")),
    ],
)
def test_pictures_say_what_they_are(raw: bytes, picture: Picture) -> None:
    assert pictures.look(raw) == picture


@given(
    st.sampled_from([b"", png(7, 5), JPEG, GIF, SVG, b"RIFF\0\0\0\0WEBPVP8X"]),
    st.integers(0, 60),
    st.binary(max_size=40),
)
def test_any_bytes_are_a_picture_or_none(raw: bytes, cut: int, more: bytes) -> None:
    found = pictures.look(raw[:cut] + more)

    assert found is None or found.kind in pictures.SUFFIXES.values()


def test_what_only_begins_like_an_svg_is_no_picture() -> None:
    assert pictures.look(b"<!---->" * 9_000 + b"<p>") is None  # in time, whatever stands in front
    assert pictures.look(b"<!---->" * 9_000 + b"<svg>") == Picture("image/svg+xml")


def test_an_svg_may_use_its_marks_many_times() -> None:
    mark = '<defs><path id="m1" d="M 0 3 z"/><clipPath id="p1"><rect width="9"/></clipPath></defs>'
    points = '<g clip-path="url(#p1)">' + '<use xlink:href="#m1" x="1" y="2"/>' * 5_000 + "</g>"
    inside = f'<image xlink:href="data:image/png;base64,{base64.b64encode(png(7, 5)).decode()}"/>'
    style = "<style>*{stroke-linejoin: round}</style>"

    made = images.compare("a.svg", {"main": f"<svg>{style}{mark}{points}{inside}</svg>".encode()})

    assert (len(made.shown), made.notes) == (1, [])


def bomb(use: str) -> str:
    """Nine elements, each of which has ten times the one before."""
    return '<g id="a0"/>' + "".join(f'<g id="a{at + 1}">{use.replace("NAME", f"a{at}") * 10}</g>' for at in range(9))


HUGE = base64.b64encode(png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60_000, 60_000), 1)).decode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (bomb('<use href="#NAME"/>'), "stands for more elements"),
        (bomb('<use href="#%61NAME"/>').replace("%61a", "%61"), "stands for more elements"),
        (bomb('<rect fill="url(#NAME)"/>'), "stands for more elements"),
        (bomb('<use><set to="#NAME"/></use>'), "stands for more elements"),
        ('<g id="a"><use href="#a"/></g>', "needs itself"),
        ("<style>rect{fill:url(#a)}</style>", "style sheet"),
        ('<image href="d&#10;ata:image/svg+xml,x"/>', "hides something"),
        (f'<image href="data:image/png;base64,{HUGE}"/>', "too many"),
        ("<p>", "is not XML"),
        ("&nbsp;", "is not XML"),
    ],
)
def test_an_svg_that_asks_too_much_is_noted(body: str, reason: str) -> None:
    made = images.compare("a.svg", {"main": f"<svg>{body}</svg>".encode()})

    assert not made.shown
    assert reason in made.notes[0]


def test_two_that_differ_can_be_compared() -> None:
    made = images.compare("a.png", {"main": png(7, 5), "workspace": png(7, 5, grey=9)})

    assert [each.revs for each in made.shown] == [["main"], ["workspace"]]
    assert made.apart
    assert not made.notes


def test_equal_ones_are_shown_once() -> None:
    made = images.compare("a.png", {"main": png(7, 5), "v1": png(7, 5), "old": None})

    assert [each.revs for each in made.shown] == [["main", "v1"]]
    assert not made.apart
    assert made.notes == ["old: there is no a.png", "main, v1: the same picture"]


def test_others_than_two_of_one_size_have_no_difference() -> None:
    three = {rev: png(7, 5, grey=at) for at, rev in enumerate(["a", "b", "c"])}
    assert not images.compare("a.png", three).apart
    made = images.compare("a.png", {"a": png(7, 5), "b": png(8, 5)})
    assert not made.apart
    assert made.notes == ["the pictures differ in their size"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"step,loss\n1,2\n", "no picture"),
        (b"", "no picture"),
        (png(7, 5) + b"\0" * images.BYTES_MAX, "10.0 MB"),
        (png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60_000, 60_000), 1), "60,000 x 60,000 pixels"),
    ],
)
def test_what_is_not_shown_is_noted(raw: bytes, reason: str) -> None:
    made = images.compare("a.png", {"main": raw, "v1": png(7, 5)})

    assert [each.revs for each in made.shown] == [["v1"]]
    assert made.notes[0].startswith("main: ")
    assert reason in made.notes[0]
