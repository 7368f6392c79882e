"""Fixtures of the advisories' tests: providers, and verifiers that are closed in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from outcomes import policy

from skeldir_jwt_mw import Issuer, Verifier
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
def service() -> Iterator[Callable[..., Verifier]]:
    """Makes the verifier of a service that trusts one or several providers."""
    made: list[Verifier] = []

    def service(*idps: LoopbackIssuer, **options: Any) -> Verifier:
        times = {name: options.pop(name) for name in list(options) if name in ("floor", "backoff_base")}
        issuer_options = {name: options.pop(name) for name in list(options) if name in ("leeway",)}
        given: dict[str, Any] = {"audience": "orders-api", "allow_http": True, "allow_private_hosts": True}
        issuers = [Issuer(idp.issuer, jwks_url=idp.jwks_url, **given, **issuer_options) for idp in idps]
        verifier = Verifier(issuers, policy=policy(**times), **options)
        made.append(verifier)
        return verifier

    yield service
    for verifier in made:
        verifier.close()
