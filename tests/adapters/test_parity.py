"""One token gets one verdict: from `verify`, and through every adapter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from identity import AUDIENCE, ISSUER, Signer, Verifiers
from verdicts import JUDGES, by_verify

from skeldir_jwt_mw import Issuer, VerifiedToken, Verifier, current_token
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing.tokens import b64url


def odd_tokens(signer: Signer) -> dict[str, str]:
    """Tokens besides those of the table, each odd in its own way; some of them are to be accepted."""
    now = int(time.time())
    valid = signer.token()
    head, payload, signature = valid.split(".")
    twice = b64url(b'{"iss":"' + ISSUER.encode() + b'","iss":"' + ISSUER.encode() + b'"}')
    return {
        "several audiences": signer.token(aud=["billing-api", AUDIENCE]),
        "other audiences": signer.token(aud=["billing-api", "users-api"]),
        "no audience": signer.token(aud=None),
        "no expiry": signer.token(exp=None),
        "an expiry in words": signer.token(exp=str(now + 3600)),
        "an expiry within the leeway": signer.token(exp=now - 5),
        "a fraction of a second": signer.token(exp=now + 3600.5),
        "not valid yet": signer.token(nbf=now + 3600),
        "issued in the future": signer.token(iat=now + 3600),
        "no scopes": signer.token(scope=None),
        "scopes as a list": signer.token(scope=None, scp=["orders:read", "orders:write"]),
        "scopes of both kinds": signer.token(scp=["admin"]),
        "scopes as a number": signer.token(scope=7),
        "a subject that is a number": signer.token(sub=7),
        "an empty subject": signer.token(sub=""),
        "a subject beyond ASCII": signer.token(sub="Zoë 你好"),
        "nested claims": signer.token(realm_access={"roles": ["a", {"b": [None, 1.5]}]}),
        "bound to its sender": signer.token(cnf={"jkt": "a"}),
        "an access token's type": signer.token(header={"typ": "at+jwt"}),
        "an identity token's type": signer.token(header={"typ": "id+jwt"}),
        "a critical header": signer.token(header={"crit": ["exp"], "exp": 1}),
        "a key of its own": signer.token(header={"jwk": signer.key.jwk()}),
        "an algorithm of another kind": signer.token(header={"alg": "HS256"}),
        "no key id": signer.token(header={"kid": None}),
        "members twice": f"{head}.{twice}.{signature}",
        "no signature": f"{head}.{payload}.",
        "two segments": f"{head}.{payload}",
        "five segments": f"{valid}.{payload}.{signature}",
        "padded": f"{valid}=",
        "one letter": "a",
        "no JSON": ".".join([b64url(b"rubbish"), payload, signature]),
        "a JSON list": ".".join([b64url(json.dumps([]).encode()), payload, signature]),
        "too long": "a" * 20_000,
        "a comma": f"{valid},{valid}",
        "a space": f"{valid} {valid}",
        "a quote": f'"{valid}"',
        "padding first": f"={valid}",
    }


@pytest.fixture(scope="module")
def every_token(signer: Signer) -> dict[str, str]:
    return {**signer.tokens(), **odd_tokens(signer)}


@pytest.mark.parametrize("options", ["by default", "everything on"])
@pytest.mark.parametrize("judge", JUDGES)
def test_every_adapter_agrees_with_verify(
    judge: str, options: str, verifiers: Verifiers, everything: Verifiers, every_token: dict[str, str]
) -> None:
    verifier = (everything if options == "everything on" else verifiers).get()
    for kind, raw in every_token.items():
        expected, verdict = by_verify(verifier, raw), JUDGES[judge](verifier, raw)
        assert verdict == expected, kind
        if isinstance(verdict, VerifiedToken):
            assert isinstance(expected, VerifiedToken)
            assert dict(verdict.claims) == dict(expected.claims), kind
            assert verdict.scopes == expected.scopes, kind
        assert current_token() is None, kind


@pytest.mark.parametrize("judge", JUDGES)
def test_every_adapter_agrees_that_keys_are_unavailable(
    judge: str, verifiers: Verifiers, every_token: dict[str, str]
) -> None:
    keyless = verifiers.get(keys=False)
    for kind in ("valid", "expired", "unsigned", "a space", "one letter", "bound to its sender"):
        raw = every_token[kind]
        assert JUDGES[judge](keyless, raw) == by_verify(keyless, raw), kind


@pytest.fixture(scope="module")
def of_tenants(signer: Signer) -> Iterator[Verifier]:
    """A verifier that asks every token for its tenant."""
    issuer = Issuer(ISSUER, audience=AUDIENCE, tenant_claim="tid", source=StaticSource(signer.jwks))
    verifier = Verifier([issuer])
    yield verifier
    verifier.close()


@pytest.mark.parametrize("judge", JUDGES)
def test_every_adapter_agrees_on_the_tenant(judge: str, of_tenants: Verifier, signer: Signer) -> None:
    tenants: list[Any] = ["acme", "Zoë", "", None, 7, "a\nb", "a" * 257, ["acme"]]
    accepted = []
    for tenant in tenants:
        raw = signer.token(tid=tenant)
        expected, verdict = by_verify(of_tenants, raw), JUDGES[judge](of_tenants, raw)
        assert verdict == expected, tenant
        if isinstance(verdict, VerifiedToken):
            accepted.append(verdict.tenant)
    assert accepted == ["acme", "Zoë"]


def test_the_tokens_are_accepted_and_refused_in_every_way(
    verifiers: Verifiers, everything: Verifiers, every_token: dict[str, str]
) -> None:
    for verifier in (verifiers.get(), everything.get()):
        verdicts = [by_verify(verifier, raw) for raw in every_token.values()]
        statuses = [verdict for verdict in verdicts if isinstance(verdict, int)]
        assert {*statuses} == {400, 401}
        assert len(verdicts) - len(statuses) >= 10
    assert by_verify(verifiers.get(keys=False), every_token["valid"]) == 503
    assert len({*every_token.values()}) == len(every_token) >= 40
