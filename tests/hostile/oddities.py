"""Tokens that look odd and are right: whoever refuses them locks somebody out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from crafting import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    MAX_TOKEN_BYTES,
    NOW,
    Case,
    Made,
    claims_of,
    header_of,
    json_of,
    key,
    key_set,
    parts,
    token,
    usual_keys,
)

from skeldir_jwt_mw.testing.tokens import SigningKey, b64url


def oddities() -> list[Case]:
    """All of them, made anew."""
    made = (one for make in (_headers, _claims, _json, _sizes, _keys, _signatures) for one in make())
    return [Case(name=one[0], token=one[1], keys=one[2] if len(one) == 3 else usual_keys()) for one in made]


def _headers() -> Iterator[Made]:
    for typ in ("JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"):
        yield f"typ {typ}", token(header_of(typ=typ))
    yield "no typ", token(header_of(typ=ABSENT))
    yield "x5t", token(header_of(**{"x5t": "abc", "x5t#S256": "def"}))
    yield "nonce, as Entra sends it", token(header_of(nonce="n" * 43))
    yield "unknown members", token(header_of(x=1, ver="1", ppid=["a"], nested={"a": {"b": [None]}}))
    yield "cty of something else", token(header_of(cty="json"))
    yield "members in another order", token(dict(reversed(header_of().items())))
    yield "600 bytes", token(header_of(x="x" * 600))
    yield "iss and aud repeated (RFC 7519 §5.3)", token(header_of(iss=ISSUER, aud=AUDIENCE))


def _claims() -> Iterator[Made]:
    for name, changes in {
        "exp a fraction": {"exp": NOW + 3600.5},
        "exp in the year 5138": {"exp": 10**11 - 1},
        "expired within the leeway": {"exp": NOW + 2},
        "iat a fraction": {"iat": NOW - 0.25},
        "no iat": {"iat": ABSENT},
        "iat ahead within the leeway": {"iat": NOW + 20},
        "nbf now": {"nbf": NOW},
        "nbf 0": {"nbf": 0},
        "aud a list of one": {"aud": [AUDIENCE]},
        "aud a list of many": {"aud": ["a", "b", AUDIENCE, "c", ""]},
        "aud twice the same": {"aud": [AUDIENCE, AUDIENCE]},
        "no sub": {"sub": ABSENT},
        "an empty sub": {"sub": ""},
        "a sub in another script": {"sub": "\u7528\u6237-\U0001f511"},
        "a sub with control characters": {"sub": "a\0b\n"},
        "no scope": {"scope": ABSENT},
        "an empty scope": {"scope": ""},
        "a scope with many spaces": {"scope": "  a   b "},
        "scope a list": {"scope": ["orders:read", "orders:write"]},
        "scp a list": {"scope": ABSENT, "scp": ["a"]},
        "both scope claims": {"scp": "b"},
        "roles of Zitadel": {"urn:zitadel:iam:org:project:roles": {"admin": {"1": "a.example"}}},
        "realm_access of Keycloak": {
            "realm_access": {"roles": ["a"]},
            "resource_access": {"b": {"roles": []}},
        },
        "null in a claim that nobody reads": {"email": None, "act": None},
        "names of other languages' insides": {"__proto__": {"admin": True}, "constructor": 1, "": "empty"},
        "negative and fractional numbers": {"x": [-1, 0.1, -0.0, 1e-300, 1.7976931348623157e308]},
        "numbers of 40 digits": {"x": int("9" * 40)},
        "jti": {"jti": "a" * 300},
    }.items():
        yield name, token(None, claims_of(**changes))


def _json() -> Iterator[Made]:
    rest = json_of(claims_of(exp=ABSENT))[:-1]
    yield "exp with an exponent", token(None, rest + b',"exp":4.1e9}')
    yield "exp with a zero fraction", token(None, rest + b',"exp":%d.0}' % (NOW + 3600))
    yield (
        "white space around everything",
        token(
            json_of(header_of()).replace(b":", b" :\t").replace(b",", b" ,\r\n") + b" \n",
            b"\n " + json_of(claims_of(iss=ABSENT))[:-1] + b' ,\r\n "iss" : ' + json_of(ISSUER) + b"\t}",
        ),
    )
    yield (
        "names in escapes",
        token(
            b'{"\\u0061lg":"ES256","k\\u0069d":"es256"}',
            json_of(claims_of()).replace(b'"iss"', rb'"\u0069\u0073s"'),
        ),
    )
    yield "values in escapes", token(None, json_of(claims_of()).replace(b"https://", rb"https:\/\/"))
    yield "a pair of surrogates", token(None, json_of(claims_of())[:-1] + rb',"x":"\ud83d\udd11"}')
    yield (
        "letters beyond ASCII as they are",
        token(None, json_of(claims_of())[:-1] + ',"x":"\u00e9\U0001f511\ufeff"}'.encode()),
    )
    yield "15 arrays", token(None, json_of(claims_of())[:-1] + b',"x":' + b"[" * 15 + b"]" * 15 + b"}")
    yield "brackets in strings", token(None, claims_of(x="[" * 200, y="{" * 200, z='"' * 50))
    yield "256 members", token(None, claims_of(**{f"m{number}": number for number in range(250)}))
    yield "the same name at two depths", token(None, claims_of(x={"iss": "a", "exp": "b", "x": {"x": 1}}))


def _sizes() -> Iterator[Made]:
    yield "16 KiB", _of_length(MAX_TOKEN_BYTES)
    short = len(json_of(header_of(x="")))
    yield "a header of 2 KiB", token(header_of(x="x" * (2048 - short)))
    yield "as bytes", token().encode()


def _of_length(length: int) -> str:
    """A token as long as this, or shorter by as little as base64url admits."""
    longest = token()
    for filler in range(length * 3 // 4 - 600, length):
        text = token(None, claims_of(x="x" * filler))
        if len(text) > length:
            return longest
        longest = text
    raise AssertionError


def _keys() -> Iterator[Made]:
    def bare(signer: SigningKey, *without: str, **members: Any) -> dict[str, Any]:
        return {name: value for name, value in signer.jwk(**members).items() if name not in without}

    es = key("ES256")
    ed, rs = key("EdDSA"), key("RS256")
    for kind in ("ES256", "EdDSA", "RS256", "PS256"):
        yield kind, token(signer=key(kind))
        yield (
            f"no kid, one key of {kind}",
            token(header_of(key(kind), kid=ABSENT), signer=key(kind)),
            key_set(*(key(name).jwk() for name in ("ES256", "EdDSA", "RS256", "PS256"))),
        )
    yield "alg Ed25519 (RFC 9864)", token(header_of(ed, alg="Ed25519"), signer=ed)
    yield "alg Ed25519 in the key", token(signer=ed), key_set(ed.jwk(alg="Ed25519"))
    yield "a key without alg", token(signer=rs), key_set(bare(rs, "alg"))
    yield "a key without use", token(signer=es), key_set(bare(es, "use"))
    yield "a key without kid", token(header_of(kid=ABSENT)), key_set(bare(es, "kid"))
    yield "key_ops", token(), key_set(bare(es, "use", key_ops=["verify"]))
    yield "unknown members of a key", token(), key_set(es.jwk(**{"x5t#S256": "abc", "exp": 1, "ver": [1]}))
    yield "a certificate chain in a key", token(), key_set(es.jwk(x5c=["MIIB"], x5t="abc"))
    n = int.from_bytes(_octets(rs.jwk()["n"]))
    yield "a sign octet in n", token(signer=rs), key_set(rs.jwk(n=b64url(b"\0" + n.to_bytes(256))))
    yield "the same key twice", token(), key_set(es.jwk(), es.jwk())
    yield (
        "a broken key beside it",
        token(),
        key_set({"kty": "EC", "crv": "P-256"}, es.jwk(), {"kty": "PQ"}, 1, None),
    )
    yield (
        "a key of 64",
        token(),
        key_set(*(key("EdDSA").jwk(kid=f"k{number}") for number in range(63)), es.jwk()),
    )
    for kid in (
        "../../etc/passwd",
        "k" * 256,
        "\u00e9\U0001f511",
        "a b",
        "https://a.example/?x=1#y",
        "0",
        "' OR 1",
    ):
        named = SigningKey(kid=kid, alg="ES256", private=es.private)
        yield f"kid {kid[:20]!a}", token(signer=named), key_set(named.jwk())


def _octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _signatures() -> Iterator[Made]:
    yield "an r that begins with a zero", _found(key("ES256"), lambda signature: signature[0] == 0)
    yield "an s that begins with a zero", _found(key("ES256"), lambda signature: signature[32] == 0)
    yield (
        "an RSA signature that begins with a zero",
        _found(key("RS256"), lambda signature: signature[0] == 0),
    )


def _found(signer: SigningKey, fits: Callable[[bytes], bool]) -> str:
    """A token whose signature is as asked for: one in some hundreds is."""
    number = 0
    while True:
        text = token(None, claims_of(jti=str(number)), signer)
        if fits(_octets(parts(text)[2])):
            return text
        number += 1
