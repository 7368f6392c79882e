"""Fixtures of the tests against hostile input."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from crafting import NOW

import skeldir_jwt_mw.clock


@pytest.fixture
def _the_time_of_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus was made when the run began, and its tokens are judged as of then."""
    monkeypatch.setattr(skeldir_jwt_mw.clock, "time", SimpleNamespace(time=lambda: NOW + 1.0))
