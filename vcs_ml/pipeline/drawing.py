"""Drawings of the graph: what is drawn, and its text, Mermaid and DOT."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from vcs_ml.output import count, quote
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.outputs import Outputs
from vcs_ml.pipeline.patterns import Patterns
from vcs_ml.pipeline.stage import Stage

_PLAIN: Final = re.compile(r"[^\w ./@+=*,-]")
_NEEDS: Final = "  <- "
_NAME_MAX: Final = 40


class Node(NamedTuple):
    """Something that is drawn: a stage, the `size` stages of a foreach or matrix, an output, or data of `vml add`."""

    name: str
    kind: Literal["stage", "group", "out", "data"]
    size: int = 1
    frozen: bool = False


class Drawing(NamedTuple):
    """Nodes, each after what it needs (but for groups that need each other), and for each the numbers of its needs."""

    nodes: list[Node]
    needs: list[list[int]]


def draw(graph: Graph, data: Iterable[str], *, outs: bool = False, collapse: bool = False) -> Drawing:
    """The whole graph: its stages, with `collapse` those of one foreach or matrix as one node; or, `outs`, what they
    make. And what they read of `data`, the paths that `vml add` tracks.
    """
    nodes: dict[tuple[str, str], Node] = {}
    members: dict[str, list[tuple[str, str]]] = {}  # the nodes that stand for a stage
    makers: list[tuple[str, bool, tuple[str, str]]] = [(path, False, ("data", path)) for path in data]
    sizes: dict[str, int] = {}
    for stage in graph.stages.values():
        sizes[stage.group] = sizes.get(stage.group, 0) + 1
    for address, stage in graph.stages.items():
        node = _node(stage, sizes[stage.group], collapse=collapse)
        drawn = [Node(out.path, "out", frozen=stage.frozen) for out in stage.outs] if outs else [node]
        members[address] = [(each.kind, each.name) for each in drawn]
        nodes.update(zip(members[address], drawn, strict=True))
        makers += [(out.path, out.is_glob, ("out", out.path) if outs else members[address][0]) for out in stage.outs]
    sources = _sources(graph, makers)
    order: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for address in graph.order:
        found = sources[address]
        for kind, path in found:
            if kind == "data":
                order.setdefault((kind, path), set())
                nodes[kind, path] = Node(path, "data")
        for member in members[address]:
            order.setdefault(member, set()).update(each for each in found if each != member)
    numbers = {each: number for number, each in enumerate(order)}
    return Drawing(
        [nodes[each] for each in order], [sorted(numbers[each] for each in needs) for needs in order.values()]
    )


def _node(stage: Stage, size: int, *, collapse: bool) -> Node:
    if collapse and stage.group != stage.address:
        return Node(stage.group, "group", size, stage.frozen)
    return Node(stage.address, "stage", frozen=stage.frozen)


def _sources(graph: Graph, makers: Sequence[tuple[str, bool, tuple[str, str]]]) -> dict[str, set[tuple[str, str]]]:
    """What each stage reads, of what is made or tracked."""
    globs = tuple((path, number) for number, (path, is_glob, _) in enumerate(makers) if is_glob)
    plain = {path: number for number, (path, is_glob, _) in enumerate(makers) if not is_glob}
    made = Outputs(plain, globs, Patterns(globs))
    read = {
        address: [path for path in (*stage.deps, *(each.file for each in stage.params)) if path[0] != "/"]
        for address, stage in graph.stages.items()
    }
    inside = made.inside({path for paths in read.values() for path in paths})
    found: dict[str, set[tuple[str, str]]] = {}
    for address, paths in read.items():
        numbers = {each for path in paths for each in made.makers(path) or made.possible_makers(path)}
        numbers.update(each for path in paths for each in inside.get(path, ()))
        found[address] = {makers[number][2] for number in numbers}
    return found


def part(drawing: Drawing, names: Iterable[str]) -> Drawing:
    """The nodes of these names, but for data, and all that they need."""
    wanted = set(names)
    pending = [number for number, node in enumerate(drawing.nodes) if node.kind != "data" and node.name in wanted]
    seen = set(pending)
    while pending:
        new = set(drawing.needs[pending.pop()]) - seen
        seen |= new
        pending += new
    kept = sorted(seen)
    numbers = {old: new for new, old in enumerate(kept)}
    return Drawing(
        [drawing.nodes[old] for old in kept], [[numbers[each] for each in drawing.needs[old]] for old in kept]
    )


def _about(node: Node) -> str:
    words = ["data"] * (node.kind == "data") + [count(node.size, "stage")] * (node.kind == "group")
    words += ["frozen"] * node.frozen
    return f" ({', '.join(words)})" if words else ""


def text(drawing: Drawing, width: int) -> Iterator[str]:
    """A line for each node, with what it needs behind an arrow; folded where that is longer than `width` columns."""
    names = [quote(node.name) + _about(node) for node in drawing.nodes]
    column = min(max(map(len, names), default=0), _NAME_MAX)
    room = max(width - column - len(_NEEDS), 20)
    for name, needs in zip(names, drawing.needs, strict=True):
        listed = ", ".join(quote(drawing.nodes[number].name).replace(" ", "\0") for number in needs)
        first, *rest = textwrap.wrap(listed, room, break_long_words=False, break_on_hyphens=False) or [""]
        yield (name.ljust(column) + _NEEDS + first if first else name).replace("\0", " ")
        yield from (f"{' ' * (column + len(_NEEDS))}{line}".replace("\0", " ") for line in rest)


def mermaid(drawing: Drawing) -> Iterator[str]:
    """The lines of a flowchart for https://mermaid.js.org."""

    def escaped(label: str) -> str:
        return _PLAIN.sub(lambda match: f"#{ord(match[0])};", label)

    yield "flowchart TD"
    for number, node in enumerate(drawing.nodes):
        left, right = '[("', '")]'
        if node.kind != "data":
            left, right = ('["', '"]') if node.kind != "group" else ('[["', '"]]')
        yield f"    n{number}{left}{escaped(quote(node.name) + _about(node))}{right}"
    yield from _edges(drawing, "    n{} --> n{}".format)


def dot(drawing: Drawing) -> Iterator[str]:
    """The lines of a graph for Graphviz."""

    def escaped(label: str) -> str:
        return label.replace("\\", "\\\\").replace('"', '\\"')

    yield "digraph {"
    for number, node in enumerate(drawing.nodes):
        shape = {"data": "cylinder", "out": "note", "group": "box3d", "stage": "box"}[node.kind]
        yield f'    n{number} [label="{escaped(quote(node.name) + _about(node))}", shape={shape}]'
    yield from _edges(drawing, "    n{} -> n{}".format)
    yield "}"


def _edges(drawing: Drawing, line: Callable[[int, int], str]) -> Iterator[str]:
    for number, needs in enumerate(drawing.needs):
        yield from (line(each, number) for each in needs)
