"""Fixtures of the adapter tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from identity import Signer, Verifiers

from skeldir_jwt_mw import Verifier


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture(scope="session")
def tokens(signer: Signer) -> dict[str, str]:
    return signer.tokens()


@pytest.fixture(scope="session")
def verifiers(signer: Signer) -> Iterator[Verifiers]:
    made = Verifiers(signer.jwks)
    yield made
    made.close()


@pytest.fixture
def verifier(verifiers: Verifiers) -> Verifier:
    return verifiers.get()
