"""Strict JSON: the same language whether orjson is there or not."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from skeldir_jwt_mw.core import strict_json
from skeldir_jwt_mw.core.strict_json import (
    BRIEF_BYTES,
    BRIEF_PARTS,
    BYTES_PER_PART,
    MAX_CONTAINERS,
    MalformedJSON,
    parse_brief,
    parse_object,
    parse_with_stdlib,
    parts_of,
)

Parse = Callable[[bytes], dict[str, Any]]


@pytest.fixture(params=[parse_object, parse_with_stdlib], ids=["orjson", "stdlib"])
def parse(request: pytest.FixtureRequest) -> Parse:
    return request.param


def nested(levels: int, opening: str = '{"a":', closing: str = "}", core: str = "{}") -> bytes:
    """An object that nests `levels` deep."""
    return (opening * (levels - 1) + core + closing * (levels - 1)).encode()


REFUSED_R05 = {
    "nothing": b"",
    "white space": b"  ",
    "array": b"[]",
    "string": b'"a"',
    "number": b"1",
    "null": b"null",
    "latin-1": b'{"a":"\xe9"}',
    "overlong": b'{"a":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16-LE": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "lone high surrogate": rb'{"a":"\ud800"}',
    "lone high surrogate in capitals": rb'{"a":"\uDBFF"}',
    "lone low surrogate": rb'{"a":["\udc00"]}',
    "swapped surrogates": rb'{"a":"\udc00\ud800"}',
    "lone surrogate in a name": rb'{"\ud800":1}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":[-Infinity]}',
    "too large for a double": b'{"a":1e400}',
    "too small for a double": b'{"a":-1e400}',
    "41 digits": b'{"a":' + b"1" * 41 + b"}",
    "41 digits, negative": b'{"a":-' + b"1" * 41 + b"}",
    "41 digits deep inside": b'{"a":[{"b":[' + b"9" * 41 + b"]}]}",
    "5000 digits": b'{"a":' + b"1" * 5000 + b"}",
    "41 digits in a fraction": b'{"a":0.' + b"1" * 41 + b"}",
    "17 levels": nested(17),
    "17 levels of arrays": b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
    "17 levels after many brackets": b'{"b":"' + b"{" * 20 + b'","a":' + b"[" * 16 + b"]" * 16 + b"}",
    "200 levels": nested(200),
    "300 levels": nested(300),
    "2000 levels": nested(2000),
    "100 000 levels": nested(100_000),
    "100 000 levels unclosed": b"[" * 100_000,
    "1025 members": json.dumps({str(n): 0 for n in range(1025)}, separators=(",", ":")).encode(),
    "1025 members inside": json.dumps(
        {"a": [{str(n): 0 for n in range(1025)}]}, separators=(",", ":")
    ).encode(),
    "1025 members, spaced": json.dumps({str(n): 0 for n in range(1025)}).encode(),
    "trailing data": b'{"a":1}x',
    "a letter before it": b'X{"a":1}',
    "a letter after it": b'{"a":1}X',
    "two objects": b"{}{}",
    "trailing NUL": b"{}\0",
    "trailing no-break space": "{}\u00a0".encode(),
    "leading form feed": b"\f{}",
    "trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "bare name": b"{a:1}",
    "comment": b'{"a":1/**/}',
    "leading zero": b'{"a":01}',
    "plus sign": b'{"a":+1}',
    "bare fraction": b'{"a":.5}',
    "raw newline in a string": b'{"a":"\n"}',
    "raw NUL in a string": b'{"a":"\0"}',
    "unknown escape": rb'{"a":"\x41"}',
    "unfinished": b'{"a":1',
    "True": b'{"a":True}',
    "other digits": '{"a":\u0661}'.encode(),
}

REFUSED_R06 = {
    "at the top": b'{"a":1,"a":1}',
    "with another value": b'{"alg":"none","alg":"RS256"}',
    "apart": b'{"a":1,"b":2,"a":3}',
    "spaced": b'{ "a" : 1 , "a" : 1 }',
    "inside": b'{"x":{"a":1,"a":2}}',
    "in an array": b'{"x":[[{"a":1,"a":2}]]}',
    "empty names": b'{"":1,"":2}',
    "by escape": rb'{"a":1,"\u0061":2}',
    "by escape in the first": rb'{"\u0061":1,"a":2}',
    "not ASCII": '{"\u00e9":1,"\u00e9":2}'.encode(),
}

ACCEPTED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "empty": (b"{}", {}),
    "white space": (b' \t\r\n{ "a" :\n1 }\n', {"a": 1}),
    "escapes": (rb'{"\u0061\/\n":"\u00e9\ud83d\ude00\\ud800"}', {"a/\n": "é😀\\ud800"}),
    "UTF-8": ('{"é":"😀"}'.encode(), {"é": "😀"}),
    "escaped control character": (rb'{"a":"\u0000"}', {"a": "\0"}),
    "byte order mark in a string": ('{"a":"\ufeff"}'.encode(), {"a": "\ufeff"}),
    "40 digits": (b'{"a":' + b"1" * 40 + b"}", {"a": int("1" * 40)}),
    "40 digits, negative": (b'{"a":-' + b"1" * 40 + b"}", {"a": -int("1" * 40)}),
    "40 digits and their punctuation": (
        b'{"a":-0.' + b"1" * 38 + b"e-9}",
        {"a": -float("0." + "1" * 38 + "e-9")},
    ),
    "beyond 64 bits": (b'{"a":18446744073709551616}', {"a": 2**64}),
    "at 64 bits": (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
    "41 digits in a string": (b'{"a":"' + b"1" * 41 + b'"}', {"a": "1" * 41}),
    "floats": (
        b'{"a":1.0,"b":1e3,"c":1E+2,"d":0.1,"e":1e-400}',
        {"a": 1.0, "b": 1e3, "c": 100.0, "d": 0.1, "e": 0.0},
    ),
    "negative zero": (b'{"a":-0}', {"a": 0}),
    "16 levels": (nested(16), json.loads(nested(16))),
    "16 levels of arrays": (
        b'{"a":' + b"[" * 15 + b"]" * 15 + b"}",
        json.loads('{"a":' + "[" * 15 + "]" * 15 + "}"),
    ),
    "16 levels and more brackets than levels": (
        b'{"b":[],"c":{},"a":' + nested(15) + b"}",
        {"b": [], "c": {}, "a": json.loads(nested(15))},
    ),
    "many brackets side by side": (
        b'{"a":[' + b",".join([b"{}"] * 300) + b"]}",
        {"a": [{}] * 300},
    ),
    "many brackets in a string": (b'{"a":"' + b"{[" * 300 + b'"}', {"a": "{[" * 300}),
    "256 members": (
        json.dumps({str(n): 0 for n in range(256)}, separators=(",", ":")).encode(),
        {str(n): 0 for n in range(256)},
    ),
    "many members in all": (
        json.dumps(
            {str(n): {str(m): ":" for m in range(200)} for n in range(10)}, separators=(",", ":")
        ).encode(),
        {str(n): {str(m): ":" for m in range(200)} for n in range(10)},
    ),
    "the same name in two objects": (b'{"a":{"b":1},"c":{"b":1}}', {"a": {"b": 1}, "c": {"b": 1}}),
    "names that look alike": ('{"e\u0301":1,"\u00e9":2}'.encode(), {"e\u0301": 1, "\u00e9": 2}),
    "literals": (b'{"a":true,"b":false,"c":null}', {"a": True, "b": False, "c": None}),
}


@pytest.mark.parametrize("document", REFUSED_R05.values(), ids=REFUSED_R05)
def test_r05_what_is_not_a_strict_json_object_is_refused(parse: Parse, document: bytes) -> None:
    with pytest.raises(MalformedJSON) as caught:
        parse(document)
    assert str(caught.value) == "not a strict JSON object"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # JSONDecodeError.doc would be the document


LIMITS = {
    "1025 members": "an object has more than 1024 members",
    "1025 members inside": "an object has more than 1024 members",
    "1025 members, spaced": "an object has more than 1024 members",
    "17 levels": "objects and arrays are nested more than 16 levels deep",
    "17 levels of arrays": "objects and arrays are nested more than 16 levels deep",
    "300 levels": "objects and arrays are nested more than 16 levels deep",
    "2000 levels": "objects and arrays are nested more than 16 levels deep",
    "100 000 levels": "there are more than 2560 objects and arrays",
    "41 digits": "a number has more than 40 digits",
    "41 digits in a fraction": "a number has more than 40 digits",
}


@pytest.mark.parametrize("name", LIMITS)
def test_r05_a_limit_is_named(parse: Parse, name: str) -> None:
    with pytest.raises(MalformedJSON) as caught:
        parse(REFUSED_R05[name])
    assert caught.value.hint == LIMITS[name]


@pytest.mark.parametrize("document", REFUSED_R06.values(), ids=REFUSED_R06)
def test_r06_a_duplicate_member_is_refused_at_any_depth(parse: Parse, document: bytes) -> None:
    with pytest.raises(MalformedJSON):
        parse(document)


@pytest.mark.parametrize(("document", "members"), ACCEPTED.values(), ids=ACCEPTED)
def test_legal_json_is_read_as_it_stands(parse: Parse, document: bytes, members: dict[str, Any]) -> None:
    assert exactly(parse(document)) == exactly(members)


def exactly(value: Any) -> Any:
    """The value with its types and float bits, since 1 == 1.0 == True and -0.0 == 0.0 in Python."""
    if isinstance(value, dict):
        return {name: exactly(member) for name, member in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value), struct.pack(">d", value) if isinstance(value, float) else value


def verdict(parse: Parse, document: bytes) -> Any:
    try:
        return exactly(parse(document))
    except MalformedJSON:
        return "refused"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**42), 10**42)
    | st.sampled_from([2**53, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from([":", "{", "[", '"', "\\", "\\ud800", "\ud800", "\ufeff", "é", "\x7f", "\u2028", "/"])
)
documents = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=20,
    ),
    max_size=6,
)
styles = st.fixed_dictionaries(
    {"ensure_ascii": st.booleans(), "separators": st.sampled_from([(",", ":"), (", ", ": "), (",\n", "\t:")])}
)


@settings(max_examples=400, deadline=None)
@given(documents, styles)
def test_both_readers_agree_on_any_document(document: dict[str, Any], style: dict[str, Any]) -> None:
    data = json.dumps(document, **style).encode("utf-8", "surrogatepass")
    assert verdict(parse_object, data) == verdict(parse_with_stdlib, data)


@settings(max_examples=800, deadline=None)
@given(documents, styles, st.data())
def test_both_readers_agree_on_a_damaged_document(
    document: dict[str, Any], style: dict[str, Any], data: st.DataObject
) -> None:
    damaged = bytearray(json.dumps(document, **style).encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        upto = data.draw(st.integers(at, min(at + 3, len(damaged))))
        snippets = [
            b"",
            b'"',
            b"{",
            b"}",
            b"[",
            b",",
            b":",
            b"0",
            b"-",
            b"e9",
            b".",
            b"\\",
            b"\\u",
            b"d800",
            b" ",
            b"\0",
        ]
        damaged[at:upto] = data.draw(st.sampled_from(snippets) | st.binary(max_size=2))
    assert verdict(parse_object, bytes(damaged)) == verdict(parse_with_stdlib, bytes(damaged))


number_texts = st.from_regex(r"-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@settings(max_examples=800, deadline=None)
@given(number_texts)
@example("-0")
@example("-0.0")
@example("1e22")
@example("9007199254740993")
@example("5e-324")
@example("1.7976931348623159e308")
def test_both_readers_agree_on_any_number(number: str) -> None:
    data = b'{"a":' + number.encode() + b"}"
    assert verdict(parse_object, data) == verdict(parse_with_stdlib, data)


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_survives_both_readers(number: float) -> None:
    assume(math.isfinite(number))
    data = json.dumps({"a": number}).encode()
    assert verdict(parse_object, data) == verdict(parse_with_stdlib, data) == exactly({"a": number})


def test_the_readers_are_two_where_orjson_is_and_one_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.util.find_spec("orjson") is not None
    assert hasattr(strict_json, "orjson") == installed
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.spec_from_file_location("strict_json_without_orjson", strict_json.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not hasattr(module, "orjson")
    assert verdict(module.parse_object, b'{"a":[1]}') == exactly({"a": [1]})


@settings(max_examples=200, deadline=None)
@given(documents, styles)
def test_what_is_read_in_brief_is_read_alike(document: dict[str, Any], style: dict[str, Any]) -> None:
    data = json.dumps(document, **style).encode("utf-8", "surrogatepass")
    try:
        brief = parse_brief(data)
    except MalformedJSON:
        assert verdict(parse_with_stdlib, data) == "refused"
    else:
        assert brief is None or exactly(brief) == verdict(parse_with_stdlib, data)


BRIEF = {
    "numbers": b'{"a":[' + b",".join([b"1"] * 60) + b"]}",
    "numbers, spaced": b'{"a": [' + b",".join([b"1"] * 60) + b"]}",
    "escapes": b'{"a":"' + b"\\u00e9" * 600 + b'"}',
}
BRIEF_TO_ORJSON = {
    "a long string": b'{"a":"' + b"x" * 12_000 + b'"}',
    "strings": b'{"a":[' + b",".join([b'"' + b"x" * 36 + b'"'] * 300) + b"]}",
}
LONG = {
    "numbers": b'{"a":[' + b",".join([b"1"] * 6000) + b"]}",
    "numbers, spaced": b'{"a": [' + b",".join([b"1"] * 70) + b"]}",
    "objects": b'{"a":[' + b",".join([b'{"b":0}'] * 70) + b"]}",
    "escapes": b'{"a":"' + b"\\n" * 6000 + b'"}',
    "a long string, spaced": b'{"a": "' + b"x" * 12_000 + b'"}',
}


@pytest.mark.parametrize("name", BRIEF)
def test_what_is_soon_read_is_read_in_brief(name: str) -> None:
    assert parse_brief(BRIEF[name]) == parse_with_stdlib(BRIEF[name])


@pytest.mark.parametrize("name", BRIEF_TO_ORJSON)
def test_what_orjson_reads_alone_is_read_in_brief_where_it_is(name: str) -> None:
    assert (parse_brief(BRIEF_TO_ORJSON[name]) is not None) == hasattr(strict_json, "orjson")


@pytest.mark.parametrize("name", LONG)
def test_what_takes_long_is_not_read_in_brief(name: str) -> None:
    assert parse_brief(LONG[name]) is None


def test_the_limits_of_what_is_read_in_brief_are_exact() -> None:
    def numbers(parts: int, length: int) -> bytes:
        """A document of so many commas and brackets, which orjson alone would not read, of so many bytes."""
        data = b'{"a": [' + b",".join([b"1"] * (parts - 1)) + b"]}"
        return data + b" " * (length - len(data))

    assert parts_of(numbers(BRIEF_PARTS, 200)) == BRIEF_PARTS
    assert parse_brief(numbers(BRIEF_PARTS, BRIEF_BYTES)) is not None
    assert parse_brief(numbers(BRIEF_PARTS, BRIEF_BYTES + 1)) is None
    assert parse_brief(numbers(BRIEF_PARTS + 1, 200)) is None


def test_the_limit_of_what_orjson_reads_in_brief_is_exact() -> None:
    def dense(parts: int, length: int) -> bytes:
        data = b'{"a":[' + b",".join([b"1"] * (parts - 1)) + b'],"b":""}'
        return data[:-2] + b"x" * (length - len(data)) + data[-2:]

    length = BRIEF_BYTES + 63  # of which the last 31 bytes earn no part
    most = BRIEF_PARTS + length // BYTES_PER_PART
    by_orjson = hasattr(strict_json, "orjson")
    assert (parse_brief(dense(most - 1, length)) is not None) == by_orjson  # and a comma behind the array
    assert parse_brief(dense(most, length)) is None


def test_the_parts_of_a_document_are_its_commas_and_opening_brackets() -> None:
    assert parts_of(b'{"a":[[1,2],{"b":"[{,"}]}') == 9


def test_why_a_document_is_refused_is_told_without_a_word_of_it() -> None:
    for data, hint in (
        (b'{"secret":1,"secret":2}', "an object has a member twice"),
        (b'{"secret":', None),
        (b'["secret"]', None),
        (b'{"a":"' + b"[" * MAX_CONTAINERS + b'"}', "there are more than 2560 objects and arrays"),
    ):
        with pytest.raises(MalformedJSON) as caught:
            parse_with_stdlib(data)
        assert caught.value.hint == hint


def test_as_many_brackets_as_are_allowed_are_read() -> None:
    data = b'{"a":"' + b"[" * (MAX_CONTAINERS - 1) + b'"}'
    assert parse_with_stdlib(data) == {"a": "[" * (MAX_CONTAINERS - 1)}


def test_depth_is_looked_for_below_every_member_and_not_below_the_last_alone() -> None:
    deep = b"[" * 17 + b"]" * 17
    for members in (b'"a":[%b],"b":[[]]', b'"b":[[]],"a":[%b]'):
        data = b"{" + members.replace(b"%b", deep) + b"}"
        for reader in (parse_with_stdlib, parse_object):
            with pytest.raises(MalformedJSON) as caught:
                reader(data)
            assert caught.value.hint == "objects and arrays are nested more than 16 levels deep"
