"""What a report begins with in each of its forms, so that one is written over an earlier one and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_READ: Final = 65_536  # bytes, which hold the longest title that anybody wants
_BEGINNING: Final = re.compile(
    rb'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
    rb"|## [^\n]*\n\n\*\*(?:\xe2\x9c\x85|\xe2\x9d\x8c|No gates)"
    rb'|\{\n *"schema": [0-9]+,\n *"title": '
    rb"|<\?xml [^\n]*\?>\n<testsuites "
    rb"|# TYPE vml_"
)


def is_report(place: Path) -> bool:
    """Whether this file is a report, or empty."""
    with place.open("rb") as file:
        raw = file.read(_READ)
    return not raw or _BEGINNING.match(raw) is not None
