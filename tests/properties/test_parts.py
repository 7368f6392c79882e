"""Properties of the parts that hostile input reaches: JWKS import, claims, the seal, HTTP headers."""

from __future__ import annotations

import json
import math
from email.utils import formatdate
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from joserfc.jwk import thumbprint
from oracle import AUDIENCE, ISSUER, Refused, judge_claims
from tokens import KEYS, PUBLISHED, VALUES, claim_values, words

from skeldir_jwt_mw import InvalidToken, Issuer
from skeldir_jwt_mw.core.claims import compile_claims
from skeldir_jwt_mw.core.compact import decode_segment, split
from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.jwk import PRIVATE_MEMBERS
from skeldir_jwt_mw.core.keys import MAX_KEYS, MAX_TRIED, Found, Miss, UnusableDocument, import_jwks
from skeldir_jwt_mw.core.seal import SEAL_BYTES, Sealer
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.sources.freshness import MAX_AGE_LIMIT, MAX_RETRY_AFTER, max_age, retry_after, validator
from skeldir_jwt_mw.testing import SigningKey

MANY = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
UNHURRIED = settings(deadline=None)
NOW = 1_800_000_000.0

# -- JWKS import ---------------------------------------------------------------------------------------------

MEMBERS = st.sampled_from(words("kty crv x y n e d k p use key_ops alg kid issuer x5c x5u ext oth nbf"))
MEMBER_VALUES = st.one_of(
    VALUES,
    st.sampled_from(
        [*words("RSA EC OKP oct sig enc ES256 RS256 PS256 HS256 EdDSA P-256 P-384 Ed25519 AQAB AAAA"), ""]
    ),
    st.sampled_from([["verify"], ["sign"], ["verify", "verify"], ["verify", "encrypt"], [], ["verify", 1]]),
    st.sampled_from(
        [jwk[name] for key in PUBLISHED for jwk in (key.jwk(),) for name in ("x", "n") if name in jwk]
    ),
)


@st.composite
def jwks(draw: DrawFn) -> Any:
    """A list of JWKs of which most have something wrong."""
    keys: list[Any] = []
    for _ in range(draw(st.integers(0, 5))):
        jwk: Any = dict(draw(st.sampled_from(PUBLISHED)).jwk())
        for _ in range(draw(st.integers(0, 2))):
            name = draw(MEMBERS)
            if draw(st.booleans()):
                jwk[name] = draw(MEMBER_VALUES)
            else:
                jwk.pop(name, None)
        keys.append(draw(st.sampled_from([jwk] * 9 + [None, 7, "x", [jwk], {}])))
    return keys


def is_good(public: Any) -> bool:
    """What R21 asks of a key, by the numbers alone."""
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return 2048 <= numbers.n.bit_length() <= 8192 and numbers.n % 2 == 1 and numbers.e % 2 == 1
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.curve.name in ("secp256r1", "secp384r1", "secp521r1")
    return isinstance(public, ed25519.Ed25519PublicKey)


@MANY
@given(keys=jwks(), more=st.dictionaries(st.text(max_size=5), VALUES, max_size=2))
def test_importing_a_key_set_never_fails_otherwise_and_keeps_no_bad_key(keys: list[Any], more: Any) -> None:
    document = json.dumps({**more, "keys": keys}).encode("utf-8", "surrogatepass")
    try:
        imported = import_jwks(document)
    except UnusableDocument:
        return
    kept = {jwk.index for jwk in imported.keys}
    dropped = {key.index for key in imported.rejected}
    assert kept | dropped == set(range(len(keys)))
    assert kept.isdisjoint(dropped)
    for jwk in imported.keys:
        given_as = {name: value for name, value in keys[jwk.index].items() if value is not None}
        assert is_good(jwk.public_key)
        assert not given_as.keys() & set(PRIVATE_MEMBERS)
        assert given_as.get("use", "sig") == "sig"
        assert "verify" in given_as.get("key_ops", ["verify"])
        assert set(jwk.algorithms) <= set(SUPPORTED_ALGORITHMS)
        assert given_as.get("alg", jwk.algorithms[0]) in (*jwk.algorithms, "Ed25519")
    for names in (("ES256",), ("RS256", "ES256", "EdDSA"), tuple(reversed(SUPPORTED_ALGORITHMS))):
        chosen = imported.for_algorithms(names)
        answers = [(key.kid, key.algorithm) for key in chosen.keys if key.kid is not None]
        assert len(answers) == len(set(answers))  # never two keys for one question (R23)
        for key in chosen.keys:
            assert key.algorithm in names


@MANY
@given(st.binary(max_size=400))
@example(b'{"keys":[]}')
@example(b'{"keys":[{}]}')
@example(b"\xef\xbb\xbf{}")
def test_importing_any_bytes_is_a_key_set_or_an_unusable_document(document: bytes) -> None:
    try:
        imported = import_jwks(document)
    except UnusableDocument:
        return
    assert imported.keys


@UNHURRIED
@given(count=st.integers(0, MAX_KEYS * 2))
def test_the_number_of_keys_is_bounded(count: int) -> None:
    document = json.dumps({"keys": [KEYS[0].jwk(kid=str(number)) for number in range(count)]}).encode()
    try:
        assert 0 < len(import_jwks(document).keys) == count <= MAX_KEYS
    except UnusableDocument:
        assert count == 0 or count > MAX_KEYS


# -- which key a certificate names -------------------------------------------------------------------------

THUMBPRINTS = st.sampled_from(words("a b c"))
NAMES = st.fixed_dictionaries({}, optional={"x5t": THUMBPRINTS, "x5t#S256": THUMBPRINTS})
LISTED = st.fixed_dictionaries(
    {"key": st.integers(0, 3)},
    optional={
        "kid": st.sampled_from(words("k l")),
        "use": st.just("enc"),
        "x5t": THUMBPRINTS,
        "x5t#S256": THUMBPRINTS,
    },
)
SIGNERS = [SigningKey.generate("ES256").jwk() for _ in range(4)]
OTHER = SigningKey.generate("EdDSA").jwk()


@MANY
@given(listed=st.lists(LISTED, min_size=1, max_size=6), names=NAMES)
def test_a_thumbprint_leads_to_the_keys_that_are_listed_under_it_and_to_no_other(
    listed: list[dict[str, Any]], names: dict[str, str]
) -> None:
    """Worked out anew, as sets of keys: what a token with these thumbprints may be verified with."""
    jwks = [{**SIGNERS[one["key"]], "kid": None, **one} for one in listed]
    keys = import_jwks(json.dumps({"keys": [*jwks, OTHER]}).encode()).for_algorithms(("ES256", "EdDSA"))
    usable = {key.thumbprint for key in keys.keys if key.algorithm == "ES256"}
    under: dict[str, set[str]] = {}
    certified = set()
    for jwk in jwks:
        key = (
            {thumbprint({name: jwk[name] for name in ("kty", "crv", "x", "y")})}
            if jwk["use"] == "sig"
            else set()
        )
        for name in {"x5t", "x5t#S256"} & jwk.keys():
            under.setdefault(jwk[name], set()).update(key & usable)
            certified |= key
    named = [under[name] for name in names.values() if under.get(name)]
    wanted = set.intersection(*named) if named else usable - certified if names else usable
    found = keys.find(None, "ES256", tuple(names.values()))
    if isinstance(found, Found):
        assert {key.thumbprint for key in found.keys} == wanted
        assert not found.named or len(wanted) == 1
    elif found is Miss.AMBIGUOUS:  # two keys are named, or none is and there are too many
        assert bool(named) != bool(wanted)
        assert named or len(keys) > MAX_TRIED
    else:
        assert not wanted
        assert (found is Miss.MISMATCH) == any(name in under for name in names.values())


# -- claims --------------------------------------------------------------------------------------------------

CHECK = compile_claims(Issuer(ISSUER, audience=AUDIENCE, jwks_url="https://issuer.example/jwks"))
CLAIMS = words("iss aud exp nbf iat sub cnf scope scp jti x")


@st.composite
def claim_sets(draw: DrawFn) -> dict[str, Any]:
    claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "iat": NOW, "sub": "user-1"}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(CLAIMS))
        value = draw(claim_values(name))
        if isinstance(value, str) and type(value) is not str:
            continue  # raw JSON, which only a text can hold
        claims[name] = value
    return claims


@MANY
@given(claims=claim_sets(), now=st.sampled_from([NOW, NOW + 90, NOW + 89.999, NOW - 30, NOW - 30.001, 0.0]))
def test_claims_are_judged_as_the_oracle_does(claims: dict[str, Any], now: float) -> None:
    try:
        judge_claims(claims, now)
        expected = True
    except Refused:
        expected = False
    try:
        accepted = CHECK(claims, now)
    except InvalidToken:
        assert not expected
        return
    assert expected
    assert accepted.issuer == ISSUER
    assert AUDIENCE in accepted.audience
    assert type(accepted.subject) is str
    assert all(type(scope) is str and scope for scope in accepted.scopes)
    assert type(accepted.expires_at) is float
    assert now < accepted.expires_at + 30


# -- the seal ------------------------------------------------------------------------------------------------

TEXTS = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=20))
CONTENTS = st.builds(
    Content,
    generation=st.integers(0, 2**61),
    fetched_us=st.integers(0, 2**53),
    expires_us=st.integers(0, 2**53),
    etag=TEXTS,
    last_modified=TEXTS,
    payload=st.binary(max_size=60),
)
SEAL_KEYS = st.binary(min_size=32, max_size=48)


@MANY
@given(
    key=SEAL_KEYS,
    one=CONTENTS,
    other=CONTENTS,
    sources=st.tuples(st.text("ab:1-", max_size=6), st.text("ab:1-", max_size=6)),
)
def test_a_seal_is_good_for_one_content_of_one_source(
    key: bytes, one: Content, other: Content, sources: tuple[str, str]
) -> None:
    sealer = Sealer([key])
    seal = sealer.seal(sources[0], one)
    assert seal is not None
    assert len(seal) == SEAL_BYTES
    assert sealer.inspect(sources[0], one, seal) == "good"
    if (sources[0], one) != (sources[1], other):
        assert sealer.inspect(sources[1], other, seal) == "forged"


@MANY
@given(
    keys=st.lists(SEAL_KEYS, min_size=1, max_size=4, unique=True),
    content=CONTENTS,
    seal=st.binary(max_size=60),
)
def test_a_seal_of_any_configured_key_is_good_and_no_other_bytes_are(
    keys: list[bytes], content: Content, seal: bytes
) -> None:
    everybody = Sealer(keys)
    for key in keys:
        made = Sealer([key]).seal("source", content)
        assert everybody.inspect("source", content, made) == "good"
        assert everybody.inspect("source", content, (made or b"")[:-1]) == "forged"
    assert everybody.inspect("source", content, seal) in ("forged", "stranger")
    assert everybody.inspect("source", content, None) == "forged"


@MANY
@given(content=CONTENTS, cut=st.integers(0, 30))
def test_no_octet_can_move_from_one_field_to_the_next(content: Content, cut: int) -> None:
    """Lengths are part of what is sealed: the same octets, divided otherwise, are another content."""
    assume(content.etag is not None)
    assert content.etag is not None
    text = content.etag + (content.last_modified or "")
    moved = Content(
        generation=content.generation,
        fetched_us=content.fetched_us,
        expires_us=content.expires_us,
        etag=text[:cut],
        last_modified=text[cut:],
        payload=content.payload,
    )
    assume(moved != content)
    sealer = Sealer([bytes(32)])
    assert sealer.inspect("s", moved, sealer.seal("s", content)) == "forged"


# -- base64url -----------------------------------------------------------------------------------------------


@MANY
@given(st.one_of(st.binary(max_size=30), st.text("AQgwZ_-=+/. \n", max_size=12).map(str.encode)))
def test_a_segment_has_one_spelling(segment: bytes) -> None:
    import base64

    try:
        octets = decode_segment(segment)
    except InvalidToken:
        return
    assert base64.urlsafe_b64encode(octets).rstrip(b"=") == segment


@MANY
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60), st.text("Aa0-_.", max_size=60)))
def test_a_token_that_is_split_can_be_put_together_again(token: str | bytes) -> None:
    import base64

    try:
        signing_input, segment, payload, signature = split(token, 16_384)
    except InvalidToken:
        return
    whole = b".".join(
        (segment, *(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (payload, signature)))
    )
    assert whole == (token.encode() if isinstance(token, str) else token)
    assert whole.startswith(signing_input + b".")


# -- HTTP response headers -----------------------------------------------------------------------------------

DATES = st.one_of(
    st.floats(0, 4e9).map(lambda at: formatdate(at, usegmt=True)),
    st.sampled_from(
        ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "0", "Sun Nov  6 08:49:37 1994"]
    ),
    st.text(max_size=40),
)
HEADER_TEXTS = st.one_of(
    st.text(max_size=40),
    st.integers(-10, 10**25).map(str),
    DATES,
    st.sampled_from(["1.5", "1e3", "\u0663", "0x10", " 7 ", "7,8", "+5", "-0", "٣", "١٢"]),
)
CACHE_CONTROL = st.lists(
    st.one_of(
        st.sampled_from(
            ["max-age", "s-maxage", "no-store", "MAX-AGE=5", 'max-age="60"', "max-age=-1", "max-age==5"]
        ),
        st.integers(0, 10**25).map(lambda age: f"max-age={age}"),
        st.text(max_size=10),
    ),
    max_size=4,
).map(", ".join)


@MANY
@given(value=HEADER_TEXTS, date=st.one_of(st.none(), DATES))
def test_retry_after_is_none_or_seconds_up_to_an_hour(value: str, date: str | None) -> None:
    headers = {"retry-after": value} | ({} if date is None else {"date": date})
    found = retry_after(headers, NOW)
    assert found is None or (type(found) is float and 0 <= found <= MAX_RETRY_AFTER and math.isfinite(found))


@UNHURRIED
@given(seconds=st.integers(0, 10**20 - 1), padding=st.sampled_from(["", " ", "\t"]))
def test_retry_after_in_seconds_is_what_it_says(seconds: int, padding: str) -> None:
    assert retry_after({"retry-after": f"{padding}{seconds}{padding}"}) == min(seconds, MAX_RETRY_AFTER)


@UNHURRIED
@given(at=st.integers(0, 4_000_000_000), ahead=st.integers(-10_000, 10_000))
def test_retry_after_as_a_date_is_measured_by_the_servers_own_clock(at: int, ahead: int) -> None:
    headers = {
        "date": formatdate(at, usegmt=True),
        "retry-after": formatdate(max(0, at + ahead), usegmt=True),
    }
    assert retry_after(headers, 0.0) == min(max(0, max(0, at + ahead) - at), MAX_RETRY_AFTER)


@MANY
@given(cache_control=CACHE_CONTROL, age=st.one_of(st.none(), HEADER_TEXTS))
def test_max_age_is_none_or_seconds_up_to_a_year(cache_control: str, age: str | None) -> None:
    found = max_age({"cache-control": cache_control} | ({} if age is None else {"age": age}))
    assert found is None or (type(found) is float and 0 <= found <= MAX_AGE_LIMIT)


@UNHURRIED
@given(st.one_of(st.none(), st.text(max_size=30), st.text("a", min_size=1000, max_size=1030)))
def test_a_validator_that_is_kept_can_be_sent_back_as_one_header(value: str | None) -> None:
    kept = validator(value)
    assert kept is None or kept == value
    if kept is not None:
        assert 1 <= len(kept) <= 1024
        assert kept.isascii()
        assert kept.isprintable()
