"""Wrong before anything is read: characters, dots, sizes, base64url."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from crafting import (
    MAX_TOKEN_BYTES,
    Made,
    claims_of,
    family,
    header_of,
    json_of,
    parts,
    signed,
    token,
)

from skeldir_jwt_mw.testing.tokens import b64url

FOREIGN = '=+/ \n\r\t\0\x7f!,;:~?*(@\\"%&|<\xa0\u00e9\u200b\u2028\uff0e\ufeff\U0001f511'
# Look like a letter or a digit of base64url and are none; NFKC or a decimal converter would take some for it.
LOOK_ALIKES = (
    "\u0410\u0430\u0435\u041e\u0421\u0391\uff21\uff41\uff11\u0661\u06f1\u212a\u017f"
    "\u0131\u00b9\u2460\U0001d400"
)


def _inserted(segment: str, character: str) -> str:
    middle = len(segment) // 2
    return segment[:middle] + character + segment[middle:]


@family("R01", "malformed")
def foreign_character_in_the_header() -> Iterator[Made]:
    head, body, _ = parts(token())
    for character in FOREIGN:
        yield ascii(character), signed(_inserted(head, character), body)


@family("R01", "malformed")
def foreign_character_in_the_payload() -> Iterator[Made]:
    head, body, _ = parts(token())
    for character in FOREIGN:
        yield ascii(character), signed(head, _inserted(body, character))


@family("R01", "malformed")
def foreign_character_in_the_signature() -> Iterator[Made]:
    head, body, signature = parts(token())
    for character in FOREIGN:
        yield ascii(character), f"{head}.{body}.{_inserted(signature, character)}"


@family("R01", "malformed")
def something_around_the_token() -> Iterator[Made]:
    for around in (
        "\ufeff",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\xa0",
        "\u200b",
        "\u2060",
        '"',
        "'",
        "Bearer ",
        "=",
    ):
        yield f"{around!a} before", around + token()
        yield f"{around!a} behind", token() + around


@family("R01", "malformed")
def look_alikes() -> Iterator[Made]:
    head, body, signature = parts(token())
    for character in LOOK_ALIKES:
        yield ascii(character), f"{head}.{body}.{character}{signature[1:]}"
    for dot in "\u3002\uff0e\uff61\u2024\u00b7":
        yield f"{dot!a} for a dot", dot.join((head, body, signature))
    full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in f"{head}.{body}.{signature}")
    yield "all of it in full width", full_width


@family("R01", "malformed")
def bytes_that_are_no_ascii() -> Iterator[Made]:
    good = token().encode()
    for raw in (
        b"\x80",
        b"\xff",
        b"\xc3\xa9",
        b"\xef\xbb\xbf",
        b"\xf0\x9f\x94\x91",
        b"\xed\xa0\x80",
        b"\xc0\xae",
    ):
        yield f"{raw!r} before", raw + good
        yield f"{raw!r} inside", good[:30] + raw + good[30:]
    yield "UTF-16", good.decode().encode("utf-16")
    yield "UTF-32", good.decode().encode("utf-32")


@family("R01", "malformed")
def padding() -> Iterator[Made]:
    head, body, signature = parts(token(header_of(x="abc"), claims_of(x="ab")))
    for pad in ("=", "==", "===", "%3D", "."):
        if pad != ".":
            yield f"{pad} behind the header", signed(head + pad, body)
            yield f"{pad} behind the payload", signed(head, body + pad)
        yield f"{pad} behind the signature", f"{head}.{body}.{signature}{pad}"


@family("R01", "malformed")
def standard_alphabet() -> Iterator[Made]:
    head, body, _ = parts(token(None, claims_of(x="???>>>")))
    assert "_" in body or "-" in body
    yield "payload", signed(head, body.replace("_", "/").replace("-", "+"))
    fancy = b64url(json_of(header_of(x="???>>>")))
    yield "header", signed(fancy.replace("_", "/").replace("-", "+"), body)
    found = 0
    while found < 4:
        signature = token().split(".")[2]
        if "_" in signature or "-" in signature:
            found += 1
            yield f"signature {found}", f"{head}.{body}.{signature.replace('_', '/').replace('-', '+')}"


@family("R02", "malformed", "encrypted")
def number_of_parts() -> Iterator[Made]:
    good = token()
    head, body, signature = parts(good)
    yield "none", ""
    yield "one", head
    yield "two", f"{head}.{body}"
    yield "four", f"{good}.{signature}"
    yield "four, the last one empty", f"{good}."
    yield "four, the first one empty", f".{good}"
    yield "four, the header twice", f"{head}.{good}"
    yield "two dots in the middle", f"{head}..{body}.{signature}"
    for count in (3, 6, 7, 100, 16_000):
        yield f"{count} dots alone", "." * count
    yield "six parts", f"{good}.{good}"
    yield "two tokens with a comma", f"{good},{good}"


@family("R02", "malformed")
def empty_parts() -> Iterator[Made]:
    head, body, signature = parts(token())
    yield from {
        "all": "..",
        "header": f".{body}.{signature}",
        "payload": f"{head}..{signature}",
        "signature": f"{head}.{body}.",
        "header and payload": f"..{signature}",
        "header and signature": f".{body}.",
        "payload and signature": f"{head}..",
        "payload, and signed so": signed(head, ""),
        "header, and signed so": signed("", body),
    }.items()


@family("R02", "encrypted", "too_large")
def encrypted() -> Iterator[Made]:
    inner = token()
    headers = {
        "direct": {"alg": "dir", "enc": "A256GCM"},
        "RSA-OAEP": {"alg": "RSA-OAEP", "enc": "A128GCM"},
        "nested, signed inside": {"alg": "RSA-OAEP", "enc": "A128GCM", "cty": "JWT"},
        "password with 2^31 rounds": {
            "alg": "PBES2-HS512+A256KW",
            "enc": "A256GCM",
            "p2s": "AAAA",
            "p2c": 2_147_483_647,
        },
        "compressed": {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        "the algorithm of a signature": {"alg": "ES256", "enc": "A256GCM", "kid": "es256"},
        "none inside": {"alg": "none", "enc": "A256GCM"},
        "ECDH": {"alg": "ECDH-ES", "enc": "A256GCM", "epk": {"kty": "EC", "crv": "P-256", "x": "", "y": ""}},
    }
    for name, header in headers.items():
        body = b64url(inner.encode())
        yield (
            name,
            ".".join(
                (b64url(json_of(header)), b64url(b"k" * 40), b64url(b"i" * 12), body, b64url(b"t" * 16))
            ),
        )
    yield (
        "empty key",
        ".".join((b64url(json_of(headers["direct"])), "", b64url(b"i" * 12), "AA", b64url(b"t" * 16))),
    )
    yield "five empty parts", "...."
    yield "a good token and two more parts", f"{inner}.AA.AA"


@family("R02", "malformed", "encrypted")
def json_serialization() -> Iterator[Made]:
    head, body, signature = parts(token())
    flat = {"payload": body, "protected": head, "signature": signature}
    general = {"payload": body, "signatures": [{"protected": head, "signature": signature}]}
    yield "flattened", json.dumps(flat)
    yield "flattened, as bytes", json.dumps(flat).encode()
    yield "general", json.dumps(general)
    yield "flattened, header outside", json.dumps({**flat, "protected": "e30", "header": header_of()})
    yield "general, two signatures", json.dumps({**general, "signatures": general["signatures"] * 2})
    yield "claims alone", json.dumps(claims_of())
    yield "header and claims as JSON", f"{json.dumps(header_of())}.{json.dumps(claims_of())}.{signature}"


@family("R02", "malformed", "encrypted")
def polyglots() -> Iterator[Made]:
    """Compact to one reader and JSON to another (CVE-2022-39227)."""
    head, body, signature = parts(token())
    forged = b64url(json_of(claims_of(sub="admin")))
    yield (
        "compact inside JSON",
        f'{{"  {head}.{forged}.":"","protected":"{head}", "payload":"{body}","signature":"{signature}"}}',
    )
    yield "JSON behind a compact token", f'{head}.{forged}.{{"payload":"{body}","signature":"{signature}"}}'
    yield "JSON before a compact token", f'{{"protected":"{head}"}}.{body}.{signature}'
    yield "a comment between the parts", f"{head}.{forged}/*.{body}*/.{signature}"
    yield "a line break between two tokens", f"{head}.{forged}.{signature}\n{head}.{body}.{signature}"
    yield "two payloads", f"{head}.{forged}.{body}.{signature}"


@family("R03", "too_large")
def larger_than_allowed() -> Iterator[Made]:
    good = token()
    yield "one byte, in the payload", _padded_to(MAX_TOKEN_BYTES + 1)
    yield "64 KiB", token(None, claims_of(x="x" * 49_000))
    yield "1 MiB of nothing", "A" * 2**20
    yield "dots alone", "." * 2**20
    yield "in the signature", good + "A" * MAX_TOKEN_BYTES
    yield "as bytes", (good + "A" * MAX_TOKEN_BYTES).encode()
    yield "in another script", "\u0430" * (MAX_TOKEN_BYTES + 1)


def _padded_to(length: int) -> str:
    """A good token that is longer than this by as little as base64url admits."""
    for filler in range(length * 3 // 4 - 600, length):
        text = token(None, claims_of(x="x" * filler))
        if len(text) >= length:
            return text
    raise AssertionError


@family("R03", "too_large")
def header_larger_than_allowed() -> Iterator[Made]:
    short = len(json_of(header_of(x="")))
    for size in (2049, 2050, 2052, 3000, 8000):
        yield f"{size} bytes", token(header_of(x="x" * (size - short)))
    yield "padded with white space", token(json_of(header_of()) + b" " * 2048)
    yield "a certificate chain", token(header_of(x5c=[b64url(secrets.token_bytes(900))] * 3))


@family("R04", "malformed")
def impossible_length() -> Iterator[Made]:
    head, body, signature = parts(token())
    for name, segment in {"header": head, "payload": body}.items():
        cut = segment[: len(segment) - (len(segment) - 1) % 4]
        for letter in "AQg_":
            longer = (cut if len(cut) % 4 == 1 else segment[: len(segment) // 4 * 4] + letter)[:-1] + letter
            assert len(longer) % 4 == 1
            yield (
                f"{name}, ends in {letter}",
                signed(longer, body) if name == "header" else signed(head, longer),
            )
    for length in (1, 5, 81, 85, 89):
        yield f"signature of {length}", f"{head}.{body}.{(signature * 2)[:length]}"


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@family("R04", "malformed")
def spare_bits_that_are_not_zero() -> Iterator[Made]:
    head, body, signature = parts(token())
    last = ALPHABET.index(signature[-1])
    for spare in (1, 2, 3, 7, 15):
        yield f"signature, {spare}", f"{head}.{body}.{signature[:-1]}{ALPHABET[last + spare]}"
    for filler in ("", "x", "xx"):
        header, claims = b64url(json_of(header_of(x=filler))), b64url(json_of(claims_of(x=filler)))
        for spare in (1, 2, 3):
            if len(header) % 4 == 3 or (len(header) % 4 == 2):
                yield (
                    f"header with {filler!r}, {spare}",
                    signed(header[:-1] + ALPHABET[ALPHABET.index(header[-1]) + spare], body),
                )
            if len(claims) % 4 == 3 or (len(claims) % 4 == 2):
                yield (
                    f"payload with {filler!r}, {spare}",
                    signed(head, claims[:-1] + ALPHABET[ALPHABET.index(claims[-1]) + spare]),
                )
