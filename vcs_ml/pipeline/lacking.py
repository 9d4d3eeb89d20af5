"""What a stage reads and what is not there: the error, with the name that was probably meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline.signature import Inputs, Reader
from vcs_ml.pipeline.stage import Stage


def refuse(stage: Stage, now: Inputs, reader: Reader, made: Iterable[str]) -> None:
    """UserError for a dep or param that is not there, with the nearest name. `made` are outputs of stages."""
    where = f"stage {stage.address}"
    for path, item in now.deps.items():
        if item is None:
            near = _nearest(path, reader.root, made)
            hint = f"did you mean {quote(near)}?" if near else f"vml pull {quote(path)} brings it if it is tracked"
            raise UserError(f"{where}: the dep {quote(path)} does not exist", hint=hint)
    for file, key in now.lacking:
        found = reader.values_of(file)
        if found is None and not os.path.lexists(reader.root / file):
            near = _nearest(file, reader.root, made)
            hint = f"did you mean {quote(near)}?" if near else f"{stage.file} names it under params"
            raise UserError(f"{where}: the params file {quote(file)} does not exist", hint=hint)
        if key is None:
            raise UserError(f"{where}: {quote(file)} is empty", hint="params are a mapping of names to values")
        near = values.nearest(found, key)
        hint = f"did you mean {near}?" if near else f"{stage.file} names it under params"
        raise UserError(f"{where}: {quote(file)} has no {key}", hint=hint)


def _nearest(path: str, root: Path, made: Iterable[str]) -> str | None:
    """What is, or will be, there under a name like this."""
    folder = path.rpartition("/")[0]
    try:
        beside = [f"{folder}/{name}" if folder else name for name in sorted(os.listdir(root / folder))]
    except OSError:
        beside = []
    return next(iter(difflib.get_close_matches(path, [*beside[:1000], *made], n=1)), None)
