"""The provider that all servers of a run ask for keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skeldir_jwt_mw.testing import IssuerProcess


@pytest.fixture(scope="session")
def provider_process() -> Iterator[IssuerProcess]:
    with IssuerProcess() as provider:
        yield provider


@pytest.fixture
def provider(provider_process: IssuerProcess) -> IssuerProcess:
    """A provider that answers, and that nobody has asked yet."""
    provider_process.up()
    provider_process.reset()
    return provider_process
