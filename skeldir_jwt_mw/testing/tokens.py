"""Keys and tokens for tests: every algorithm that the library accepts, and whatever it must refuse.

Nothing here validates: `mint` signs the header and the claims that it is given, however wrong they are.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
_CURVES: dict[str, tuple[ec.EllipticCurve, str]] = {
    "ES256": (ec.SECP256R1(), "P-256"),
    "ES384": (ec.SECP384R1(), "P-384"),
    "ES512": (ec.SECP521R1(), "P-521"),
}


def b64url(data: bytes) -> str:
    """The unpadded base64url form of `data` (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _b64uint(number: int, length: int | None = None) -> str:
    return b64url(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key with its `kid` and the one algorithm that it signs with."""

    kid: str
    alg: str
    private: PrivateKey

    @classmethod
    def generate(cls, alg: str = "ES256", *, kid: str | None = None) -> SigningKey:
        """Make a new key for `alg`; RSA keys have 2048 bits. Without `kid` a random one is made up.

        Raises ValueError for an algorithm that no such key exists for.
        """
        private: PrivateKey
        if alg in _CURVES:
            private = ec.generate_private_key(_CURVES[alg][0])
        elif alg in ("EdDSA", "Ed25519"):
            private = ed25519.Ed25519PrivateKey.generate()
        elif alg[:2] in ("RS", "PS") and alg[2:] in _HASHES:
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            raise ValueError(f"no signing key can be made for algorithm {alg!r}")
        return cls(kid=kid or f"key-{secrets.token_hex(6)}", alg=alg, private=private)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public JWK (RFC 7517 §4), with `members` added or replaced."""
        jwk: dict[str, Any]
        if isinstance(self.private, rsa.RSAPrivateKey):
            modulus = self.private.public_key().public_numbers()
            jwk = {"kty": "RSA", "n": _b64uint(modulus.n), "e": _b64uint(modulus.e)}
        elif isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            size = (self.private.curve.key_size + 7) // 8
            curve = {known.name: crv for known, crv in _CURVES.values()}[self.private.curve.name]
            jwk = {"kty": "EC", "crv": curve, "x": _b64uint(point.x, size), "y": _b64uint(point.y, size)}
        else:
            jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(self.private.public_key().public_bytes_raw())}
        return {**jwk, "use": "sig", "alg": self.alg, "kid": self.kid, **members}

    def public_pem(self) -> str:
        """The public key as PEM (SubjectPublicKeyInfo), as a key ring holds it."""
        return (
            self.private.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode("ascii")
        )

    def private_pem(self) -> str:
        """The private key as unencrypted PKCS #8 PEM: for tests that must see it refused."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii")

    def sign(self, data: bytes) -> bytes:
        """The JWS signature over `data` (RFC 7518 §3, RFC 8037 §3.1)."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        digest = _HASHES[self.alg[2:]]()
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = (self.private.curve.key_size + 7) // 8
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.alg.startswith("PS"):
            pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.DIGEST_LENGTH)
            return self.private.sign(data, pss, digest)
        return self.private.sign(data, padding.PKCS1v15(), digest)


def mint(key: SigningKey, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
    """A compact JWS over `claims` (RFC 7515 §7.1), signed by `key`.

    Without `header` it is `{"alg": …, "typ": "at+jwt", "kid": …}` of the key; with it, exactly what it says.
    """
    if header is None:
        header = {"alg": key.alg, "typ": "at+jwt", "kid": key.kid}
    signing_input = ".".join(b64url(_compact_json(part)) for part in (header, claims))
    return f"{signing_input}.{b64url(key.sign(signing_input.encode('ascii')))}"


def _compact_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), separators=(",", ":")).encode()  # as providers write it
