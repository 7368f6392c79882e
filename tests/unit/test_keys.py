"""Key sets: what is taken in, what is left out and why, and which key answers to which token."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from joserfc.jwk import thumbprint
from signing import ALGORITHMS, CURVES, b64u, b64u_integer, private_key, public_jwk, sign, the_key

from skeldir_jwt_mw.core.compact import parse_header
from skeldir_jwt_mw.core.jwk import is_roca_modulus
from skeldir_jwt_mw.core.keys import (
    MAX_TRIED,
    TWIN,
    Found,
    ImportedJWKS,
    Key,
    KeySet,
    Miss,
    RejectedKey,
    UnusableDocument,
    import_jwks,
)

MESSAGE = b"e30.e30"
DEFAULT = ("RS256", "PS256", "ES256", "EdDSA")


def document(*keys: Any, **members: Any) -> bytes:
    return json.dumps({"keys": keys, **members}).encode()


def good(algorithm: str = "RS256", number: int = 0, **members: Any) -> dict[str, Any]:
    """A JWK that is beyond reproach."""
    return public_jwk(
        private_key(algorithm, number), **{"kid": "good", "alg": algorithm, "use": "sig", **members}
    )


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def found(
    jwk: Any, algorithm: str, kid: str | None = "good", allowed: tuple[str, ...] = ALGORITHMS
) -> Key | Miss:
    """What answers to (kid, algorithm) in a document that holds `jwk` next to another, good key."""
    companion = good("ES256" if algorithm != "ES256" else "ES384", 9, kid="companion")
    imported = import_jwks(document(jwk, companion))
    keys = imported.for_algorithms(allowed)
    assert isinstance(the_key(keys.find("companion", companion["alg"])), Key), (
        "one bad key must not cost the set"
    )
    return the_key(keys.find(kid, algorithm))


def told(rejected: Sequence[RejectedKey]) -> list[tuple[int, str]]:
    return [(key.index, key.reason) for key in rejected]


def reason(jwk: Any) -> str:
    """Why the JWK is left out."""
    imported = import_jwks(document(good("ES384", 9, kid="companion"), jwk))
    assert len(imported.keys) == 1
    [key] = imported.rejected
    assert key.index == 1
    return key.reason


# -- what is taken in ---------------------------------------------


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "Ed25519"])
def test_a_good_key_verifies_its_algorithm(algorithm: str) -> None:
    jwk = good(algorithm)
    key = found(jwk, algorithm)
    assert isinstance(key, Key)
    assert key.kid == "good"
    assert key.algorithm == ("EdDSA" if algorithm == "Ed25519" else algorithm)
    assert key.issuer is None
    assert key.thumbprint == thumbprint(without(jwk, "kid", "alg", "use"))
    assert key.verify(sign(algorithm, private_key(algorithm), MESSAGE), MESSAGE) is True
    assert key.verify(sign(algorithm, private_key(algorithm, 1), MESSAGE), MESSAGE) is False


RSA = good("RS256")
EC = good("ES256")
OKP = good("EdDSA")
LEADING_ZERO = b64u(b"\0" + private_key("RS256").public_key().public_numbers().n.to_bytes(256))

ACCEPTED = {
    "bare": without(RSA, "alg", "use"),
    "verify": {**without(RSA, "use"), "key_ops": ["verify"]},
    "use and verify": {**RSA, "key_ops": ["verify"]},
    "sign and verify": {**RSA, "key_ops": ["sign", "verify"]},
    "verify and another operation, without use": {**without(RSA, "use"), "key_ops": ["encrypt", "verify"]},
    "an unregistered operation": {**RSA, "key_ops": ["verify", "https://example.com/op"]},
    "certificates": {
        **RSA,
        "x5c": ["MIIB"],
        "x5t": "abc",
        "x5t#S256": "def",
        "x5u": "https://example.com/cert",
    },
    "no certificates": {**RSA, "x5c": []},
    "not a URL": {**RSA, "x5u": "cert"},
    "unknown members": {**RSA, "exp": None, "nbf": 1, "iat": [], "status": {"a": 1}, "y2": None},
    "members of another key type": {**RSA, "crv": "P-256", "x": "AQAB"},
    "a modulus with a sign octet": {**RSA, "n": LEADING_ZERO},
    "EC": EC,
    "EC bare": without(EC, "alg", "use"),
    "P-521": good("ES512"),
    "EdDSA": OKP,
    "Ed25519": {**OKP, "alg": "Ed25519"},
    "OKP bare": without(OKP, "alg", "use"),
    "issuer": {**RSA, "issuer": "https://login.example.com/{tenantid}/v2.0"},
}


@pytest.mark.parametrize("jwk", ACCEPTED.values(), ids=ACCEPTED)
def test_a_legal_oddity_does_not_cost_the_key(jwk: dict[str, Any]) -> None:
    algorithm = {"RSA": "RS256", "OKP": "EdDSA", "EC": "ES512" if jwk.get("crv") == "P-521" else "ES256"}[
        jwk["kty"]
    ]
    key = found(jwk, algorithm)
    assert isinstance(key, Key)
    assert key.verify(sign(algorithm, private_key(algorithm), MESSAGE), MESSAGE) is True


def test_a_sign_octet_stays_out_of_the_thumbprint() -> None:
    key, plain = found({**RSA, "n": LEADING_ZERO}, "RS256"), found(RSA, "RS256")
    assert isinstance(key, Key)
    assert isinstance(plain, Key)
    assert key.thumbprint == plain.thumbprint


def test_a_modulus_is_the_same_with_a_sign_octet_whatever_its_last_character() -> None:
    source = random.Random(3072)
    for last in range(1, 64, 2):
        n = (2**3071 | source.getrandbits(3070) | 63) ^ 63 ^ last
        plain = found({**RSA, "n": b64u_integer(n)}, "RS256")
        key = found({**RSA, "n": b64u(b"\0" + n.to_bytes(384))}, "RS256")
        assert isinstance(key, Key)
        assert isinstance(plain, Key)
        assert key.thumbprint == plain.thumbprint


def test_the_issuer_member_is_handed_on() -> None:
    key = found({**RSA, "issuer": "https://login.example.com/{tenantid}/v2.0"}, "RS256")
    assert isinstance(key, Key)
    assert key.issuer == "https://login.example.com/{tenantid}/v2.0"


def test_keys_of_3072_and_of_odd_lengths_are_taken() -> None:
    for bits in (2050, 3072):
        key = rsa.generate_private_key(65537, bits)
        assert isinstance(found(public_jwk(key, kid="good"), "RS256"), Key)


def test_a_modulus_of_8192_bits_is_the_largest() -> None:
    source = random.Random(8192)
    n = 2**8191 | source.getrandbits(8190) | 1
    assert isinstance(found({**RSA, "n": b64u_integer(n)}, "RS256"), Key)
    assert reason({**RSA, "n": b64u_integer(n << 1 | 1)}) == "an RSA modulus or exponent that is too large"
    assert isinstance(found({**RSA, "n": b64u(b"\0" + n.to_bytes(1024))}, "RS256"), Key)


@pytest.mark.parametrize("exponent", [65537, 65539, 2**31 + 1, 2**32 - 1])
def test_an_exponent_within_the_limits_is_taken(exponent: int) -> None:
    assert isinstance(found({**RSA, "e": b64u_integer(exponent)}, "RS256"), Key)


# -- R21: weak and impossible keys ---------------------------------------------


def test_r21_a_modulus_of_less_than_2048_bits_is_refused() -> None:
    short = private_key("RS256").public_key().public_numbers().n >> 1 | 1
    assert short.bit_length() == 2047
    assert reason({**RSA, "n": b64u_integer(short)}) == "an RSA modulus of less than 2048 bits"
    small = rsa.generate_private_key(65537, 1024)
    assert reason(public_jwk(small, kid="good", alg="RS256")) == "an RSA modulus of less than 2048 bits"
    padded = b64u(b"\0" + small.public_key().public_numbers().n.to_bytes(256))
    assert reason({**RSA, "n": padded}) == "an integer with leading zeros"


def test_r21_an_even_modulus_is_refused() -> None:
    n = private_key("RS256").public_key().public_numbers().n
    for even in (n - 1, n - 3, n - 5):  # of which one is no multiple of three
        assert reason({**RSA, "n": b64u_integer(even)}) == "a weak RSA modulus"


@pytest.mark.parametrize("exponent", [1, 2, 3, 17, 257, 65535, 65536, 65538, 2**32 - 2])
def test_r21_a_weak_exponent_is_refused(exponent: int) -> None:
    assert reason({**RSA, "e": b64u_integer(exponent)}) == "an RSA exponent that is even or out of range"


@pytest.mark.parametrize("exponent", [2**32 + 1, 2**64 + 1, 2**2047 + 1])
def test_r21_a_huge_exponent_is_refused(exponent: int) -> None:
    assert reason({**RSA, "e": b64u_integer(exponent)}) == "an RSA modulus or exponent that is too large"


def roca_modulus(bits: int, seed: int) -> int:
    """A modulus as the weak generator made them: a power of 65537 modulo the product of many small primes."""
    source = random.Random(seed)
    product = 1
    for prime in (n for n in range(2, 702) if all(n % d for d in range(2, n))):
        product *= prime
    remainder = pow(65537, source.getrandbits(64), product)
    return (2 ** (bits - 1) // product + source.getrandbits(200) + 1) * product + remainder


@pytest.mark.parametrize("seed", range(5))
def test_r21_a_roca_modulus_is_refused(seed: int) -> None:
    n = roca_modulus(2048, seed)
    assert n.bit_length() == 2048
    assert is_roca_modulus(n)
    assert reason({**RSA, "n": b64u_integer(n)}) == "a weak RSA modulus"
    for other in range(2, 400, 2):
        assert not is_roca_modulus(n + other)


@pytest.mark.parametrize("algorithm", CURVES)
def test_r21_a_point_off_the_curve_is_refused(algorithm: str) -> None:
    jwk = good(algorithm)
    y = bytearray(base64.urlsafe_b64decode(jwk["y"] + "=="))
    y[-1] ^= 1
    assert reason({**jwk, "y": b64u(bytes(y))}) == "a key that the cryptographic library refuses"
    assert reason({**jwk, "x": b64u(bytes(len(y))), "y": b64u(bytes(len(y)))}) == (
        "a key that the cryptographic library refuses"
    )
    assert reason({**jwk, "y": b64u(b"\xff" * len(y))}) == "an EC coordinate beyond the field"


def test_r21_a_coordinate_beyond_the_field_is_refused() -> None:
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    x = next(x for x in range(99) if pow(x**3 - 3 * x + b, (p - 1) // 2, p) == 1)
    y = pow(x**3 - 3 * x + b, (p + 1) // 4, p)
    assert isinstance(found({**EC, "x": b64u_integer(x, 32), "y": b64u_integer(y, 32)}, "ES256"), Key)
    beyond = {**EC, "x": b64u_integer(x + p, 32), "y": b64u_integer(y, 32)}
    assert reason(beyond) == "an EC coordinate beyond the field"


@pytest.mark.parametrize("algorithm", CURVES)
@pytest.mark.parametrize("name", ["x", "y"])
def test_r21_a_coordinate_of_the_wrong_length_is_refused(algorithm: str, name: str) -> None:
    jwk = good(algorithm)
    octets = base64.urlsafe_b64decode(jwk[name] + "==")
    for other in (octets[1:], b"\0" + octets, octets + b"\0", octets[:1]):
        assert reason({**jwk, name: b64u(other)}) == "an EC coordinate of the wrong length"


def test_r21_a_short_coordinate_is_refused_even_where_its_number_is_right() -> None:
    key = next(
        key
        for k in range(1, 100_000)
        if (key := ec.derive_private_key(k, ec.SECP256R1())).public_key().public_numbers().x < 2**248
    )
    jwk = public_jwk(key, kid="good")
    assert isinstance(found(jwk, "ES256"), Key)
    short = b64u_integer(key.public_key().public_numbers().x, 31)
    assert reason({**jwk, "x": short}) == "an EC coordinate of the wrong length"


@pytest.mark.parametrize(
    ("crv", "alg"), [("P-256", "ES384"), ("P-384", "ES256"), ("P-521", "ES256"), ("P-256", "RS256")]
)
def test_r21_a_curve_of_another_algorithm_is_refused(crv: str, alg: str) -> None:
    own = next(name for name, (curve, _) in CURVES.items() if curve == crv)
    assert (
        reason({**good(own), "alg": alg}) == "an alg that is not a supported one of the key's type and curve"
    )


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def edwards_add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, other
    t = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P,
    )


def torsion_points() -> set[tuple[int, int]]:
    """The eight points of small order, found on the curve and not from a list."""
    points: set[tuple[int, int]] = set()
    for y in range(2, 60):
        u, v = y * y - 1, D * y * y + 1
        square = u * pow(v, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        if x * x % P != square:
            x = x * pow(2, (P - 1) // 4, P) % P
        if x * x % P != square:
            continue
        order, point, result = 2**252 + 27742317777372353535851937790883648493, (x, y), (0, 1)
        while order:  # times the order of the base point leaves the small part
            if order & 1:
                result = edwards_add(result, point)
            point = edwards_add(point, point)
            order >>= 1
        multiple = result
        for _ in range(8):
            points.add(multiple)
            multiple = edwards_add(multiple, result)
    return points


def test_r21_an_ed25519_key_of_low_order_is_refused() -> None:
    points = torsion_points()
    assert len(points) == 8
    for x, y in points:
        for sign_bit in {x & 1, 0, 1}:
            encoded = (y | sign_bit << 255).to_bytes(32, "little")
            assert reason({**OKP, "x": b64u(encoded)}) == "a weak Ed25519 key"


def test_r21_an_ed25519_key_that_is_not_canonical_is_refused() -> None:
    for y in range(P, 2**255):  # all nineteen
        for sign_bit in (0, 1):
            assert (
                reason({**OKP, "x": b64u((y | sign_bit << 255).to_bytes(32, "little"))})
                == "a weak Ed25519 key"
            )


def test_r21_an_ed25519_key_that_is_no_point_is_refused() -> None:
    off = [y for y in range(2, 40) if pow((y * y - 1) * (D * y * y + 1), (P - 1) // 2, P) != 1]
    assert 10 < len(off) < 30
    for y in off:
        assert reason({**OKP, "x": b64u(y.to_bytes(32, "little"))}) == "a weak Ed25519 key"
    on = next(y for y in range(2, 40) if y not in off)
    assert isinstance(found({**OKP, "x": b64u(on.to_bytes(32, "little"))}, "EdDSA"), Key)


@pytest.mark.parametrize("length", [1, 31, 33, 57, 64])
def test_r21_an_ed25519_key_of_the_wrong_length_is_refused(length: int) -> None:
    assert reason({**OKP, "x": b64u(b"\1" * length)}) == "an Ed25519 key of the wrong length"


@pytest.mark.parametrize("damage", ["{}=", "{}==", " {}", "{}\n", "{}+", "{}/", "{}é", "é{}", "\ud7ff{}", ""])
@pytest.mark.parametrize(("jwk", "name"), [(RSA, "n"), (RSA, "e"), (EC, "x"), (EC, "y"), (OKP, "x")])
def test_r21_a_member_that_is_no_strict_base64url_is_refused(
    jwk: dict[str, Any], name: str, damage: str
) -> None:
    assert reason({**jwk, name: damage.format(jwk[name])}) == "a member that is not base64url"


def test_r21_leading_zeros_in_an_exponent_are_tolerated_within_its_four_octets() -> None:
    padded = import_jwks(document({**RSA, "e": "AAEAAQ"}))  # as Azure Key Vault writes 65537
    assert padded.rejected == ()
    assert padded.keys[0].thumbprint == import_jwks(document(RSA)).keys[0].thumbprint
    assert reason({**RSA, "e": "AAAAAQAB"}) == "an integer with leading zeros"
    assert reason({**RSA, "e": "AA"}) == "an integer with leading zeros"
    assert reason({**RSA, "n": "AA"}) == "an integer with leading zeros"


@pytest.mark.parametrize(
    ("jwk", "name"), [(RSA, "n"), (RSA, "e"), (EC, "crv"), (EC, "x"), (EC, "y"), (OKP, "crv"), (OKP, "x")]
)
def test_a_key_without_a_required_member_is_refused(jwk: dict[str, Any], name: str) -> None:
    assert reason(without(jwk, name)) == "a required member is missing"


# -- R22: keys for other purposes, secrets ---------------------------------------------


@pytest.mark.parametrize("use", ["enc", "", "SIG", "sig ", "tls"])
def test_r22_a_key_whose_use_is_not_sig_is_refused(use: str) -> None:
    assert reason({**RSA, "use": use}) == "use is not sig"


@pytest.mark.parametrize("operations", [[], ["sign"], ["encrypt"], ["Verify"], ["verify", "verify"]])
def test_r22_key_ops_must_hold_verify_and_no_duplicates(operations: list[str]) -> None:
    assert (
        reason({**without(RSA, "use"), "key_ops": operations}) == "key_ops without verify, or with duplicates"
    )


@pytest.mark.parametrize("other", ["encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits"])
def test_r22_key_ops_must_not_contradict_use(other: str) -> None:
    assert reason({**RSA, "key_ops": ["verify", other]}) == "key_ops that contradict use"


@pytest.mark.parametrize(
    "alg", ["RSA-OAEP", "RSA1_5", "HS256", "none", "", "rs256", "ES256", "EdDSA", "RS1", "Ed25519"]
)
def test_r22_an_alg_that_the_key_does_not_fit_is_refused(alg: str) -> None:
    assert reason({**RSA, "alg": alg}) == "an alg that is not a supported one of the key's type and curve"


@pytest.mark.parametrize("alg", ["ES256", "RS256", "Ed448", "ECDH-ES", "eddsa"])
def test_r22_an_alg_that_an_okp_key_does_not_fit_is_refused(alg: str) -> None:
    assert reason({**OKP, "alg": alg}) == "an alg that is not a supported one of the key's type and curve"


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.parametrize("jwk", [RSA, EC, OKP, {"kty": "AKP", "kid": "x"}], ids=["RSA", "EC", "OKP", "AKP"])
def test_r22_a_key_with_a_private_member_is_dropped_and_reported(jwk: dict[str, Any], name: str) -> None:
    imported = import_jwks(document({**jwk, name: "AQAB"}, good("ES384", kid="companion")))
    assert told(imported.rejected) == [(0, "private members")]
    assert imported.private_members is True
    assert [key.kid for key in imported.keys] == ["companion"]


def test_r22_a_symmetric_key_is_dropped_and_reported() -> None:
    imported = import_jwks(document({"kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0"}, good()))
    assert told(imported.rejected) == [(0, "private members")]
    assert imported.private_members is True
    assert the_key(imported.for_algorithms(DEFAULT).find("s", "HS256")) is Miss.MISMATCH
    assert reason({"kty": "oct", "kid": "s"}) == "a symmetric key"


def test_r22_no_private_member_is_no_alarm() -> None:
    assert import_jwks(document(good())).private_members is False
    imported = import_jwks(document(good(), {**good(number=1), "kid": "null", "d": None}))
    assert told(imported.rejected) == [(1, "a member of the wrong type")]
    assert imported.private_members is False


def test_r22_an_unknown_key_type_or_curve_costs_that_key_only() -> None:
    assert (
        reason({"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AAAA"})
        == "a key type that is not supported"
    )
    assert reason({"kid": "x"}) == "a key type that is not supported"
    assert reason({**RSA, "kty": "rsa"}) == "a key type that is not supported"
    for crv in ("secp256k1", "P-192", "Ed25519", "p-256", ""):
        assert reason({**EC, "crv": crv}) == "a curve that is not supported"
    for private in (ed448.Ed448PrivateKey.generate(), x25519.X25519PrivateKey.generate()):
        x = b64u(private.public_key().public_bytes_raw())
        crv = "Ed448" if len(x) > 50 else "X25519"
        assert reason({"kty": "OKP", "crv": crv, "x": x, "kid": "x"}) == "a curve that is not supported"


TYPED = [
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
    "key_ops",
    "x5c",
]


OPTIONAL = ("use", "alg", "kid", "issuer", "x5u", "x5t", "x5t#S256", "key_ops", "x5c")


@pytest.mark.parametrize("value", [None, 1, True, {}, [1], [None], 1.5], ids=repr)
@pytest.mark.parametrize("name", TYPED)
def test_r22_a_member_of_the_wrong_type_skips_that_key_only(name: str, value: Any) -> None:
    if value is None and name in OPTIONAL:
        return  # as if it were absent
    assert reason({**RSA, name: value}) == "a member of the wrong type"


@pytest.mark.parametrize("name", ["key_ops", "x5c"])
def test_r22_a_string_in_the_place_of_a_list_skips_the_key(name: str) -> None:
    assert reason({**RSA, name: "verify"}) == "a member of the wrong type"


@pytest.mark.parametrize("jwk", [None, 1, "key", [], [{"kty": "RSA"}], True])
def test_r22_what_is_no_object_is_skipped(jwk: Any) -> None:
    assert reason(jwk) == "not an object"


@pytest.mark.parametrize("kid", ["", "a" * 257, "k\n", "\0", "\x85"])
def test_a_key_with_a_malformed_kid_is_skipped(kid: str) -> None:
    assert reason({**RSA, "kid": kid}) == "a malformed kid"


# -- R11, R15, R23, R24: which key answers ---------------------------------------------


def keys_of(*jwks: Any, allowed: tuple[str, ...] = DEFAULT) -> KeySet:
    return import_jwks(document(*jwks)).for_algorithms(allowed)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_r11_a_key_answers_to_its_own_algorithm_alone(alg: str) -> None:
    keys = keys_of(good(alg), allowed=ALGORITHMS)
    for asked in [*ALGORITHMS, "Ed25519", "none", "HS256", ""]:
        same = asked == alg or {asked, alg} == {"EdDSA", "Ed25519"}
        found = the_key(keys.find("good", asked))
        assert isinstance(found, Key) if same else found is Miss.MISMATCH


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (("RS256", "PS256"), "RS256"),
        (("PS256", "RS256"), "PS256"),
        (("ES256", "PS512", "RS256"), "PS512"),
        (("ES256", "EdDSA"), None),
    ],
)
def test_r11_a_key_without_alg_is_for_the_first_allowed_algorithm_that_fits(
    allowed: tuple[str, ...], expected: str | None
) -> None:
    keys = keys_of(without(good("RS256"), "alg"), allowed=allowed)
    for algorithm in ALGORITHMS:
        found = the_key(keys.find("good", algorithm))
        assert isinstance(found, Key) if algorithm == expected else found is Miss.MISMATCH
    if expected:
        key = the_key(keys.find("good", expected))
        assert isinstance(key, Key)
        assert key.verify(sign(expected, private_key(expected), MESSAGE), MESSAGE)
        assert not any(
            key.verify(sign(other, private_key(other), MESSAGE), MESSAGE)
            for other in ALGORITHMS
            if other != expected
        )


@pytest.mark.parametrize("allowed", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519", None])
def test_eddsa_and_ed25519_are_two_names_of_one_algorithm(alg: str | None, allowed: str) -> None:
    jwk = {**good("EdDSA"), "alg": alg} if alg else without(good("EdDSA"), "alg")
    keys = keys_of(jwk, allowed=(allowed,))
    assert isinstance(the_key(keys.find("good", "EdDSA")), Key)
    assert (
        the_key(keys.find("good", "Ed25519"))
        is the_key(keys.find("good", "EdDSA"))
        is the_key(keys.find(None, "Ed25519"))
    )
    assert len(keys) == 1


def test_an_algorithm_that_is_not_allowed_has_no_keys() -> None:
    keys = keys_of(good("RS256"), good("ES256", kid="ec"), allowed=("ES256",))
    assert keys.kids == ("ec",)
    assert len(keys) == 1
    assert the_key(keys.find("good", "RS256")) is Miss.MISMATCH


def test_r15_a_kid_is_compared_exactly() -> None:
    keys = keys_of(good(kid="Key-1"), good("RS256", 1, kid="key-1 "), good("RS256", 2, kid="é"))
    assert isinstance(the_key(keys.find("Key-1", "RS256")), Key)
    for kid in ("key-1", "KEY-1", "Key-1 ", "Key", "e\u0301", ""):
        assert the_key(keys.find(kid, "RS256")) is Miss.UNKNOWN


def test_r15_a_token_without_kid_uses_the_only_key_of_its_algorithm() -> None:
    keys = keys_of(good("RS256", kid="rs"), good("PS256", 1, kid="ps"), good("ES256", kid="es"))
    for kid, algorithm in (("rs", "RS256"), ("ps", "PS256"), ("es", "ES256")):
        assert the_key(keys.find(None, algorithm)) is the_key(keys.find(kid, algorithm))
    assert the_key(keys.find(None, "EdDSA")) is Miss.UNKNOWN


def test_r15_a_token_without_kid_is_tried_with_the_fitting_keys_in_their_order_if_they_are_few() -> None:
    named = keys_of(*(good("RS256", number, kid=f"k{number}") for number in range(3)))
    found = named.find(None, "RS256")
    assert isinstance(found, Found)
    assert ([key.kid for key in found.keys], found.named) == (["k0", "k1", "k2"], False)
    mixed = keys_of(without(good("ES256", 0), "kid"), good("ES256", 1, kid="b"))
    found = mixed.find(None, "ES256")
    assert isinstance(found, Found)
    assert [key.kid for key in found.keys] == [None, "b"]
    assert isinstance(the_key(mixed.find("b", "ES256")), Key)
    many = keys_of(*(good("ES256", number, kid=f"k{number}") for number in range(5)))
    assert many.find(None, "ES256") is Miss.AMBIGUOUS


def kids_of(found: Found | Miss) -> list[str | None] | Miss:
    """The kids of the keys that are tried, or why there are none."""
    return found if isinstance(found, Miss) else [key.kid for key in found.keys]


def test_a_certificate_names_its_key_and_an_unknown_one_a_key_without() -> None:
    keys = keys_of(
        {**good("ES256", 0, kid="a"), "x5t": "one"},
        {**good("ES256", 1, kid="b"), "x5t#S256": "two", "x5t": "three"},
    )
    for certificate, kid in (("one", "a"), ("two", "b"), ("three", "b")):
        found = keys.find(None, "ES256", (certificate,))
        assert isinstance(found, Found)
        assert (kids_of(found), found.named) == ([kid], True)
    assert keys.find(None, "ES256", ("four",)) is Miss.UNKNOWN
    assert keys.find(None, "RS256", ("one",)) is Miss.MISMATCH  # as a kid that is another algorithm's
    bare = keys_of(good("ES256", 0, kid="a"), {**good("ES256", 1, kid="b"), "x5t": "two"})
    found = bare.find(None, "ES256", ("one",))
    assert isinstance(found, Found)
    assert (kids_of(found), found.named) == (["a"], False)


@pytest.mark.parametrize(
    ("certificates", "wanted"),
    [
        (("a256", "a1"), ["a"]),
        (("unknown", "a1"), ["a"]),  # the JWK may have but one of them, and a token has both
        (("a256", "unknown"), ["a"]),
        (("b256", "unknown"), ["b"]),
        (("unknown", "b256"), ["b"]),
        (("a256", "c1"), Miss.AMBIGUOUS),  # two keys are named
        (("b256", "a1"), Miss.AMBIGUOUS),
        (("b256", "other1"), Miss.AMBIGUOUS),  # also where only one is for the algorithm
        (("unknown", "other1"), Miss.MISMATCH),
        (("a256", "left-out"), ["a"]),  # what names no usable key has no say
        (("left-out", "unknown"), Miss.MISMATCH),
        (("unknown", "unknown too"), Miss.UNKNOWN),
    ],
)
def test_r15_both_thumbprints_of_a_token_name_one_key(
    certificates: tuple[str, str], wanted: list[str] | Miss
) -> None:
    keys = keys_of(
        {**good("ES256", 0, kid="a"), "x5t#S256": "a256", "x5t": "a1"},
        {**good("ES256", 1, kid="b"), "x5t#S256": "b256"},
        {**good("ES256", 2, kid="c"), "x5t": "c1"},
        {**good("PS256", 0, kid="other"), "x5t": "other1"},
        {**good("ES256", 3, kid="enc"), "x5t": "left-out", "use": "enc"},
    )
    assert kids_of(keys.find(None, "ES256", certificates)) == wanted
    # A kid that is there decides alone.
    assert kids_of(keys.find("b", "ES256", certificates)) == ["b"]
    assert kids_of(keys.find("new", "ES256", certificates)) is Miss.UNKNOWN


def test_keys_under_one_thumbprint_are_tried_in_their_order_if_they_are_few() -> None:
    def under_one(count: int) -> Found | Miss:
        listed = [{**good("ES256", number, kid=f"k{number}"), "x5t": "same"} for number in range(count)]
        return keys_of(*listed).find(None, "ES256", ("same",))

    few = under_one(4)
    assert isinstance(few, Found)
    assert (kids_of(few), few.named) == (["k0", "k1", "k2", "k3"], False)
    assert under_one(5) is Miss.AMBIGUOUS


def test_a_key_that_is_listed_twice_goes_by_the_thumbprints_of_both() -> None:
    keys = keys_of(
        {**good("ES256", 0, kid="a"), "x5t#S256": "a256"},
        {**good("ES256", 0, kid="a again"), "x5t": "a1"},
        {**good("ES256", 1, kid="b"), "x5t": "b1"},
    )
    for certificates in (("a256", "a1"), ("a256",), ("a1",)):
        found = keys.find(None, "ES256", certificates)
        assert isinstance(found, Found)
        assert (kids_of(found), found.named) == (["a"], True)
    assert keys.find(None, "ES256", ("unknown",)) is Miss.UNKNOWN  # neither is a key without a certificate


def thumbprints_of(certificate: bytes) -> tuple[str, str]:
    """By SHA-256 and by SHA-1 (RFC 7515 §4.1.8, §4.1.7)."""
    return b64u(hashlib.sha256(certificate).digest()), b64u(hashlib.sha1(certificate).digest())


CHAIN = [base64.b64encode(b"a certificate, as far as anybody looks").decode(), "an issuer's"]
BY_SHA256, BY_SHA1 = thumbprints_of(b"a certificate, as far as anybody looks")


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({}, ()),
        ({"x5c": CHAIN}, (BY_SHA256, BY_SHA1)),
        ({"x5c": CHAIN, "x5t": "own"}, (BY_SHA256, "own")),
        ({"x5c": CHAIN, "x5t#S256": "own"}, ("own", BY_SHA1)),
        ({"x5c": CHAIN, "x5t#S256": "own", "x5t": "too"}, ("own", "too")),
        ({"x5c": CHAIN, "x5t": "", "x5t#S256": None}, (BY_SHA256, BY_SHA1)),
        ({"x5t": "own"}, ("own",)),
        ({"x5t": ""}, ()),
        ({"x5c": []}, ()),
        ({"x5c": ["no base64!"]}, ()),
        ({"x5c": ["no base64!"], "x5t": "own"}, ("own",)),
        ({"x5c": ["\u00e9"]}, ()),
    ],
)
def test_a_key_goes_by_its_own_thumbprints_and_else_by_those_of_its_first_certificate(
    members: dict[str, Any], wanted: tuple[str, ...]
) -> None:
    [jwk] = import_jwks(document({**good("ES256"), **members})).keys
    assert jwk.certificates == wanted
    [rejected] = import_jwks(document({**good("ES256"), **members, "use": "enc"}, good("ES384"))).rejected
    assert rejected.certificates == wanted


@pytest.mark.parametrize(
    "members", [{"x5c": "MIIB"}, {"x5c": [1]}, {"x5c": {}}, {"x5t": ["a"]}, {"x5t#S256": 1}]
)
def test_certificate_members_of_the_wrong_type_name_nothing(members: dict[str, Any]) -> None:
    [rejected] = import_jwks(document({**good("ES256"), **members}, good("ES384"))).rejected
    assert (rejected.reason, rejected.certificates) == ("a member of the wrong type", ())


def refusal(keys: KeySet, header: dict[str, Any]) -> tuple[str, str | None]:
    """The code and the hint for a token with this header, whose key is missing."""
    parsed = parse_header(b64u(json.dumps(header).encode()).encode())
    miss = keys.find(parsed.kid, parsed.algorithm, parsed.certificates)
    assert isinstance(miss, Miss)
    error = keys.refusal(parsed, miss)
    return error.code, error.hint


ENC, TWINS = "the key was left out: use is not sig", f"the key was left out: {TWIN}"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ({"alg": "RS256", "kid": "enc"}, ("unusable_key", ENC)),
        ({"alg": "RS256", "x5t": "enc1"}, ("unusable_key", ENC)),
        ({"alg": "RS256", "x5t": "enc1", "x5t#S256": "new"}, ("unusable_key", ENC)),
        ({"alg": "ES256", "kid": "twin"}, ("unusable_key", TWINS)),
        ({"alg": "ES256", "x5t": "twin1"}, ("unusable_key", TWINS)),
        ({"alg": "EdDSA", "kid": "twin"}, ("algorithm_mismatch", None)),  # its usable namesake is meant
        ({"alg": "EdDSA", "x5t": "twin1"}, ("algorithm_mismatch", None)),
        ({"alg": "Ed25519", "kid": "ed twin"}, ("unusable_key", TWINS)),
        ({"alg": "ES256", "kid": "good"}, ("algorithm_mismatch", None)),
        ({"alg": "ES256", "x5t": "good1"}, ("algorithm_mismatch", None)),
        ({"alg": "RS256", "kid": "new"}, ("unknown_kid", None)),
        ({"alg": "RS256", "x5t": "new"}, ("unknown_kid", None)),
        ({"alg": "ES512"}, ("unknown_kid", None)),
    ],
)
def test_a_token_of_a_key_that_was_left_out_is_refused_with_the_reason(
    header: dict[str, Any], wanted: tuple[str, str | None]
) -> None:
    keys = keys_of(
        {**good("RS256", 0, kid="enc"), "use": "enc", "x5t": "enc1"},
        {**good("ES256", 0, kid="twin"), "x5t": "twin1"},
        {**good("ES256", 1, kid="twin"), "x5t": "twin1"},
        {**good("PS256", 0, kid="twin"), "x5t": "twin1"},
        good("EdDSA", 0, kid="ed twin"),
        good("EdDSA", 1, kid="ed twin"),
        {**good("PS256", 1, kid="good"), "x5t": "good1"},
    )
    assert refusal(keys, header) == wanted


def test_what_was_left_out_is_told_in_plain_values() -> None:
    keys = keys_of({**RSA, "use": "enc"}, 5, {**without(RSA, "kid"), "kty": "PQ"}, good("ES256", kid="other"))
    assert keys.left_out == [
        {"kid": "good", "reason": "use is not sig"},
        {"kid": None, "reason": "not an object"},
        {"kid": None, "reason": "a key type that is not supported"},
    ]


def test_r15_a_key_without_kid_answers_only_tokens_without_kid() -> None:
    jwk = without(good("RS256"), "kid")
    keys = keys_of(jwk)
    key = the_key(keys.find(None, "RS256"))
    assert isinstance(key, Key)
    assert key.kid is None
    assert keys.kids == ()
    for kid in ("good", thumbprint(without(jwk, "alg", "use")), "", "None"):
        assert the_key(keys.find(kid, "RS256")) is Miss.UNKNOWN


def test_r23_two_different_keys_with_one_kid_and_algorithm_are_both_refused() -> None:
    keys = keys_of(good("RS256", 0), good("ES256", kid="other"), good("RS256", 1))
    assert the_key(keys.find("good", "RS256")) is Miss.MISMATCH
    assert the_key(keys.find(None, "RS256")) is Miss.UNKNOWN
    assert keys.kids == ("other",)
    assert told(keys.rejected) == [
        (0, "two different keys with one kid and algorithm"),
        (2, "two different keys with one kid and algorithm"),
    ]
    assert {key.kid for key in keys.rejected} == {"good"}


def test_r23_twins_and_unusable_keys_are_rejected_side_by_side() -> None:
    keys = keys_of(good("RS256", 0), {**RSA, "use": "enc"}, good("ES256", kid="other"), good("RS256", 1))
    assert told(keys.rejected) == [
        (0, "two different keys with one kid and algorithm"),
        (1, "use is not sig"),
        (3, "two different keys with one kid and algorithm"),
    ]


def test_r23_the_algorithm_of_a_twin_may_come_from_the_issuer() -> None:
    twins = (good("RS256", 0), without(good("RS256", 1), "alg"))
    assert the_key(keys_of(*twins, allowed=("RS256",)).find("good", "RS256")) is Miss.MISMATCH
    apart = keys_of(*twins, allowed=("PS256", "RS256"))
    rs, ps = the_key(apart.find("good", "RS256")), the_key(apart.find("good", "PS256"))
    assert isinstance(rs, Key)
    assert isinstance(ps, Key)
    assert rs.thumbprint != ps.thumbprint


def test_r23_the_same_key_twice_is_one_key() -> None:
    for other in (
        good(),
        {**good(), "x5t": "abc"},
        without(good(), "alg", "use"),
        {**good(), "n": LEADING_ZERO},
    ):
        keys = keys_of(good(), other)
        assert isinstance(the_key(keys.find("good", "RS256")), Key)
        assert the_key(keys.find(None, "RS256")) is the_key(keys.find("good", "RS256"))
        assert len(keys) == 1
        assert keys.rejected == ()


def test_r23_the_same_key_for_two_issuers_is_two_keys() -> None:
    keys = keys_of(
        {**good(), "issuer": "https://a.example"}, {**good(), "issuer": "https://b.example"}, good("ES256")
    )
    assert the_key(keys.find("good", "RS256")) is Miss.MISMATCH


def test_r23_one_kid_may_name_keys_of_two_algorithms() -> None:
    keys = keys_of(good("RS256"), good("ES256"), good("PS256"))
    for algorithm in ("RS256", "ES256", "PS256"):
        key = the_key(keys.find("good", algorithm))
        assert isinstance(key, Key)
        assert key.verify(sign(algorithm, private_key(algorithm), MESSAGE), MESSAGE)
    assert keys.kids == ("good",)
    assert len(keys) == 3


@pytest.mark.parametrize(
    "other", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "RSA-OAEP"}, {"e": "Aw"}, {"d": "AQAB"}]
)
def test_r23_a_key_that_is_not_for_verifying_is_no_twin(other: dict[str, Any]) -> None:
    keys = keys_of({**good("RS256", 1), **other}, good("RS256", 0))
    key = the_key(keys.find("good", "RS256"))
    assert isinstance(key, Key)
    assert key.verify(sign("RS256", private_key("RS256"), MESSAGE), MESSAGE)


def test_r24_a_kid_that_the_document_holds_is_not_unknown() -> None:
    # Only an unknown kid makes a refresh worth while; a new copy of the same document would not help these.
    keys = keys_of(
        good(), good("ES256", kid="ec"), {**good("RS256", 1), "kid": "enc", "use": "enc"}, {"kid": "odd"}
    )
    assert the_key(keys.find("good", "ES256")) is Miss.MISMATCH
    assert the_key(keys.find("enc", "RS256")) is Miss.MISMATCH
    assert the_key(keys.find("odd", "RS256")) is Miss.MISMATCH
    assert the_key(keys.find("new", "RS256")) is Miss.UNKNOWN


def test_r24_key_sets_know_nothing_of_each_other() -> None:
    one, other = keys_of(good("RS256", 0)), keys_of(good("RS256", 1))
    signature = sign("RS256", private_key("RS256", 0), MESSAGE)
    mine, theirs = the_key(one.find("good", "RS256")), the_key(other.find("good", "RS256"))
    assert isinstance(mine, Key)
    assert isinstance(theirs, Key)
    assert mine.verify(signature, MESSAGE)
    assert not theirs.verify(signature, MESSAGE)


# -- documents ---------------------------------------------

UNUSABLE = {
    "empty": (b"", "strict JSON"),
    "not JSON": (b"<html></html>", "strict JSON"),
    "an array": (document(good())[9:-1], "strict JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + document(good()), "strict JSON"),
    "UTF-16": (document(good()).decode().encode("utf-16"), "strict JSON"),
    "duplicate members": (document(good())[:-1] + b',"keys":[]}', "strict JSON"),
    "duplicate members in a key": (document(good()).replace(b'"kid"', b'"kid":"x","kid"'), "strict JSON"),
    "a lone surrogate": (document(good(), x="\ud800"), "strict JSON"),
    "NaN": (document(good(), x=float("nan")), "strict JSON"),
    "deep": (document(good(), x=json.loads("[" * 16 + "]" * 16)), "strict JSON"),
    "no keys": (b"{}", "keys array"),
    "one key": (json.dumps(good()).encode(), "keys array"),
    "keys of another name": (json.dumps({"Keys": [good()]}).encode(), "keys array"),
    "keys null": (b'{"keys":null}', "keys array"),
    "keys an object": (json.dumps({"keys": {"0": good()}}).encode(), "keys array"),
    "empty keys": (b'{"keys":[]}', "no usable key$"),
    "only keys for encryption": (document({**good(), "use": "enc"}), "no usable key: use is not sig$"),
    "only a symmetric key": (document({"kty": "oct", "k": "AAAA"}), "no usable key: private members$"),
    "only a private key": (document({**good(), "d": "AAAA"}), "no usable key: private members$"),
    "only twins": (document(good("RS256", 0), good("RS256", 1)), f"no usable key: {TWIN}$"),
    "only twins without alg": (
        document(*(without(good("RS256", n), "alg") for n in (0, 1))),
        f"no usable key: {TWIN}$",
    ),
    "65 keys": (document(*[good()] * 65), "64 keys"),
    "65 entries that are no keys": (document(good(), *[None] * 64), "64 keys"),
    "more than 256 KiB": (document(good(), x="a" * 262_144), "256 KiB"),
}


@pytest.mark.parametrize(("data", "text"), UNUSABLE.values(), ids=UNUSABLE)
def test_r22_a_document_without_a_key_to_verify_with_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(UnusableDocument, match=text) as caught:
        import_jwks(data)
    assert caught.value.__cause__ is None
    assert len(str(caught.value)) < 100


def test_what_is_told_of_a_document_without_a_usable_key_is_bounded() -> None:
    left_out = [
        {"use": "enc"},
        {"use": "enc"},
        {"kty": "PQ"},
        {"x": 1},
        {"e": "AQAB="},
        {"n": 5},
        {"d": "AAAA"},
    ]
    with pytest.raises(UnusableDocument) as caught:
        import_jwks(document(*({**good(), **members} for members in left_out)))
    told = "use is not sig; a key type that is not supported; a member of the wrong type"
    assert str(caught.value) == f"the key set has no usable key: {told}"


def test_a_document_of_64_keys_is_read() -> None:
    jwks = [good("ES256", number, kid=f"k{number}") for number in range(64)]
    keys = keys_of(*jwks)
    assert len(keys) == 64
    assert keys.kids == tuple(f"k{number}" for number in range(64))
    assert all(isinstance(the_key(keys.find(jwk["kid"], "ES256")), Key) for jwk in jwks)


def test_a_document_may_hold_other_members_and_be_written_in_any_way() -> None:
    data = json.dumps({"issued": 1, "keys": [good()], "x": {"y": None}}, indent=2).encode() + b"\n"
    assert len(import_jwks(data).keys) == 1


def test_a_document_is_known_by_its_digest() -> None:
    data = document(good())
    imported = import_jwks(data)
    assert imported.digest == hashlib.sha256(data).digest()
    assert imported.for_algorithms(DEFAULT).digest == imported.digest


def test_the_order_of_the_document_is_kept() -> None:
    jwks = [good("RS256", 0, kid="b"), good("ES256", kid="a"), good("RS256", 1, kid="c")]
    imported = import_jwks(document(*jwks))
    assert [key.index for key in imported.keys] == [0, 1, 2]
    assert imported.for_algorithms(DEFAULT).kids == ("b", "a", "c")


def hostile_documents() -> dict[str, bytes]:
    source = random.Random(1)
    half = "x" * 2000
    moduli = [b64u_integer(2**8191 | source.getrandbits(8190) | 1) for _ in range(64)]
    p521 = public_jwk(private_key("ES512"))
    return {
        "64 moduli of 8192 bits": document(
            *({"kty": "RSA", "n": n, "e": "_____w", "kid": str(i)} for i, n in enumerate(moduli))
        ),
        "64 huge exponents": document(*({"kty": "RSA", "n": n, "e": n} for n in moduli), good()),
        "64 points on P-521": document(*({**p521, "kid": str(i)} for i in range(64))),
        "64 Ed25519 keys": document(*({**OKP, "kid": str(i)} for i in range(64))),
        "64 rivals": document(*(good("RS256", i % 8) for i in range(63)), good("ES256")),
        "long lists": document(
            good(), *({**RSA, "key_ops": ["verify", *map(str, range(500))]} for _ in range(40))
        ),
        "long strings": document(good(), *({**RSA, "n": half, "e": half, "kid": half} for _ in range(40))),
        "deep": b"[" * 262_144,
        "deep objects": b'{"a":' * 52_000,
        "many members": b'{"keys":[' + b",".join([b'{"a":1}'] * 32_000) + b"]}",
        "many escapes": b'{"keys":"' + rb"\ud83d\ude00" * 21_000 + b'"}',
        "digits": b'{"keys":' + b"1" * 262_000 + b"}",
        "brackets": b'{"keys":"' + b"[{" * 131_000 + b'"}',
    }


@pytest.mark.parametrize(("name", "data"), hostile_documents().items(), ids=list(hostile_documents()))
def test_a_hostile_document_costs_little(name: str, data: bytes) -> None:
    assert len(data) <= 262_144
    start = time.process_time()
    try:
        imported: ImportedJWKS | None = import_jwks(data)
    except UnusableDocument:
        imported = None
    if imported is not None:
        imported.for_algorithms(ALGORITHMS)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_in_an_optional_member_is_as_if_it_were_absent(name: str) -> None:
    jwk = {**good("ES256"), name: None}
    imported = import_jwks(document(jwk))
    assert imported.rejected == ()
    assert imported.keys[0].thumbprint == import_jwks(document(good("ES256"))).keys[0].thumbprint


@pytest.mark.parametrize("count", [MAX_TRIED, MAX_TRIED + 1])
def test_a_token_that_names_no_key_is_tried_with_a_few_and_with_no_more(count: int) -> None:
    keys = import_jwks(document(*[good("ES256", number, kid=f"{number}") for number in range(count)]))
    found = keys.for_algorithms(DEFAULT).find(None, "ES256")
    if count > MAX_TRIED:
        assert found is Miss.AMBIGUOUS
    else:
        assert isinstance(found, Found)
        assert (len(found.keys), found.named) == (count, False)


def test_a_token_that_names_its_key_gets_that_one_alone() -> None:
    keys = import_jwks(document(good(), good("ES256", kid="other"))).for_algorithms(DEFAULT)
    found = keys.find("good", "RS256")
    assert isinstance(found, Found)
    assert ([key.kid for key in found.keys], found.named) == (["good"], True)


def test_a_key_of_two_algorithms_is_found_by_its_certificate_for_both() -> None:
    jwks = [good("RS256", kid=name, alg=name, **{"x5t#S256": b64u(b"c" * 32)}) for name in ("RS256", "PS256")]
    keys = import_jwks(document(*jwks)).for_algorithms(DEFAULT)
    for name in ("RS256", "PS256"):
        found = keys.find(None, name, (b64u(b"c" * 32),))
        assert isinstance(found, Found)
        assert [key.algorithm for key in found.keys] == [name]


def test_a_key_id_that_is_none_is_not_told() -> None:
    bad = {"kty": "RSA", "kid": "k" * 300, "n": "AQAB", "e": "AQAB"}
    (left_out,) = import_jwks(document(good(), bad)).for_algorithms(DEFAULT).rejected
    assert left_out.kid is None


def test_an_exponent_may_begin_with_any_byte() -> None:
    odd = good("RS256", e=b64u(b"X\0\1"))
    (key,) = import_jwks(document(odd)).keys
    assert key.public_key.public_numbers().e == 0x580001  # type: ignore[union-attr]
