"""Generated tokens: ours, a strict oracle, joserfc and PyJWT on the same ones, and every difference named."""

from __future__ import annotations

import json
import time
import warnings
from typing import Any

import jwt
from hypothesis import HealthCheck, event, given, settings
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry
from oracle import AUDIENCE, ISSUER, Reader, Refused, judge, octets_of
from tokens import JWKS, KNOWN, tokens

from skeldir_jwt_mw import InvalidToken, Issuer, Verifier
from skeldir_jwt_mw.core import strict_json
from skeldir_jwt_mw.core.strict_json import MalformedJSON, parse_with_stdlib
from skeldir_jwt_mw.sources import StaticSource

ALGORITHMS = ("ES256", "RS256", "EdDSA")
VERIFIER = Verifier(
    [Issuer(ISSUER, audience=AUDIENCE, source=StaticSource(JWKS), algorithms=ALGORITHMS)], token_cache=0
)
REMEMBERING = Verifier(
    [Issuer(ISSUER, audience=AUDIENCE, source=StaticSource(JWKS), algorithms=ALGORITHMS)], token_cache=50
)
MANY = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

# What the others accept and a strict verifier refuses, by the oracle's reason. joserfc and PyJWT read JSON
# and base64 leniently, and leave to the caller what these settings of theirs cannot express.
LAX_JOSERFC = {
    "header json",  # duplicate members, NaN, depth, numbers without end, lone surrogates
    "payload json",
    "base64",  # unused bits
    "character",  # padding, and what Python's decoder skips
    "kid",  # control characters, an empty one
    "key",  # a token without kid, where two keys could have signed it
    "alg",
    "typ",  # nobody looks at it
    "cty",
    "cnf",
    "sub",
    "scope",
    "exp",  # times beyond 2^53, and before 1970
    "iat",
    "nbf",
    "aud",  # [AUDIENCE, 1]
    *(f"header {name}" for name in ("crit", "b64", "zip", "enc", "p2c", "p2s", "epk")),
    *(f"header {name}" for name in ("jwk", "jku", "x5u", "x5c")),
}
LAX_PYJWT = LAX_JOSERFC | {"iss"}
# And what they refuse although nothing is wrong with it.
STRICT_JOSERFC = "a header member that it does not know, or knows as something else"
STRICT_PYJWT = "a claim or header member that it wants typed, or a token without kid"


def ours(verifier: Verifier, token: str | bytes) -> dict[str, Any] | None:
    try:
        return dict(verifier.verify(token).claims)
    except InvalidToken:
        return None


def oracles(token: str | bytes, now: float) -> tuple[dict[str, Any] | None, str]:
    try:
        return judge(token, KNOWN, now), "accepted"
    except Refused as refused:
        return None, str(refused)


def joserfcs(token: str | bytes) -> bool:
    """As its documentation says: a key set, the algorithms, the claims that must be and their values."""
    registry = JWTClaimsRegistry(
        leeway=30,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )
    try:
        text = token.decode("ascii") if isinstance(token, bytes) else token
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the name EdDSA
            keys = KeySet.import_key_set(JWKS)
            decoded = joserfc_jwt.decode(text, keys, algorithms=[*ALGORITHMS, "Ed25519"])
        registry.validate(decoded.claims)
    except (JoseError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
        return False
    return True


def pyjwts(token: str | bytes) -> bool:
    """As its documentation says: the key by the token's kid, the algorithms, issuer, audience, `require`."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = next(jwk for jwk in jwt.PyJWKSet.from_dict(JWKS).keys if jwk.key_id == kid)
        jwt.decode(
            token,
            key,
            algorithms=[*ALGORITHMS],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=30,
            options={"require": ["exp", "iss", "aud"]},
        )
    except (
        jwt.PyJWTError,
        ValueError,
        TypeError,
        AttributeError,
        StopIteration,
        OverflowError,
        RecursionError,
    ):
        return False
    return True


def is_near_a_deadline(claims: dict[str, Any], now: float) -> bool:
    """Whether a time is so near that it could pass between two verdicts."""
    times = [claims.get(name) for name in ("exp", "nbf", "iat")]
    return any(
        isinstance(at, int | float) and min(abs(at + 30 - now), abs(at - 30 - now)) < 3 for at in times
    )


@MANY
@given(token=tokens())
def test_ours_accepts_what_the_oracle_accepts_and_nothing_else(token: str | bytes) -> None:
    now = time.time()
    expected, why = oracles(token, now)
    if why in ("exp", "nbf", "iat"):  # a deadline passes for both, or for neither
        near = Reader(octets_of((token if isinstance(token, str) else token.decode()).split(".")[1]))
        if is_near_a_deadline(near.document("payload"), now):
            return
    event(why)
    found = ours(VERIFIER, token)
    assert found == expected, f"the oracle: {why}"
    assert ours(REMEMBERING, token) == expected  # as it comes in
    assert ours(REMEMBERING, token) == expected  # as it is remembered


@MANY
@given(token=tokens())
def test_every_difference_to_joserfc_is_of_a_known_kind(token: str | bytes) -> None:
    accepted = ours(VERIFIER, token)
    _, why = oracles(token, time.time())
    theirs = joserfcs(token)
    event(f"joserfc {theirs}, ours {accepted is not None}: {why}")
    if theirs and accepted is None:
        assert why in LAX_JOSERFC
    if accepted is not None and not theirs:
        assert joserfc_is_stricter(token, accepted), STRICT_JOSERFC


@MANY
@given(token=tokens())
def test_every_difference_to_pyjwt_is_of_a_known_kind(token: str | bytes) -> None:
    accepted = ours(VERIFIER, token)
    _, why = oracles(token, time.time())
    theirs = pyjwts(token)
    event(f"PyJWT {theirs}, ours {accepted is not None}: {why}")
    if theirs and accepted is None:
        assert why in LAX_PYJWT
    if accepted is not None and not theirs:
        assert pyjwt_is_stricter(token, accepted), STRICT_PYJWT


def header_of(token: str | bytes) -> dict[str, Any]:
    text = token.decode() if isinstance(token, bytes) else token
    return Reader(octets_of(text.split(".")[0])).document("header")


def joserfc_is_stricter(token: str | bytes, claims: dict[str, Any]) -> bool:
    header = header_of(token)
    known = {"alg", "kid", "typ", "cty", "x5t"}
    return (
        bool(header.keys() - known)  # it refuses members that it does not know
        or "kid" not in header  # it takes any key of the type, or none
        or header["alg"] == "Ed25519"
        or not isinstance(header.get("x5t", ""), str)
        or not isinstance(claims.get("jti", ""), str)
        or len(json.dumps(header)) > 512 - 8
        or any(isinstance(claims.get(name), float) for name in ("exp", "nbf", "iat"))
    )


def pyjwt_is_stricter(token: str | bytes, claims: dict[str, Any]) -> bool:
    header = header_of(token)
    return (
        "kid" not in header
        or header["alg"] == "Ed25519"
        or claims.get("iat", 0) > time.time()  # it gives iat the leeway, but compares whole seconds
        or not isinstance(claims.get("jti", ""), str)
        or any(claims.get(name) is None for name in ("exp", "iss", "aud"))
    )


# -- JSON alone ----------------------------------------------------------------------------------------------


@MANY
@given(token=tokens())
def test_both_readers_of_json_and_the_oracles_read_alike(token: str | bytes) -> None:
    text = token if isinstance(token, str) else token.decode("utf-8", "replace")
    for part in text.split(".")[:2]:
        try:
            octets = octets_of(part)
        except (Refused, ValueError):
            continue
        results = []
        for read in (
            strict_json.parse_object,
            parse_with_stdlib,
            lambda octets: Reader(octets).document("json"),
        ):
            try:
                results.append(repr(read(octets)))
            except (MalformedJSON, Refused):
                results.append("refused")
        assert len(set(results)) == 1, octets
