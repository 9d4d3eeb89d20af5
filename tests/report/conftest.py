"""A GitHub and a GitLab on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import forges
from tests.forges import GitHub, GitLab
from vcs_ml.store.remotes import retry


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.01)


@pytest.fixture
def github() -> Iterator[GitHub]:
    hub = GitHub()
    with forges.running(hub):
        yield hub


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    lab = GitLab()
    with forges.running(lab):
        yield lab
