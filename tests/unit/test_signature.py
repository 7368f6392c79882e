"""Bound signatures: the right length, the right key, the right bytes, and never an exception."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from signing import ALGORITHMS, CURVES, HASHES, private_key, rsa_key, sign

from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS, _der_integer, bind, canonical_algorithm

MESSAGE = b"eyJhbGciOiJSUzI1NiJ9.e30"
LENGTHS = {"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "Ed25519": 64}
ORDERS = {
    "ES256": int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16),
    "ES384": int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
    "ES512": int("1" + "f" * 65 + "a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16),
}
ECDSA = tuple(ORDERS)


def bound(algorithm: str, number: int = 0) -> Any:
    return bind(algorithm, private_key(algorithm, number).public_key())


def test_the_supported_algorithms_are_asymmetric() -> None:
    assert {*ALGORITHMS, "Ed25519"} == set(SUPPORTED_ALGORITHMS)
    assert canonical_algorithm("Ed25519") == canonical_algorithm("EdDSA") == "EdDSA"
    assert all(canonical_algorithm(name) == name for name in ALGORITHMS)


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
def test_a_good_signature_verifies(algorithm: str) -> None:
    for turn in range(8):  # ECDSA's numbers differ in length from one signature to the next
        message = MESSAGE + bytes([turn])
        assert bound(algorithm)(sign(algorithm, private_key(algorithm), message), message) is True


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
def test_a_signature_is_good_for_its_own_message_and_key_only(algorithm: str) -> None:
    signature = sign(algorithm, private_key(algorithm), MESSAGE)
    assert bound(algorithm)(signature, MESSAGE + b"x") is False
    assert bound(algorithm)(signature, b"") is False
    assert bound(algorithm, 1)(signature, MESSAGE) is False


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
def test_any_flipped_bit_spoils_the_signature(algorithm: str) -> None:
    signature = sign(algorithm, private_key(algorithm), MESSAGE)
    verify = bound(algorithm)
    for at in range(0, len(signature), 7):
        for bit in (0x01, 0x80):
            spoilt = bytearray(signature)
            spoilt[at] ^= bit
            assert verify(bytes(spoilt), MESSAGE) is False


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
def test_r20_any_other_length_is_refused(algorithm: str) -> None:
    signature = sign(algorithm, private_key(algorithm), MESSAGE)
    assert len(signature) == LENGTHS.get(algorithm, 256)
    verify = bound(algorithm)
    for other in (b"", signature[:-1], signature[1:], signature + b"\0", b"\0" + signature, signature * 2):
        assert verify(other, MESSAGE) is False


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_r20_a_modulus_of_an_odd_length_rounds_up(algorithm: str) -> None:
    key = rsa_key(bits=2052)
    assert key.key_size == 2052
    signature = sign(algorithm, key, MESSAGE)
    assert len(signature) == 257
    verify = bind(algorithm, key.public_key())
    assert verify(signature, MESSAGE) is True
    assert verify(signature[1:], MESSAGE) is False


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_r20_a_leading_zero_octet_of_a_signature_is_part_of_it(algorithm: str) -> None:
    for attempt in range(20_000):
        message = MESSAGE + attempt.to_bytes(4)
        signature = sign(algorithm, private_key(algorithm), message)
        if signature[0] == 0:
            break
    else:  # one in 256 has it
        pytest.fail("no signature with a leading zero octet in 20 000")
    assert bound(algorithm)(signature, message) is True
    assert bound(algorithm)(signature.lstrip(b"\0"), message) is False


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_r20_a_signature_not_reduced_by_the_modulus_is_refused(algorithm: str) -> None:
    key = private_key(algorithm)
    n = key.public_key().public_numbers().n
    reduced = int.from_bytes(sign(algorithm, key, MESSAGE))
    for number in (0, 1, n - 1, n, n + 1, 2**2048 - 1, reduced + n):
        if number.bit_length() <= 2048:
            assert bound(algorithm)(number.to_bytes(256), MESSAGE) is False


@pytest.mark.parametrize("algorithm", ECDSA)
def test_r20_der_is_refused(algorithm: str) -> None:
    key = private_key(algorithm)
    der = key.sign(MESSAGE, ec.ECDSA(HASHES[algorithm[2:]]))
    assert bound(algorithm)(der, MESSAGE) is False
    assert bound(algorithm)(der.ljust(LENGTHS[algorithm], b"\0")[: LENGTHS[algorithm]], MESSAGE) is False


@pytest.mark.parametrize("algorithm", ECDSA)
def test_r20_r_and_s_lie_between_zero_and_the_order(algorithm: str) -> None:
    n, width = ORDERS[algorithm], LENGTHS[algorithm] // 2
    verify = bound(algorithm)
    edges = (0, 1, n - 1, n, n + 1, 2 ** (8 * width) - 1)
    for r in edges:
        for s in edges:
            assert verify(r.to_bytes(width) + s.to_bytes(width), MESSAGE) is False


@pytest.mark.parametrize("algorithm", ECDSA)
def test_r20_adding_the_order_to_r_or_s_spoils_a_signature(algorithm: str) -> None:
    n, width = ORDERS[algorithm], LENGTHS[algorithm] // 2
    signature = sign(algorithm, private_key(algorithm), MESSAGE)
    r, s = int.from_bytes(signature[:width]), int.from_bytes(signature[width:])
    for other in ((r + n, s), (r, s + n)):
        if max(other).bit_length() <= 8 * width:
            assert bound(algorithm)(other[0].to_bytes(width) + other[1].to_bytes(width), MESSAGE) is False


def crafted(algorithm: str, r_bytes: int, s: int = 1) -> tuple[Any, bytes]:
    """A public key and a signature of `MESSAGE` with an r of so many bytes and this s."""
    curve = CURVES[algorithm][1]
    n, width = ORDERS[algorithm], LENGTHS[algorithm] // 2
    nonce = next(
        k
        for k in range(1, 100_000)
        if len(ec.derive_private_key(k, curve).public_key().public_numbers().x.to_bytes(width).lstrip(b"\0"))
        == r_bytes
    )
    r = ec.derive_private_key(nonce, curve).public_key().public_numbers().x % n
    digest = int.from_bytes(hashlib.new(f"sha{algorithm[2:]}", MESSAGE).digest())
    # d such that s = (digest + r d) / nonce modulo n.
    d = (s * nonce - digest) * pow(r, -1, n) % n
    return ec.derive_private_key(d, curve).public_key(), r.to_bytes(width) + s.to_bytes(width)


@pytest.mark.parametrize(
    ("algorithm", "r_bytes"), [("ES256", 32), ("ES256", 31), ("ES384", 47), ("ES512", 65)]
)
def test_a_signature_with_short_numbers_verifies(algorithm: str, r_bytes: int) -> None:
    public, signature = crafted(algorithm, r_bytes)
    assert bind(algorithm, public)(signature, MESSAGE) is True
    assert bind(algorithm, public)(signature, MESSAGE + b"x") is False


@pytest.mark.parametrize("length", [127, 128, 129])
def test_a_signature_verifies_where_its_der_outgrows_a_length_of_one_octet(length: int) -> None:
    _, signature = crafted("ES512", 65)
    s_bytes = length - len(_der_integer(signature[:66])) - 2
    public, signature = crafted("ES512", 65, 2 ** (8 * s_bytes - 1) - 1)
    assert len(_der_integer(signature[:66]) + _der_integer(signature[66:])) == length
    assert bind("ES512", public)(signature, MESSAGE) is True


@pytest.mark.parametrize("length", range(1, 67))
@pytest.mark.parametrize("first", [0x01, 0x58, 0x7F, 0x80, 0xFF])
def test_a_der_integer_of_any_length_is_minimal_and_positive(first: int, length: int) -> None:
    number = bytes([first]) + bytes(length - 1)
    sign_octet = b"\0" if first >= 0x80 else b""
    expected = bytes([0x02, length + len(sign_octet)]) + sign_octet + number
    assert _der_integer(number) == _der_integer(number.rjust(66, b"\0")) == expected


@given(st.integers(1, 2**521 - 1))
def test_a_der_integer_is_what_the_library_would_write(number: int) -> None:
    body = _der_integer(number.to_bytes(66))
    theirs = encode_dss_signature(number, number)
    assert theirs.endswith(body + body)
    assert theirs[0] == 0x30
    assert len(theirs) - 2 * len(body) in (2, 3)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SUPPORTED_ALGORITHMS), st.binary(max_size=300), st.binary(max_size=40))
def test_rubbish_is_answered_with_no(algorithm: str, signature: bytes, message: bytes) -> None:
    verify = bound(algorithm)
    exact = signature.ljust(LENGTHS.get(algorithm, 256), b"\1")[: LENGTHS.get(algorithm, 256)]
    assert verify(signature, message) is False
    assert verify(exact, message) is False


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
def test_a_pss_salt_of_another_length_than_the_digest_is_refused(algorithm: str) -> None:
    digest = HASHES[algorithm[2:]]
    for length in (0, digest.digest_size - 1, digest.digest_size + 1, 100):
        signature = rsa_key().sign(MESSAGE, padding.PSS(padding.MGF1(digest), length), digest)
        assert bound(algorithm)(signature, MESSAGE) is False


@pytest.mark.parametrize("signed", ALGORITHMS)
def test_r11_a_signature_of_one_algorithm_is_none_of_another(signed: str) -> None:
    signature = sign(signed, private_key(signed), MESSAGE)
    for algorithm in ALGORITHMS:
        assert bound(algorithm)(signature, MESSAGE) is (algorithm == signed)


@pytest.mark.parametrize("algorithm", [*SUPPORTED_ALGORITHMS, "none", "HS256", "RS", "", "ES256K", "Ed448"])
def test_r11_a_key_of_another_kind_is_not_bound(algorithm: str) -> None:
    keys = {name: private_key(name).public_key() for name in ("RS256", "ES256", "ES384", "ES512", "EdDSA")}
    fitting = "EdDSA" if algorithm == "Ed25519" else "RS256" if algorithm[:2] in ("RS", "PS") else algorithm
    others = [key for name, key in keys.items() if name != fitting or algorithm not in SUPPORTED_ALGORITHMS]
    for key in [*others, ed448.Ed448PrivateKey.generate().public_key(), None, b"secret"]:
        with pytest.raises(ValueError, match=r"^the (key|algorithm) is not"):
            bind(algorithm, key)


def test_a_large_modulus_is_verified_too() -> None:
    key = rsa.generate_private_key(65537, 3072)
    assert bind("RS512", key.public_key())(sign("RS512", key, MESSAGE), MESSAGE) is True
