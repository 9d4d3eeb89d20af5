"""Plots out of files given as text, at one or several revisions."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vcs_ml.plots import figures, series
from vcs_ml.plots.definition import define
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.templates import Template

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'&<!-- \u202e"


def csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows), ""]).encode()


def chart(
    properties: Mapping[str, Any], files: Mapping[str, Mapping[str, bytes]], template: Template | None = None
) -> Chart:
    """The chart of the plot `data.csv` with these properties; `files` has the files of every revision."""
    plot = define("data.csv", properties)
    tables = {
        rev: {
            path: series.read(here[path], path, header=plot.header, columns=columns)
            for path, columns in plot.sources.items()
            if path in here
        }
        for rev, here in files.items()
    }
    return figures.draw(plot, tables, template)


def curves(*revs: str, points: int = 30, columns: Sequence[str] = ("step", "loss")) -> dict[str, dict[str, bytes]]:
    """A file data.csv at every revision: falling curves, each below the one before."""
    return {
        rev: {
            "data.csv": csv(
                columns,
                ([at, *(2 / (2 + at + place + more) for more in range(len(columns) - 1))] for at in range(points)),
            )
        }
        for place, rev in enumerate(revs)
    }


def png(width: int, height: int, grey: int = 0) -> bytes:
    """A picture of one grey."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([grey]) * width) * height)
    parts = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
