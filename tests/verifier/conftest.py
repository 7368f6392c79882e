"""Fixtures of the verifier's tests: a provider of their own, and verifiers that are closed in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from verifying import Ask, MakeVerifier, averify, policy_of, verify

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.testing import LoopbackIssuer


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


@pytest.fixture
def other_idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


@pytest.fixture
def make() -> Iterator[MakeVerifier]:
    """Makes verifiers with the options of `Verifier`."""
    made: list[Verifier] = []

    def make(issuers: Any, *, policy: Any = None, **options: Any) -> Verifier:
        verifier = Verifier(issuers, policy=policy or policy_of(), **options)
        made.append(verifier)
        return verifier

    yield make
    for verifier in made:
        verifier.close()


@pytest.fixture(params=[verify, averify], ids=["verify", "averify"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asked: Ask = request.param
    return asked
