"""The outcome of a run as JUnit XML, which CI systems show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from vcs_ml import output
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.scheduler import Row
from vcs_ml.workspace import overwrite, sources
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

_TAIL: Final = 16_384
# Colours and cursor movements of terminals (ECMA-48), and titles of windows.
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
# What XML 1.0 cannot hold, not even as a character reference, besides control characters.
_FORBIDDEN: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")


def refuse_place(project: Project, pointers: Mapping[str, Pointer], graph: Graph, place: Path) -> None:
    """UserError where the outcome cannot be written, or would overwrite what Git, vml or a stage needs."""
    name, elsewhere = quote(place), "name another file: --junit junit.xml"
    overwrite.refuse(project, place, hint=elsewhere)
    path = str(place.parent.resolve() / place.name)
    if path.startswith(f"{project.root}/"):
        path = path.removeprefix(f"{project.root}/")
        if sources.owner(path, pointers):
            raise UserError(f"{name} is tracked, and would be overwritten", hint=elsewhere)
        if makers := graph.outputs.makers(path):
            maker = list(graph.stages)[makers[0]]
            raise UserError(f"{name} is what the stage {quote(maker)} makes", hint=elsewhere)
    for stage in graph.stages.values():
        read = (*stage.deps, *(each.file for each in stage.params))
        if sources.owner(path, {each: each for each in read}):
            raise UserError(f"{name} is what the stage {quote(stage.address)} reads", hint=elsewhere)


def render(rows: Iterable[Row], *, logs: Mapping[str, Path], suite: str = "vml repro", states: bool = True) -> bytes:
    """One test suite with a test for each row, in UTF-8; a failed one holds the last 16 kB of its log, if there is one.

    A job that did not run is a skipped test; one that had nothing to do, or came from the cache, has passed. Without
    `states`, a test that passed says only why.
    """
    rows = list(rows)
    counts = {
        "tests": str(len(rows)),
        "failures": str(sum(row.state == "failed" for row in rows)),
        "errors": "0",
        "skipped": str(sum(row.state == "not run" for row in rows)),
        "time": f"{sum(row.seconds for row in rows):.3f}",
    }
    top = ElementTree.Element("testsuites", counts)
    under = ElementTree.SubElement(top, "testsuite", {"name": clean(suite), **counts})
    for row in rows:
        about = {"classname": clean(suite), "name": clean(row.name), "time": f"{row.seconds:.3f}"}
        case = ElementTree.SubElement(under, "testcase", about)
        if row.state == "failed":
            failure = ElementTree.SubElement(case, "failure", {"message": clean(row.why), "type": "failed"})
            failure.text = clean(tail(logs[row.name])) if row.name in logs else None
        elif row.state == "not run":
            ElementTree.SubElement(case, "skipped", {"message": clean(row.why)})
        else:
            said = ": ".join(filter(None, (row.state * states, row.why)))
            if said:
                ElementTree.SubElement(case, "system-out").text = clean(said)
    ElementTree.indent(top)
    text: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def tail(log: Path) -> str:
    """The last 16 kB of a log from the beginning of a line; nothing if there is no log."""
    try:
        with log.open("rb") as stream:
            at = max(stream.seek(0, 2) - _TAIL, 0)
            stream.seek(at)
            raw = stream.read(_TAIL)
    except FileNotFoundError:
        return ""
    text = raw.decode("utf-8", "backslashreplace")
    return (text.partition("\n")[2] or text) if at else text


def clean(text: str) -> str:
    """Text that XML can hold: without the colours of terminals, other control characters as `\\x07`."""
    shown = output.lines(_ANSI.sub("", text).replace("\r\n", "\n"))
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)
