"""Fixtures of the adapter tests."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from identity import Signer, Verifiers

from skeldir_jwt_mw import Verifier

# Whoever has no Django runs the other modules; these compare it with the rest, or are about it.
NEED_DJANGO = ["test_channels.py", "test_preflights.py", "test_reuse.py", "test_user_keys.py"]
collect_ignore = [] if find_spec("django") else NEED_DJANGO


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


@pytest.fixture(scope="session")
def everything(signer: Signer, tokens: dict[str, str]) -> Iterator[Verifiers]:
    """Verifiers with every option; every token has been there before, and is remembered if it can be."""
    made = Verifiers(signer.jwks, everything=True)
    made.warm(tokens.values())
    yield made
    made.close()


@pytest.fixture
def verifier(verifiers: Verifiers) -> Verifier:
    return verifiers.get()
