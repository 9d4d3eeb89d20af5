"""Two clones with stores of their own, and one remote beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.stores import Clone


@pytest.fixture
def one(tmp_path: Path) -> Clone:
    return Clone(tmp_path, "one")


@pytest.fixture
def two(tmp_path: Path) -> Clone:
    return Clone(tmp_path, "two")
