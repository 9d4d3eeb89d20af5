"""What an SVG asks of a browser: a few hundred bytes may stand for more elements than it can ever draw."""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections import Counter
from typing import Final, NamedTuple
from xml.parsers import expat

# A line of a plot as matplotlib writes it costs some hundreds, a point of it, with its mark, about a thousand.
WEIGHT_MAX: Final = 50_000_000

_ELEMENT: Final = 100  # what an element weighs beside its letters
_NAME: Final = re.compile(r"[^\s;,()'\"%\\#]+")
_REFERENCE: Final = re.compile(r"#([^\s;,()'\"\\#]+)")
_DATA: Final = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp);base64,\s*([A-Za-z0-9+/=\s]*)")
_ESCAPED: Final = re.compile(r"\\.*\(", re.DOTALL)  # which may be the name of any function
_WORDS: Final = ("id", "d", "aria-label")
_HEAD: Final = 87_380  # letters, of which a picture inside says how large it is


class Found(NamedTuple):
    """Why an SVG is not shown, empty if it can be, and the first bytes of each picture in it."""

    problem: str
    pictures: list[bytes]


class _Node:
    """The root, or an element that others may name: what it weighs without the nodes in it, and those it needs."""

    def __init__(self) -> None:
        self.weight = 0
        self.needs: Counter[str] = Counter()
        self.inside: list[_Node] = []
        self.total = -1  # not known; -2 while it is found out


class _RefusedError(Exception):
    pass


def look(raw: bytes) -> Found:
    """Reads it once. What elements say of others (`<use>`, patterns, masks, animations) counts as often as it is drawn.

    Refused is what is not XML, has entities, names other things from a style sheet, or stands for too much.
    """
    reading = _Reading()
    try:
        reading.read(raw)
        if _total(reading.root, reading.named) > WEIGHT_MAX:
            raise _RefusedError("stands for more elements than a browser draws")
    except expat.ExpatError as error:
        return Found(f"is not XML: {error}", [])
    except (ValueError, LookupError):  # an encoding that is none
        return Found("is not XML of a known encoding", [])
    except _RefusedError as error:
        return Found(str(error), [])
    return Found("", reading.pictures)


class _Reading:
    def __init__(self) -> None:
        self.root = _Node()
        self.named: dict[str, list[_Node]] = {}
        self.pictures: list[bytes] = []
        self._nodes = [self.root]
        self._opened: list[bool] = []  # whether an open element is a node
        self._styles = 0
        self._css: list[str] = []

    def read(self, raw: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = _refuse_entity
        parser.Parse(raw, True)
        css = "".join(self._css)
        if _ESCAPED.search(css) or any(each in css.lower() for each in ("url(", "src(", "image-set(")):
            raise _RefusedError("has a style sheet that names other things")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        id = attributes.get("id")
        if id is not None:
            if not _NAME.fullmatch(id):
                raise _RefusedError("has an id that is no name")
            node = _Node()
            self.named.setdefault(id, []).append(node)
            self._nodes[-1].inside.append(node)
            self._nodes.append(node)
        self._opened.append(id is not None)
        local = name.rpartition(":")[2]
        self._styles += local == "style"
        node = self._nodes[-1]
        node.weight += _ELEMENT + sum(map(len, attributes.values()))
        for key, value in attributes.items():
            if "#" in value and local != "a":
                node.needs.update(map(urllib.parse.unquote, _REFERENCE.findall(value)))
            if (picture := _DATA.match(value)) is not None:
                self.pictures.append(_begin(picture[1]))
            elif key not in _WORDS and (_ESCAPED.search(value) or "data:" in "".join(value.split()).lower()):
                raise _RefusedError("hides something in an attribute")

    def _end(self, name: str) -> None:
        if self._opened.pop():
            self._nodes.pop()
        self._styles -= name.rpartition(":")[2] == "style"

    def _text(self, text: str) -> None:
        self._nodes[-1].weight += len(text)
        if self._styles:
            self._css.append(text)


def _refuse_entity(*_: object) -> None:
    raise _RefusedError("has entities")


def _begin(text: str) -> bytes:
    letters = "".join(text[: 2 * _HEAD].split())[:_HEAD]
    return base64.b64decode(letters[: len(letters) // 4 * 4])


def _total(root: _Node, named: dict[str, list[_Node]]) -> int:
    """What all of it weighs as it is drawn, at most a little more than the largest that is allowed."""
    stack = [root]
    while stack:
        node = stack[-1]
        if node.total >= 0:
            stack.pop()
            continue
        needed = [(each, 1) for each in node.inside]
        needed += [(each, times) for name, times in node.needs.items() for each in named.get(name, ())]
        if node.total == -1:
            node.total = -2
            for each, _ in needed:
                if each.total == -2:
                    raise _RefusedError("has an element that needs itself")
                if each.total == -1:
                    stack.append(each)
        else:
            total = node.weight + sum(each.total * times for each, times in needed)
            node.total = min(total, WEIGHT_MAX + 1)
    return root.total
