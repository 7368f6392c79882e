"""Hostile key sets: a good key among bad ones, and documents that are no key sets at all.

Where the document is still a set, the good key in it (`ES256`) must go on verifying. `forged` is a token
that would be accepted if the hostile key were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crafting import ISSUER, header_of, json_of, key, key_set, rsa_key, token, with_signature
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from header_cases import macced
from signature_cases import N_256, P_256

from skeldir_jwt_mw.testing.tokens import SigningKey, b64url

EVIL = "ES256 evil"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetCase:
    """A document; whether it is still a set; and a token that nobody may accept."""

    name: str
    document: bytes
    is_set: bool
    forged: str


def key_set_cases() -> list[KeySetCase]:
    """All of them, made anew."""
    made = (*_with_a_bad_key(), *_odd_sets(), *_no_sets())
    names = [case.name for case in made]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return list(made)


def _case(name: str, *keys: Any, forged: str | None = None) -> KeySetCase:
    return KeySetCase(name=name, document=json_of(key_set(*keys)), is_set=True, forged=forged or _forged())


def _forged(**header: Any) -> str:
    """A token by the hostile key, named as it is."""
    return token(header_of(key(EVIL), **header), signer=key(EVIL))


def _good() -> dict[str, Any]:
    return key("ES256").jwk()


def _with_a_bad_key() -> Iterator[KeySetCase]:
    evil = key(EVIL)
    for name, members in BAD_MEMBERS.items():
        yield _case(f"EC, {name}", evil.jwk(**members), _good(), forged=_forged())
    for name in ("kty", "crv", "x", "y"):
        without = {member: value for member, value in evil.jwk().items() if member != name}
        yield _case(f"EC without {name}", without, _good())
    jwk = evil.jwk()
    x, y = (int.from_bytes(_octets(jwk[name])) for name in ("x", "y"))
    for name, point in {
        "off the curve": {"y": b64url((y ^ 1).to_bytes(32))},
        "the origin": {"x": b64url(bytes(32)), "y": b64url(bytes(32))},
        "x beyond the field": {"x": b64url((P_256 + 1).to_bytes(32))},
        "x the order": {"x": b64url(N_256.to_bytes(32))},
        "x and y exchanged": {"x": jwk["y"], "y": jwk["x"]},
        "a short x": {"x": b64url(x.to_bytes(32)[:31])},
        "a long x": {"x": b64url(b"\0" + x.to_bytes(32))},
        "an empty x": {"x": ""},
        "x in hexadecimal": {"x": f"{x:064x}"},
        "x in standard base64": {"x": jwk["x"] + "="},
        "x with spare bits": {"x": jwk["x"][:-1] + "_"},
        "x in other letters": {"x": "\u0430" * 43},
        "x of a megabyte, nearly": {"x": "A" * 200_000},
        "x a number": {"x": 2**53},
        "x null": {"x": None},
        "x a list": {"x": [jwk["x"]]},
        "curve of another size": {"crv": "P-384"},
        "curve in lower case": {"crv": "p-256"},
        "secp256k1": {"crv": "secp256k1"},
        "brainpool": {"crv": "BP-256"},
        "curve unknown": {"crv": "P-999"},
        "curve empty": {"crv": ""},
        "curve a number": {"crv": 256},
        "kty RSA": {"kty": "RSA"},
        "kty OKP": {"kty": "OKP"},
        "kty oct": {"kty": "oct"},
        "kty in lower case": {"kty": "ec"},
        "kty AKP": {"kty": "AKP"},
        "kty empty": {"kty": ""},
        "kty null": {"kty": None},
        "kty a list": {"kty": ["EC"]},
    }.items():
        yield _case(f"EC, {name}", {**jwk, **point}, _good())
    yield from _rsa()
    yield from _edwards()
    yield from _secrets()
    for other in NO_KEYS:
        yield _case(f"{other!r:.30} for a key, first", other, _good())
        yield _case(f"{other!r:.30} for a key, last", _good(), other)


NO_KEYS: tuple[Any, ...] = (None, 0, 1.5, True, "", "key", [], [[]], {}, {"keys": []}, {"kid": "x"})

# What makes a good public key unfit.
BAD_MEMBERS: dict[str, dict[str, Any]] = {
    "use enc": {"use": "enc"},
    "use a number": {"use": 1},
    "use of two": {"use": "sig enc"},
    "key_ops sign": {"key_ops": ["sign"]},
    "key_ops empty": {"key_ops": []},
    "key_ops a string": {"key_ops": "verify"},
    "key_ops with a number": {"key_ops": ["verify", 1]},
    "key_ops twice the same": {"key_ops": ["verify", "verify"]},
    "key_ops against use": {"key_ops": ["verify", "encrypt"]},
    "alg of a MAC": {"alg": "HS256"},
    "alg none": {"alg": "none"},
    "alg of another curve": {"alg": "ES384"},
    "alg of another kind": {"alg": "RS256"},
    "alg for encrypting": {"alg": "ECDH-ES"},
    "alg a number": {"alg": 256},
    "alg empty": {"alg": ""},
    "alg with a space": {"alg": "ES256 "},
    "kid empty": {"kid": ""},
    "kid a number": {"kid": 7},
    "kid a list": {"kid": ["es256-evil"]},
    "kid an object": {"kid": {}},
    "kid of 257 bytes": {"kid": "k" * 257},
    "kid with a control character": {"kid": "es256-evil\n"},
    "kid with NUL": {"kid": "es256\0"},
    "issuer a number": {"issuer": 1},
    "issuer of somebody else": {"issuer": "https://evil.example/"},
    "issuer a list": {"issuer": [ISSUER]},
    "x5c a string": {"x5c": "MIIB"},
    "x5c with a number": {"x5c": [1]},
    "x5u a list": {"x5u": []},
    "x5t a number": {"x5t": 1},
    "d": {"d": "AAAA"},
    "d a number": {"d": 1},
    "d null": {"d": None},
    "k": {"k": "AAAA"},
    "p": {"p": "AAAA"},
    "q": {"q": "AAAA"},
    "dp": {"dp": "AAAA"},
    "qi": {"qi": "AAAA"},
    "oth": {"oth": []},
}


def _octets(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "==")


def _rsa() -> Iterator[KeySetCase]:
    evil = key("RS256 evil")
    jwk = evil.jwk()
    n = int.from_bytes(_octets(jwk["n"]))
    forged = token(signer=evil)
    for name, members in {
        "an even modulus": {"n": b64url((n ^ 1).to_bytes(256))},
        "modulus 0": {"n": "AA"},
        "modulus 1": {"n": "AQ"},
        "modulus empty": {"n": ""},
        "modulus of 512 bits": {"n": b64url(n.to_bytes(256)[:64])},
        "modulus of 2047 bits": {"n": b64url((n >> 1 | 1).to_bytes(256))},
        "modulus of 16384 bits": {"n": b64url(b"\xff" * 2048)},
        "modulus of 65536 bits": {"n": b64url(b"\xff" * 8192)},
        "modulus with two zero octets": {"n": b64url(b"\0\0" + n.to_bytes(256))},
        "modulus with padding": {"n": jwk["n"] + "=="},
        "modulus with a line break": {"n": jwk["n"][:40] + "\n" + jwk["n"][40:]},
        "modulus in standard base64": {"n": jwk["n"].replace("-", "+").replace("_", "/") + "+"},
        "modulus a number": {"n": 2**53},
        "exponent 0": {"e": "AA"},
        "exponent 1": {"e": "AQ"},
        "exponent 2": {"e": "Ag"},
        "exponent 3": {"e": "Aw"},
        "exponent 17": {"e": "EQ"},
        "exponent 65535": {"e": "__8"},
        "exponent 65536": {"e": "AQAA"},
        "exponent 2^32 + 1": {"e": "AQAAAAE"},
        "exponent of 2048 bits": {"e": b64url(b"\x01" + b"\xff" * 255)},
        "exponent as large as n": {"e": jwk["n"]},
        "exponent of five octets": {"e": "AAABAAE"},
        "exponent empty": {"e": ""},
        "exponent a number": {"e": 65537},
        "exponent text": {"e": "65537"},
        "no modulus": {"n": None},
        "alg of a curve": {"alg": "ES256"},
        "alg RSA1_5": {"alg": "RSA1_5"},
        "alg RSA-OAEP": {"alg": "RSA-OAEP-256"},
        "use enc": {"use": "enc"},
    }.items():
        yield _case(f"RSA, {name}", {**jwk, **members}, _good(), forged=forged)
    for weak in (rsa_key(1024), rsa_key(2048, 3)):
        yield _case(f"RSA, {weak.kid}", weak.jwk(), _good(), forged=token(signer=weak))


def _edwards() -> Iterator[KeySetCase]:
    universal = with_signature(b"\x01" + bytes(63), {"alg": "EdDSA", "typ": "at+jwt", "kid": "low"})
    for name, octets in {
        "identity": b"\x01" + bytes(31),
        "order 2": b"\xec" + b"\xff" * 30 + b"\x7f",
        "order 4": bytes(32),
        "order 4, sign set": bytes(31) + b"\x80",
        "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        "not canonical": b"\xed" + b"\xff" * 30 + b"\x7f",
        "all ones": b"\xff" * 32,
        "no point": b"\x02" + bytes(31),
        "31 bytes": b"\x01" * 31,
        "33 bytes": b"\x01" * 33,
        "57 bytes": b"\x01" * 57,
        "nothing": b"",
    }.items():
        jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "low", "x": b64url(octets)}
        yield _case(f"OKP, {name}", jwk, _good(), forged=universal)
    exchange = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    for crv in ("X25519", "Ed448", "X448", "ed25519", "", None, 25519):
        jwk = {"kty": "OKP", "crv": crv, "kid": "low", "x": b64url(exchange)}
        yield _case(f"OKP, crv {crv!r}", jwk, _good(), forged=universal)


def _secrets() -> Iterator[KeySetCase]:
    for name, secret in {"empty": b"", "short": b"a", "long": b"s" * 64}.items():
        jwk = {"kty": "oct", "k": b64url(secret), "kid": "mac"}
        forged = macced(secret, "HS256", "mac")
        yield _case(f"oct, {name}", jwk, _good(), forged=forged)
        yield _case(f"oct, {name}, alg", {**jwk, "alg": "HS256", "use": "sig"}, _good(), forged=forged)
    yield _case("oct without k", {"kty": "oct", "kid": "mac"}, _good(), forged=macced(b"", "HS256", "mac"))
    evil = key(EVIL)
    assert isinstance(evil.private, ec.EllipticCurvePrivateKey)
    private = evil.private.private_numbers().private_value.to_bytes(32)
    yield _case("a whole private key", evil.jwk(d=b64url(private)), _good())


def _odd_sets() -> Iterator[KeySetCase]:
    evil, good = key(EVIL), _good()
    stolen = _forged(kid="es256")
    yield KeySetCase(
        name="unknown members of the set",
        document=json_of({"keys": [good], "x": [{}], "": 1}),
        is_set=True,
        forged=stolen,
    )
    yield KeySetCase(
        name="white space around",
        document=b" \r\n\t" + json_of(key_set(good)) + b"\n" * 1000,
        is_set=True,
        forged=stolen,
    )
    yield _case("the good key twice", good, good, forged=stolen)
    yield _case("its name for another algorithm", good, key("RS256 evil").jwk(kid="es256"), forged=stolen)
    yield _case("63 others", *(evil.jwk(kid=f"k{number}") for number in range(63)), good, forged=stolen)
    yield _case("a name in other letters", good, evil.jwk(kid="\u0435s256"), forged=stolen)
    yield _case("a name with a space", good, evil.jwk(kid="es256 "), forged=stolen)
    yield _case("a name in capitals", good, evil.jwk(kid="ES256"), forged=stolen)
    yield _case("no name", good, {n: v for n, v in evil.jwk().items() if n != "kid"}, forged=stolen)
    yield _case(
        "a key that is for nothing, of its name", good, evil.jwk(kid="es256", use="enc"), forged=stolen
    )
    yield _case("a private key of its name", good, evil.jwk(kid="es256", d="AAAA"), forged=stolen)


def _no_sets() -> Iterator[KeySetCase]:
    whole = json_of(key_set(_good()))
    text = whole.decode()
    key_text = json_of(_good()).decode()
    forged = _forged(kid="es256")
    for name, document in {
        "nothing": b"",
        "white space": b" \n",
        "null": b"null",
        "a list": b"[]",
        "a list of the key": json_of([_good()]),
        "the key alone": json_of(_good()),
        "a string": json_of(text),
        "a number": b"1",
        "an empty object": b"{}",
        "no keys": json_of({"jwks": [_good()]}),
        "Keys": json_of({"Keys": [_good()]}),
        "keys null": b'{"keys":null}',
        "keys an object": json_of({"keys": {"es256": _good()}}),
        "keys a string": b'{"keys":"x"}',
        "keys a number": b'{"keys":1}',
        "keys empty": b'{"keys":[]}',
        "keys nested": json_of({"keys": [[_good()]]}),
        "no usable key": json_of(key_set({"kty": "PQ"}, _good() | {"use": "enc"})),
        "secrets alone": json_of(key_set({"kty": "oct", "k": "AAAA", "kid": "mac"})),
        "65 keys": json_of(key_set(*(key(EVIL).jwk(kid=f"k{number}") for number in range(64)), _good())),
        "10000 keys": b'{"keys":[' + b",".join([b'{"kty":"PQ"}'] * 10_000) + b"]}",
        "keys twice": f'{{"keys":[{key_text}],"keys":[]}}'.encode(),
        "keys twice, the good one last": f'{{"keys":[],"keys":[{key_text}]}}'.encode(),
        "kid twice": text.replace('"kid":', '"kid":"a","kid":').encode(),
        "alg twice": text.replace('"alg":', '"alg":"ES256","alg":').encode(),
        "NaN": text.replace('"kid":', '"x5":NaN,"kid":').encode(),
        "a huge number": text.replace('"kid":', '"exp":1e999,"kid":').encode(),
        "41 digits": text.replace('"kid":', '"exp":' + "1" * 41 + ',"kid":').encode(),
        "a lone surrogate": text.replace('"kid":', '"z":"\\ud800","kid":').encode(),
        "17 levels": text.replace('"kid":', '"z":' + "[" * 15 + "]" * 15 + ',"kid":').encode(),
        "100000 levels": b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "100000 levels that never close": b'{"keys":' + b"[" * 100_000,
        "1025 members of a key": json_of(key_set({**_good(), **{f"m{number}": 0 for number in range(1025)}})),
        "a byte order mark": b"\xef\xbb\xbf" + whole,
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32-le"),
        "latin-1": text.replace('"kid":', '"z":"\u00e9","kid":').encode("latin-1"),
        "half of it": whole[: len(whole) // 2],
        "rubbish behind": whole + b"x",
        "twice": whole + whole,
        "a comment": whole[:-1] + b"/**/}",
        "a comma too many": whole[:-2] + b",]}",
        "single quotes": text.replace('"', "'").encode(),
        "JSONP": b"callback(" + whole + b")",
        "a guard against JSON hijacking": b")]}'\n" + whole,
        "HTML": b"<!DOCTYPE html><html>" + whole + b"</html>",
        "XML": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
        "PEM": key("ES256").public_pem().encode(),
        "YAML": b"keys:\n- kty: EC\n",
        "a token": token().encode(),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
        "zeros": bytes(1000),
        "every byte": bytes(range(256)),
        "256 KiB and a byte": whole + b" " * (262_145 - len(whole)),
        "a megabyte": b'{"keys":["' + b"a" * 2**20 + b'"]}',
    }.items():
        yield KeySetCase(name=f"document: {name}", document=document, is_set=False, forged=forged)


__all__ = ["KeySetCase", "SigningKey", "key_set_cases"]
