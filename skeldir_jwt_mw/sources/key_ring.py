"""Key rings: public keys as PEM under their key ids, the form that secrets managers hold."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


class UnusableKeyRing(ValueError):
    """A key ring cannot be converted; the text is fixed, save for the position of a key."""


def b64url(data: bytes) -> str:
    """The unpadded base64url form of `data` (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _b64uint(number: int, length: int) -> str:
    return b64url(number.to_bytes(length, "big"))


def public_jwk(key: PublicKey) -> dict[str, Any]:
    """The key type's own members of a JWK (RFC 7518 §6.2.1, §6.3.1; RFC 8037 §2)."""
    if isinstance(key, rsa.RSAPublicKey):
        modulus = key.public_numbers()
        return {
            "kty": "RSA",
            "n": _b64uint(modulus.n, (modulus.n.bit_length() + 7) // 8),
            "e": _b64uint(modulus.e, (modulus.e.bit_length() + 7) // 8),
        }
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise UnusableKeyRing("a key is on a curve that signs no JWT here")
        point, size = key.public_numbers(), (key.curve.key_size + 7) // 8
        curve = _CURVES[key.curve.name]
        return {"kty": "EC", "crv": curve, "x": _b64uint(point.x, size), "y": _b64uint(point.y, size)}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes_raw())}


def jwks_of(ring: Mapping[str, Any]) -> dict[str, Any]:
    """Convert `{"keys": {kid: PEM}, "current_kid": …, "previous_kids": […]}` to a JWKS (RFC 7517 §5).

    The last two may be left out; where present, they must name keys of the ring. Raises `UnusableKeyRing`.
    """
    keys = ring["keys"]
    if not keys:
        raise UnusableKeyRing("the key ring has no keys")
    named: list[object] = [ring["current_kid"]] if "current_kid" in ring else []
    previous = ring.get("previous_kids", [])
    if not isinstance(previous, list | tuple):
        raise UnusableKeyRing("previous_kids of the key ring must be a list of key ids")
    if any(not isinstance(kid, str) or kid not in keys for kid in named):
        raise UnusableKeyRing("current_kid of the key ring must name one of its keys")
    if any(not isinstance(kid, str) or kid not in keys for kid in previous):
        raise UnusableKeyRing("previous_kids of the key ring must name keys of it")
    return {
        "keys": [
            {**_jwk(position, pem), "use": "sig", "kid": kid}
            for position, (kid, pem) in enumerate(keys.items(), 1)
        ]
    }


def _jwk(position: int, pem: object) -> dict[str, Any]:
    which = f"key {position} of the key ring"
    if isinstance(pem, bytes):
        pem = pem.decode("ascii", "replace")
    if not isinstance(pem, str):
        raise UnusableKeyRing(f"{which} must be PEM text")
    if "PRIVATE KEY" in pem:
        raise UnusableKeyRing(f"{which} is a private key; a verifier needs the public one alone")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKeyRing(f"{which} is not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise UnusableKeyRing(f"{which} is of a type that signs no JWT here")
    return public_jwk(key)
