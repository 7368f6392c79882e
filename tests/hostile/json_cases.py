"""Header or payload that is no strict JSON object, under a good signature."""

from __future__ import annotations

from collections.abc import Iterator

from crafting import ABSENT, ISSUER, NOW, Made, claims_of, family, header_of, json_of, token

HEADER = json_of(header_of())
CLAIMS = json_of(claims_of())


def header_plus(more: bytes) -> str:
    """A token whose good header has this text in front of its closing brace."""
    return token(HEADER[:-1] + more + b"}")


def claims_plus(more: bytes) -> str:
    """The same for the claims."""
    return token(None, CLAIMS[:-1] + more + b"}")


NO_OBJECTS = {
    "empty list": b"[]",
    "list of the object": b"[%b]",
    "string": b'"text"',
    "number": b"1",
    "null": b"null",
    "true": b"true",
    "two objects": b"%b%b",
    "two objects, a comma between": b"%b,%b",
    "object and a bracket": b"%b]",
    "object and a brace": b"%b}",
    "object and a letter": b"%bx",
    "object and NUL": b"%b\0",
    "white space": b" ",
    "half of it": b"HALF",
    "text": b"Payload",
    "XML": b"<jwt/>",
    "a byte": b"\x00",
    "a quoted object": b"QUOTED",
}


def _no_objects(good: bytes) -> Iterator[tuple[str, bytes]]:
    for name, form in NO_OBJECTS.items():
        if form == b"HALF":
            yield name, good[: len(good) // 2]
        elif form == b"QUOTED":
            yield name, json_of(good.decode())
        else:
            yield name, form.replace(b"%b", good)


@family("R05", "bad_header")
def header_that_is_no_object() -> Iterator[Made]:
    for name, text in _no_objects(HEADER):
        yield name, token(text)


@family("R05", "bad_claims")
def payload_that_is_no_object() -> Iterator[Made]:
    for name, text in _no_objects(CLAIMS):
        yield name, token(None, text)


def _encodings(good: bytes) -> Iterator[tuple[str, bytes]]:
    text = good.decode()
    yield "byte order mark", b"\xef\xbb\xbf" + good
    for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        yield name, text.encode(name)
    for name, octets in {
        "latin-1": b"\xe9",
        "cut short": b"\xc3",
        "overlong": b"\xc1\xa1",
        "a surrogate": b"\xed\xa0\x80",
        "a surrogate pair": b"\xed\xa0\xbd\xed\xb4\x91",
        "beyond Unicode": b"\xf4\x90\x80\x80",
        "five bytes": b"\xf8\x88\x80\x80\x80",
        "0xff": b"\xff",
        "lone continuation": b"\x80",
    }.items():
        yield name, good[:-1] + b',"x":"' + octets + b'"}'


@family("R05", "bad_header")
def header_that_is_no_utf_8() -> Iterator[Made]:
    for name, text in _encodings(HEADER):
        yield name, token(text)


@family("R05", "bad_claims")
def payload_that_is_no_utf_8() -> Iterator[Made]:
    for name, text in _encodings(CLAIMS):
        yield name, token(None, text)


SURROGATES = {
    "high": rb'"\ud800"',
    "low": rb'"\udc00"',
    "the wrong way round": rb'"\udc00\ud800"',
    "high and a letter": rb'"\ud83da"',
    "in an array": rb'["\ud800"]',
    "behind a pair": rb'"\ud83d\udd11\ud83d"',
}


@family("R05", "bad_header")
def lone_surrogates_in_the_header() -> Iterator[Made]:
    for name, value in SURROGATES.items():
        yield name, header_plus(b',"x":' + value)
    yield "in a name", header_plus(rb',"\ud800":1')


@family("R05", "bad_claims")
def lone_surrogates_in_the_payload() -> Iterator[Made]:
    for name, value in SURROGATES.items():
        yield name, claims_plus(b',"x":' + value)
    yield "in a name", claims_plus(rb',"\ud800":1')
    yield "in sub", token(None, json_of(claims_of(sub=ABSENT))[:-1] + rb',"sub":"\udfff"}')


NO_NUMBERS = (
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"-1e999", b"[NaN]", b'{"y":Infinity}', b"1e4000",
    b"+1", b"01", b"-01", b"00", b".5", b"1.", b"-", b"0x10", b"1e", b"1e+", b"1_000", b"1,000.0", b"0b1",
    b"1d", b"1 2", b"\xef\xbc\x91", b"--1", b"1.e5", b"-.5", b"0.1.2", b"inf",
)  # fmt: skip


@family("R05", "bad_header")
def no_numbers_in_the_header() -> Iterator[Made]:
    for literal in NO_NUMBERS:
        yield repr(literal), header_plus(b',"x":' + literal)


@family("R05", "bad_claims")
def no_numbers_in_the_payload() -> Iterator[Made]:
    for literal in NO_NUMBERS:
        yield repr(literal), claims_plus(b',"x":' + literal)


@family("R05", "bad_claims")
def times_that_are_no_json_numbers() -> Iterator[Made]:
    for name in ("exp", "nbf", "iat"):
        rest = json_of(claims_of(**{name: ABSENT}))[:-1]
        for literal in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"09999999999"):
            yield f"{name} {literal.decode()}", token(None, rest + b',"%b":%b}' % (name.encode(), literal))


DIGITS = {
    "41 digits": b"1" * 41,
    "5000 digits": b"1" * 5000,
    "negative": b"-" + b"1" * 41,
    "a fraction": b"0." + b"1" * 41,
    "an exponent": b"1e" + b"0" * 41 + b"1",
    "zeros": b"0." + b"0" * 60,
}


@family("R05", "bad_claims")
def endless_numbers_in_the_payload() -> Iterator[Made]:
    for name, literal in DIGITS.items():
        yield name, claims_plus(b',"x":' + literal)
    yield "in exp", token(None, json_of(claims_of(exp=ABSENT))[:-1] + b',"exp":' + b"9" * 41 + b"}")


@family("R05", "bad_header")
def endless_numbers_in_the_header() -> Iterator[Made]:
    for name, literal in DIGITS.items():
        if len(literal) < 1000:
            yield name, header_plus(b',"x":' + literal)


SYNTAX = {
    "comma behind the last member": b',"x":1,',
    "comma in an array": b',"x":[1,]',
    "two commas": b',,"x":1',
    "no comma": b' "x":1',
    "no colon": b',"x" 1',
    "two colons": b',"x"::1',
    "no value": b',"x":',
    "no name": b",:1",
    "a number for a name": b",1:1",
    "null for a name": b",null:1",
    "name without quotes": b",x:1",
    "single quotes": b",'x':1",
    "back quotes": b",`x`:1",
    "block comment": b',/* */"x":1',
    "line comment": b',"x":1 // \n',
    "hash comment": b',"x":1 # \n',
    "form feed": b',\x0c"x":1',
    "vertical tab": b',\x0b"x":1',
    "no-break space": b',\xc2\xa0"x":1',
    "line separator": b',\xe2\x80\xa8"x":1',
    "byte order mark inside": b',\xef\xbb\xbf"x":1',
    "NUL": b',\0"x":1',
    "unclosed string": b',"x":"y',
    "unclosed array": b',"x":[1',
    "unclosed object": b',"x":{"y":1',
    "brackets crossed": b',"x":[1},{2]',
    "True": b',"x":True',
    "TRUE": b',"x":TRUE',
    "None": b',"x":None',
    "undefined": b',"x":undefined',
    "tru": b',"x":tru',
    "nul": b',"x":nul',
    "line break in a string": b',"x":"a\nb"',
    "tab in a string": b',"x":"a\tb"',
    "NUL in a string": b',"x":"a\0b"',
    "escape in a string": b',"x":"a\x1bb"',
    "unknown escape": rb',"x":"\q"',
    "\\x escape": rb',"x":"\x41"',
    "\\0 escape": rb',"x":"\0"',
    "\\' escape": rb""","x":"\'" """,
    "\\u of three digits": rb',"x":"\u004"',
    "\\u without digits": rb',"x":"\uzzzz"',
    "\\U escape": rb',"x":"\U0001f511"',
    "\\u{…} escape": rb',"x":"\u{41}"',
    "a string in two pieces": b',"x":"a" "b"',
    "a date": b',"x":2024-01-01',
    "a function": b',"x":f()',
    "a regular expression": b',"x":/a/',
    "a colon in an array": b',"x":["a":1]',
    "a comma in an object": b',"x":{"a",1}',
    "an empty member": b',"x":{,}',
    "an empty element": b',"x":[,]',
}


@family("R05", "bad_header")
def header_with_a_fault_of_syntax() -> Iterator[Made]:
    for name, more in SYNTAX.items():
        yield name, header_plus(more)


@family("R05", "bad_claims")
def payload_with_a_fault_of_syntax() -> Iterator[Made]:
    for name, more in SYNTAX.items():
        yield name, claims_plus(more)


@family("R05", "bad_claims")
def payload_that_nests_too_deeply() -> Iterator[Made]:
    for depth in (16, 17, 100, 1000, 5000):
        yield f"{depth} arrays", claims_plus(b',"x":' + b"[" * depth + b"]" * depth)
    for depth in (16, 100, 1000):
        yield f"{depth} objects", claims_plus(b',"x":' + b'{"a":' * depth + b"1" + b"}" * depth)
    yield "5000 arrays that never close", claims_plus(b',"x":' + b"[" * 5000)
    yield "arrays alone", token(None, b"[" * 6000 + b"]" * 6000)
    yield "both in turns", claims_plus(b',"x":' + b'[{"a":' * 500 + b"1" + b"}]" * 500)


@family("R05", "bad_header")
def header_that_nests_too_deeply() -> Iterator[Made]:
    for depth in (16, 17, 100, 900):
        yield f"{depth} arrays", header_plus(b',"x":' + b"[" * depth + b"]" * depth)
    yield "200 objects", header_plus(b',"x":' + b'{"a":' * 200 + b"1" + b"}" * 200)
    yield "1500 arrays that never close", header_plus(b',"x":' + b"[" * 1500)


@family("R05", "bad_claims", "bad_header")
def too_many_members() -> Iterator[Made]:
    for count in (1025, 1090):
        many = {f"m{number}": number for number in range(count - len(claims_of()))}
        yield f"{count} claims", token(None, claims_of(**many))
        yield (
            f"{count} members inside",
            token(None, claims_of(x={**many, **dict.fromkeys(claims_of(), 0)})),
        )


@family("R06", "bad_header")
def member_twice_in_the_header() -> Iterator[Made]:
    for name, more in {
        "alg, the same": b',"alg":"ES256"',
        "alg, another": b',"alg":"none"',
        "kid, the same": b',"kid":"es256"',
        "kid, another": b',"kid":"rs256"',
        "typ": b',"typ":"JWT"',
        "an unknown one": b',"x":1,"x":1',
        "inside another": b',"x":{"y":1,"y":2}',
        "inside an array": b',"x":[{"y":1,"y":1}]',
        "alg in an escape": rb',"\u0061lg":"none"',
        "kid in an escape": rb',"k\u0069d":"rs256"',
        "a slash in an escape": rb',"a/b":1,"a\/b":2',
        "the empty name": b',"":1,"":1',
        "crit": b',"crit":["exp"],"crit":[]',
    }.items():
        yield name, header_plus(more)
    yield "alg first", token(b'{"alg":"none",' + HEADER[1:])


@family("R06", "bad_claims")
def member_twice_in_the_payload() -> Iterator[Made]:
    for name, value in {
        "iss": b'"https://evil.example/"',
        "aud": b'"another-api"',
        "sub": b'"admin"',
        "exp": b"%d" % (NOW + 10**6),
        "iat": b"0",
        "scope": b'"admin"',
    }.items():
        yield f"{name}, last", claims_plus(b',"%b":%b' % (name.encode(), value))
        yield f"{name}, first", token(None, b'{"%b":%b,' % (name.encode(), value) + CLAIMS[1:])
    yield "the same value", claims_plus(b',"iss":' + json_of(ISSUER))
    yield "in an escape", claims_plus(rb',"is\u0073":"https://evil.example/"')
    yield "inside another", claims_plus(b',"x":{"y":1,"y":1}')
    yield "deep inside", claims_plus(b',"x":[[{"y":{"z":1,"z":1}}]]')
    yield "three times", claims_plus(b',"x":1,"x":1,"x":1')
    yield "__proto__", claims_plus(b',"__proto__":{},"__proto__":{}')
