"""How the tests describe a provider: what its hosts publish, which tokens it issues, and what comes close.

A description holds nothing of a recipe. It says what the provider does, member by member, and what has to
come of it; the recipe is on the page (docs/providers.md), and the tests bring the two together.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from skeldir_jwt_mw.testing import SigningKey, mint
from skeldir_jwt_mw.testing.tokens import b64url

JSON = Mapping[str, Any]


class In(NamedTuple):
    """A time in a token, in seconds from the moment at which it is minted; a string where `text` is set."""

    seconds: int
    text: bool = False

    def at(self, now: int) -> int | str:
        """The NumericDate, or the ISO 8601 time that AD FS writes."""
        if not self.text:
            return now + self.seconds
        moment = datetime.datetime.fromtimestamp(now + self.seconds, datetime.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.566Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A token that the provider issues for this service, and what it has to say in the end."""

    what: str
    key: SigningKey
    header: JSON
    claims: JSON
    subject: str
    scopes: frozenset[str] = frozenset()
    tenant: str | None = None

    def mint(self) -> str:
        """The token, as fresh as from the provider."""
        return minted(self.key, self.header, self.claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A token that comes close, and the code that it is refused with; `raw` is one that is no signed JWT."""

    what: str
    code: str
    key: SigningKey | None = None
    header: JSON = field(default_factory=dict)
    claims: JSON = field(default_factory=dict)
    raw: str | None = None

    def mint(self) -> str:
        """The token, as fresh as from whoever issued it."""
        if self.raw is not None:
            return self.raw
        assert self.key is not None
        return minted(self.key, self.header, self.claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider as one recipe meets it. The first accepted token is the one that the page tells."""

    recipe: str  # the name that the recipe's Issuer has on the page
    documents: Mapping[str, JSON]  # by URL, in the order in which they are asked for
    accepted: Sequence[Accepted]
    refused: Sequence[Refused]

    @property
    def jwks_url(self) -> str:
        """Where the key set is."""
        return list(self.documents)[-1]

    @property
    def jwks(self) -> JSON:
        """The key set, with whatever else the provider puts into that document."""
        return self.documents[self.jwks_url]


def minted(key: SigningKey, header: JSON, claims: JSON) -> str:
    """A compact JWS in which every `In` has become a time."""
    now = int(time.time())
    return mint(key, {n: v.at(now) if isinstance(v, In) else v for n, v in claims.items()}, header)


def changed(members: JSON, /, **changes: Any) -> dict[str, Any]:
    """The members, some of them replaced or added."""
    return {**members, **changes}


def without(members: JSON, /, *names: str) -> dict[str, Any]:
    """The members less some, all of which have to be there."""
    assert set(names) <= set(members)
    return {name: value for name, value in members.items() if name not in names}


def near(token: Accepted, what: str, code: str, /, *missing: str, **changes: Any) -> Refused:
    """The token with claims replaced, or missing, so that it is somebody else's."""
    claims = without(changed(token.claims, **changes), *missing)
    return Refused(what=what, code=code, key=token.key, header=token.header, claims=claims)


# -- keys --------------------------------------------------------------------------------------------------


@cache
def _private(number: int) -> rsa.RSAPrivateKey:
    """One of a few keys that all descriptions share, since making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def rsa_key(number: int, kid: str = "") -> SigningKey:
    """An RSA key under a kid, or under its certificate's thumbprint, which is how Microsoft names keys."""
    return SigningKey(kid=kid or certificate(number).x5t, alg="RS256", private=_private(number))


class Certificate(NamedTuple):
    """The certificate members of a JWK (RFC 7517 §4.7 to §4.9)."""

    x5c: list[str]
    x5t: str
    x5t_sha256: str


@cache
def certificate(number: int) -> Certificate:
    """A certificate that the key has issued to itself."""
    key = _private(number)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"signing key {number}")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    der = made.public_bytes(serialization.Encoding.DER)
    return Certificate(
        x5c=[base64.b64encode(der).decode()],
        x5t=b64url(hashlib.sha1(der).digest()),
        x5t_sha256=b64url(hashlib.sha256(der).digest()),
    )
