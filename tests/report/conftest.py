"""Reports are posted without pauses between tries."""

from __future__ import annotations

import pytest

from vcs_ml.store.remotes import retry


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.01)
