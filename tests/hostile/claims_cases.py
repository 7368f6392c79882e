"""Claims that are JSON and wrong, under a good signature."""

from __future__ import annotations

from collections.abc import Iterator

from crafting import ABSENT, AUDIENCE, ISSUER, NOW, Made, claims_of, family, json_of, token

NO_TIMES = {
    "null": None,
    "true": True,
    "false": False,
    "a string of digits": str(NOW + 3600),
    "an empty string": "",
    "text": "never",
    "a date": "2099-01-01T00:00:00Z",
    "a list": [NOW + 3600],
    "an empty list": [],
    "an object": {"$date": NOW + 3600},
    "negative": -1,
    "nearly negative": -0.5,
    "in milliseconds": NOW * 1000,
    "10^11": 10**11,
    "beyond 2^53": 2**53 + 1,
    "2^63": 2**63,
    "2^64": 2**64,
    "1e308": 1e308,
    "in milliseconds, nearly": 1e16,
}


@family("R30", "wrong_issuer")
def issuer_that_is_not_equal() -> Iterator[Made]:
    bare = ISSUER.rstrip("/")
    for name, value in {
        "absent": ABSENT,
        "null": None,
        "empty": "",
        "another": "https://evil.example/",
        "without its slash": bare,
        "with two slashes": ISSUER + "/",
        "a longer one": ISSUER + "x",
        "a prefix": ISSUER[:10],
        "a suffix": ISSUER[10:],
        "one character": "h",
        "http": ISSUER.replace("https", "http"),
        "upper case": ISSUER.upper(),
        "upper case host": ISSUER.replace("login", "LOGIN"),
        "a port": ISSUER.replace(".com", ".com:443"),
        "a user": ISSUER.replace(".com", ".com@evil.example"),
        "a query": ISSUER + "?x",
        "a fragment": ISSUER + "#x",
        "white space behind": ISSUER + " ",
        "a line break behind": ISSUER + "\n",
        "NUL behind": ISSUER + "\0",
        "a dot behind the host": ISSUER.replace(".com", ".com."),
        "percent-encoded": ISSUER.replace("login.", "login%2E"),
        "dot segments": ISSUER + "a/../",
        "another script": ISSUER.replace("e", "\u0435", 1),
        "a list": [ISSUER],
        "a list of two": [ISSUER, "https://evil.example/"],
        "an object": {"iss": ISSUER},
        "a number": 1,
        "true": True,
        "a wildcard": "*",
        "a subdomain": ISSUER.replace("login", "x.login"),
        "white space before": " " + ISSUER,
    }.items():
        yield name, token(None, claims_of(iss=value))


@family("R31", "wrong_audience", "bad_claims")
def audience_without_us() -> Iterator[Made]:
    for name, value in {
        "absent": ABSENT,
        "null": None,
        "empty": "",
        "another": "billing-api",
        "a prefix": AUDIENCE[:-1],
        "a longer one": AUDIENCE + "2",
        "upper case": AUDIENCE.upper(),
        "with a slash": AUDIENCE + "/",
        "white space behind": AUDIENCE + " ",
        "two in one string": f"billing-api {AUDIENCE}",
        "with a comma": f"{AUDIENCE},billing-api",
        "a wildcard": "*",
        "one character": "o",
        "an empty list": [],
        "a list without us": ["a", "b"],
        "a list in a list": [[AUDIENCE]],
        "a list with null": [AUDIENCE, None],
        "a list with a number": [AUDIENCE, 1],
        "a list with an object": [AUDIENCE, {}],
        "an object": {AUDIENCE: True},
        "a number": 0,
        "true": True,
        "another script": AUDIENCE.replace("o", "\u043e", 1),
        "a list of characters": list(AUDIENCE),
        "NUL behind": AUDIENCE + "\0",
    }.items():
        yield name, token(None, claims_of(aud=value))


@family("R32", "bad_claims", "missing_claim")
def exp_that_is_no_time() -> Iterator[Made]:
    yield "absent", token(None, claims_of(exp=ABSENT))
    yield "EXP", token(None, claims_of(exp=ABSENT, EXP=NOW + 3600))
    for name, value in NO_TIMES.items():
        yield name, token(None, claims_of(exp=value))
    rest = json_of(claims_of(exp=ABSENT))[:-1]
    for literal in (b"1.7e308", b"9007199254740994", b"99999999999999999999", b"-0.1", b"1E+300"):
        yield literal.decode(), token(None, rest + b',"exp":' + literal + b"}")


@family("R32", "expired")
def expired() -> Iterator[Made]:
    for name, value in {
        "0": 0,
        "-0": -0.0,
        "1": 1,
        "a second beyond the leeway": NOW - 31,
        "a fraction beyond the leeway": NOW - 30.5,
        "a minute ago": NOW - 60,
        "an hour ago": NOW - 3600,
        "years ago": 1_000_000_000,
        "1e9": 1e9,
        "1e-9": 1e-9,
    }.items():
        yield name, token(None, claims_of(exp=value, iat=ABSENT))


@family("R33", "bad_claims")
def nbf_and_iat_that_are_no_times() -> Iterator[Made]:
    for claim in ("nbf", "iat"):
        for name, value in NO_TIMES.items():
            yield f"{claim} {name}", token(None, claims_of(**{claim: value}))


@family("R33", "not_yet_valid", "issued_in_future", "bad_claims")
def not_valid_yet() -> Iterator[Made]:
    for claim in ("nbf", "iat"):
        # Some seconds of slack: the corpus may be a minute old when it is judged.
        for ahead in (300, 3600, 10**6, 2**53 - NOW):
            yield f"{claim} in {ahead} s", token(None, claims_of(**{claim: NOW + ahead}))
        yield f"{claim} 2^53", token(None, claims_of(**{claim: 2**53}))
        yield f"{claim} in milliseconds", token(None, claims_of(**{claim: NOW * 1000}))


@family("R34", "bad_claims")
def subject_that_is_no_string() -> Iterator[Made]:
    for value in (None, True, False, 0, 1, 1.5, [], ["user-1"], {}, {"id": "user-1"}):
        yield repr(value), token(None, claims_of(sub=value))


@family("R35", "bad_scope")
def scopes_of_another_type() -> Iterator[Made]:
    for claim in ("scope", "scp"):
        for value in (
            None,
            True,
            0,
            1.5,
            {},
            {"orders:read": True},
            [1],
            [None],
            ["a", 1],
            [["a"]],
            [{}],
            ["a", True],
        ):
            yield f"{claim} {value!r}", token(None, claims_of(**{claim: value}))


@family("R37", "sender_constrained")
def bound_to_their_sender() -> Iterator[Made]:
    for name, value in {
        "a thumbprint of a key": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
        "of a certificate": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"},
        "a key": {"jwk": {"kty": "oct"}},
        "a kid": {"kid": "x"},
        "empty": {},
        "null": None,
        "a string": "x",
        "a list": [],
        "a number": 0,
        "false": False,
        "two": {"jkt": "a", "x5t#S256": "b"},
    }.items():
        yield name, token(None, claims_of(cnf=value))
