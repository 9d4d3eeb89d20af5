"""Proofs that a tree is wholly in a store: which files hold it. As long as they are there, so is all of it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from vcs_ml import fs
from vcs_ml.store import objects
from vcs_ml.store.objects import ObjectId

HEAD = "complete {}"  # the first line, with the number of lines after it
_NAME = re.compile("[0-9a-f]{64}")


class Proofs:
    """The `complete/` of a store; all of it can be lost, and is then found out again."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._directory = store / "complete"

    def find(self, root: ObjectId) -> list[str] | None:
        """The files that hold the tree `root`, by their paths in the store, if it was found whole and all are there."""
        try:
            lines = self._path(root).read_text().splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        if lines[:1] != [HEAD.format(len(lines) - 1)]:
            return None
        lines = lines[1:]
        return lines if all(os.path.exists(f"{self._store}/{line}") for line in lines) else None

    def keep(self, root: ObjectId, files: Collection[str]) -> None:
        """Write down that these files hold all of `root`."""
        content = "\n".join([HEAD.format(len(files)), *sorted(files), ""]).encode()
        with contextlib.suppress(OSError):  # a store that cannot be written only means that this is asked again
            fs.make_directory(self._directory)
            fs.write_atomic(self._path(root), content, sync=False)

    def drop(self, root: ObjectId) -> None:
        """Forget one."""
        self._path(root).unlink(missing_ok=True)

    def roots(self) -> Iterator[ObjectId]:
        """Every tree of which something is written down."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._directory):
                if _NAME.fullmatch(name):
                    yield objects.node(bytes.fromhex(name))

    def _path(self, root: ObjectId) -> Path:
        return self._directory / root[:-1].hex()
