"""Advisories on claims and on whose keys a token is verified with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crafting import AUDIENCE, ISSUER, NOW, claims_of, token
from outcomes import outcome, unexpected, verdict

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.core.claims import compile_claims
from skeldir_jwt_mw.core.issuer import IssuerRoutes
from skeldir_jwt_mw.testing import LoopbackIssuer

OTHERS = (
    ISSUER[:-1], ISSUER[:8], ISSUER + "x", "h", "", "/", ISSUER.upper(), [ISSUER], [ISSUER, "x"],
    {"iss": ISSUER},
    {ISSUER: 1}, None, 1, True,
)  # fmt: skip


@pytest.mark.parametrize("iss", OTHERS, ids=str)
def test_t_iss_an_issuer_is_equal_or_it_is_another(iss: object) -> None:
    """CVE-2024-53861, CVE-2025-30144: a part of the issuer, or a list that holds it, passed for it."""
    claims = claims_of(iss=iss)
    assert verdict(token(None, claims)) == "wrong_issuer"
    check = compile_claims(Issuer(ISSUER, audience=AUDIENCE))
    assert outcome(lambda: check(claims, NOW)) == "wrong_issuer"
    assert IssuerRoutes((ISSUER,)).position(claims) is None


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_t_numdate_a_time_is_a_number(name: str) -> None:
    """CVE-2026-44459: times that were no numbers were not compared at all."""
    assert (
        unexpected("exp that is no time", "nbf and iat that are no times", "times that are no json numbers")
        == []
    )
    for value in (str(NOW + 60), "", "never", None, True, False, [], [NOW], {}, -1, 2**53 + 1, 1e308):
        assert verdict(token(None, claims_of(**{name: value}))) == "bad_claims"


def test_t_xiss_keys_of_one_issuer_are_nothing_to_another(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, service: Callable[..., Verifier]
) -> None:
    """CVE-2025-59936: keys were cached by kid before the issuer was looked at."""
    for provider in (idp, other_idp):
        provider.rotate(keep_previous=False, kid="the-same")
    verifier = service(idp, other_idp)
    assert outcome(lambda: verifier.verify(other_idp.token())) == "ok"
    assert idp.fetches == 0  # a token of the other one leads to nobody else's keys
    assert outcome(lambda: verifier.verify(idp.token())) == "ok"
    crossed = other_idp.token(key=idp.key())
    assert outcome(lambda: verifier.verify(crossed)) == "bad_signature"
    assert outcome(lambda: verifier.verify(idp.token(key=other_idp.key()))) == "bad_signature"
    assert outcome(lambda: verifier.verify(idp.token(iss="https://evil.example/"))) == "wrong_issuer"
    assert (idp.fetches, other_idp.fetches) == (1, 1)
