"""What a strict verifier has to say of a token, worked out anew: shares no line with the library.

It reads tokens character by character and favours the obvious over the fast. It knows one configuration: the
issuer, the audience and the keys below.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ISSUER = "https://issuer.example/"
AUDIENCE = "orders-api"
LEEWAY = 30.0
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Refused(Exception):
    """The token is to be refused; the text says why."""


@dataclass(frozen=True)
class KnownKey:
    """A published key, and the one algorithm that it is for."""

    kid: str
    algorithm: str
    public: Any


def judge(token: str | bytes, keys: list[KnownKey], now: float) -> dict[str, Any]:
    """The claims of a token that is to be accepted; raises `Refused`."""
    if isinstance(token, bytes):
        if any(octet > 127 for octet in token):
            raise Refused("character")
        token = token.decode("ascii")
    if len(token) > 16_384:
        raise Refused("size")
    parts: list[str] = [""]
    for character in token:
        if character == ".":
            parts.append("")
        elif character in ALPHABET:
            parts[-1] += character
        else:
            raise Refused("character")
    if len(parts) != 3 or "" in parts:
        raise Refused("parts")
    header_octets, payload_octets, signature = map(octets_of, parts)
    if len(header_octets) > 2048:
        raise Refused("header size")
    header = Reader(header_octets).document("header json")
    claims = Reader(payload_octets).document("payload json")
    fitting = keys_for(header, keys)
    judge_header(header)
    judge_claims(claims, now)
    signing_input = f"{parts[0]}.{parts[1]}".encode()
    if not any(signed(key, signature, signing_input) for key in fitting):
        raise Refused("signature")
    return claims


def octets_of(segment: str) -> bytes:
    """Base64url, bit by bit."""
    bits = "".join(f"{ALPHABET.index(character):06b}" for character in segment)
    spare = len(bits) % 8
    if spare >= 6 or "1" in bits[len(bits) - spare :]:
        raise Refused("base64")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - spare, 8))


class Reader:
    """A JSON text, read by the grammar of RFC 8259 with the limits of R05 and R06."""

    NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
    ESCAPES = dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))  # noqa: RUF012

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.text = ""
        self.at = 0

    def document(self, what: str) -> dict[str, Any]:
        try:
            self.text = self.octets.decode("utf-8")
            value = self.value(1)
            self.space()
            if self.at != len(self.text) or not isinstance(value, dict):
                raise Refused(what)
        except (UnicodeDecodeError, IndexError, Refused):
            raise Refused(what) from None
        return value

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\n\r":
            self.at += 1

    def take(self, wanted: str) -> None:
        if not self.text.startswith(wanted, self.at):
            raise Refused("json")
        self.at += len(wanted)

    def value(self, depth: int) -> Any:
        self.space()
        first = self.text[self.at]
        if first == "{":
            return self.members(depth)
        if first == "[":
            return self.items(depth)
        if first == '"':
            return self.string()
        for word, meaning in (("true", True), ("false", False), ("null", None)):
            if self.text.startswith(word, self.at):
                self.take(word)
                return meaning
        return self.number()

    def members(self, depth: int) -> dict[str, Any]:
        if depth > 16:
            raise Refused("depth")
        found: dict[str, Any] = {}
        self.take("{")
        self.space()
        if self.text[self.at] == "}":
            self.take("}")
            return found
        while True:
            self.space()
            name = self.string()
            self.space()
            self.take(":")
            if name in found:
                raise Refused("duplicate")
            found[name] = self.value(depth + 1)
            self.space()
            if self.text[self.at] == "}":
                self.take("}")
                if len(found) > 1024:
                    raise Refused("members")
                return found
            self.take(",")

    def items(self, depth: int) -> list[Any]:
        if depth > 16:
            raise Refused("depth")
        found: list[Any] = []
        self.take("[")
        self.space()
        if self.text[self.at] == "]":
            self.take("]")
            return found
        while True:
            found.append(self.value(depth + 1))
            self.space()
            if self.text[self.at] == "]":
                self.take("]")
                return found
            self.take(",")

    def string(self) -> str:
        self.take('"')
        units: list[int] = []  # UTF-16 code units, so that escaped pairs come together by themselves
        while (character := self.text[self.at]) != '"':
            self.at += 1
            if character < " ":
                raise Refused("control character")
            if character != "\\":
                units += memoryview(character.encode("utf-16-le")).cast("H").tolist()
                continue
            escape = self.text[self.at]
            self.at += 1
            if escape == "u":
                digits = self.text[self.at : self.at + 4]
                if not re.fullmatch("[0-9a-fA-F]{4}", digits, re.ASCII):
                    raise Refused("escape")
                units.append(int(digits, 16))
                self.at += 4
            elif escape in self.ESCAPES:
                units.append(ord(self.ESCAPES[escape]))
            else:
                raise Refused("escape")
        self.take('"')
        try:
            return b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le")
        except UnicodeDecodeError:
            raise Refused("surrogate") from None

    def number(self) -> int | float:
        match = self.NUMBER.match(self.text, self.at)
        if match is None or sum(character in "0123456789" for character in match[0]) > 40:
            raise Refused("number")
        self.at = match.end()
        if match[2] is None and match[3] is None:
            return int(match[0])
        number = float(match[0])
        if math.isinf(number):
            raise Refused("number")
        return number


def has_control(text: str) -> bool:
    return any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)


def keys_for(header: dict[str, Any], keys: list[KnownKey]) -> list[KnownKey]:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in {"ES256", "RS256", "EdDSA", "Ed25519"}:
        raise Refused("alg")
    algorithm = "EdDSA" if algorithm == "Ed25519" else algorithm
    if "kid" in header:
        kid = header["kid"]
        if not isinstance(kid, str) or not 1 <= len(kid.encode()) <= 256 or has_control(kid):
            raise Refused("kid")
        fitting = [key for key in keys if key.kid == kid and key.algorithm == algorithm]
    else:
        fitting = [key for key in keys if key.algorithm == algorithm]
    if not 1 <= len(fitting) <= (1 if "kid" in header else 4):
        raise Refused("key")
    return fitting


def judge_header(header: dict[str, Any]) -> None:
    for name in ("crit", "b64", "zip", "enc", "p2c", "p2s", "epk"):
        if name in header:
            raise Refused(f"header {name}")
    for name in ("jwk", "jku", "x5u", "x5c"):
        if name in header:
            raise Refused(f"header {name}")
    for name, allowed in (("typ", {"at+jwt", "jwt"}), ("cty", None)):
        if name not in header:
            continue
        value = header[name]
        if not isinstance(value, str):
            raise Refused(name)
        short = value
        if value.isascii():
            short = value.lower()
            short = short[len("application/") :] if short.startswith("application/") else short
        if allowed is not None and short not in allowed:
            raise Refused(name)
        if name == "cty" and short == "jwt":
            raise Refused(name)


def judge_claims(claims: dict[str, Any], now: float) -> None:
    if claims.get("iss") != ISSUER:
        raise Refused("iss")
    audience = claims.get("aud")
    listed = [audience] if isinstance(audience, str) else audience
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Refused("aud")
    if AUDIENCE not in listed:
        raise Refused("aud")
    for name in ("exp", "nbf", "iat"):
        if name not in claims:
            if name == "exp":
                raise Refused("exp")
            continue
        time = claims[name]
        if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < 10**11:
            raise Refused(name)
        if name == "exp" and now >= time + LEEWAY:
            raise Refused("exp")
        if name != "exp" and time > now + LEEWAY:
            raise Refused(name)
    if "cnf" in claims:
        raise Refused("cnf")
    if "sub" in claims and not isinstance(claims["sub"], str):
        raise Refused("sub")
    for name in ("scope", "scp"):
        scope = claims.get(name, "")
        strings = isinstance(scope, list) and all(isinstance(one, str) for one in scope)
        if not isinstance(scope, str) and not strings:
            raise Refused("scope")


def signed(key: KnownKey, signature: bytes, signing_input: bytes) -> bool:
    public = key.public
    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, signing_input)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            if len(signature) != 64:
                return False
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            if not (0 < r < P256_ORDER and 0 < s < P256_ORDER):
                return False
            public.verify(encode_dss_signature(r, s), signing_input, ec.ECDSA(hashes.SHA256()))
        else:
            assert isinstance(public, rsa.RSAPublicKey)
            if len(signature) != public.key_size // 8:
                return False
            public.verify(signature, signing_input, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
