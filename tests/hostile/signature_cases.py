"""Signatures that do not verify, or verify with a key that nobody should trust."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from crafting import (
    ISSUER,
    Made,
    claims_of,
    family,
    header_of,
    json_of,
    key,
    key_set,
    parts,
    rsa_key,
    signed,
    token,
    with_signature,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from skeldir_jwt_mw.testing.tokens import SigningKey, b64url

N_256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P_256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
L_25519 = 2**252 + 27742317777372353535851937790883648493
ALLOWED = ("ES256", "EdDSA", "RS256", "PS256")


def _input(signer: SigningKey) -> bytes:
    return ".".join(map(b64url, (json_of(header_of(signer)), json_of(claims_of())))).encode()


def _under(signer: SigningKey, signature: bytes) -> str:
    return with_signature(signature, header_of(signer))


@family("R20", "bad_signature")
def flipped_bits() -> Iterator[Made]:
    for kind in ALLOWED:
        good = key(kind).sign(_input(key(kind)))
        for place in (0, 1, 7, 8 * 31, 8 * 32, 8 * 40, 8 * len(good) - 8, 8 * len(good) - 1):
            changed = bytearray(good)
            changed[place // 8] ^= 1 << place % 8
            yield f"{kind}, bit {place}", _under(key(kind), bytes(changed))


@family("R20", "bad_signature")
def signature_of_another_length() -> Iterator[Made]:
    for kind in ALLOWED:
        good = key(kind).sign(_input(key(kind)))
        for name, signature in {
            "one byte": good[:1],
            "without its last byte": good[:-1],
            "without its first byte": good[1:],
            "half": good[: len(good) // 2],
            "a zero in front": b"\0" + good,
            "a zero behind": good + b"\0",
            "twice": good + good,
            "4 KiB": good.ljust(4096, b"\0"),
        }.items():
            yield f"{kind}, {name}", _under(key(kind), signature)


@family("R20", "bad_signature")
def numbers_that_no_signature_has() -> Iterator[Made]:
    """CVE-2022-21449: zero fits every message; and what is congruent to a good one."""
    numbers = {
        "0": 0,
        "1": 1,
        "n": N_256,
        "n+1": N_256 + 1,
        "p": P_256,
        "p-n": P_256 - N_256,
        "max": 2**256 - 1,
    }
    for r_name, r in numbers.items():
        for s_name, s in numbers.items():
            yield f"r = {r_name}, s = {s_name}", _under(key("ES256"), r.to_bytes(32) + s.to_bytes(32))
    good = key("ES256").sign(_input(key("ES256")))
    yield "a good r, s = 0", _under(key("ES256"), good[:32] + bytes(32))
    yield "r = 0, a good s", _under(key("ES256"), bytes(32) + good[32:])
    yield "r and s exchanged", _under(key("ES256"), good[32:] + good[:32])
    yield "little-endian", _under(key("ES256"), good[31::-1] + good[:31:-1])


@family("R20", "bad_signature")
def der_signatures() -> Iterator[Made]:
    signer = key("ES256")
    assert isinstance(signer.private, ec.EllipticCurvePrivateKey)
    for number in range(4):
        der = signer.private.sign(_input(signer), ec.ECDSA(hashes.SHA256()))
        yield f"DER {number}", _under(signer, der)
    yield "DER, cut to 64 bytes", _under(signer, der[:64])
    yield "DER, filled up to 72", _under(signer, der.ljust(72, b"\0"))
    r, s = decode_dss_signature(der)
    yield "in hexadecimal", _under(signer, f"{r:064x}{s:064x}".encode())
    yield "r and s with a point", _under(signer, r.to_bytes(32) + b"." + s.to_bytes(32))


@family("R20", "bad_signature")
def edwards_signatures_out_of_range() -> Iterator[Made]:
    signer = key("EdDSA")
    good = signer.sign(_input(signer))
    s = int.from_bytes(good[32:], "little")
    for times in range(1, 9):
        more = s + times * L_25519
        if more < 2**256:
            yield f"S + {times} L", _under(signer, good[:32] + more.to_bytes(32, "little"))
    yield "zeros", _under(signer, bytes(64))
    yield "R the identity, S = 0", _under(signer, b"\1" + bytes(63))
    yield "the upper bits of S", _under(signer, good[:63] + bytes([good[63] | 0xE0]))
    yield "R not canonical", _under(signer, b"\xee" + b"\xff" * 30 + b"\x7f" + good[32:])
    yield "the sign of R", _under(signer, good[:31] + bytes([good[31] ^ 0x80]) + good[32:])
    digest = hashlib.sha512(_input(signer)).digest()
    yield "of the digest (Ed25519ph, nearly)", _under(signer, signer.sign(digest))


@family("R20", "bad_signature")
def rsa_signatures_out_of_range() -> Iterator[Made]:
    for kind in ("RS256", "PS256"):
        signer = key(kind)
        assert isinstance(signer.private, rsa.RSAPrivateKey)
        n = signer.private.public_key().public_numbers().n
        number = int.from_bytes(signer.sign(_input(signer)))
        for name, value in {
            "0": 0,
            "1": 1,
            "n": n,
            "n - 1": n - 1,
            "n - s": n - number,
            "max": 2**2048 - 1,
            "2s": 2 * number % n,
        }.items():
            yield f"{kind}, {name}", _under(signer, value.to_bytes(256))
        yield f"{kind}, s + n", _under(signer, ((number + n) % 2**2048).to_bytes(256))


@family("R20", "bad_signature")
def other_salts_and_masks() -> Iterator[Made]:
    private: Any = key("PS256").private
    for name, mask, salt in (
        ("no salt", hashes.SHA256(), 0),
        ("a salt of 20", hashes.SHA256(), 20),
        ("a salt of 31", hashes.SHA256(), 31),
        ("a salt of 33", hashes.SHA256(), 33),
        ("the longest salt", hashes.SHA256(), padding.PSS.MAX_LENGTH),
        ("SHA-1 in the mask", hashes.SHA1(), 32),
        ("SHA-512 in the mask", hashes.SHA512(), 32),
    ):
        scheme = padding.PSS(padding.MGF1(mask), salt)
        yield name, _under(key("PS256"), private.sign(_input(key("PS256")), scheme, hashes.SHA256()))


@family("R20", "bad_signature")
def other_hashes() -> Iterator[Made]:
    for digest in (hashes.SHA1(), hashes.SHA224(), hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256()):
        private: Any = key("RS256").private
        signature = private.sign(_input(key("RS256")), padding.PKCS1v15(), digest)
        yield f"RS256, {digest.name}", _under(key("RS256"), signature)
        private = key("ES256").private
        r, s = decode_dss_signature(private.sign(_input(key("ES256")), ec.ECDSA(digest)))
        yield f"ES256, {digest.name}", _under(key("ES256"), r.to_bytes(32) + s.to_bytes(32))


SHA_256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


@family("R20", "bad_signature")
def pkcs_1_in_another_form() -> Iterator[Made]:
    """Signed by the right key, over an encoding that a lenient parser takes for the right one."""
    signer = key("RS256")
    private: Any = signer.private
    numbers = private.private_numbers()
    n, d = numbers.public_numbers.n, numbers.d
    digest = hashlib.sha256(_input(signer)).digest()
    info = SHA_256_INFO + digest
    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest

    def padded(text: bytes, kind: bytes = b"\x00\x01", filler: bytes = b"\xff") -> bytes:
        return kind + filler * (256 - len(text) - len(kind) - 1) + b"\x00" + text

    for name, encoded in {
        "without NULL": padded(without_null),
        "digest alone": padded(digest),
        "another filler": padded(info, filler=b"\xfe"),
        "zeros for a filler": padded(info, filler=b"\x00"),
        "block type 2": padded(info, kind=b"\x00\x02"),
        "block type 0": padded(info, kind=b"\x00\x00"),
        "short filler, rubbish behind": (b"\x00\x01" + b"\xff" * 8 + b"\x00" + info).ljust(256, b"\x5a"),
        "no filler, rubbish behind": (b"\x00\x01\x00" + info).ljust(256, b"\x5a"),
        "no zero in front of the digest": b"\x00\x01" + b"\xff" * (254 - len(info)) + info,
        "long form of a length": padded(b"\x30\x81\x31" + info[2:]),
        "SHA-1's name": padded(bytes.fromhex("3021300906052b0e03021a05000414") + digest[:20]),
        "the message itself": _input(signer)[:256].rjust(256, b"\0"),
    }.items():
        assert len(encoded) == 256
        yield name, _under(signer, pow(int.from_bytes(encoded), d, n).to_bytes(256))


@family("R20", "bad_signature")
def signed_by_somebody_else() -> Iterator[Made]:
    for kind in ALLOWED:
        evil = key(f"{kind} evil")
        yield kind, token(header_of(evil, kid=key(kind).kid), signer=evil)
    for kind in ("ES256", "EdDSA"):
        other = key(f"{kind} second")
        keys = key_set(key(kind).jwk(), other.jwk())
        yield f"{kind}, another trusted key", token(header_of(other, kid=key(kind).kid), signer=other), keys
    evil = key("ES256 evil")
    yield (
        "the only key of the set",
        token(header_of(evil, kid="es256"), signer=evil),
        key_set(key("ES256").jwk()),
    )


@family("R20", "bad_signature")
def parts_of_two_tokens() -> Iterator[Made]:
    for kind in ALLOWED:
        signer = key(kind)
        head, body, signature = parts(token(signer=signer))
        other = b64url(json_of(claims_of(sub="admin")))
        renamed = b64url(json_of(header_of(signer, x=1)))
        yield f"{kind}, another payload", f"{head}.{other}.{signature}"
        yield f"{kind}, another header", f"{renamed}.{body}.{signature}"
        yield f"{kind}, another's signature", f"{head}.{body}.{parts(signed(head, other, signer))[2]}"
        yield f"{kind}, longer payload", f"{head}.{b64url(json_of(claims_of()) + b' ')}.{signature}"


@family("R20", "bad_signature")
def signature_over_something_else() -> Iterator[Made]:
    signer = key("ES256")
    head, body = json_of(header_of()), json_of(claims_of())
    texts = {
        "the payload alone": b64url(body).encode(),
        "the header alone": b64url(head).encode(),
        "what is not encoded": head + b"." + body,
        "an encoded header alone": b64url(head).encode() + b"." + body,
        "no dot": (b64url(head) + b64url(body)).encode(),
        "a line break behind": _input(signer) + b"\n",
        "another order": (b64url(body) + "." + b64url(head)).encode(),
        "nothing": b"",
        "the digest": hashlib.sha256(_input(signer)).digest(),
        "UTF-16": _input(signer).decode().encode("utf-16"),
    }
    for name, text in texts.items():
        yield name, _under(signer, signer.sign(text))


@family("R21", "unusable_key")
def weak_rsa_keys() -> Iterator[Made]:
    good = key("ES256").jwk()
    for signer in (rsa_key(1024), rsa_key(2048, 3), rsa_key(1536)):
        yield signer.kid, token(signer=signer), key_set(good, signer.jwk())


def _edwards(text: str) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "low", "x": b64url(bytes.fromhex(text))}


@family("R21", "unusable_key")
def low_order_edwards_keys() -> Iterator[Made]:
    """Under the identity for a key R = S·B holds for every message: one signature for them all."""
    good = key("ES256").jwk()
    universal = b"\x01" + bytes(63)  # R the identity, S = 0
    for name, text in {
        "identity": "01" + "00" * 31,
        "identity, sign set": "01" + "00" * 30 + "80",
        "order 2": "ec" + "ff" * 30 + "7f",
        "order 4": "00" * 32,
        "order 4, sign set": "00" * 31 + "80",
        "order 8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "order 8, the other": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "identity, not canonical": "ee" + "ff" * 30 + "7f",
        "order 4, not canonical": "ed" + "ff" * 30 + "7f",
        "order 4, not canonical, sign set": "ed" + "ff" * 31,
    }.items():
        forged = with_signature(universal, {"alg": "EdDSA", "typ": "at+jwt", "kid": "low"})
        yield name, forged, key_set(good, _edwards(text))


@family("R21", "algorithm_mismatch", "unusable_key", "algorithm_not_allowed")
def curves_of_another_algorithm() -> Iterator[Made]:
    good = key("EdDSA").jwk()
    of_384 = key("ES384")
    yield (
        "P-384 said to be P-256",
        token(header_of(of_384, alg="ES256"), signer=of_384),
        key_set(good, of_384.jwk(crv="P-256", alg="ES256")),
    )
    yield (
        "P-384 for ES256",
        token(header_of(of_384, alg="ES256"), signer=of_384),
        key_set(good, of_384.jwk(alg="ES256")),
    )
    bitcoin: Any = ec.generate_private_key(ec.SECP256K1())
    point = bitcoin.public_key().public_numbers()
    jwk = {
        "kty": "EC", "crv": "secp256k1", "kid": "k1", "x": b64url(point.x.to_bytes(32)),
        "y": b64url(point.y.to_bytes(32)),
    }  # fmt: skip
    for alg in ("ES256", "ES256K"):
        head, body = (b64url(json_of(part)) for part in ({"alg": alg, "kid": "k1"}, claims_of()))
        r, s = decode_dss_signature(bitcoin.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
        yield (
            f"secp256k1, {alg}",
            f"{head}.{body}.{b64url(r.to_bytes(32) + s.to_bytes(32))}",
            key_set(good, jwk),
        )


@family("R22", "unusable_key", "algorithm_mismatch")
def keys_that_are_not_for_verifying() -> Iterator[Made]:
    good = key("EdDSA").jwk()
    for name, members in {
        "use enc": {"use": "enc"},
        "use empty": {"use": ""},
        "use SIG": {"use": "SIG"},
        "use a list": {"use": ["sig"]},
        "key_ops sign": {"key_ops": ["sign"]},
        "key_ops empty": {"key_ops": []},
        "key_ops a string": {"key_ops": "verify"},
        "key_ops twice the same": {"key_ops": ["verify", "verify"]},
        "key_ops Verify": {"key_ops": ["Verify"]},
        "key_ops encrypt": {"key_ops": ["verify", "encrypt"]},
        "key_ops an object": {"key_ops": {"verify": True}},
        "alg ES384": {"alg": "ES384"},
        "alg RS256": {"alg": "RS256"},
        "alg ECDH-ES": {"alg": "ECDH-ES"},
        "alg none": {"alg": "none"},
        "alg HS256": {"alg": "HS256"},
        "alg es256": {"alg": "es256"},
        "alg empty": {"alg": ""},
        "alg a list": {"alg": ["ES256"]},
    }.items():
        yield name, token(), key_set(good, key("ES256").jwk(**members))


@family("R23", "unusable_key")
def two_keys_of_one_name() -> Iterator[Made]:
    one, other = key("ES256"), key("ES256 second")
    for name, keys in {
        "the good one first": (one.jwk(), other.jwk(kid="es256")),
        "the good one last": (other.jwk(kid="es256"), one.jwk()),
        "three": (one.jwk(), other.jwk(kid="es256"), one.jwk()),
    }.items():
        yield f"{name}, signed by it", token(), key_set(*keys, key("EdDSA").jwk())
        yield (
            f"{name}, signed by the other",
            token(header_of(other, kid="es256"), signer=other),
            key_set(*keys, key("EdDSA").jwk()),
        )


@family("R24", "wrong_issuer")
def keys_of_another_issuer() -> Iterator[Made]:
    for issuer in (
        "https://evil.example/",
        ISSUER.rstrip("/"),
        "",
        "*",
        "{iss}",
        "https://{tid}.example/",
    ):
        yield repr(issuer), token(), key_set(key("ES256").jwk(issuer=issuer))
