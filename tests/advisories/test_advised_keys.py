"""Advisories on keys and signatures themselves."""

from __future__ import annotations

import pytest
from crafting import header_of, json_of, key, key_set, rsa_key, token, with_signature
from outcomes import outcome, unexpected, verdict

from skeldir_jwt_mw.core.keys import import_jwks
from skeldir_jwt_mw.core.signature import bind

ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
    "ES512": 2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
}


@pytest.mark.parametrize("algorithm", ORDERS)
def test_t_psychic_zero_is_no_signature(algorithm: str) -> None:
    """CVE-2022-21449: r = s = 0 verified every message."""
    order = ORDERS[algorithm]
    width = {"ES256": 32, "ES384": 48, "ES512": 66}[algorithm]
    verify = bind(algorithm, key(algorithm).private.public_key())  # type: ignore[arg-type]
    for r in (0, 1, order - 1, order, order + 1):
        for s in (0, 1, order - 1, order, order + 1):
            signature = r.to_bytes(width) + s.to_bytes(width)
            refused = []
            assert outcome(lambda: refused.append(verify(signature, b"message") is False)) == "ok"  # noqa: B023
            assert refused == [True]
    assert verdict(with_signature(bytes(64), header_of())) == "bad_signature"
    assert unexpected("numbers that no signature has") == []


@pytest.mark.parametrize("bits", [1024, 1536, 2040])
def test_t_keysize_a_short_rsa_key_verifies_nothing(bits: int) -> None:
    """CVE-2025-45768: keys of any length were taken."""
    weak = rsa_key(bits)
    keys = key_set(key("ES256").jwk(), weak.jwk())
    assert verdict(token(signer=weak), keys) == "unusable_key"
    assert verdict(token(), keys) == "ok"


BAD = (
    None, 1, "x", [], {}, {"kty": "RSA"}, {"kty": "PQ"}, {"kty": "EC", "crv": "P-999"}, {"kid": ["x"]},
    {"kty": "EC", "crv": "P-256"},
    {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}, {"kty": 1},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    {"kty": "OKP", "crv": "X25519", "x": "A" * 43}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": None},
    {"kty": "RSA", "n": 5, "e": 5}, {"kty": "oct", "k": "AAAA"}, {"kty": "EC", "use": "enc"},
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_t_badkey_one_bad_key_costs_that_key_alone(bad: object) -> None:
    """GHSA-w6j9: one key that could not be read made the whole set unusable."""
    for keys in ((bad, key("ES256").jwk()), (key("ES256").jwk(), bad)):
        imported: list[int] = []
        document = json_of(key_set(*keys))
        assert outcome(lambda: imported.append(len(import_jwks(document).keys))) == "ok"  # noqa: B023
        assert imported == [1]
        assert verdict(token(), key_set(*keys)) == "ok"
