"""The compact form and the header, byte by byte."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing import b64u, compact
from token_shapes import lying, no_tokens

from skeldir_jwt_mw.core.compact import (
    MAX_CLAIMED,
    MAX_HEADER_CHARACTERS,
    MAX_HEADER_PARTS,
    Header,
    claimed_issuers,
    compile_header_check,
    decode_segment,
    exactly,
    header_segment,
    is_key_id,
    max_header_bytes,
    may_be_issued_after,
    parse_header,
    payload_segment,
    split,
)
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.errors import InvalidToken

LIMIT = 16_384
HEADER = {"alg": "RS256", "kid": "k1", "typ": "at+jwt"}
SEGMENTS = (b64u(compact(HEADER)), b64u(b'{"sub":"a"}'), b64u(bytes(range(256))))
TOKEN = ".".join(SEGMENTS)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def read(token: object, max_bytes: int = LIMIT) -> Header:
    """What every token goes through before its claims are looked at."""
    return parse_header(split(token, max_bytes)[1])


def refusal(token: object, max_bytes: int = LIMIT) -> str:
    """The code that the token is refused with."""
    with pytest.raises(InvalidToken) as caught:
        read(token, max_bytes)
    assert caught.value.__cause__ is None
    return caught.value.code


def segment_of(members: Any) -> bytes:
    return b64u(members if isinstance(members, bytes) else compact(members)).encode()


def header_refusal(members: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        parse_header(segment_of(members))
    return caught.value.code


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What `compile_header_check` reads of an issuer."""

    algorithms: Sequence[str] = ("RS256", "PS256", "ES256", "EdDSA")
    token_types: Sequence[str | None] = ("at+jwt", "JWT", None)
    ignored_headers: Sequence[str] = ()


def verdict(members: dict[str, Any], **rules: Any) -> str:
    """Whether an issuer's check admits the header, or the code of the refusal."""
    try:
        compile_header_check(Rules(**rules))(parse_header(segment_of(members)))
    except InvalidToken as error:
        return error.code
    return "admitted"


# -- framing ---------------------------------------------


def test_a_token_comes_apart_into_signing_input_header_payload_and_signature() -> None:
    signing_input, header, payload, signature = split(TOKEN, LIMIT)
    assert signing_input == ".".join(SEGMENTS[:2]).encode()
    assert header == SEGMENTS[0].encode()
    assert payload == b'{"sub":"a"}'
    assert signature == bytes(range(256))


def test_bytes_and_str_are_read_alike() -> None:
    assert split(TOKEN.encode(), LIMIT) == split(TOKEN, LIMIT)


@given(
    st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80)
)
def test_any_bytes_come_back_as_they_were(header: bytes, payload: bytes, signature: bytes) -> None:
    token = ".".join(map(b64u, (header, payload, signature)))
    signing_input, segment, *decoded = split(token, LIMIT)
    assert signing_input + b"." + b64u(signature).encode() == token.encode()
    assert [decode_segment(segment), *decoded] == [header, payload, signature]


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, True, [], {}, object(), bytearray(b"a.b.c"), memoryview(b"a.b.c")]
)
def test_r01_what_is_neither_str_nor_bytes_is_refused(value: object) -> None:
    assert refusal(value) == "malformed"


FOREIGN = [
    "=", "==", "+", "/", " ", "\t", "\n", "\r", "\0", "\v", "\x7f", "!", "~", ",", ":", "%2e", "\ufeff",
    "\u00a0",
    "é", "\uff0e", "\u3002", "\u0410", "\u200b", "\ud800", "😀",
]  # fmt: skip


@pytest.mark.parametrize("foreign", FOREIGN, ids=ascii)
@pytest.mark.parametrize("segment", range(3))
@pytest.mark.parametrize("at", [0, 5, None], ids=["first", "inside", "last"])
def test_r01_a_foreign_character_is_refused_wherever_it_stands(
    foreign: str, segment: int, at: int | None
) -> None:
    parts = list(SEGMENTS)
    cut = len(parts[segment]) if at is None else at
    parts[segment] = parts[segment][:cut] + foreign + parts[segment][cut:]
    token = ".".join(parts)
    assert refusal(token) == "malformed"
    assert refusal(token.encode("utf-8", "surrogatepass")) == "malformed"


@pytest.mark.parametrize("segment", range(3))
def test_r01_no_byte_outside_the_alphabet_can_take_the_place_of_one_inside(segment: int) -> None:
    for byte in set(range(256)) - set(ALPHABET.encode()) - {ord(".")}:
        parts = [part.encode() for part in SEGMENTS]
        parts[segment] = parts[segment][:4] + bytes([byte]) + parts[segment][5:]
        assert refusal(b".".join(parts)) == "malformed", byte


def test_r01_the_standard_alphabet_is_not_taken_for_the_url_safe_one() -> None:
    payload = b"\xfb\xff\xbf" * 4
    assert b64u(payload) == "-_-_" * 4
    good = f"{SEGMENTS[0]}.{b64u(payload)}.{SEGMENTS[2]}"
    assert split(good, LIMIT)[2] == payload
    for pair in ("-+", "_/"):
        bad = f"{SEGMENTS[0]}.{b64u(payload).replace(*pair)}.{SEGMENTS[2]}"
        assert refusal(bad) == "malformed"


@pytest.mark.parametrize("parts", [1, 2, 4, 6, 7, 100])
def test_r02_any_number_of_parts_but_three_is_refused(parts: int) -> None:
    assert refusal(".".join([SEGMENTS[0]] * parts)) == "malformed"


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a", "a.", ".a", "a.b", *(".".join(parts) for parts in (
        ("", SEGMENTS[1], SEGMENTS[2]), (SEGMENTS[0], "", SEGMENTS[2]), (SEGMENTS[0], SEGMENTS[1], ""),
        ("", "", SEGMENTS[2]), ("", SEGMENTS[1], ""), (SEGMENTS[0], "", ""),
    ))]
)  # fmt: skip
def test_r02_an_empty_part_is_refused(token: str) -> None:
    assert refusal(token) == "malformed"


@pytest.mark.parametrize(
    "token",
    ["QUFB", "QUFBQUFB", ".QUFB.QUFB", "QUFB.QUFB", "QUFB.QUFB.", "QUFB..QUFB", "QUFB.QUFB.QUFB.QUFB"],
)
def test_r02_framing_is_judged_before_the_header_is_read(token: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        split(token, LIMIT)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("key", ["", "QUFB"], ids=["without key", "with key"])
def test_r02_a_jwe_of_five_parts_is_refused_by_its_own_code(key: str) -> None:
    header = b64u(compact({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}))
    assert refusal(f"{header}.{key}.QUFB.QUFB.QUFB") == "encrypted"


def test_r02_the_json_serialization_is_refused() -> None:
    flat = {"protected": SEGMENTS[0], "payload": SEGMENTS[1], "signature": SEGMENTS[2]}
    assert refusal(json.dumps(flat)) == "malformed"
    # CVE-2022-39227: one reader sees a compact token in it, another an object.
    assert refusal(json.dumps({f"  {TOKEN}": 1, **flat})) == "malformed"


def test_r02_dots_without_end_cost_no_more_than_other_bytes() -> None:
    start = time.perf_counter()
    assert refusal("." * 65_536, 65_536) == "malformed"
    assert refusal(SEGMENTS[0] + "." * 65_000, 65_536) == "malformed"
    assert time.perf_counter() - start < 0.1


def test_r03_a_token_at_the_limit_is_read_and_one_byte_more_refused() -> None:
    assert read(TOKEN, len(TOKEN)).kid == "k1"
    assert read(TOKEN.encode(), len(TOKEN)).kid == "k1"
    assert refusal(TOKEN, len(TOKEN) - 1) == "too_large"
    assert refusal(TOKEN.encode(), len(TOKEN) - 1) == "too_large"


def test_r03_the_size_is_judged_before_anything_is_decoded() -> None:
    assert refusal("é" * 101, 100) == "too_large"
    assert refusal(b"!" * 101, 100) == "too_large"
    with pytest.raises(InvalidToken) as caught:
        split("A" * 10_924 + ".!.!", LIMIT)
    assert (caught.value.code, caught.value.hint) == ("too_large", "the header is longer than 8192 bytes")
    with pytest.raises(InvalidToken) as caught:
        split(b"!" * 101, 100)
    assert caught.value.hint == "the token is longer than 100 bytes (max_token_bytes)"


def padded_header(size: int) -> bytes:
    """A header of exactly so many bytes."""
    empty = compact({**HEADER, "x": ""})
    return compact({**HEADER, "x": "a" * (size - len(empty))})


def test_r03_a_header_of_2048_bytes_is_read_and_one_byte_more_refused() -> None:
    assert len(padded_header(2048)) == 2048
    assert read(f"{b64u(padded_header(2048))}.{SEGMENTS[1]}.{SEGMENTS[2]}").kid == "k1"
    assert refusal(f"{b64u(padded_header(2049))}.{SEGMENTS[1]}.{SEGMENTS[2]}") == "too_large"
    assert header_refusal(padded_header(2049)) == "too_large"


def test_r03_a_header_with_certificates_that_are_ignored_may_have_8192_bytes() -> None:
    assert max_header_bytes(("jku", "jwk", "x5u", "zip")) == max_header_bytes(()) == 2048
    most = max_header_bytes(("zip", "x5c"))
    assert parse_header(segment_of(padded_header(8192)), most).kid == "k1"
    with pytest.raises(InvalidToken) as caught:
        parse_header(segment_of(padded_header(8193)), most)
    assert (caught.value.code, caught.value.hint) == ("too_large", "the header is longer than 8192 bytes")
    with pytest.raises(InvalidToken) as caught:
        parse_header(segment_of(padded_header(2049)))
    assert (caught.value.code, caught.value.hint) == ("too_large", "the header is longer than 2048 bytes")


@pytest.mark.parametrize("segment", range(3))
@pytest.mark.parametrize("length", [1, 5, 9])
def test_r04_a_segment_of_an_impossible_length_is_refused(segment: int, length: int) -> None:
    parts = list(SEGMENTS)
    parts[segment] = "A" * length
    assert refusal(".".join(parts)) == "malformed"


@pytest.mark.parametrize("segment", range(3))
def test_r04_non_zero_trailing_bits_are_refused(segment: int) -> None:
    encodings = {b64u(bytes([n])) for n in range(256)} | {b64u(bytes([0, n])) for n in range(256)}
    for text in map("".join, [*itertools.product("AQ", ALPHABET), *itertools.product("A", "A", ALPHABET)]):
        parts = list(SEGMENTS)
        parts[segment] = text
        token = ".".join(parts)
        if text not in encodings:
            assert refusal(token) == "malformed", text
        elif segment == 0:
            assert refusal(token) == "bad_header"
        else:
            assert b64u(split(token, LIMIT)[1 + segment]) == text


def test_r04_only_the_canonical_encoding_of_two_characters_is_decoded() -> None:
    encodings = {b64u(bytes([number])) for number in range(256)}
    for text in map("".join, itertools.product(ALPHABET, repeat=2)):
        if text in encodings:
            assert b64u(decode_segment(text.encode())) == text
        else:
            with pytest.raises(InvalidToken):
                decode_segment(text.encode())


@pytest.mark.parametrize("padding", ["=", "==", "==="])
@pytest.mark.parametrize("segment", range(3))
def test_a_padded_segment_is_refused(segment: int, padding: str) -> None:
    parts = [b64u(b"a"), b64u(b"aa"), b64u(b"aaa")]
    for text in parts:
        whole = list(SEGMENTS)
        whole[segment] = text + padding
        assert refusal(".".join(whole)) == "malformed"


@pytest.mark.parametrize("segment", [b"", b"A", b"A=", b"QQ==", b"Q Q", b"QQ\n", b"QR", b".", b"\xff\xff"])
def test_a_single_segment_is_decoded_as_strictly(segment: bytes) -> None:
    with pytest.raises(InvalidToken) as caught:
        decode_segment(segment)
    assert caught.value.code == "malformed"


def test_an_error_holds_nothing_of_the_token() -> None:
    secret = "c2VjcmV0"
    for token in (
        f"{secret}é",
        f"{secret}.{secret}.{secret}",
        f"{secret}.=.{secret}",
        secret.encode() + b"\xff",
    ):
        with pytest.raises(InvalidToken) as caught:
            read(token)
        error: BaseException | None = caught.value
        while error is not None:
            assert not re.search("secret|c2VjcmV0", f"{error!r} {vars(error)}")
            error = error.__context__


# -- header ---------------------------------------------


def test_a_header_is_read_into_its_parts() -> None:
    header = parse_header(segment_of({**HEADER, "x5t": 1, "nonce": "n", "ver": {"a": []}}))
    assert (header.algorithm, header.kid, header.token_type) == ("RS256", "k1", "at+jwt")
    assert header.members["nonce"] == "n"
    with pytest.raises(TypeError):
        header.members["alg"] = "none"  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b'"RS256"', b"null", b"{", b'{"alg":"RS256"} x', b'\xef\xbb\xbf{"alg":"RS256"}',
        b'{"alg":"RS256\xff"}',
        '{"alg":"RS256"}'.encode("utf-16"), rb'{"alg":"RS256","x":"\ud800"}', b'{"alg":"RS256","x":NaN}',
        b'{"alg":"RS256","x":1e999}', b'{"alg":"RS256","x":' + b"1" * 41 + b"}",
        b'{"alg":"RS256","x":' + b"[" * 16 + b"]" * 16 + b"}", b"[" * 2048,
    ],
)  # fmt: skip
def test_r05_a_header_that_is_no_strict_json_object_is_refused(data: bytes) -> None:
    assert header_refusal(data) in ({"bad_header"} if data else {"malformed"})


@pytest.mark.parametrize(
    "data",
    [
        b'{"alg":"RS256","alg":"RS256"}', b'{"alg":"none","alg":"RS256"}',
        b'{"alg":"RS256","kid":"a","kid":"b"}',
        rb'{"alg":"RS256","\u0061lg":"none"}', b'{"alg":"RS256","x":{"y":1,"y":1}}',
        b'{"x":1,"alg":"RS256","x":1}',
    ],
)  # fmt: skip
def test_r06_a_duplicate_header_member_is_refused(data: bytes) -> None:
    assert header_refusal(data) == "bad_header"


@pytest.mark.parametrize("alg", [None, 1, True, [], ["RS256"], {"RS256": 1}])
def test_r10_an_alg_that_is_no_string_is_refused(alg: Any) -> None:
    assert header_refusal({"alg": alg}) == "bad_header"


def test_r10_a_header_without_alg_is_refused() -> None:
    assert header_refusal({"kid": "k1", "typ": "JWT"}) == "bad_header"


@pytest.mark.parametrize(
    "alg",
    [
        "none", "None", "NONE", "nOnE", "", " ", "HS256", "HS384", "HS512", "hs256", "rs256", "Rs256",
        "RS256 ", " RS256",
        "RS256\0", "RS1", "RS2560", "ES256K", "Ed448", "eddsa", "EDDSA", "ed25519", "ES521", "RSA-OAEP",
        "dir", "A256KW",
        "PBES2-HS256+A128KW", "ML-DSA-44", "\uff32\uff33256",
    ],
)  # fmt: skip
def test_r10_no_issuer_can_allow_none_hmac_or_an_unknown_algorithm(alg: str) -> None:
    assert verdict({"alg": alg}, algorithms=(alg, "RS256")) == "algorithm_not_allowed"


@pytest.mark.parametrize("alg", SUPPORTED_ALGORITHMS)
def test_r10_an_algorithm_is_admitted_where_the_issuer_allows_it_and_nowhere_else(alg: str) -> None:
    same = {alg, "EdDSA", "Ed25519"} if alg.startswith("Ed") else {alg}
    for allowed in SUPPORTED_ALGORITHMS:
        expected = "admitted" if allowed in same else "algorithm_not_allowed"
        assert verdict({"alg": alg}, algorithms=(allowed,)) == expected


@pytest.mark.parametrize(
    "crit",
    [
        None, True, "exp", {}, [], [1], [""], ["alg"], ["b64"], ["exp"], ["absent"], ["exp", "exp"],
        [["exp"]],
        ["http://example.com/ext"],
    ],
)  # fmt: skip
def test_r12_crit_is_refused_whatever_it_holds(crit: Any) -> None:
    members = {**HEADER, "exp": 1, "http://example.com/ext": True, "crit": crit}
    assert verdict(members, ignored_headers=("crit",)) == "unsupported_header"


@pytest.mark.parametrize("value", [None, True, False, "DEF", "A256GCM", 4096, {"kty": "EC"}])
@pytest.mark.parametrize("name", ["b64", "enc", "p2c", "p2s", "epk"])
def test_r13_members_that_change_how_a_token_is_read_are_refused(name: str, value: Any) -> None:
    assert verdict({**HEADER, name: value}, ignored_headers=(name,)) == "unsupported_header"


KEY_BRINGERS = {
    "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "jku": "https://attacker.example/jwks",
    "x5u": "https://attacker.example/cert",
    "x5c": ["MIIB"],
    "zip": "DEF",  # which means nothing in a JWS
}


@pytest.mark.parametrize("value", [None, "given"])
@pytest.mark.parametrize("name", KEY_BRINGERS)
def test_r14_a_key_in_the_header_is_refused_unless_the_issuer_says_to_ignore_it(
    name: str, value: str | None
) -> None:
    members = {**HEADER, name: KEY_BRINGERS[name] if value else None}
    others = [other for other in KEY_BRINGERS if other != name]
    assert verdict(members) == "unsupported_header"
    assert verdict(members, ignored_headers=others) == "unsupported_header"
    assert verdict(members, ignored_headers=(name,)) == "admitted"


@pytest.mark.parametrize("value", [None, 1, "dGh1bWI", ["x"]])
@pytest.mark.parametrize("name", ["x5t", "x5t#S256", "nonce", "iss", "ppt", "url"])
def test_r14_thumbprints_and_unknown_members_are_ignored(name: str, value: Any) -> None:
    assert verdict({**HEADER, name: value}) == "admitted"


@pytest.mark.parametrize(
    "kid",
    [
        None, 1, True, [], {}, ["k1"], "", "a" * 257, "é" * 129, "k\0", "\0", "k\n1", "\r\n", "k\t",
        "\x1b[2J", "k\x7f",
        "k\x80", "k\x9f",
    ],
)  # fmt: skip
def test_r15_a_malformed_kid_is_refused(kid: Any) -> None:
    with pytest.raises(InvalidToken) as caught:
        parse_header(segment_of({"alg": "RS256", "kid": kid}))
    assert (caught.value.code, caught.value.hint) == (
        "bad_header",
        "kid is no plain string of 1 to 256 bytes",
    )
    assert not is_key_id(kid)


@pytest.mark.parametrize(
    "kid",
    [
        "a", " ", "a" * 256, "é" * 128, "../../etc/passwd", "'; DROP TABLE keys; --", "k1 ", "K1", "%00",
        "\u2028",
        "https://login.example.com/keys#1", "0", "null", "k=1&x", "\\", '"', "😀", "\u202e",
    ],
)  # fmt: skip
def test_r15_a_kid_is_an_opaque_string_of_up_to_256_bytes(kid: str) -> None:
    assert parse_header(segment_of({"alg": "RS256", "kid": kid})).kid == kid
    assert is_key_id(kid)


def test_a_header_without_kid_and_typ_is_read() -> None:
    header = parse_header(segment_of({"alg": "ES256"}))
    assert header.kid is None
    assert header.token_type is None


@pytest.mark.parametrize(
    "typ",
    [
        "at+jwt",
        "AT+JWT",
        "at+JWT",
        "application/at+jwt",
        "Application/AT+JWT",
        "JWT",
        "jwt",
        "application/jwt",
    ],
)
def test_r16_typ_is_compared_without_case_and_prefix(typ: str) -> None:
    assert verdict({"alg": "RS256", "typ": typ}) == "admitted"


@pytest.mark.parametrize(
    "typ",
    [
        "", " ", "id+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "JWS", "at+jwt ", " at+jwt",
        "at+jwt;v=1",
        "application/", "application/application/jwt", "text/jwt", "/jwt", "x-jwt", "\uff2a\uff37\uff34",
        "at+jwt\0", "oauth-authz-req+jwt",
    ],
)  # fmt: skip
def test_r16_a_type_that_the_issuer_does_not_name_is_refused(typ: str) -> None:
    assert verdict({"alg": "RS256", "typ": typ}) == "wrong_type"


@pytest.mark.parametrize("typ", [None, 1, ["at+jwt"], {}])
def test_r16_a_typ_that_is_no_string_is_refused(typ: Any) -> None:
    assert header_refusal({"alg": "RS256", "typ": typ}) == "bad_header"


def test_r16_the_strict_profile_admits_at_jwt_alone() -> None:
    strict = {"token_types": ("application/at+JWT",)}
    assert verdict({"alg": "RS256", "typ": "at+jwt"}, **strict) == "admitted"
    assert verdict({"alg": "RS256", "typ": "JWT"}, **strict) == "wrong_type"
    assert verdict({"alg": "RS256"}, **strict) == "wrong_type"


def test_r16_a_letter_that_only_folds_to_ascii_is_another_letter() -> None:
    assert verdict({"alg": "RS256", "typ": "to\u212aen"}, token_types=("token",)) == "wrong_type"


@pytest.mark.parametrize("cty", ["JWT", "jwt", "Jwt", "application/jwt", "application/JWT"])
def test_r17_a_nested_token_is_refused(cty: str) -> None:
    assert header_refusal({**HEADER, "cty": cty}) == "unsupported_header"


@pytest.mark.parametrize("cty", [None, 1, ["JWT"]])
def test_r17_a_cty_that_is_no_string_is_refused(cty: Any) -> None:
    assert header_refusal({**HEADER, "cty": cty}) == "bad_header"


@pytest.mark.parametrize("cty", ["json", "application/json", "", "jwt+x"])
def test_another_content_type_is_none_of_our_business(cty: str) -> None:
    assert verdict({**HEADER, "cty": cty}) == "admitted"


@pytest.mark.parametrize(
    "data",
    [
        b' {"alg" : "RS256"}\r\n', rb'{"\u0061lg":"\u0052S256"}',
        b'{"typ":"JWT","alg":"RS256","x":{"a":{"a":1}}}',
        '{"alg":"RS256","kid":"schlüssel"}'.encode(),
    ],
)  # fmt: skip
def test_a_header_may_be_written_in_any_legal_way(data: bytes) -> None:
    assert parse_header(b64u(data).encode()).algorithm == "RS256"


@pytest.mark.parametrize(
    ("members", "certificates"),
    [
        ({}, ()),
        ({"x5t": "one"}, ("one",)),
        ({"x5t#S256": "two"}, ("two",)),
        ({"x5t": "one", "x5t#S256": "two"}, ("two", "one")),
        ({"x5t": "one", "x5t#S256": None}, ("one",)),
        ({"x5t": 1, "x5t#S256": "two"}, ("two",)),
        ({"x5t": ["one"], "x5t#S256": {}}, ()),
        ({"x5t": "", "x5t#S256": ""}, ()),
        ({"kid": "k1", "x5t": "one", "x5t#S256": "two"}, ()),  # the kid alone decides
    ],
)
def test_r15_a_header_without_kid_names_its_key_by_both_thumbprints(
    members: dict[str, Any], certificates: tuple[str, ...]
) -> None:
    assert parse_header(segment_of({"alg": "RS256", **members})).certificates == certificates


# -- what is known of a payload before its signature is -----------------------


@pytest.mark.parametrize(
    ("payload", "issuers"),
    [
        (b'{"iss":"https://a.example/"}', ["https://a.example/"]),
        (b'{"sub":"a", "iss" :\t"https://a.example/" ,"aud":"b"}', ["https://a.example/"]),
        (b'{"iss":"https:\\/\\/a.example\\/"}', ["https://a.example/"]),
        ('{"iss":"https://ä.example/"}'.encode(), ["https://ä.example/"]),
        (b'{"iss":""}', [""]),
        (b'{"iss":"a","act":{"iss":"b"}}', ["a", "b"]),
        (b'{"iss":"a","iss":"a"}', ["a", "a"]),
        (b'{"iss":"a\\u0062"}', ["ab"]),
        (b'{"\\u0069ss":"b","act":{"iss":"a"}}', ["b", "a"]),
        (b'{"iss":"a\xff"}', [""]),  # which no issuer is called
        (b'{"iss":"a\tb"}', ["a\tb"]),  # nor this
    ],
)
def test_r24_the_issuers_that_a_payload_claims_are_found_however_they_are_written(
    payload: bytes, issuers: list[str]
) -> None:
    assert claimed_issuers(payload) == issuers


CLAIM_VALUES = st.one_of(st.text(max_size=8), st.integers(), st.lists(st.text(max_size=3)), st.none())


MOMENT = 1_800_000_000.0


@pytest.mark.parametrize(
    ("payload", "may_be"),
    [
        (b'{"iat":1799999998}', False),
        (b'{"iat":1799999999}', False),
        (b'{"iat":1800000000}', True),  # a moment that was cut to whole seconds may lie up to one later
        (b'{"iat" :\n1800000099, "sub":"a"}', True),
        (b'{"sub":"a"}', False),  # as old as can be: such tokens wait for no newer keys
        (b'{"iat":1799999998.5}', True),
        (b'{"iat":1e9}', True),
        (b'{"iat":"1799999998"}', True),
        (b'{"iat":-1}', True),
        (b'{"iat":null}', True),
        (b'{"iat":100000000000}', True),
        (b'{"\\u0069at":1900000000}', True),
        (b'{"iat":1,"act":{"iat":1900000000}}', True),
        (b'{"iat":1,"act":{"iat":2}}', False),
    ],
)
def test_whether_a_token_may_be_younger_than_the_keys_is_answered_with_yes_in_doubt(
    payload: bytes, may_be: bool
) -> None:
    assert may_be_issued_after(payload, MOMENT) is may_be


@given(
    iat=st.integers(0, 10**12) | st.floats(0, 1e12), others=st.dictionaries(st.text(max_size=4), CLAIM_VALUES)
)
def test_a_token_that_was_issued_later_is_never_taken_for_an_earlier_one(
    iat: float, others: dict[str, Any]
) -> None:
    payload = json.dumps({**others, "iat": iat}).encode()
    if not may_be_issued_after(payload, MOMENT):
        assert iat <= MOMENT


@pytest.mark.parametrize("as_type", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize(
    ("token", "segment"),
    [
        ("abc.def.ghi", b"abc"),
        ("abc", b""),
        (".def.ghi", b""),
        ("", b""),
        (f"{'a' * MAX_HEADER_CHARACTERS}.b.c", b"a" * MAX_HEADER_CHARACTERS),
        (f"{'a' * (MAX_HEADER_CHARACTERS + 1)}.b.c", b""),
    ],
)
def test_r03_the_header_segment_is_what_stands_before_the_first_dot_if_that_is_short_enough(
    as_type: Callable[[str], str | bytes], token: str, segment: bytes
) -> None:
    assert header_segment(as_type(token)) == segment


@pytest.mark.parametrize(
    ("token", "segment"),
    [("abc.def.ghi", b"def"), ("a.b.c.d", b"b.c"), ("abc.ghi", b""), ("a.b\u00e9.c", b"b?"), ("", b"")],
)
def test_the_payload_segment_is_what_stands_between_the_first_dot_and_the_last(
    token: str, segment: bytes
) -> None:
    assert payload_segment(token) == segment
    assert payload_segment(token.replace("\u00e9", "?").encode()) == segment


@pytest.mark.parametrize("token", ["a.b.c", b"a.b.c"])
def test_a_string_or_bytes_are_made_exact_without_asking_them(token: str | bytes) -> None:
    assert exactly(token) is token
    odd = exactly(lying(token, token[::-1]))
    assert (type(odd), odd) == (type(token), token)


@pytest.mark.parametrize("name", no_tokens(""))
def test_what_is_neither_string_nor_bytes_is_not_made_one(name: str) -> None:
    assert exactly(no_tokens("a.b.c")[name]) is None


@pytest.mark.parametrize("token", [None, 7, ["a.b.c"], bytearray(b"a.b.c")])
def test_r01_what_is_no_text_has_no_header_segment(token: object) -> None:
    assert header_segment(token) == b""


def test_r01_a_header_segment_beyond_ascii_is_none_that_could_be_known() -> None:
    assert header_segment("\u00e4bc.d.e") == b"?bc"


names_of_iss = st.tuples(*(st.sampled_from([letter, f"\\u{ord(letter):04x}"]) for letter in "iss")).map(
    "".join
)
values = st.recursive(
    st.text(max_size=6) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["iss", "a", 'x"iss', "iss:", '"iss":"b"']), inner, max_size=3)
    ),
    max_leaves=MAX_CLAIMED - 1,
)


@given(st.text(), names_of_iss, values, values, st.booleans(), st.sampled_from(["", " ", "\n\t "]))
def test_a_tokens_issuer_is_among_those_that_its_payload_seems_to_claim(
    iss: str, name: str, before: Any, after: Any, ascii_only: bool, space: str
) -> None:
    around = [json.dumps(value, ensure_ascii=ascii_only) for value in (before, after)]
    text = json.dumps(iss, ensure_ascii=ascii_only)
    payload = f'{{"x":{around[0]},"{name}"{space}:{space}{text},"y":{around[1]}}}'
    try:
        data = payload.encode()
    except UnicodeEncodeError:
        return
    assert json.loads(data)["iss"] == iss
    if b"\\\\u00" not in data:  # a backslash before what looks like an escape, which no issuer holds
        assert iss in claimed_issuers(data) or len(claimed_issuers(data)) > MAX_CLAIMED


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no JSON",
        b'{"sub":"iss"}',
        b'{"iss":5}',
        b'{"iss":["https://login.example.com/"]}',
        b'{"ISS":"https://login.example.com/"}',
        b'{"x":"\\"iss\\":\\"https://login.example.com/\\""}',
    ],
)
def test_what_is_not_called_iss_claims_no_issuer(payload: bytes) -> None:
    assert claimed_issuers(payload) == []


def test_no_more_issuers_are_looked_at_than_a_few() -> None:
    payload = b"[" + b",".join([b'{"iss":"a"}'] * 1000) + b"]"
    assert claimed_issuers(payload) == ["a"] * (MAX_CLAIMED + 1)


@pytest.mark.parametrize(
    ("members", "refused"),
    [(5, False), (MAX_HEADER_PARTS - 3, False), (MAX_HEADER_PARTS + 1, True), (150, True)],
)
def test_r05_a_header_has_so_many_members_and_items_and_no_more(members: int, refused: bool) -> None:
    header = {"alg": "ES256", "kid": "k1", "x": ["item"] * members}
    segment = b64u(json.dumps(header, separators=(",", ":")).encode()).encode()
    if not refused:
        assert parse_header(segment).kid == "k1"
        return
    with pytest.raises(InvalidToken) as caught:
        parse_header(segment)
    assert (caught.value.code, caught.value.hint) == (
        "bad_header",
        "the header has more than 32 members and items",
    )


def test_a_payload_without_iat_counts_as_issued_at_the_epoch() -> None:
    assert may_be_issued_after(b'{"sub":"user-1"}', -0.5)
    assert not may_be_issued_after(b'{"sub":"user-1"}', 0.0)
    assert not may_be_issued_after(b'{"sub":"user-1"}', 0.5)
