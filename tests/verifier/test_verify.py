"""What `verify` and `averify` answer to every kind of token, over a real provider; both answer alike."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from verifying import Ask, averify, issuer_of, policy_of, refusal, verify

from skeldir_jwt_mw import InsufficientScope, InvalidToken, JWTError, Verifier
from skeldir_jwt_mw.errors import INVALID_TOKEN_MESSAGES
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

RSA = SigningKey.generate("RS256", kid="rsa-key")


@pytest.fixture(scope="module")
def crowded_idp() -> Iterator[LoopbackIssuer]:
    """A provider with five keys of ES256, more than are tried without a hint, and one of EdDSA."""
    with LoopbackIssuer() as idp:
        for _ in range(4):
            idp.rotate()
        idp.rotate(alg="EdDSA")
        yield idp


@pytest.fixture(scope="module", params=["gate open", "gate closed"])
def verifier(crowded_idp: LoopbackIssuer, request: pytest.FixtureRequest) -> Iterator[Verifier]:
    issuer = issuer_of(
        crowded_idp,
        tenant_claim="tenant",
        claims={"token_use": "access"},
        required_claims=("client_id",),
    )
    closed = request.param == "gate closed"
    verifier = Verifier(issuer, policy=policy_of(floor=60.0 if closed else 0.001), max_token_bytes=4096)
    verifier.warm()
    if closed:
        assert refusal(verifier, REFUSED["unknown_kid"](crowded_idp)) == "unknown_kid"
    yield verifier
    verifier.close()


def good(idp: LoopbackIssuer, *, claims: dict[str, Any] | None = None, **options: Any) -> str:
    return idp.token(claims={"tenant": "acme", "token_use": "access", **(claims or {})}, **options)


def with_payload(idp: LoopbackIssuer, payload: bytes) -> str:
    """A token whose signature is right and whose payload is not."""
    key = idp.key()
    header = json.dumps({"alg": key.alg, "typ": "at+jwt", "kid": key.kid}).encode()
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload)]
    parts.append(base64.urlsafe_b64encode(key.sign(b".".join(parts))).rstrip(b"="))
    return b".".join(parts).decode()


def soon() -> int:
    return int(time.time()) + 300


def altered(token: str) -> str:
    """The token with another signature of the same length."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


REFUSED: dict[str, Callable[[LoopbackIssuer], object]] = {
    "malformed": lambda idp: "no.token",
    "too_large": lambda idp: good(idp, claims={"more": "x" * 5000}),
    "encrypted": lambda idp: "eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA",
    "bad_header": lambda idp: good(idp, header={"kid": 5}),
    "algorithm_not_allowed": lambda idp: good(idp, header={"alg": "HS256"}),
    "unsupported_header": lambda idp: good(idp, header={"crit": ["exp"]}),
    "wrong_type": lambda idp: good(idp, header={"typ": "id+jwt"}),
    "bad_claims": lambda idp: with_payload(idp, b'{"iss": 1, "iss": 2}'),
    "wrong_issuer": lambda idp: good(idp, claims={"iss": "https://login.example.org/"}),
    "wrong_audience": lambda idp: good(idp, claims={"aud": "billing-api"}),
    "missing_claim": lambda idp: good(idp, without=("client_id",)),
    "claim_mismatch": lambda idp: good(idp, claims={"token_use": "id"}),
    "expired": lambda idp: good(idp, expires_in=-60),
    "not_yet_valid": lambda idp: good(idp, claims={"nbf": soon()}),
    "issued_in_future": lambda idp: good(idp, claims={"iat": soon()}),
    "bad_scope": lambda idp: good(idp, claims={"scope": {"orders": "read"}}),
    "bad_tenant": lambda idp: good(idp, claims={"tenant": 5}),
    "sender_constrained": lambda idp: good(idp, claims={"cnf": {"jkt": "thumbprint"}}),
    "unknown_kid": lambda idp: idp.stranger_token(claims={"tenant": "acme", "token_use": "access"}),
    "ambiguous_key": lambda idp: good(idp, without=("kid",)),
    "algorithm_mismatch": lambda idp: good(idp, key=RSA, kid=idp.kids[0]),
    "bad_signature": lambda idp: altered(good(idp)),
}


def test_every_code_has_a_token_below() -> None:
    of_others = {
        "rejected_user",
        "unusable_key",
    }  # adapters raise the first; test_verify_kids.py has the other
    assert REFUSED.keys() == INVALID_TOKEN_MESSAGES.keys() - of_others


@pytest.mark.parametrize("code", REFUSED)
def test_a_bad_token_is_refused_with_its_code(
    code: str, crowded_idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    token = REFUSED[code](crowded_idp)
    with pytest.raises(InvalidToken) as caught:
        ask(verifier, token)
    assert caught.value.code == code
    assert str(caught.value) == INVALID_TOKEN_MESSAGES[code]


@pytest.mark.parametrize(
    "token", [None, 5, bytearray(b"a.b.c"), ["a.b.c"], object(), "", b"", "..", b"\xff.."]
)
def test_what_is_no_token_at_all_is_malformed(token: object, verifier: Verifier, ask: Ask) -> None:
    assert refusal(verifier, token, ask) == "malformed"


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_good_token_says_what_it_says(
    as_bytes: bool, crowded_idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    raw = good(crowded_idp, sub="user-7", scopes=("orders:read", "orders:write"))
    token = ask(verifier, raw.encode() if as_bytes else raw)
    assert token.subject == token.claims["sub"] == "user-7"
    assert token.issuer == crowded_idp.issuer
    assert token.audience == ("orders-api",)
    assert token.scopes == {"orders:read", "orders:write"}
    assert token.tenant == "acme"
    assert token.kid == token.header["kid"] == crowded_idp.key().kid
    assert token.expires_at == token.claims["exp"]
    assert token.generation == verifier.status()[crowded_idp.issuer]["generation"] > 0


def test_both_ways_answer_alike(crowded_idp: LoopbackIssuer, verifier: Verifier) -> None:
    raw = good(crowded_idp)
    assert verify(verifier, raw) == averify(verifier, raw)


def test_a_key_of_another_algorithm_verifies_too(
    crowded_idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    assert ask(verifier, good(crowded_idp, alg="EdDSA")).header["alg"] == "EdDSA"


@pytest.mark.parametrize("scopes", [(), ("orders:read",), ["orders:read", "orders:write"], "orders:read"])
def test_scopes_that_the_token_has_are_granted(
    scopes: Any, crowded_idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    raw = good(crowded_idp, scopes=("orders:read", "orders:write"))
    assert ask(verifier, raw, scopes).subject == "user-1"


@pytest.mark.parametrize(
    ("scopes", "required"),
    [
        (("orders:read", "orders:delete"), ("orders:read", "orders:delete")),
        (("Orders:Read",), ("Orders:Read",)),
        ("orders:rea", ("orders:rea",)),
        ({"orders:delete"}, ("orders:delete",)),
    ],
)
def test_one_scope_too_few_is_insufficient(
    scopes: Any, required: tuple[str, ...], crowded_idp: LoopbackIssuer, verifier: Verifier
) -> None:
    with pytest.raises(InsufficientScope) as caught:
        verify(verifier, good(crowded_idp), scopes)
    assert caught.value.required == required
    assert caught.value.code == "insufficient_scope"


def test_a_scope_is_missed_only_in_a_good_token(
    crowded_idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    with pytest.raises(InvalidToken):
        ask(verifier, altered(good(crowded_idp)), ("orders:delete",))
    with pytest.raises(InsufficientScope):
        ask(verifier, good(crowded_idp), ("orders:delete",))


def test_nothing_but_our_errors_leaves_verify(crowded_idp: LoopbackIssuer, verifier: Verifier) -> None:
    raw = good(crowded_idp)
    for position in range(0, len(raw), 3):
        for other in ("", ".", "!", "A", "é", "\ud800"):
            spoilt = raw[:position] + other + raw[position + 1 :]
            if spoilt != raw:
                with pytest.raises(JWTError):
                    verifier.verify(spoilt)
