"""Rules that a token alone cannot show: no request because of what a token says, and limits of whole sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from corpus import FAMILIES
from crafting import AUDIENCE, ISSUER, header_of, key, key_set, token

from skeldir_jwt_mw import InvalidToken, Issuer, KeysUnavailable, RefreshPolicy, Verifier
from skeldir_jwt_mw.sources import CallableSource
from skeldir_jwt_mw.testing import LoopbackIssuer


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


@pytest.fixture
def trap() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as trap:
        yield trap


def service(idp: LoopbackIssuer) -> Verifier:
    given = {"audience": AUDIENCE, "jwks_url": idp.jwks_url}
    issuer = Issuer(idp.issuer, **given, allow_http=True, allow_private_hosts=True)
    return Verifier([issuer], policy=RefreshPolicy(jitter=0.0, floor=30.0))


def test_r14_nothing_that_a_token_says_leads_to_a_request(idp: LoopbackIssuer, trap: LoopbackIssuer) -> None:
    verifier = service(idp)
    verifier.verify(idp.token())
    lures = [
        *(idp.token(header={name: trap.jwks_url}) for name in ("jku", "x5u", "jwk", "kid")),
        idp.token(header={"x5c": [trap.jwks_url]}),
        idp.token(iss=trap.issuer),
        idp.token(key=trap.key(), header={"jku": trap.jwks_url}, iss=trap.issuer),
        idp.token(header={"jwk": trap.key().jwk(jku=trap.jwks_url)}),
        trap.token(aud=AUDIENCE),
        idp.token(iss=trap.jwks_url, jwks_uri=trap.jwks_url),
    ]
    for raw in lures:
        with pytest.raises((InvalidToken, KeysUnavailable)):
            verifier.verify(raw)
    assert trap.requests == []
    assert {request.path for request in idp.requests} == {"/" + idp.jwks_url.split("/", 3)[3]}
    assert idp.fetches <= 2  # the unknown kid among them may ask the configured provider once
    verifier.close()


def test_r54_no_hostile_token_of_any_family_causes_more_than_one_fetch(idp: LoopbackIssuer) -> None:
    verifier = service(idp)
    verifier.verify(idp.token())
    for family in FAMILIES.values():
        for case in family.cases():
            with pytest.raises((InvalidToken, KeysUnavailable)):
                verifier.verify(case.token)
    assert idp.fetches == 1  # none of them is of this issuer, so none earned one
    verifier.close()


@pytest.mark.parametrize(("others", "usable"), [(63, True), (64, False)])
def test_r52_a_set_of_64_keys_is_read_and_one_of_65_is_not(others: int, usable: bool) -> None:
    keys = key_set(*(key("EdDSA").jwk(kid=f"k{number}") for number in range(others)), key("ES256").jwk())
    source = CallableSource(lambda: keys, identity="many")
    verifier = Verifier([Issuer(ISSUER, audience=AUDIENCE, source=source)])
    if usable:
        assert verifier.verify(token()).kid == "es256"
    else:
        with pytest.raises(KeysUnavailable):
            verifier.verify(token())
    verifier.close()


def test_r15_a_kid_is_a_name_and_no_path_or_statement() -> None:
    for kid in ("../../etc/passwd", "'; DROP TABLE keys; --", "${jndi:ldap://a}", "{0}", "%s", "a\\b"):
        named = key("ES256").jwk(kid=kid)
        source = CallableSource(lambda named=named: key_set(named), identity="named")
        verifier = Verifier([Issuer(ISSUER, audience=AUDIENCE, source=source)])
        assert verifier.verify(token(header_of(kid=kid))).kid == kid
        verifier.close()
