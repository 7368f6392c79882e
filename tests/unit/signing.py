"""Keys and signatures made with `cryptography` alone, not with the code that the tests judge.

Besides, what the tests of keys ask of a key set.
"""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from skeldir_jwt_mw.core.keys import Found, Key, Miss

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def b64u(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64u_integer(number: int, length: int | None = None) -> str:
    """A big-endian integer, minimal or of `length` bytes, in base64url."""
    return b64u(number.to_bytes(length or (number.bit_length() + 7) // 8))


@functools.cache
def _private_key(kind: str, number: int, bits: int) -> Any:
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind][1])
    return ed25519.Ed25519PrivateKey.generate() if kind == "Ed" else rsa.generate_private_key(65537, bits)


def private_key(algorithm: str, number: int = 0) -> Any:
    """A private key for the algorithm, made once per process; another number is another key."""
    if algorithm in CURVES:
        return _private_key(algorithm, number, 0)
    return _private_key("Ed", number, 0) if algorithm.startswith("Ed") else rsa_key(number)


def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, made once per process; another number is another key."""
    key: rsa.RSAPrivateKey = _private_key("RSA", number, bits)
    return key


def public_jwk(key: Any, **members: Any) -> dict[str, Any]:
    """The JWK of a private key's public part, with more members added."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        jwk = {"kty": "RSA", "n": b64u_integer(numbers.n), "e": b64u_integer(numbers.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        point, width = public.public_numbers(), (public.key_size + 7) // 8
        crv = next(name for name, curve in CURVES.values() if curve.name == public.curve.name)
        jwk = {"kty": "EC", "crv": crv, "x": b64u_integer(point.x, width), "y": b64u_integer(point.y, width)}
    else:
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(public.public_bytes_raw())}
    return {**jwk, **members}


def sign(algorithm: str, key: Any, data: bytes) -> bytes:
    """A JWS signature (RFC 7518 §3)."""
    if algorithm in ("EdDSA", "Ed25519"):
        return key.sign(data)
    digest = HASHES[algorithm[2:]]
    if algorithm.startswith("ES"):
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        width = (key.key_size + 7) // 8
        return r.to_bytes(width) + s.to_bytes(width)
    if algorithm.startswith("PS"):
        return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(data, padding.PKCS1v15(), digest)


def compact(json_text: Any) -> bytes:
    """JSON without white space."""
    return json.dumps(json_text, separators=(",", ":"), ensure_ascii=False).encode()


def the_key(found: Found | Miss) -> Key | Miss:
    """The one key that answers to a token; where several might, which is what is not told apart."""
    if isinstance(found, Miss):
        return found
    return found.keys[0] if len(found.keys) == 1 else Miss.AMBIGUOUS
