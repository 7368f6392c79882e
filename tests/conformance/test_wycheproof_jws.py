"""Wycheproof's JWS vectors through the core: framing, header, key import, key choice, signature.

The payloads are no claims sets, so the public API lets none of them in; it is asked for its manners. The
file is not part of this project: clone https://github.com/C2SP/wycheproof and set WYCHEPROOF_DIR to its
folder testvectors_v1.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from signing import the_key

from skeldir_jwt_mw import ConfigurationError, Issuer, Verifier
from skeldir_jwt_mw.core.compact import parse_header, split
from skeldir_jwt_mw.core.keys import Key, UnusableDocument, import_jwks
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.errors import InvalidToken
from skeldir_jwt_mw.sources import StaticSource

FILE = "json_web_signature_test.json"
VECTORS = 401
HOW_TO = (
    f"clone https://github.com/C2SP/wycheproof and set WYCHEPROOF_DIR to its folder testvectors_v1 ({FILE})"
)

# Labels that do not hold for a strict verifier of asymmetric signatures: our verdict, and the reason.
MISLABELLED = {
    346: (False, "labelled valid, but a PS256 key and a PS384 token (R11)"),
    350: (False, "labelled valid, but a PS256 key and a PS384 token (R11)"),
    347: (False, "labelled valid, but a key of the unregistered alg ES521 (R22)"),
    351: (False, "labelled valid, but a key of the unregistered alg ES521 (R22)"),
    367: (False, "labelled invalid, but equal to 357, labelled valid; all HS256 (R10)"),
    370: (False, "labelled invalid, but equal to 357, labelled valid; all HS256 (R10)"),
    372: (False, "labelled valid, but there is a question mark in the header segment (R01)"),
    373: (False, "labelled valid, but there is a question mark in the payload segment (R01)"),
}

# An empty payload is legal in a JWS. It can be no claims set, so a JWT never has one (R02).
EMPTY_PAYLOAD = {259, 264, 268, 272, 320, 325}

# Asymmetric signatures only: a token with an HMAC is refused whatever its label, and an oct key never taken
# (R10, R22).
SYMMETRIC = "oct"


FOLDER = os.environ.get("WYCHEPROOF_DIR")
if not FOLDER:
    if os.environ.get("CI") == "true":
        raise RuntimeError(HOW_TO)
    pytest.skip(HOW_TO, allow_module_level=True)

GROUPS: list[dict[str, Any]] = json.loads((Path(FOLDER) / FILE).read_text(encoding="utf-8"))["testGroups"]
CASES = {test["tcId"]: (group, test) for group in GROUPS for test in group["tests"]}


def is_symmetric(group: dict[str, Any]) -> bool:
    return bool(group["private"]["kty"] == SYMMETRIC)


def accepts(jwk: dict[str, Any], token: str) -> bool:
    """What the verifier's core says of the token, with the key as the only one of its document."""
    try:
        signing_input, segment, _, signature = split(token, 65_536)
        header = parse_header(segment)
        keys = import_jwks(json.dumps({"keys": [jwk]}).encode()).for_algorithms(SUPPORTED_ALGORITHMS)
    except (InvalidToken, UnusableDocument):
        return False
    key = the_key(keys.find(header.kid, header.algorithm))
    return isinstance(key, Key) and key.verify(signature, signing_input)


def test_no_vector_is_missing() -> None:
    assert sorted(CASES) == list(range(1, VECTORS + 1))


@pytest.mark.parametrize(
    ("group", "test"), CASES.values(), ids=[f"{n}-{test['comment']}" for n, (_, test) in CASES.items()]
)
def test_the_core_agrees_with_wycheproof(group: dict[str, Any], test: dict[str, Any]) -> None:
    number = test["tcId"]
    expected = test["result"] == "valid"
    if number in MISLABELLED:
        expected = MISLABELLED[number][0]
    elif number in EMPTY_PAYLOAD:
        assert test["jws"].split(".")[1] == ""
        expected = False
    elif is_symmetric(group):
        expected = False
    assert accepts(group["private"] if is_symmetric(group) else group["public"], test["jws"]) is expected


def test_the_public_api_refuses_every_vector_in_words_of_its_own() -> None:
    # None is a claims set of ours, and where the framing is in order that is what is found wrong first.
    for group, test in CASES.values():
        jwk = group["private"] if is_symmetric(group) else group["public"]
        try:
            source = StaticSource({"keys": [jwk]})
            issuer = Issuer(
                "https://a.example/", audience="a", source=source, algorithms=SUPPORTED_ALGORITHMS
            )
            verifier = Verifier([issuer])
        except ConfigurationError:
            assert not accepts(jwk, test["jws"])
            continue
        with pytest.raises(InvalidToken) as refused:
            verifier.verify(test["jws"])
        if accepts(jwk, test["jws"]):
            assert refused.value.code in {"bad_claims", "wrong_issuer"}


@pytest.mark.parametrize("group", [group for group in GROUPS if not is_symmetric(group)])
def test_no_vector_is_accepted_with_a_private_key_in_the_place_of_the_public_one(
    group: dict[str, Any],
) -> None:
    assert not any(accepts(group["private"], test["jws"]) for test in group["tests"])


def test_every_exception_is_one() -> None:
    for number, (verdict, _) in MISLABELLED.items():
        test = CASES[number][1]
        differs = (test["result"] == "valid") != verdict
        assert differs or test["jws"] == CASES[357][1]["jws"], number
    assert all(CASES[number][1]["result"] == "valid" for number in EMPTY_PAYLOAD)
