"""Wycheproof's other files, wherever $WYCHEPROOF_DIR holds them: key sets, bare signatures, JWEs.

Each file that is there makes its tests; for one that is not there are none. Labels "acceptable" bind nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from signing import the_key

from skeldir_jwt_mw.core.compact import parse_header, split
from skeldir_jwt_mw.core.keys import Key, UnusableDocument, import_jwks
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS, PublicKey, bind
from skeldir_jwt_mw.errors import InvalidToken
from skeldir_jwt_mw.testing import SigningKey, mint

FOLDER = os.environ.get("WYCHEPROOF_DIR")

Vector = tuple[dict[str, Any], dict[str, Any]]  # a group, and one of its tests

# Bare signatures: the algorithm whose signatures a file holds, in the form that a JWS has them in.
SIGNATURES = {
    **{
        f"rsa_signature_{bits}_sha{n}_test.json": f"RS{n}"
        for bits in (2048, 3072, 4096)
        for n in (256, 384, 512)
    },
    "rsa_pss_2048_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_3072_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_4096_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_2048_sha384_mgf1_48_test.json": "PS384",
    "rsa_pss_4096_sha384_mgf1_48_test.json": "PS384",
    "rsa_pss_4096_sha512_mgf1_64_test.json": "PS512",
    "ecdsa_secp256r1_sha256_p1363_test.json": "ES256",
    "ecdsa_secp384r1_sha384_p1363_test.json": "ES384",
    "ecdsa_secp521r1_sha512_p1363_test.json": "ES512",
    "ed25519_test.json": "EdDSA",
}
# What no JWS has: signatures in DER (RFC 7518 §3.4), salts of another length than the digest's (§3.5).
REFUSED = {
    "ecdsa_secp256r1_sha256_test.json": "ES256",
    "ecdsa_secp384r1_sha384_test.json": "ES384",
    "ecdsa_secp521r1_sha512_test.json": "ES512",
    "rsa_pss_2048_sha256_mgf1_0_test.json": "PS256",
}
KEY_SETS = "json_web_key_test.json"
JWES = ("json_web_encryption_test.json",)


def vectors(folder: str | Path | None, name: str) -> Iterator[Vector]:
    """The vectors of a file, none where it is not there."""
    if folder is not None and (path := Path(folder) / name).is_file():
        for group in json.loads(path.read_text(encoding="utf-8"))["testGroups"]:
            yield from ((group, test) for test in group["tests"])


def given(*names: str) -> dict[str, list[Vector]]:
    """Of these files those that are there, with their vectors."""
    found = {name: list(vectors(FOLDER, name)) for name in names}
    return {name: held for name, held in found.items() if held}


def verdict(algorithm: str, group: dict[str, Any], test: dict[str, Any]) -> bool:
    """What a key that is bound to the algorithm says of the signature."""
    key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
    assert isinstance(key, PublicKey)
    return bind(algorithm, key)(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))


def differing(algorithm: str, held: list[Vector]) -> list[int]:
    """The numbers of the vectors on which we differ from the label."""
    labelled = [(group, test) for group, test in held if test["result"] != "acceptable"]
    return [
        test["tcId"]
        for group, test in labelled
        if verdict(algorithm, group, test) is not (test["result"] == "valid")
    ]


def accepted(algorithm: str, held: list[Vector]) -> list[int]:
    """The numbers of the vectors that we accept."""
    return [test["tcId"] for group, test in held if verdict(algorithm, group, test)]


def read(held: list[Vector]) -> list[int]:
    """The numbers of the vectors that pass for a JWS whose header is in order."""
    passed = []
    for _, test in held:
        with contextlib.suppress(InvalidToken):
            parse_header(split(test["jwe"], 65_536)[1])
            passed.append(test["tcId"])
    return passed


def accepts_key_set(group: dict[str, Any], token: str) -> bool:
    """What the core says of a token, with all keys of the group in one document."""
    try:
        signing_input, segment, _, signature = split(token, 65_536)
        header = parse_header(segment)
        document = json.dumps(group.get("public", group["private"])).encode()
        keys = import_jwks(document).for_algorithms(SUPPORTED_ALGORITHMS)
    except (InvalidToken, UnusableDocument):
        return False
    key = the_key(keys.find(header.kid, header.algorithm))
    return isinstance(key, Key) and key.verify(signature, signing_input)


def differing_key_sets(held: list[Vector]) -> list[int]:
    """The numbers of the tokens on which we differ from the label; with a MAC none is accepted (R10)."""
    return [
        test["tcId"]
        for group, test in held
        if accepts_key_set(group, test["jws"]) is not (test["result"] == "valid" and not is_symmetric(group))
    ]


def is_symmetric(group: dict[str, Any]) -> bool:
    return all(key["kty"] == "oct" for key in group["private"]["keys"])


if PRESENT := given(*SIGNATURES):

    @pytest.mark.parametrize(("name", "held"), PRESENT.items(), ids=PRESENT.keys())
    def test_bare_signatures_are_judged_as_they_are_labelled(name: str, held: list[Vector]) -> None:
        assert differing(SIGNATURES[name], held) == []


if PRESENT := given(*REFUSED):

    @pytest.mark.parametrize(("name", "held"), PRESENT.items(), ids=PRESENT.keys())
    def test_signatures_in_der_or_with_other_salts_are_refused(name: str, held: list[Vector]) -> None:
        assert accepted(REFUSED[name], held) == []


if PRESENT := given(KEY_SETS):

    def test_key_sets_are_judged_as_they_are_labelled() -> None:
        assert differing_key_sets(PRESENT[KEY_SETS]) == []


if PRESENT := given(*JWES):

    @pytest.mark.parametrize(("name", "held"), PRESENT.items(), ids=PRESENT.keys())
    def test_every_jwe_is_refused_before_anything_is_decrypted(name: str, held: list[Vector]) -> None:
        assert read(held) == []


# -- the runner itself, over files of our own making in their form -------------------------------------------

MESSAGE = b"message"


def written(folder: Path, name: str, key: Any, signatures: dict[str, tuple[bytes, str]]) -> list[Vector]:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()
    tests = [
        {"tcId": number, "comment": comment, "msg": MESSAGE.hex(), "sig": signature.hex(), "result": label}
        for number, (comment, (signature, label)) in enumerate(signatures.items(), 1)
    ]
    (folder / name).write_text(json.dumps({"testGroups": [{"publicKeyDer": der, "tests": tests}]}))
    return list(vectors(folder, name))


def test_the_runner_finds_what_differs_and_nothing_else(tmp_path: Path) -> None:
    edwards = ed25519.Ed25519PrivateKey.generate()
    good, bad = edwards.sign(MESSAGE), edwards.sign(b"another")
    of_edwards = {
        "right": (good, "valid"),
        "wrong": (bad, "invalid"),
        "mislabelled": (bad, "valid"),
        "mislabelled too": (good, "invalid"),
        "either": (bad, "acceptable"),
    }
    assert differing("EdDSA", written(tmp_path, "ed25519_test.json", edwards, of_edwards)) == [3, 4]

    curve = ec.generate_private_key(ec.SECP256R1())
    der = curve.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    of_curve = {"P1363": (r.to_bytes(32) + s.to_bytes(32), "valid"), "DER": (der, "invalid")}
    assert differing("ES256", written(tmp_path, "ecdsa_test.json", curve, of_curve)) == []

    modulus = rsa.generate_private_key(65537, 2048)
    signed = modulus.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    salted = modulus.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    of_modulus = {"PKCS": (signed, "valid"), "PSS": (salted, "invalid")}
    assert differing("RS256", written(tmp_path, "rsa_test.json", modulus, of_modulus)) == []
    assert differing("PS256", written(tmp_path, "rsa_test.json", modulus, of_modulus)) == [1, 2]
    assert list(vectors(tmp_path, "no such file")) == []
    assert list(vectors(None, "ed25519_test.json")) == []


def test_a_file_that_is_not_there_makes_no_test() -> None:
    assert given("no such file") == {}
    assert all(given(*SIGNATURES, *REFUSED, KEY_SETS, *JWES).values())


def test_the_runner_judges_key_sets_and_jwes(tmp_path: Path) -> None:
    signing = SigningKey.generate("ES256", kid="a")
    token = mint(signing, {}, {"alg": "ES256", "kid": "a"})
    forged = mint(SigningKey.generate("ES256"), {}, {"alg": "ES256", "kid": "a"})
    groups = [
        {"private": {"keys": [{"kty": "EC"}]}, "public": {"keys": [jwk]}, "tests": [test]}
        for jwk, test in (
            (signing.jwk(), {"tcId": 1, "jws": token, "result": "valid"}),
            (signing.jwk(), {"tcId": 2, "jws": forged, "result": "invalid"}),
            (signing.jwk(use="enc"), {"tcId": 3, "jws": token, "result": "invalid"}),
            (signing.jwk(), {"tcId": 4, "jws": token, "result": "invalid"}),
            (signing.jwk(), {"tcId": 5, "jws": forged, "result": "valid"}),
        )
    ]
    groups.append(
        {
            "private": {"keys": [{"kty": "oct", "k": "AAAA"}]},
            "tests": [{"tcId": 6, "jws": token, "result": "valid"}],
        }
    )
    (tmp_path / KEY_SETS).write_text(json.dumps({"testGroups": groups}))
    assert differing_key_sets(list(vectors(tmp_path, KEY_SETS))) == [4, 5]
    jwes = [{"tcId": 1, "jwe": "eyJhbGciOiJkaXIifQ..AA.AA.AA"}, {"tcId": 2, "jwe": token}]
    assert read([({}, test) for test in jwes]) == [2]


def test_the_runner_sees_a_der_signature_that_is_accepted(tmp_path: Path) -> None:
    edwards = ed25519.Ed25519PrivateKey.generate()
    held = written(tmp_path, "x.json", edwards, {"accepted": (edwards.sign(MESSAGE), "valid")})
    assert accepted("EdDSA", held) == [1]
