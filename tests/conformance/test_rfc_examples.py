"""The RFCs' own examples through the core: what they print is read as they read it, less what we refuse."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from rfc_vectors import EXAMPLES, Example
from signing import the_key

from skeldir_jwt_mw.core.compact import parse_header, split
from skeldir_jwt_mw.core.keys import Key, UnusableDocument, import_jwks
from skeldir_jwt_mw.errors import InvalidToken

GOOD = {name: example for name, example in EXAMPLES.items() if example.payload is not None}
REFUSED = {name: example for name, example in EXAMPLES.items() if example.payload is None}


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def document(example: Example) -> bytes:
    return json.dumps({"keys": [example.key]}).encode()


@pytest.mark.parametrize("example", GOOD.values(), ids=GOOD.keys())
def test_what_an_rfc_prints_as_good_verifies(example: Example) -> None:
    signing_input, segment, payload, signature = split(example.jws, 65_536)
    header = parse_header(segment)
    keys = import_jwks(document(example)).for_algorithms((header.algorithm,))
    key = the_key(keys.find(header.kid, header.algorithm))
    assert isinstance(key, Key)
    assert payload == example.payload
    assert key.verify(signature, signing_input)
    assert not key.verify(signature, signing_input + b"A")
    assert not key.verify(signature[:-1] + bytes([signature[-1] ^ 1]), signing_input)


@pytest.mark.parametrize("example", GOOD.values(), ids=GOOD.keys())
def test_what_is_typed_in_verifies_with_the_bare_library(example: Example) -> None:
    head, _, encoded = example.jws.rpartition(".")
    algorithm, signature = json.loads(octets(head.split(".")[0]))["alg"], octets(encoded)
    number = {name: int.from_bytes(octets(value)) for name, value in example.key.items() if len(name) == 1}
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(algorithm[2:])
    if example.key["kty"] == "OKP":
        key = ed25519.Ed25519PublicKey.from_public_bytes(octets(example.key["x"]))
        key.verify(signature, head.encode())
    elif example.key["kty"] == "EC":
        curve = ec.SECP256R1() if example.key["crv"] == "P-256" else ec.SECP521R1()
        half = len(signature) // 2
        der = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        point = ec.EllipticCurvePublicNumbers(number["x"], number["y"], curve)
        point.public_key().verify(der, head.encode(), ec.ECDSA(digest))
    else:
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        if algorithm.startswith("RS"):
            scheme = padding.PKCS1v15()
        public = rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
        public.verify(signature, head.encode(), scheme, digest)


@pytest.mark.parametrize("example", REFUSED.values(), ids=REFUSED.keys())
def test_what_an_rfc_prints_for_other_profiles_is_refused(example: Example) -> None:
    with pytest.raises(InvalidToken) as refused:
        parse_header(split(example.jws, 65_536)[1])
    assert refused.value.code == example.code
    if example.key["kty"] == "oct":
        with pytest.raises(UnusableDocument):
            import_jwks(document(example))
