"""Advisories on what is read before the signature: framing, encodings, extensions, sizes."""

from __future__ import annotations

import json
import random
import time
import tracemalloc

import pytest
from crafting import NOW, claims_of, header_of, json_of, key, parts, signed, token
from outcomes import outcome, refused, unexpected, verdict

from skeldir_jwt_mw.core.compact import decode_segment, parse_header, split
from skeldir_jwt_mw.core.strict_json import parse_object, parse_with_stdlib
from skeldir_jwt_mw.errors import INVALID_TOKEN_MESSAGES
from skeldir_jwt_mw.testing.tokens import b64url

OURS = {"ok", *INVALID_TOKEN_MESSAGES}


@pytest.mark.parametrize(
    "crit",
    [["x"], [], None, "exp", {"exp": 1}, 1, [1], ["x", "x"], ["absent"], ["alg"], ["b64"], [""], [["x"]]],
    ids=str,
)
def test_t_crit_every_crit_is_refused(crit: object) -> None:
    """CVE-2026-32597, CVE-2025-59420: a critical extension that nobody understood was passed over."""
    assert verdict(token(header_of(crit=crit, x=1, exp=2**40))) == "unsupported_header"


def test_t_b64_a_payload_that_is_not_encoded_is_never_read() -> None:
    """CVE-2026-48525, GHSA-wphv-vfrh-23q5: `b64: false` multiplied the work and evaded the limit of size."""
    for value in (False, True, None, 0, "false"):
        assert verdict(token(header_of(b64=value))) == "unsupported_header"
    assert verdict(token(header_of(b64=False, crit=["b64"]))) == "unsupported_header"
    head = b64url(json_of(header_of(b64=False, crit=["b64"])))
    assert verdict(signed(head, json_of(claims_of()).decode())) in {"malformed", "encrypted"}
    assert verdict(signed(head, "A" * 20_000)) == "too_large"


def test_t_jwe_no_encrypted_or_compressed_token_costs_anything() -> None:
    """CVE-2026-27932, CVE-2023-6681, CVE-2022-36083, CVE-2023-52428: endless rounds of a password;
    CVE-2025-62706, CVE-2024-28102, CVE-2024-33664, CVE-2024-28176, CVE-2024-28180: bombs of compressed data
    in `zip`; CVE-2026-29000, CVE-2023-51774: a token that was only encrypted taken for a signed one.
    """
    assert unexpected("encrypted", "members that change the reading") == []
    header = {"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2s": "AAAA", "p2c": 2_147_483_647}
    jwe = ".".join((b64url(json_of(header)), "AA", "AA", b64url(token().encode()), "AA"))
    took = []
    for _ in range(5):
        began = time.thread_time()
        assert verdict(jwe) == "encrypted"
        took.append(time.thread_time() - began)
    assert min(took) < 0.001
    for name, value in {"zip": "DEF", "p2c": 2_147_483_647, "p2s": "AAAA", "enc": "A256GCM"}.items():
        assert verdict(token(header_of(**{name: value}))) == "unsupported_header"


def test_t_size_nothing_large_is_decoded() -> None:
    """CVE-2025-61920: segments of any size were decoded and parsed."""
    assert unexpected("larger than allowed", "header larger than allowed") == []
    large = token(None, claims_of(x="x" * 13_000))
    assert len(large) > 16_384
    assert refused(lambda: split(large, 16_384)) == "too_large"
    assert refused(lambda: split(large, 65_536)) is None
    header = b64url(json_of(header_of(x="x" * 2048))).encode()
    assert refused(lambda: parse_header(header)) == "too_large"


def test_t_dots_any_number_of_dots_is_cheap() -> None:
    """CVE-2025-27144, CVE-2025-30204: a header of nothing but dots was split into millions of strings."""
    dots = "." * 65_536
    tracemalloc.start()
    try:
        assert refused(lambda: split(dots, 65_536)) == "malformed"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(dots)
    assert verdict("." * 10**6) == "too_large"
    assert unexpected("number of parts") == []


def test_t_depth_deep_json_is_refused_and_crashes_nothing() -> None:
    """GHSA-8wjv, CVE-2025-53864: nesting without end exhausted the stack."""
    assert unexpected("payload that nests too deeply", "header that nests too deeply") == []
    for parse in (parse_object, parse_with_stdlib):
        for depth in (16, 17, 100, 2000, 5000, 100_000):
            nested = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
            assert outcome(lambda: parse(nested)) == "MalformedJSON"  # noqa: B023
        assert outcome(lambda: parse(b'{"x":' + b"[" * 15 + b"]" * 15 + b"}")) == "ok"  # noqa: B023


def test_t_b64url_one_token_has_one_spelling() -> None:
    """GHSA-hxm8: padding, foreign characters and spare bits gave one token many spellings."""
    assert (
        unexpected(
            "padding",
            "standard alphabet",
            "impossible length",
            "spare bits that are not zero",
            "something around the token",
        )
        == []
    )
    head, body, signature = parts(token())
    others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = [last for last in others if verdict(f"{head}.{body}.{signature[:-1]}{last}") == "ok"]
    assert accepted == [signature[-1]]


def test_t_polyglot_no_token_is_compact_and_json_at_once() -> None:
    """CVE-2022-39227: a token was checked as JSON and read as compact, so that claims could be forged."""
    assert unexpected("polyglots") == []
    head, body, signature = parts(token())
    forged = b64url(json_of(claims_of(sub="admin")))
    for mixed in (
        f'{head}.{forged}{{"payload":"{body}"}}.{signature}',
        f"{head}.{forged}/*{body}*/.{signature}",
        f"{head}.{body}\n{forged}.{signature}",
    ):
        assert verdict(mixed) == "malformed"


def test_t_jsonser_the_json_serialization_is_not_read() -> None:
    """GHSA-jc38-x7x8-2xc8: the algorithm came from the header that is not signed."""
    assert unexpected("json serialization") == []
    head, body, signature = parts(token())
    flat = {"payload": body, "protected": head, "header": {"alg": "none"}, "signature": signature}
    for text in (json.dumps(flat), json.dumps({"payload": body, "signatures": [flat]})):
        assert verdict(text) == "malformed"
        assert verdict(text.encode()) == "malformed"
    # Nor is anything but base64url taken for a header.
    assert refused(lambda: decode_segment(b"eyJhbGciOiJub25lIn0")) is None
    for foreign in (b"{", b'"', b":", b"{}}{"):
        segment = b"eyJh" + foreign + b"bGciOiJub25lIn0" + b"\n" * (-len(foreign) % 4)
        assert refused(lambda: decode_segment(segment)) == "malformed"  # noqa: B023
        assert refused(lambda: decode_segment(b"eyJh" + foreign * 4 + b"bGciOiJub25lIn0")) == "malformed"  # noqa: B023


def test_t_fuzz_a_spoilt_token_is_refused_and_raises_nothing_foreign() -> None:
    """CVE-2019-12995: a malformed token crashed the proxy."""
    chance = random.Random(20260601)
    good = token(None, claims_of(iat=NOW - 180), signer=key("ES256"))  # older than any keys
    found: dict[str, str] = {}
    for _ in range(3000):
        octets = bytearray(good.encode())
        for _ in range(chance.choice((1, 1, 1, 2, 5, 40))):
            place = chance.randrange(len(octets))
            match chance.randrange(4):
                case 0:
                    octets[place] = chance.randrange(256)
                case 1:
                    del octets[place : place + chance.choice((1, 2, 50))]
                case 2:
                    octets[place:place] = bytes(chance.choices(b".=-_AZaz09\0\xff{", k=chance.choice((1, 3))))
                case _:
                    octets = octets[:place] + octets[place // 2 :]
            if not octets:
                break
        if bytes(octets) != good.encode():
            ending = verdict(bytes(octets))
            found.setdefault(ending, bytes(octets).decode("latin-1"))
    assert "ok" not in found, found["ok"]
    assert set(found) <= OURS, set(found) - OURS
    assert len(found) >= 4
