"""Tokens like real ones, with a few things wrong with them, mostly signed by the right key all the same."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from oracle import AUDIENCE, ISSUER, KnownKey

from skeldir_jwt_mw.testing import SigningKey

KEYS = [SigningKey.generate(alg, kid=f"{alg}-1") for alg in ("ES256", "RS256", "EdDSA")]
SECOND = SigningKey.generate("ES256", kid="ES256-2")
STRANGER = SigningKey.generate("ES256", kid="ES256-1")  # another key under a kid of ours
PUBLISHED = [*KEYS, SECOND]
JWKS = {"keys": [key.jwk() for key in PUBLISHED]}
KNOWN = [KnownKey(key.kid, key.alg, key.private.public_key()) for key in PUBLISHED]

NOW = int(time.time())  # once, since a strategy has to give the same again
MAX_LENGTH = 5000

Pairs = list[tuple[str, Any]]


def words(text: str) -> list[str]:
    return text.split()


class Raw(str):
    """JSON as it is to stand there, whether it is any or not."""


SCALARS: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "\0", "é", "\ud800", "a" * 300, "JWT", "jwt", "none", "at+jwt", ISSUER, AUDIENCE]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
RAW = st.sampled_from(
    [
        *map(
            Raw,
            (
                "NaN",
                "Infinity",
                "-Infinity",
                "01",
                "1.",
                ".5",
                "+1",
                "1e999",
                "-0",
                "0x10",
                "1_0",
                "'a'",
                "nul",
            ),
        ),
        *map(
            Raw,
            ("1" * 41, "1." + "0" * 39, "1." + "0" * 40, "1e" + "0" * 39, '"\\ud800"', '"\\ud83d\\ude00"'),
        ),
        *map(Raw, ('"\\x41"', '"a\tb"', '"\\u00e9"', "{}", "[]", "[1,]", "{,}", '{"a":1,"a":2}', "//x\n1")),
        *(Raw("[" * depth + "]" * depth) for depth in (14, 15, 16, 17)),
        *(Raw("{" + ",".join(f'"{n}":0' for n in range(count)) + "}") for count in (256, 257)),
    ]
)
TIMES = st.one_of(
    st.integers(-5000, 5000).map(lambda offset: NOW + 5 + offset * 20),
    st.sampled_from(
        [
            0,
            -1,
            1.5,
            True,
            False,
            None,
            "1",
            2**53,
            10**11,
            10**11 - 1,
            -0.0,
            1e308,
            Raw("1e3"),
            Raw("9e15"),
            [1],
            {},
        ]
    ),
)
HEADER_NAMES = st.sampled_from(
    [*words("alg typ kid cty crit b64 zip enc jwk jku x5u x5c x5t p2c p2s epk nonce Alg TYP x"), ""]
)
CLAIM_NAMES = st.sampled_from(
    [
        "iss",
        "aud",
        "exp",
        "nbf",
        "iat",
        "sub",
        "cnf",
        "scope",
        "scp",
        "jti",
        "client_id",
        "x",
        "",
        "Exp",
        "roles",
    ]
)
STRINGS = words("""
    ES256 RS256 EdDSA Ed25519 HS256 none es256 PS256 ES384 application/at+JWT application/jwt Jwt id+jwt
    dpop+jwt ES256-1 ES256-2 RS256-1 EdDSA-1 https://evil.example/jwks
""")
HEADER_VALUES = st.one_of(
    VALUES,
    RAW,
    st.sampled_from(
        [*STRINGS, ["exp"], [], True, KEYS[0].jwk(), "at+jwt ", "\u212a", "at+\u212awt", "a" * 256]
    ),
)


def claim_values(name: str) -> SearchStrategy[Any]:
    if name in ("exp", "nbf", "iat"):
        return st.one_of(TIMES, VALUES, RAW)
    near = [
        ISSUER,
        ISSUER[:-1],
        ISSUER.upper(),
        [ISSUER],
        AUDIENCE,
        [AUDIENCE],
        ["x", AUDIENCE],
        [AUDIENCE, 1],
    ]
    return st.one_of(VALUES, RAW, st.sampled_from([*near, [], "a b", ["a", "b"], ["a", None], {"a": 1}]))


@st.composite
def changed(draw: DrawFn, pairs: Pairs, names: SearchStrategy[str], values: Any) -> Pairs:
    """The members with up to two of them replaced, added, doubled or left out."""
    pairs = list(pairs)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 1, 2]))):
        name = draw(names)
        what = draw(st.sampled_from(["set", "set", "set", "drop", "double"]))
        if what == "drop":
            pairs = [pair for pair in pairs if pair[0] != name]
        elif what == "double":
            pairs.append((name, draw(values(name))))
        else:
            value = draw(values(name))
            pairs = [pair for pair in pairs if pair[0] != name] + [(name, value)]
    return draw(st.permutations(pairs))


@st.composite
def written(draw: DrawFn, pairs: Pairs) -> bytes:
    """The members as JSON, in one of the ways in which JSON can be written, or is by mistake."""
    space = draw(st.sampled_from(["", "", "", " ", "\n", "\t\r"]))
    ascii_only = draw(st.booleans())
    members = []
    for name, value in pairs:
        text = value if isinstance(value, Raw) else json.dumps(value, ensure_ascii=ascii_only)
        members.append(f"{json.dumps(name)}{space}:{space}{text}")
    text = "{" + f"{space},{space}".join(members) + "}"
    style = draw(
        st.sampled_from(["plain"] * 12 + ["around", "bom", "behind", "utf-16", "latin-1", "cut", "list"])
    )
    if style == "around":
        text = f" \n{text}\t "
    elif style == "behind":
        text += draw(st.sampled_from(["{}", "x", "\0", ",", "\u00a0", "\x0c"]))
    elif style == "list":
        text = f"[{text}]"
    elif style == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    encoding = {"bom": "utf-8-sig", "utf-16": "utf-16", "latin-1": "latin-1"}.get(style, "utf-8")
    return text.encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


@st.composite
def spoilt(draw: DrawFn, token: str) -> str | bytes:
    """The token as a text, with one of the things done to it that happen to texts."""
    at = draw(st.integers(0, MAX_LENGTH)) % (len(token) + 1)  # signatures differ in length
    what = draw(
        st.sampled_from(
            ["nothing"] * 14
            + ["insert", "delete", "replace", "swap", "bits", "unused", "unused", "dots", "pad"]
        )
    )
    odd = draw(
        st.sampled_from(["=", "+", "/", " ", "\n", "\0", "é", "\u0131", "A", ".", "..", "%2e", "\ufeff"])
    )
    if what == "insert":
        token = token[:at] + odd + token[at:]
    elif what == "delete":
        token = token[:at] + token[at + 1 :]
    elif what == "replace":
        token = token[:at] + odd + token[at + 1 :]
    elif what == "swap":
        token = ".".join(draw(st.permutations(token.split("."))))
    elif what == "bits":
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        parts = token.split(".")
        which = draw(st.integers(0, 2))
        if parts[which]:
            parts[which] = parts[which][:-1] + draw(st.sampled_from(last))
        token = ".".join(parts)
    elif what == "unused":  # bits of the signature's last character that stand for nothing
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if token[-1:] in last and len(token.rpartition(".")[2]) % 4 == 2:
            token = token[:-1] + last[last.index(token[-1]) | 0b0101]
    elif what == "dots":
        token += draw(st.sampled_from([".", ".x", ".x.y", "." * 100]))
    elif what == "pad":
        token = ".".join(part + "=" * (-len(part) % 4) for part in token.split("."))
    return token.encode("utf-8", "replace") if draw(st.booleans()) else token


@st.composite
def tokens(draw: DrawFn) -> str | bytes:
    """Mostly one or two things are wrong, and sometimes nothing is."""
    key = draw(st.sampled_from(PUBLISHED))
    header = draw(
        changed(
            [("alg", key.alg), ("typ", "at+jwt"), ("kid", key.kid)], HEADER_NAMES, lambda _: HEADER_VALUES
        )
    )
    claims = draw(
        changed(
            [("iss", ISSUER), ("aud", AUDIENCE), ("exp", NOW + 600), ("iat", NOW - 5), ("sub", "user-1")],
            CLAIM_NAMES,
            claim_values,
        )
    )
    signing_input = f"{b64(draw(written(header)))}.{b64(draw(written(claims)))}"
    signer = draw(st.sampled_from([key] * 9 + [STRANGER, SECOND, KEYS[1]]))
    signature = signer.sign(signing_input.encode())
    form = draw(
        st.sampled_from(["good"] * 12 + ["zero", "empty", "short", "long", "flipped", "der", "random"])
    )
    if form == "zero":
        signature = bytes(len(signature))
    elif form == "empty":
        signature = b""
    elif form == "short":
        signature = signature[:-1]
    elif form == "long":
        signature += b"\0"
    elif form == "flipped":
        at = draw(st.integers(0, len(signature) * 8 - 1))
        signature = bytes(
            octet ^ (0x80 >> at % 8 if n == at // 8 else 0) for n, octet in enumerate(signature)
        )
    elif form == "der":
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        half = len(signature) // 2
        signature = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
    elif form == "random":
        signature = draw(st.binary(min_size=1, max_size=300))
    return draw(spoilt(f"{signing_input}.{b64(signature)}"))
