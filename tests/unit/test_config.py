"""`Issuer` and `RefreshPolicy`: what is legal, and how everything else is refused when it is made."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from skeldir_jwt_mw.config import DURATIONS, Issuer, RefreshPolicy, distinct_issuers
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import ALGORITHMS

URL = "https://login.example.com/"
KEYS = "https://login.example.com/keys"
TEMPLATE = "https://login.example.com/{tid}/v2.0"


class AnySource:
    """A source that is only looked at."""

    def fetch(self, conditional: object) -> None:
        raise AssertionError("a constructor never fetches")


class Unhashable(AnySource):
    """A source that compares by value, and so has no hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


def issuer(name: str = URL, **options: Any) -> Issuer:
    return Issuer(name, **{"audience": "orders-api", **options})


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make()
    return str(caught.value)


# -- Issuer ----------------------------------------------------------------------------------


def test_an_issuer_with_an_audience_is_enough() -> None:
    made = Issuer(URL, audience="orders-api")
    assert made.audience == ("orders-api",)
    assert made.algorithms == ("RS256", "PS256", "ES256", "EdDSA")
    assert made.leeway == 30.0
    assert made.token_types == ("at+jwt", "jwt", None)
    assert made.scope_claims == ("scope", "scp")
    assert made.required_claims == made.ignored_headers == ()
    assert made.tenant_claim is made.jwks_url is made.source is made.template is None
    assert not made.allow_http
    assert not made.allow_private_hosts


def test_the_audience_is_a_required_keyword() -> None:
    with pytest.raises(TypeError, match="audience"):
        Issuer(URL)  # type: ignore[call-arg]


def test_a_misspelt_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="algoritms"):
        issuer(algoritms=("RS256",))


def test_the_algorithms_that_may_be_allowed_are_those_that_are_implemented() -> None:
    assert sorted(ALGORITHMS) == sorted(SUPPORTED_ALGORITHMS)


@pytest.mark.parametrize(
    "options",
    [
        {"algorithms": ALGORITHMS},
        {"algorithms": ["Ed25519"]},
        {"algorithms": {"RS256"}},
        {"audience": ["a", "b"]},
        {"audience": ("a", None), "claims": {"client_id": "web"}},
        {"audience": None, "claims": {"client_id": ("web", "m2m"), "token_use": "access"}},
        {"audience": None, "claims": {"iss": URL, "client_id": "web"}},
        {"leeway": 0},
        {"leeway": 0.001},
        {"leeway": 120},
        {"token_types": ("application/AT+JWT",)},
        {"token_types": (None,)},
        {"claims": {"/realm_access/roles": "reader", "n": 1, "ok": True, "share": 0.5}},
        {"required_claims": ["sub", "/a~0b/0", "/"]},
        {"scope_claims": ("/realm_access/roles",)},
        {"tenant_claim": "tid"},
        {"ignored_headers": ["jku", "x5c", "x5u", "jwk"]},
        {"jwks_url": KEYS + "?version=2"},
        {"jwks_url": "https://login.example.com:8443/keys"},
        {"jwks_url": "https://[2001:db8::1]/keys"},
        {"jwks_url": "http://localhost:8000/keys", "allow_http": True, "allow_private_hosts": True},
        {"source": AnySource()},
    ],
)
def test_what_is_legal_is_accepted(options: dict[str, Any]) -> None:
    made = issuer(**options)
    assert issuer(**options) == made


@pytest.mark.parametrize("name", ["http://adfs.example.com/adfs/services/trust", "urn:service", "orders?x#y"])
def test_an_issuer_that_is_never_fetched_is_any_string(name: str) -> None:
    assert issuer(name, jwks_url=KEYS).issuer == name
    assert issuer(name, source=AnySource()).issuer == name


def test_http_needs_allow_http_and_only_where_something_is_fetched() -> None:
    assert "allow_http=True" in refusal(lambda: issuer("http://login.example.com/"))
    assert "allow_http=True" in refusal(lambda: issuer(jwks_url="http://login.example.com/keys"))
    assert issuer("http://login.example.com/", allow_http=True).allow_http


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "issuer ('') must not be empty"),
        ("  ", "must not be empty"),
        (None, "must be a string"),
        (7, "must be a string"),
        (b"https://login.example.com/", "must be a string"),
        (" https://login.example.com/", "white space"),
        ("https://login.example.com/\n", "white space"),
        ("https://login.example.com/\udc80", "Unicode"),
        ("login.example.com", "must be an https URL"),
        ("ftp://login.example.com/", "must be an https URL"),
        ("file:///etc/keys", "must be an https URL"),
        ("https://", "well-formed host"),
        ("https:///keys", "well-formed host"),
        ("https://login.example.com:0/", "port other than 0"),
        ("https://login.example.com:65536/", "well-formed host and port"),
        ("https://[::1/", "well-formed host"),
        ("https://ex%61mple.com/", "well-formed host"),
        ("https://login.example.com/?tenant=1", "must not have a query"),
        ("https://login.example.com/?", "must not have a query"),
        ("https://login.example.com/#a", "must not have a fragment"),
        ("https://login.example.com/#", "must not have a fragment"),
        ("https://user@login.example.com/", "user name or password"),
        ("https://l\u00f6gin.example.com/", "ASCII"),
        ("https://login.example.com\\keys", "ASCII"),
    ],
)
def test_an_issuer_to_discover_from_is_a_plain_https_url(name: Any, rule: str) -> None:
    text = refusal(lambda: issuer(name))
    assert text.startswith("issuer (")
    assert rule in text


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "must not be empty"),
        ("/keys", "must be an https URL"),
        ("ftp://login.example.com/keys", "must be an https URL"),
        ("https://login.example.com/keys#a", "fragment"),
        ("https://user@login.example.com/keys", "user name or password"),
        ("https://login.example.com/{tid}/keys", "RFC 3986"),
        (5, "must be a string"),
    ],
)
def test_a_jwks_url_is_an_https_url(url: Any, rule: str) -> None:
    text = refusal(lambda: issuer(jwks_url=url))
    assert text.startswith("jwks_url (")
    assert rule in text


def test_a_password_or_query_in_a_url_stays_out_of_the_text() -> None:
    text = refusal(lambda: issuer(jwks_url="https://app:s3cr/et@login.example.com/keys?code=t0p#x"))
    assert "jwks_url" in text
    assert "s3cr" not in text
    assert "t0p" not in text


def test_the_query_of_a_url_stays_out_of_what_is_shown_of_an_issuer() -> None:
    made = issuer(jwks_url="https://login.example.com/keys?code=t0p")
    for text in (repr(made), str(made), f"{[made]}"):
        assert "jwks_url='https://login.example.com/keys?***', source=None" in text
        assert "t0p" not in text


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"algorithms": ()}, ["algorithms", "()", "must not be empty"]),
        ({"algorithms": []}, ["algorithms", "[]", "must not be empty"]),
        ({"algorithms": "RS256"}, ["algorithms", "('RS256',)", "not a string"]),
        ({"algorithms": None}, ["algorithms", "None", "sequence"]),
        ({"algorithms": 5}, ["algorithms", "5", "sequence"]),
        ({"algorithms": (5,)}, ["algorithms", "5", "allowed are RS256"]),
        ({"algorithms": ("rs256",)}, ["rs256", "did you mean 'RS256'", "allowed are"]),
        ({"algorithms": ("RS265",)}, ["RS265", "did you mean 'RS256'"]),
        ({"algorithms": ("ED25519",)}, ["did you mean 'Ed25519'"]),
        ({"algorithms": ("RSA-OAEP",)}, ["RSA-OAEP", "is not supported", "allowed are"]),
        ({"algorithms": ("RS256", "HS256")}, ["HS256", "is never accepted", "public key"]),
        ({"algorithms": ("hs512",)}, ["hs512", "is never accepted"]),
        ({"algorithms": ("none",)}, ["none", "is never accepted", "signature"]),
        ({"algorithms": ("NoNe",)}, ["NoNe", "is never accepted"]),
        ({"algorithms": ("",)}, ["''", "is not supported"]),
        ({"audience": ""}, ["audience ('') must not be empty"]),
        ({"audience": ()}, ["audience (()) must not be empty"]),
        ({"audience": ("a", " ")}, ["audience", "must not be empty"]),
        ({"audience": ("a", 5)}, ["audience (5) must be a string"]),
        ({"audience": 5}, ["audience (5) must be a sequence"]),
        ({"audience": {"a": 1}}, ["audience", "must be a sequence"]),
        ({"audience": None}, ["audience (None)", "claims must not be empty"]),
        ({"audience": ("a", None)}, ["audience (None)", "claims must not be empty"]),
        *(
            ({"audience": None, "claims": dict.fromkeys(names, 1)}, ["audience (None)", "do not count"])
            for names in (("iss",), ("exp",), ("iat",), ("nbf",), ("iss", "exp", "iat", "nbf"), ("/iss",))
        ),
        ({"leeway": -1}, ["leeway (-1)", "not negative"]),
        ({"leeway": 120.5}, ["leeway (120.5)", "at most 120 s"]),
        ({"leeway": math.nan}, ["leeway (nan)", "finite"]),
        ({"leeway": math.inf}, ["leeway (inf)", "finite"]),
        ({"leeway": True}, ["leeway (True)", "number"]),
        ({"leeway": "30"}, ["leeway ('30')", "number"]),
        ({"leeway": None}, ["leeway (None)", "number"]),
        ({"token_types": ()}, ["token_types", "must not be empty"]),
        ({"token_types": "JWT"}, ["token_types", "not a string"]),
        ({"token_types": ("",)}, ["token_types ('')", "must not be empty"]),
        ({"token_types": ("application/",)}, ["token_types ('application/')", "must not be empty"]),
        ({"token_types": (1,)}, ["token_types (1)", "must be a string"]),
        ({"claims": ("client_id",)}, ["claims", "must be a mapping"]),
        ({"claims": {"client_id": ()}}, ["claims['client_id'] (())", "must not be empty"]),
        ({"claims": {"client_id": ""}}, ["claims['client_id'] ('')", "must not be empty"]),
        ({"claims": {"client_id": None}}, ["claims['client_id'] (None)", "string, a number or a boolean"]),
        ({"claims": {"client_id": {"a": 1}}}, ["claims['client_id']", "string, a number or a boolean"]),
        ({"claims": {"client_id": (["a"],)}}, ["claims['client_id'] (['a'])", "string, a number"]),
        ({"claims": {"n": math.nan}}, ["claims['n'] (nan)", "finite"]),
        ({"claims": {"": "a"}}, ["claims ('')", "empty name"]),
        ({"claims": {5: "a"}}, ["claims (5)", "by strings"]),
        ({"claims": {"/a~2": "a"}}, ["claims ('/a~2')", "JSON Pointer", "RFC 6901"]),
        ({"claims": {"cnf": "a"}}, ["claims ('cnf')", "contradictory"]),
        ({"claims": {"/cnf/jkt": "a"}}, ["claims ('/cnf/jkt')", "contradictory"]),
        ({"required_claims": "sub"}, ["required_claims", "('sub',)"]),
        ({"required_claims": ("sub", "")}, ["required_claims ('')", "empty name"]),
        ({"required_claims": ("/a~",)}, ["required_claims ('/a~')", "JSON Pointer"]),
        ({"required_claims": ("cnf",)}, ["required_claims ('cnf')", "contradictory"]),
        ({"required_claims": 5}, ["required_claims (5)", "sequence"]),
        ({"scope_claims": "scope"}, ["scope_claims", "not a string"]),
        ({"scope_claims": ()}, ["scope_claims (())", "must not be empty"]),
        ({"scope_claims": ("/~",)}, ["scope_claims ('/~')", "JSON Pointer"]),
        ({"tenant_claim": ""}, ["tenant_claim ('')", "empty name"]),
        ({"tenant_claim": 5}, ["tenant_claim (5)", "by strings"]),
        ({"tenant_claim": "/x~3"}, ["tenant_claim ('/x~3')", "JSON Pointer"]),
        ({"ignored_headers": "jku"}, ["ignored_headers", "('jku',)"]),
        ({"ignored_headers": ("jkw",)}, ["ignored_headers ('jkw')", "did you mean 'jwk'"]),
        ({"ignored_headers": ("crit",)}, ["ignored_headers ('crit')", "jku, jwk, x5c, x5u"]),
        ({"ignored_headers": (5,)}, ["ignored_headers (5)"]),
        ({"allow_http": 1}, ["allow_http (1)", "True or False"]),
        ({"allow_private_hosts": "yes"}, ["allow_private_hosts ('yes')", "True or False"]),
        ({"jwks_url": KEYS, "source": AnySource()}, ["jwks_url", "and source"]),
        ({"source": object()}, ["source", "fetch(conditional)"]),
        ({"source": AnySource}, ["source", "an object with fetch"]),
        ({"source": KEYS}, ["source", "not str"]),
    ],
)
def test_a_wrong_setting_is_refused_by_name_with_its_value(options: dict[str, Any], parts: list[str]) -> None:
    text = refusal(lambda: issuer(**options))
    assert [part for part in parts if part not in text] == []


def test_a_control_character_is_refused_in_what_is_otherwise_opaque() -> None:
    assert "control characters" in refusal(lambda: issuer("urn:a\x00b", jwks_url=KEYS))


def test_twice_the_same_is_once() -> None:
    made = issuer(
        audience=["b", "a", "b"], algorithms=["ES256", "RS256", "ES256"], token_types=["JWT", "jwt"]
    )
    assert (made.audience, made.algorithms, made.token_types) == (("b", "a"), ("ES256", "RS256"), ("jwt",))


def test_a_set_is_taken_in_a_fixed_order() -> None:
    names = [f"audience-{number}" for number in range(10, 30)]
    assert issuer(audience=set(names)).audience == tuple(names)


def test_a_question_mark_hides_nothing_outside_of_a_url() -> None:
    assert "'who?me'" in refusal(lambda: issuer(leeway="who?me"))


def test_a_long_value_is_cut_in_the_text() -> None:
    assert len(refusal(lambda: issuer(leeway="9" * 5000))) < 200


def test_an_integer_too_large_for_a_float_is_refused() -> None:
    assert "finite" in refusal(lambda: issuer(leeway=10**400))


def test_a_template_needs_a_whole_path_segment() -> None:
    for name in (
        "https://login.example.com/a{tid}/v2.0",
        "https://login.example.com/{tid}b/v2.0",
        "https://{tid}.example.com/",
        "https://{tid}/v2.0",
        "https://login.example.com/{tid}/{oid}",
        "https://login.example.com/{}/v2.0",
        "https://login.example.com/{tid",
        "https://login.example.com/tid}",
        "https://login.example.com/v2.0?tenant={tid}",
        "https://login.example.com/{tid}?a",
        "urn:{tid}",
        "{tid}",
    ):
        text = refusal(lambda name=name: issuer(name, jwks_url=KEYS, tenant_claim="tid"))  # type: ignore[misc]
        assert "whole path segment" in text, name


def test_a_template_is_never_fetched_so_it_needs_a_place_for_its_keys() -> None:
    assert "needs jwks_url or source" in refusal(lambda: issuer(TEMPLATE, tenant_claim="tid"))


def test_a_template_needs_its_claim_to_be_pinned_or_to_be_the_tenant() -> None:
    text = refusal(lambda: issuer(TEMPLATE, jwks_url=KEYS, tenant_claim="oid", claims={"oid": "a"}))
    assert "'tid'" in text
    assert "tenant_claim" in text
    for options in ({"tenant_claim": "tid"}, {"claims": {"tid": ("a", "b")}}, {"claims": {"/tid": "a"}}):
        made = issuer(TEMPLATE, jwks_url=KEYS, **options)
        assert made.template is not None
        assert made.template.claim == "tid"


def test_an_issuer_cannot_be_changed() -> None:
    made = issuer(claims={"a": "b"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.leeway = 5.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.claims["a"] = ("c",)  # type: ignore[index]


def test_changing_what_was_passed_in_changes_no_issuer() -> None:
    audience, claims, algorithms = ["a"], {"x": ["y"]}, ["RS256"]
    made = issuer(audience=audience, claims=claims, algorithms=algorithms)
    audience.append("b")
    claims["x"].append("z")
    algorithms.clear()
    assert (made.audience, dict(made.claims), made.algorithms) == (("a",), {"x": ("y",)}, ("RS256",))


def test_issuers_are_equal_when_they_ask_the_same() -> None:
    assert issuer() == issuer(audience=["orders-api"], leeway=30)
    assert hash(issuer()) == hash(issuer(audience=["orders-api"]))
    assert issuer(claims={"a": "1", "b": "2"}) == issuer(claims={"b": "2", "a": "1"})
    assert issuer() != issuer(leeway=31)
    assert issuer() != URL


def test_issuers_that_pin_other_json_types_differ() -> None:
    assert issuer(claims={"admin": True}) != issuer(claims={"admin": 1})
    assert issuer(claims={"level": 1}) == issuer(claims={"level": 1.0})


def test_issuers_with_an_unhashable_source_can_be_hashed() -> None:
    source = Unhashable()
    assert len({issuer(source=source), issuer(source=source)}) == 1


def test_an_issuer_survives_pickling_and_copying() -> None:
    made = issuer(TEMPLATE, jwks_url=KEYS, tenant_claim="tid", claims={"a": (True, 1, "x")}, leeway=0.5)
    for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
        assert twin == made
        assert repr(twin) == repr(made)
    assert dataclasses.replace(made, leeway=1).leeway == 1.0


def test_r34_the_strict_profile_asks_for_what_rfc_9068_does() -> None:
    made = Issuer.rfc9068(URL, audience="orders-api", required_claims=["tid", "sub"], leeway=5)
    assert made.token_types == ("at+jwt",)
    assert made.required_claims == ("sub", "client_id", "iat", "jti", "tid")
    assert made.leeway == 5.0
    assert "RFC 9068" in refusal(lambda: Issuer.rfc9068(URL, audience=("a", None), claims={"a": "b"}))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Issuer.rfc9068(URL, audience="a", token_types=("JWT",))


def test_a_verifier_takes_one_issuer_or_several_that_differ() -> None:
    one, other = issuer(), issuer("https://other.example.com/")
    assert distinct_issuers(one) == (one,)
    assert distinct_issuers([one, other]) == (one, other)


@pytest.mark.parametrize(
    ("several", "rule"),
    [
        ([], "must not be empty"),
        ((), "must not be empty"),
        (URL, "not a string"),
        (None, "sequence"),
        ([URL], "Issuer objects"),
        ([issuer(), issuer(audience="other")], "is given twice"),
        (
            [
                issuer("https://x.example.com/{a}/", jwks_url=KEYS, tenant_claim="a"),
                issuer("https://x.example.com/{b}/", jwks_url=KEYS, tenant_claim="b"),
            ],
            "is given twice",
        ),
    ],
)
def test_issuers_that_no_verifier_can_tell_apart_are_refused(several: Any, rule: str) -> None:
    assert rule in refusal(lambda: distinct_issuers(several))


# -- RefreshPolicy ----------------------------------------------------------------------------------


def test_the_defaults_are_those_that_are_documented() -> None:
    assert dataclasses.asdict(RefreshPolicy()) == {
        "refresh_interval": 300.0,
        "check_interval": 60.0,
        "floor": 5.0,
        "jitter": 3.0,
        "backoff_base": 2.0,
        "backoff_max": 60.0,
        "max_stale": 21600.0,
        "fetch_timeout": 3.0,
        "lease": 5.0,
        "wait_budget": 2.0,
        "max_waiters": 64,
        "strategy": "advisory",
        "on_store_outage": "serve",
        "background": True,
    }


def test_every_field_but_four_is_a_time() -> None:
    names = [member.name for member in dataclasses.fields(RefreshPolicy)]
    assert names == [*DURATIONS, "max_waiters", "strategy", "on_store_outage", "background"]


@pytest.mark.parametrize(
    "options",
    [
        {"wait_budget": 1, "fetch_timeout": 2, "lease": 60},
        {"wait_budget": 10},
        {"wait_budget": 0, "jitter": 0},
        {"check_interval": 299},
        {"check_interval": 3000},
        {"floor": 1, "lease": 5},
        {"floor": 20, "lease": 5},
        {"floor": 0.01, "refresh_interval": 0.02, "max_stale": 0.03, "check_interval": 0.001},
        {"fetch_timeout": 0.05, "lease": 0.06, "wait_budget": 0.01},
        {"backoff_base": 60, "backoff_max": 60},
        {"backoff_max": 3600},
        {"max_waiters": 1},
        {"strategy": "lease", "on_store_outage": "fetch"},
    ],
)
def test_legal_combinations_are_accepted(options: dict[str, Any]) -> None:
    made = RefreshPolicy(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_whole_seconds_become_floats() -> None:
    assert isinstance(RefreshPolicy(lease=6).lease, float)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lease": 3, "fetch_timeout": 5}, "lease (3 s) must be longer than fetch_timeout (5 s)"),
        ({"lease": 3, "fetch_timeout": 3}, "lease (3 s) must be longer than fetch_timeout (3 s)"),
        ({"floor": 300}, "refresh_interval (300 s) must be longer than floor (300 s)"),
        ({"max_stale": 300}, "max_stale (300 s) must be longer than refresh_interval (300 s)"),
        ({"backoff_max": 1.5}, "backoff_max (1.5 s) must not be shorter than backoff_base (2 s)"),
        ({"lease": 60.5}, "lease (60.5 s) must be at most 60 s"),
        ({"backoff_max": 3601}, "backoff_max (3601 s) must be at most 3600 s"),
        ({"max_waiters": 0}, "max_waiters (0) must be a whole number from 1"),
        ({"max_waiters": True}, "max_waiters (True) must be a whole number"),
        ({"max_waiters": 1.0}, "max_waiters (1.0) must be a whole number"),
        ({"max_waiters": 100_001}, "max_waiters (100001) must be a whole number"),
        (
            {"strategy": "advisry"},
            "strategy ('advisry') must be 'advisory' or 'lease', did you mean 'advisory'",
        ),
        ({"strategy": ""}, "strategy ('') must be 'advisory' or 'lease'"),
        ({"strategy": None}, "strategy (None) must be"),
        ({"strategy": ["lease"]}, "strategy (['lease']) must be"),
        (
            {"on_store_outage": "serv"},
            "on_store_outage ('serv') must be 'serve' or 'fetch', did you mean 'serve'",
        ),
    ],
)
def test_a_contradiction_is_refused_with_both_values(options: dict[str, Any], text: str) -> None:
    assert refusal(lambda: RefreshPolicy(**options)).startswith(text)


WRONG_DURATIONS = (math.nan, math.inf, -math.inf, -1, -0.001, True, False, "5", None, [5], 1e300, 10**400)


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", WRONG_DURATIONS, ids=lambda value: repr(value)[:12])
def test_a_duration_is_a_finite_number_of_seconds(name: str, value: Any) -> None:
    assert refusal(lambda: RefreshPolicy(**{name: value})).startswith(f"{name} (")


@pytest.mark.parametrize("name", [name for name in DURATIONS if name not in ("jitter", "wait_budget")])
def test_only_jitter_and_wait_budget_may_be_zero(name: str) -> None:
    assert refusal(lambda: RefreshPolicy(**{name: 0})) == f"{name} (0) must be longer than 0 s"


def test_a_policy_is_frozen_hashable_and_picklable() -> None:
    made = RefreshPolicy(floor=7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.floor = 8.0  # type: ignore[misc]
    assert {made: 1}[RefreshPolicy(floor=7.0)] == 1
    assert pickle.loads(pickle.dumps(made)) == made
