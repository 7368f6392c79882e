"""One JSON Web Key, judged: a public key fit for verifying, or the reason why not (RFC 7517 §4, RFC 7518 §6).

Every shape is checked here before joserfc sees the key, for it would keep an `oct` key, only warn of a short
modulus, and raise errors of many kinds for the rest.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from skeldir_jwt_mw.errors import InvalidToken

from .compact import decode_segment, is_key_id, thumbprints_in
from .signature import PublicKey, canonical_algorithm

PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
"""Names that only a private or symmetric JWK has (RFC 7518 §6.2.2, §6.3.2, §6.4.1)."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # the cost of a verification grows with the square
MIN_RSA_EXPONENT = 65537
MAX_RSA_EXPONENT = 2**32 - 1  # a huge exponent makes a verification up to two hundred times dearer
MAX_EXPONENT_BYTES = 4

_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

# By `crv`: the algorithm, the length of a coordinate in bytes, and the prime that it is less than (SEC 2 §2).
_CURVES: Final = {
    "P-256": ("ES256", 32, 2**256 - 2**224 + 2**192 + 2**96 - 1),
    "P-384": ("ES384", 48, 2**384 - 2**128 - 2**96 + 2**32 - 1),
    "P-521": ("ES512", 66, 2**521 - 1),
}

_STRING_MEMBERS: Final = (
    "kty",
    "use",
    "alg",
    "kid",
    "issuer",
    "crv",
    "n",
    "e",
    "x",
    "y",
    "x5u",
    "x5t",
    "x5t#S256",
)
_LIST_MEMBERS: Final = ("key_ops", "x5c")
_OPTIONAL: Final = frozenset({"kid", "alg", "use", "key_ops", "issuer", "x5u", "x5c", "x5t", "x5t#S256"})
_ENCRYPTION_OPERATIONS: Final = frozenset(
    {"encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits"}
)

# The primes up to 167, and the powers of 65537 modulo each: a modulus of the weak generator is such a power
# modulo all of them, any other one hardly ever (CVE-2017-15361).
_ROCA_PRIMES: Final = tuple(n for n in range(3, 168, 2) if all(n % d for d in range(3, n, 2)))
_ROCA_RESIDUES: Final = tuple(
    frozenset(pow(65537, exponent, prime) for exponent in range(prime - 1)) for prime in _ROCA_PRIMES
)

_P25519: Final = 2**255 - 19
_D25519: Final = -121665 * pow(121666, -1, _P25519) % _P25519
# The y of every point whose order divides 8: with such a key, one signature fits many messages.
_ORDER_8_Y: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_LOW_ORDER_Y: Final = frozenset({0, 1, _P25519 - 1, _ORDER_8_Y, _P25519 - _ORDER_8_Y})


OTHER_USE: Final = "use is not sig"
"""Why a key is left out that may be as good as any, but not for tokens."""


class UnusableKey(ValueError):
    """A JWK that no token is verified with; the text is fixed and holds nothing of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicJWK:
    """A JWK that may verify tokens; `algorithms` are those it fits: one, unless it is RSA without `alg`."""

    index: int  # its place in the document
    kid: str | None
    issuer: str | None  # the `issuer` member, which Entra uses
    algorithms: tuple[str, ...]
    thumbprint: str  # RFC 7638, SHA-256
    certificates: tuple[str, ...]  # thumbprints of its certificate, by SHA-256 and by SHA-1
    public_key: PublicKey


def import_jwk(jwk: Mapping[str, Any], index: int) -> PublicJWK:
    """Judge one JWK; null in an optional member is as if it were absent. Raises `UnusableKey`.

    R21, R22; RFC 7517 §4.
    """
    jwk = {name: value for name, value in jwk.items() if value is not None or name not in _OPTIONAL}
    _judge_members(jwk)
    kty = jwk.get("kty")
    if kty == "RSA":
        algorithms: tuple[str, ...] = _RSA_ALGORITHMS
        thumbprint, public_key = _import_rsa(jwk)
    elif kty == "EC":
        curve = _CURVES.get(_text(jwk, "crv"))
        if curve is None:
            raise UnusableKey("a curve that is not supported")
        algorithm, width, prime = curve
        algorithms = (algorithm,)
        thumbprint, public_key = _import_ec(jwk, width, prime)
    elif kty == "OKP":
        if _text(jwk, "crv") != "Ed25519":
            raise UnusableKey("a curve that is not supported")
        algorithms = ("EdDSA",)
        thumbprint, public_key = _import_ed25519(jwk)
    elif kty == "oct":
        raise UnusableKey("a symmetric key")
    else:
        raise UnusableKey("a key type that is not supported")
    if "alg" in jwk:
        named = canonical_algorithm(jwk["alg"])
        if named not in algorithms:
            raise UnusableKey("an alg that is not a supported one of the key's type and curve")
        algorithms = (named,)
    return PublicJWK(
        index=index,
        kid=jwk.get("kid"),
        issuer=jwk.get("issuer"),
        algorithms=algorithms,
        thumbprint=thumbprint,
        certificates=certificates_of(jwk),
        public_key=public_key,
    )


def certificates_of(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    """The thumbprints that a token may name the key by: the JWK's own, and what its `x5c` has in their place.

    RFC 7517 §4.7 to §4.9. The certificate itself is not judged: it says which key is meant, and nothing else.
    The JWK need not be a good one.
    """
    thumbprints: dict[str, Any] = {}
    chain = jwk.get("x5c")
    if isinstance(chain, list) and chain and isinstance(chain[0], str):
        with contextlib.suppress(ValueError):  # no base64; a key is not worth less for that
            certificate = base64.b64decode(chain[0], validate=True)
            sha1 = hashlib.sha1(certificate, usedforsecurity=False)
            thumbprints = {
                "x5t#S256": _text_of(hashlib.sha256(certificate).digest()),
                "x5t": _text_of(sha1.digest()),
            }
    return thumbprints_in(thumbprints | {name: value for name, value in jwk.items() if value})


def _text_of(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def has_private_members(jwk: Mapping[str, Any]) -> bool:
    """Whether a secret was published; a private member that is null gives nothing away (R22)."""
    return any(jwk.get(name) is not None for name in PRIVATE_MEMBERS)


def _judge_members(jwk: Mapping[str, Any]) -> None:
    if has_private_members(jwk):
        raise UnusableKey("private members")
    for name in _STRING_MEMBERS:
        if name in jwk and not isinstance(jwk[name], str):
            raise UnusableKey("a member of the wrong type")
    for name in _LIST_MEMBERS:
        if name in jwk and not (
            isinstance(jwk[name], list) and all(isinstance(one, str) for one in jwk[name])
        ):
            raise UnusableKey("a member of the wrong type")
    if not jwk.keys().isdisjoint(PRIVATE_MEMBERS):
        raise UnusableKey("a member of the wrong type")
    if "kid" in jwk and not is_key_id(jwk["kid"]):
        raise UnusableKey("a malformed kid")
    if jwk.get("use", "sig") != "sig":
        raise UnusableKey(OTHER_USE)
    operations = jwk.get("key_ops")
    if operations is None:
        return
    if "verify" not in operations or len(set(operations)) != len(operations):
        raise UnusableKey("key_ops without verify, or with duplicates")
    if "use" in jwk and not _ENCRYPTION_OPERATIONS.isdisjoint(operations):
        raise UnusableKey("key_ops that contradict use")


def _text(jwk: Mapping[str, Any], name: str) -> str:
    text = jwk.get(name)
    if not isinstance(text, str):
        raise UnusableKey("a required member is missing")
    return text


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    text = _text(jwk, name)
    try:
        return decode_segment(text.encode())
    except InvalidToken:
        raise UnusableKey("a member that is not base64url") from None


def _import_rsa(jwk: Mapping[str, Any]) -> tuple[str, PublicKey]:
    modulus, exponent = _octets(jwk, "n"), _octets(jwk, "e")
    # Some libraries write a sign octet before n (RFC 7518 §6.3.1.1), and some pad e to four octets: that is
    # tolerated, and left out of the thumbprint.
    if modulus[0] == 0:
        modulus = modulus[1:]
    exponent = exponent.lstrip(b"\0") if len(exponent) <= MAX_EXPONENT_BYTES else exponent
    if not modulus or modulus[0] == 0 or not exponent or exponent[0] == 0:
        raise UnusableKey("an integer with leading zeros")
    if len(modulus) * 8 > MAX_RSA_BITS or len(exponent) > MAX_EXPONENT_BYTES:
        raise UnusableKey("an RSA modulus or exponent that is too large")
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    if n.bit_length() < MIN_RSA_BITS:
        raise UnusableKey("an RSA modulus of less than 2048 bits")
    if e < MIN_RSA_EXPONENT or e > MAX_RSA_EXPONENT or e % 2 == 0:
        raise UnusableKey("an RSA exponent that is even or out of range")
    if n % 2 == 0 or is_roca_modulus(n):
        raise UnusableKey("a weak RSA modulus")
    return _import(RSAKey, {"kty": "RSA", "n": _text_of(modulus), "e": _text_of(exponent)})


def is_roca_modulus(n: int) -> bool:
    """Whether a modulus has the fingerprint of the generator that CVE-2017-15361 is about."""
    return all(n % prime in residues for prime, residues in zip(_ROCA_PRIMES, _ROCA_RESIDUES, strict=True))


def _import_ec(jwk: Mapping[str, Any], width: int, prime: int) -> tuple[str, PublicKey]:
    for octets in (_octets(jwk, "x"), _octets(jwk, "y")):
        if len(octets) != width:
            raise UnusableKey("an EC coordinate of the wrong length")
        # OpenSSL would reduce it, and one key would have two thumbprints.
        if int.from_bytes(octets) >= prime:
            raise UnusableKey("an EC coordinate beyond the field")
    return _import(ECKey, {name: jwk[name] for name in ("kty", "crv", "x", "y")})


def _import_ed25519(jwk: Mapping[str, Any]) -> tuple[str, PublicKey]:
    encoded = _octets(jwk, "x")
    if len(encoded) != 32:
        raise UnusableKey("an Ed25519 key of the wrong length")
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    # cryptography takes any 32 bytes for a key (RFC 8032 §5.1.3).
    if y >= _P25519 or y in _LOW_ORDER_Y or not _is_square((y * y - 1) * (_D25519 * y * y + 1)):
        raise UnusableKey("a weak Ed25519 key")
    return _import(OKPKey, {name: jwk[name] for name in ("kty", "crv", "x")})


def _is_square(number: int) -> bool:
    """Whether the number, not a multiple of p, has a root modulo p = 2^255 - 19 (Euler's criterion)."""
    return pow(number, (_P25519 - 1) // 2, _P25519) == 1


def _import(
    kind: type[RSAKey | ECKey | OKPKey], members: dict[str, str | list[str]]
) -> tuple[str, PublicKey]:
    """The thumbprint and the public key of a JWK that has nothing but the members its key type requires."""
    try:
        key = kind.import_key(members)
    except (ValueError, JoseError, UnsupportedAlgorithm):
        # Off the curve, or a kind of key that this build of OpenSSL does not offer.
        raise UnusableKey("a key that the cryptographic library refuses") from None
    public_key = key.public_key
    assert isinstance(public_key, PublicKey)  # of the OKP curves only Ed25519 comes here
    return key.thumbprint(), public_key
