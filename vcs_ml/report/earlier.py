"""What a report begins with in each of its forms, so that one is written over an earlier one and nothing else."""

from __future__ import annotations

import re
from typing import Final

from vcs_ml.workspace import overwrite

BEGINNING: Final = re.compile(
    overwrite.PAGE
    + rb"|## [^\n]*\n\n\*\*(?:\xe2\x9c\x85|\xe2\x9d\x8c|No gates)"
    + rb'|\{\n *"schema": [0-9]+,\n *"title": '
    + rb"|<\?xml [^\n]*\?>\n<testsuites "
    + rb"|# TYPE vml_"
)
