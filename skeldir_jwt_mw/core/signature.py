"""One algorithm bound to one public key: a function that answers yes or no (RFC 7518 §3, RFC 8037 §3.1).

The algorithm is fixed here, once, by whoever holds the key (R11). Nothing of a token reaches this module but
the signature and the bytes it is said to sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Verify = Callable[[bytes, bytes], bool]
"""Called with the signature and the signing input."""

# fmt: off
SUPPORTED_ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)
# fmt: on

_HASHES: Final = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}

ED25519_SIGNATURE_BYTES = 64

# By algorithm: the curve and the order of its base point (SEC 2 §2.4.2, §2.5.1, §2.6.1).
_CURVES: Final[dict[str, tuple[type[ec.EllipticCurve], int]]] = {
    "ES256": (ec.SECP256R1, 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551),
    "ES384": (
        ec.SECP384R1,
        0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_C7634D81_F4372DDF_581A0DB2_48B0A77A_ECEC196A_CCC52973,
    ),
    "ES512": (
        ec.SECP521R1,
        0x01FF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFA_51868783_BF2F966B_7FCC0148_F709A5D0_3BB5C9B8_899C47AE_BB6FB71E_91386409,
    ),
}


def canonical_algorithm(name: str) -> str:
    """The one name that an algorithm goes by here: `Ed25519` is what `EdDSA` means (RFC 9864 §2.2)."""
    return "EdDSA" if name == "Ed25519" else name


def bind(algorithm: str, public_key: PublicKey) -> Verify:
    """A function of (signature, signing input) that tells whether the signature is good, and never raises.

    A signature of any but the exact length is not good (R20). `bind` itself raises ValueError for a key that
    is not one for the algorithm.
    """
    family, size = algorithm[:2], algorithm[2:]
    if algorithm not in SUPPORTED_ALGORITHMS:
        raise ValueError("the algorithm is not a supported one")
    if isinstance(public_key, rsa.RSAPublicKey) and family in ("RS", "PS"):
        return _bind_rsa(public_key, _HASHES[size], probabilistic=family == "PS")
    if isinstance(public_key, ec.EllipticCurvePublicKey) and family == "ES":
        curve, order = _CURVES[algorithm]
        if isinstance(public_key.curve, curve):
            return _bind_ecdsa(public_key, _HASHES[size], order)
    if isinstance(public_key, ed25519.Ed25519PublicKey) and family == "Ed":
        return _bind_ed25519(public_key)
    raise ValueError("the key is not one for the algorithm")


def _bind_rsa(key: rsa.RSAPublicKey, digest: hashes.HashAlgorithm, *, probabilistic: bool) -> Verify:
    length = (key.key_size + 7) // 8
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if probabilistic:
        # As long as the digest (RFC 7518 §3.5), not whatever length the signature turns out to have.
        scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
    verify = key.verify

    def verify_rsa(signature: bytes, signing_input: bytes) -> bool:
        if len(signature) != length:
            return False
        try:
            verify(signature, signing_input, scheme, digest)
        except InvalidSignature:
            return False
        return True

    return verify_rsa


def _bind_ecdsa(key: ec.EllipticCurvePublicKey, digest: hashes.HashAlgorithm, order: int) -> Verify:
    width = (key.key_size + 7) // 8
    length = 2 * width
    # Of one length, so comparing bytes compares the numbers.
    zero, limit = bytes(width), order.to_bytes(width)
    scheme = ec.ECDSA(digest)
    verify = key.verify

    def verify_ecdsa(signature: bytes, signing_input: bytes) -> bool:
        if len(signature) != length:
            return False
        r, s = signature[:width], signature[width:]
        if not (zero < r < limit and zero < s < limit):  # CVE-2022-21449
            return False
        # DER by hand: going through integers and encode_dss_signature() costs a third more.
        body = _der_integer(r) + _der_integer(s)
        head = b"\x30" if len(body) < 0x80 else b"\x30\x81"
        try:
            verify(head + len(body).to_bytes() + body, signing_input, scheme)
        except InvalidSignature:
            return False
        return True

    return verify_ecdsa


# What goes before an integer, by its length: tag, length, and a zero octet where it would look negative.
_INTEGER: Final = tuple(bytes((0x02, length)) for length in range(67))
_UNSIGNED: Final = tuple(bytes((0x02, length + 1, 0)) for length in range(67))


def _der_integer(number: bytes) -> bytes:
    """A positive big-endian number as a DER INTEGER of minimal length (X.690 §8.3)."""
    if number[0] == 0:
        number = number.lstrip(b"\0")
    return (_UNSIGNED if number[0] > 0x7F else _INTEGER)[len(number)] + number


def _bind_ed25519(key: ed25519.Ed25519PublicKey) -> Verify:
    verify = key.verify

    def verify_ed25519(signature: bytes, signing_input: bytes) -> bool:
        if len(signature) != ED25519_SIGNATURE_BYTES:
            return False
        try:
            verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    return verify_ed25519
