"""Advisories on the choice of the algorithm: secrets made of public keys, `none`, keys from the header."""

from __future__ import annotations

import pytest
from crafting import ABSENT, SigningKey, claims_of, header_of, json_of, key, key_set, token
from header_cases import macced, public_encodings
from outcomes import outcome, refused, unexpected, verdict

from skeldir_jwt_mw import Issuer
from skeldir_jwt_mw.core.compact import parse_header
from skeldir_jwt_mw.core.jwk import UnusableKey, import_jwk
from skeldir_jwt_mw.core.keys import import_jwks
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS, bind
from skeldir_jwt_mw.testing.tokens import b64url

ALLOWED = ("RS256", "PS256", "ES256", "EdDSA")
HMAC = ("HS256", "HS384", "HS512")


def judged(header: dict[str, object]) -> str | None:
    """What is said of a header alone."""
    return refused(lambda: parse_header(b64url(json_of(header)).encode()))


def test_t_alg_no_form_of_a_public_key_is_a_secret() -> None:
    """CVE-2022-29217, CVE-2026-48526, GHSA-r6x4, GHSA-ffc3, GHSA-p4g4, GHSA-w2cx, GHSA-pxh4, CVE-2024-37568,
    CVE-2024-33663, CVE-2026-34950, CVE-2023-48223, CVE-2025-65945: HMAC keyed with a public key, in PEM, DER,
    OpenSSH, JWK or JWKS, behind a byte order mark or white space, or with nothing at all.
    """
    for kind in ALLOWED:
        encodings = public_encodings(key(kind))
        assert len(encodings) >= 8
        for secret in encodings.values():
            for algorithm in HMAC:
                assert verdict(macced(secret, algorithm, key(kind).kid)) == "algorithm_not_allowed"
    for algorithm in HMAC:
        # Refused in the header already, whatever any issuer might say.
        assert judged({"alg": algorithm, "kid": "es256"}) == "algorithm_not_allowed"
        assert outcome(lambda: Issuer("https://a.example", audience="a", algorithms=(algorithm,))) == (  # noqa: B023
            "configuration"
        )
    assert outcome(lambda: Issuer("https://a.example", audience="a", algorithms=())) == "configuration"


def test_t_keyalg_a_key_answers_to_its_own_algorithm_and_only_where_that_is_allowed() -> None:
    """CVE-2026-48523, CVE-2026-22817, CVE-2026-22818, CVE-2022-23539, CVE-2022-23540, CVE-2022-23541, and
    lestrrat jwx v1.2.0: the algorithm came from the token, over that of the key or of the configuration.
    """
    for kind in (*ALLOWED, "ES384", "RS512"):
        for claimed in (*ALLOWED, "ES384", "RS512"):
            # Signed by what the key is for, and by what the header claims where the key can do that too.
            tokens = [token(header_of(key(kind), alg=claimed), signer=key(kind))]
            if kind[0] in "RP" and claimed[0] in "RP":
                crossed = SigningKey(kid=key(kind).kid, alg=claimed, private=key(kind).private)
                tokens.append(token(signer=crossed))
            expected = "ok" if claimed == kind else "algorithm_mismatch"
            if claimed not in ALLOWED:
                expected = "algorithm_not_allowed"
            assert {verdict(one) for one in tokens} == {expected}, (kind, claimed)


def test_t_keyalg_a_key_without_alg_is_not_for_what_the_token_says() -> None:
    """CVE-2026-22817, CVE-2026-22818: where the JWK has no `alg`, the header's was used."""
    jwk = {name: value for name, value in key("RS256").jwk().items() if name != "alg"}
    for claimed in ("RS256", "PS256"):
        signer = SigningKey(kid="rs256", alg=claimed, private=key("RS256").private)
        expected = "ok" if claimed == "RS256" else "algorithm_mismatch"
        assert verdict(token(signer=signer), key_set(jwk)) == expected


def test_t_none_no_token_without_a_signature_is_accepted() -> None:
    """CVE-2026-28802: `none` with a blank signature, back again in a later release."""
    assert unexpected("no signature asked for", "empty parts") == []
    for name in ("none", "None", "NONE", "nOnE", "", "null"):
        assert judged({"alg": name}) == "algorithm_not_allowed"
        for signature in ("", "AA", b64url(bytes(64))):
            unsigned = ".".join(
                (b64url(json_of(header_of(alg=name))), b64url(json_of(claims_of())), signature)
            )
            assert verdict(unsigned) == ("algorithm_not_allowed" if signature else "malformed")
    assert outcome(lambda: Issuer("https://a.example", audience="a", algorithms=("none",))) == "configuration"


def test_t_hdrkey_a_key_that_the_token_brings_is_never_used() -> None:
    """CVE-2026-27962: without a key of its own, the library took the one in the header."""
    assert unexpected("key brought along") == []
    evil = key("ES256 evil")
    for member, value in {
        "jwk": evil.jwk(),
        "jku": "https://a.example/",
        "x5u": "https://a.example/",
        "x5c": [],
    }.items():
        for kid in (evil.kid, "es256", ABSENT):
            brought = token(header_of(evil, kid=kid, **{member: value}), signer=evil)
            assert verdict(brought) in {"unsupported_header", "unknown_kid"}
        # Signed by the right key it is refused for that member and nothing else.
        assert verdict(token(header_of(**{member: value}))) == "unsupported_header"


def test_t_failopen_what_is_not_known_is_refused_and_never_passed_over() -> None:
    """CVE-2026-28498: a check was skipped where its algorithm was unknown."""
    unknown = ("ES999", "RS1", "XS256", "", "none", "HS256", "Ed448", "ES256K", "RS256 ")
    for name in unknown:
        assert judged({"alg": name}) == "algorithm_not_allowed"
        for kind in ALLOWED:
            assert outcome(lambda: bind(name, key(kind).private.public_key())) == "ValueError"  # noqa: B023
    for name in SUPPORTED_ALGORITHMS:
        for kind in ALLOWED:
            fits = name[:2] in ("RS", "PS") if kind[1:] == "S256" and kind[0] in "RP" else name == kind
            fits = fits or (kind == "EdDSA" and name == "Ed25519")
            made = outcome(lambda: bind(name, key(kind).private.public_key()))  # noqa: B023
            assert made == ("ok" if fits else "ValueError"), (name, kind)
    for member in ("at_hash", "c_hash"):
        # We read no such claim: one that no algorithm could check changes nothing.
        assert verdict(token(None, claims_of(**{member: "rubbish"}))) == "ok"


@pytest.mark.parametrize("secret", [b"", b"\0", b"s" * 64])
def test_t_oct_a_symmetric_key_is_dropped_and_reported(secret: bytes) -> None:
    """GHSA-wphv-vfrh-23q5, CVE-2026-48526: an empty or leaked secret verified whatever was signed with it."""
    jwk = {"kty": "oct", "k": b64url(secret), "kid": "mac", "alg": "HS256"}
    imported = import_jwks(json_of(key_set(key("ES256").jwk(), jwk)))
    assert imported.private_members
    assert [jwk.kid for jwk in imported.keys] == ["es256"]
    assert unexpected("symmetric keys in the set") == []
    with pytest.raises(UnusableKey):
        import_jwk({"kty": "oct", "kid": "mac"}, 0)
