"""Tokens that are right in everything but one thing: keys, segments, signatures and the families they make.

A family is a way of being wrong, with the rule that forbids it and the codes that it is refused with, so
that a token which is refused for another reason than the one it was made for is noticed.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from skeldir_jwt_mw.testing.tokens import SigningKey, b64url

TENANT = "acme"  # in the name of the issuer and in a claim, as a template of issuers has it
ISSUER = f"https://login.example.com/{TENANT}/"
AUDIENCE = "orders-api"
NOW = int(time.time())
MAX_TOKEN_BYTES = 16_384

Headers = Mapping[str, Any]
Made = tuple[str, str | bytes] | tuple[str, str | bytes, Mapping[str, Any]]


class Absent:
    """Stands for a member that is left out."""


ABSENT = Absent()


@functools.cache
def key(name: str) -> SigningKey:
    """A key, made once per process: `ES256`, `RS256`, …; another word behind it is another key."""
    return SigningKey.generate(name.split(" ")[0], kid=name.lower().replace(" ", "-"))


@functools.cache
def rsa_key(bits: int, exponent: int = 65537) -> SigningKey:
    """An RSA key of an unusual make, for RS256."""
    private = rsa.generate_private_key(exponent, bits)
    return SigningKey(kid=f"rsa-{bits}-{exponent}", alg="RS256", private=private)


# What the service trusts. The last four sign in algorithms that it does not allow.
TRUSTED = ("ES256", "EdDSA", "RS256", "PS256", "ES384", "ES512", "RS512", "PS384")


@functools.cache
def usual_keys() -> Mapping[str, Any]:
    """The key set of the service."""
    return key_set(*(key(name).jwk() for name in TRUSTED))


def key_set(*keys: Any) -> Mapping[str, Any]:
    """A JWKS of these keys."""
    return {"keys": list(keys)}


def json_of(value: Any) -> bytes:
    """Compact JSON, as providers write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def header_of(signer: SigningKey | None = None, **changes: Any) -> dict[str, Any]:
    """The header of a good token, with changes; `ABSENT` leaves a member out."""
    signer = signer or key("ES256")
    members = {"alg": signer.alg, "typ": "at+jwt", "kid": signer.kid, **changes}
    return {name: value for name, value in members.items() if value is not ABSENT}


def claims_of(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, with changes; `ABSENT` leaves one out."""
    members = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "tid": TENANT,
        "iat": NOW,
        "exp": NOW + 3600,
        "scope": "orders:read",
        **changes,
    }
    return {name: value for name, value in members.items() if value is not ABSENT}


def signed(head: str, body: str, signer: SigningKey | None = None) -> str:
    """A token of two segments as they are, under a good signature over exactly them."""
    signature = (signer or key("ES256")).sign(f"{head}.{body}".encode())
    made = f"{head}.{body}.{b64url(signature)}"
    for noted in _NOTING:
        noted.append(made)
    return made


_NOTING: list[list[str]] = []


@contextmanager
def noting_what_is_signed() -> Iterator[list[str]]:
    """A list of all tokens that are signed meanwhile, good ones of which others are made among them."""
    noted: list[str] = []
    _NOTING.append(noted)
    try:
        yield noted
    finally:
        _NOTING.pop()


def token(
    header: Mapping[str, Any] | bytes | None = None,
    claims: Mapping[str, Any] | bytes | None = None,
    signer: SigningKey | None = None,
) -> str:
    """A token under a good signature; header and claims are members, or the bytes that stand for them."""
    signer = signer or key("ES256")
    header = header_of(signer) if header is None else header
    claims = claims_of() if claims is None else claims
    parts = (part if isinstance(part, bytes) else json_of(part) for part in (header, claims))
    return signed(*map(b64url, parts), signer)


def parts(text: str) -> list[str]:
    """The three segments of a good token."""
    return text.split(".")


def with_signature(signature: bytes, header: Headers | None = None, body: Headers | None = None) -> str:
    """A good header and good claims under any signature."""
    segments = (json_of(header or header_of()), json_of(body or claims_of()))
    return ".".join(map(b64url, (*segments, signature)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One token, and the key set to verify it with."""

    name: str
    token: str | bytes
    keys: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A way of being wrong: the rule against it, and the codes with which it is refused."""

    name: str
    rule: str
    codes: frozenset[str]
    make: Callable[[], Iterator[Made]]

    def cases(self) -> list[Case]:
        """The tokens of the family, made anew."""
        return [
            Case(name=made[0], token=made[1], keys=made[2] if len(made) == 3 else usual_keys())
            for made in self.make()
        ]


FAMILIES: dict[str, Family] = {}


def family(rule: str, *codes: str) -> Callable[[Callable[[], Iterator[Made]]], Callable[[], Iterator[Made]]]:
    """Enter a generator of (name, token[, key set]) into the corpus, under the words of its own name."""

    def enter(make: Callable[[], Iterator[Made]]) -> Callable[[], Iterator[Made]]:
        name = make.__name__.replace("_", " ")
        assert name not in FAMILIES
        FAMILIES[name] = Family(name=name, rule=rule, codes=frozenset(codes), make=make)
        return make

    return enter
