"""What a claim set must say to be accepted, rule by rule."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from skeldir_jwt_mw.config import Issuer
from skeldir_jwt_mw.core.claims import Accepted, compile_claims
from skeldir_jwt_mw.core.pointer import MISSING, compile_lookup, first_member, parse_pointer
from skeldir_jwt_mw.errors import INVALID_TOKEN_MESSAGES, InvalidToken

ISSUER = "https://login.example.com/"
NOW = 1_700_000_000.0
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
ABSENT = object()


def claims(**changes: Any) -> dict[str, Any]:
    good = {"iss": ISSUER, "sub": "user-1", "aud": "orders-api", "exp": NOW + 600, "iat": NOW, **changes}
    return {name: value for name, value in good.items() if value is not ABSENT}


def accept(given: dict[str, Any], now: float = NOW, **options: Any) -> Accepted:
    settings = {"issuer": ISSUER, "audience": "orders-api", **options}
    return compile_claims(Issuer(settings.pop("issuer"), **settings))(given, now)


def refusal(given: dict[str, Any], now: float = NOW, **options: Any) -> InvalidToken:
    with pytest.raises(InvalidToken) as caught:
        accept(given, now, **options)
    assert str(caught.value) == INVALID_TOKEN_MESSAGES[caught.value.code]
    return caught.value


def test_good_claims_are_accepted_and_read_out() -> None:
    accepted = accept(claims(nbf=NOW - 5, scope="a b", tenant="acme"), tenant_claim="tenant")
    assert accepted == Accepted(
        issuer=ISSUER,
        subject="user-1",
        audience=("orders-api",),
        scopes=frozenset({"a", "b"}),
        tenant="acme",
        expires_at=NOW + 600,
        not_before=NOW,
    )


def test_the_least_that_is_accepted_is_iss_aud_and_exp() -> None:
    accepted = accept({"iss": ISSUER, "aud": "orders-api", "exp": int(NOW) + 1})
    assert accepted == Accepted(ISSUER, "", ("orders-api",), frozenset(), None, NOW + 1, 0.0)
    assert type(accepted.expires_at) is type(accepted.not_before) is float


def test_a_claim_that_no_rule_speaks_of_may_be_anything() -> None:
    accept(claims(roles={"reader": {"1": "x"}}, groups=[1, None], azp=5, email=None, jti=7))


# -- R30: iss ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "iss",
    [
        "https://login.example.com",
        "https://login.example.com/x",
        "https://login.example.co",
        "h",
        "",
        "http://login.example.com/",
        "HTTPS://login.example.com/",
        "https://login.example.com/ ",
        [ISSUER],
        {ISSUER: 1},
        None,
        5,
        True,
        ABSENT,
    ],
)
def test_r30_an_issuer_that_is_not_equal_is_refused(iss: Any) -> None:
    assert refusal(claims(iss=iss)).code == "wrong_issuer"


def test_r30_a_template_is_filled_with_the_tokens_own_claim() -> None:
    name = "https://login.example.com/{tid}/v2.0"
    options = {"issuer": name, "jwks_url": "https://login.example.com/keys", "tenant_claim": "tid"}
    filled = name.replace("{tid}", TENANT)
    accepted = accept(claims(iss=filled, tid=TENANT), **options)
    assert (accepted.issuer, accepted.tenant) == (filled, TENANT)
    for iss, tid in (
        (filled, "other"),
        (filled, ABSENT),
        (filled, [TENANT]),
        (name, "{tid}"),
        ("https://login.example.com/a/b/v2.0", "a/b"),
        ([filled], TENANT),
        (ABSENT, ABSENT),
    ):
        assert refusal(claims(iss=iss, tid=tid), **options).code == "wrong_issuer"


def test_a_template_whose_claim_is_pinned_admits_the_pinned_tenants_alone() -> None:
    name = "https://login.example.com/{tid}/v2.0"
    options = {"issuer": name, "jwks_url": "https://login.example.com/keys", "claims": {"tid": ("a", "b")}}
    accept(claims(iss=name.replace("{tid}", "b"), tid="b"), **options)
    assert refusal(claims(iss=name.replace("{tid}", "c"), tid="c"), **options).code == "claim_mismatch"


# -- R31: aud ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aud", "audience"),
    [
        ("orders-api", "orders-api"),
        (["x", "orders-api"], "orders-api"),
        ("b", ("a", "b")),
        (["b"], ["a", "b"]),
    ],
)
def test_r31_one_match_suffices(aud: Any, audience: Any) -> None:
    assert accept(claims(aud=aud), audience=audience).audience == (
        (aud,) if isinstance(aud, str) else tuple(aud)
    )


@pytest.mark.parametrize(
    ("aud", "code"),
    [
        ("orders", "wrong_audience"),
        ("orders-api/", "wrong_audience"),
        ("ORDERS-API", "wrong_audience"),
        ("x orders-api", "wrong_audience"),
        ("", "wrong_audience"),
        ([], "wrong_audience"),
        (["x", "y"], "wrong_audience"),
        (ABSENT, "wrong_audience"),
        (["orders-api", 5], "bad_claims"),
        (["orders-api", None], "bad_claims"),
        ([["orders-api"]], "bad_claims"),
        ({"orders-api": 1}, "bad_claims"),
        (None, "bad_claims"),
        (True, "bad_claims"),
        (5, "bad_claims"),
    ],
)
def test_r31_an_audience_without_this_service_is_refused(aud: Any, code: str) -> None:
    assert refusal(claims(aud=aud)).code == code


@pytest.mark.parametrize("audience", [None, ("orders-api", None)])
def test_r31_none_admits_a_token_without_aud_and_never_one_with_another(audience: Any) -> None:
    options = {"audience": audience, "claims": {"client_id": "web"}}
    assert accept(claims(aud=ABSENT, client_id="web"), **options).audience == ()
    assert accept(claims(aud=[], client_id="web"), **options).audience == ()  # it names nobody
    for aud in ("other", ["other"], [""]):
        assert refusal(claims(aud=aud, client_id="web"), **options).code == "wrong_audience"
    assert refusal(claims(aud=None, client_id="web"), **options).code == "bad_claims"


# -- R32, R33: times -----------------------------------------------------------------------------

NO_TIME = [
    "1800000000",
    True,
    False,
    None,
    [1],
    {},
    -1,
    -0.5,
    math.nan,
    math.inf,
    -math.inf,
    10**11,
    1.8e12,
    2**53 + 1,
    1e308,
    10**400,
]


@pytest.mark.parametrize("exp", NO_TIME, ids=lambda value: repr(value)[:12])
def test_r32_exp_is_a_finite_number_in_range(exp: Any) -> None:
    assert refusal(claims(exp=exp)).code == "bad_claims"


def test_r32_exp_is_required() -> None:
    error = refusal(claims(exp=ABSENT))
    assert (error.code, error.hint) == ("missing_claim", "the token has no 'exp'")


@pytest.mark.parametrize("exp", [NOW, int(NOW), 10**11 - 1, 10.0**11 - 1])
def test_r32_exp_may_be_an_integer_or_a_fraction(exp: Any) -> None:
    assert accept(claims(exp=exp)).expires_at == exp


@pytest.mark.parametrize("leeway", [0, 0.5, 30, 120])
def test_r32_a_token_lives_until_exp_and_leeway_and_no_longer(leeway: float) -> None:
    given = claims(exp=NOW, iat=ABSENT)
    accept(given, NOW + leeway - 0.001, leeway=leeway)
    assert refusal(given, NOW + leeway, leeway=leeway).code == "expired"


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("value", NO_TIME, ids=lambda value: repr(value)[:12])
def test_r33_nbf_and_iat_are_finite_numbers_in_range(name: str, value: Any) -> None:
    assert refusal(claims(**{name: value})).code == "bad_claims"


@pytest.mark.parametrize(("name", "code"), [("nbf", "not_yet_valid"), ("iat", "issued_in_future")])
@pytest.mark.parametrize("leeway", [0, 0.5, 30])
def test_r33_nbf_and_iat_may_be_ahead_by_the_leeway_and_no_more(name: str, code: str, leeway: float) -> None:
    accept(claims(**{name: NOW + leeway}), leeway=leeway)
    assert refusal(claims(**{name: NOW + leeway + 0.01}), leeway=leeway).code == code


def test_the_later_of_nbf_and_iat_is_when_a_token_begins() -> None:
    assert accept(claims(nbf=NOW - 9, iat=NOW - 5)).not_before == NOW - 5
    assert accept(claims(nbf=NOW - 5, iat=NOW - 9)).not_before == NOW - 5
    assert accept(claims(iat=ABSENT)).not_before == 0.0


# -- sub, R34: required claims -------------------------------------------------------------------


@pytest.mark.parametrize("sub", [5, None, True, ["a"], {}])
def test_a_subject_that_is_no_string_is_refused(sub: Any) -> None:
    assert refusal(claims(sub=sub)).code == "bad_claims"


@pytest.mark.parametrize("sub", ["", ABSENT])
def test_an_empty_subject_counts_as_absent(sub: Any) -> None:
    assert accept(claims(sub=sub)).subject == ""
    assert refusal(claims(sub=sub), required_claims=["sub"]).code == "missing_claim"


@pytest.mark.parametrize("value", [0, False, "", [], {}, "x"])
def test_r34_a_required_claim_may_have_any_value_but_null(value: Any) -> None:
    accept(claims(amr=value), required_claims=["amr"])


@pytest.mark.parametrize("value", [None, ABSENT])
def test_r34_a_required_claim_is_present(value: Any) -> None:
    error = refusal(claims(amr=value), required_claims=["iat", "amr"])
    assert (error.code, error.hint) == ("missing_claim", "the token has no 'amr'")


def test_r34_a_required_claim_may_be_named_by_a_pointer() -> None:
    options = {"required_claims": ["/realm_access/roles/0"]}
    accept(claims(realm_access={"roles": ["x"]}), **options)
    for value in ({"roles": []}, {"roles": "x"}, {}, "x", ABSENT):
        assert refusal(claims(realm_access=value), **options).code == "missing_claim"


def strict(**changes: Any) -> None:
    given = claims(client_id="web", jti="1", **changes)
    compile_claims(Issuer.rfc9068(ISSUER, audience="orders-api"))(given, NOW)


def test_r34_the_strict_profile_accepts_a_complete_token() -> None:
    strict()


@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "iat"])
def test_r34_the_strict_profile_misses_each_claim(name: str) -> None:
    with pytest.raises(InvalidToken):
        strict(**{name: ABSENT})


@pytest.mark.parametrize("name", ["client_id", "jti"])
@pytest.mark.parametrize(
    ("value", "code"),
    [(ABSENT, "missing_claim"), ("", "missing_claim"), (5, "bad_claims"), (["a"], "bad_claims")],
)
def test_r34_the_strict_profile_wants_strings_where_the_rfc_does(name: str, value: Any, code: str) -> None:
    given = claims(client_id="web", jti="1")
    given[name] = value
    if value is ABSENT:
        del given[name]
    with pytest.raises(InvalidToken) as caught:
        compile_claims(Issuer.rfc9068(ISSUER, audience="orders-api"))(given, NOW)
    assert caught.value.code == code


# -- pinned claims -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pin", "value"),
    [
        ("access", "access"),
        (("web", "m2m"), "m2m"),
        (["web"], ["x", "web"]),
        (1, 1),
        (1, 1.0),
        (1.0, 1),
        (True, True),
        (False, [False]),
        ((True, "yes"), "yes"),
        (2**60, 2**60),
        ("web", [{"web": 1}, ["web"], "web"]),
    ],
)
def test_a_pinned_claim_equals_one_value_or_holds_it(pin: Any, value: Any) -> None:
    accept(claims(x=value), claims={"x": pin})


@pytest.mark.parametrize(
    ("pin", "value"),
    [
        ("access", "id"),
        ("access", "access "),
        ("access", "ACCESS"),
        ("access", ""),
        ("1", 1),
        (1, "1"),
        (1, True),
        (0, False),
        (True, 1),
        (True, 1.0),
        (False, 0),
        (True, "true"),
        (False, None),
        ("null", None),
        (1, [True]),
        (True, [1]),
        ("web", ["we", "b"]),
        ("web", [["web"]]),
        ("web", []),
        ("web", {"web": True}),
        (2**60, float(2**60) * 2),
        (1, math.nan),
    ],
)
def test_a_pinned_claim_with_another_value_or_json_type_is_refused(pin: Any, value: Any) -> None:
    assert refusal(claims(x=value), claims={"x": pin}).code == "claim_mismatch"


def test_every_pinned_claim_must_be_there() -> None:
    error = refusal(claims(a="1"), claims={"a": "1", "b": "2"})
    assert (error.code, error.hint) == ("missing_claim", "the token has no 'b'")
    assert refusal(claims(), claims={"/realm/roles": "x"}).code == "missing_claim"


def test_a_pinned_claim_may_be_named_by_a_pointer() -> None:
    options = {"claims": {"/realm_access/roles": "reader"}}
    accept(claims(realm_access={"roles": ["x", "reader"]}), **options)
    assert refusal(claims(realm_access={"roles": ["x"]}), **options).code == "claim_mismatch"
    assert refusal(claims(**{"/realm_access/roles": "reader"}), **options).code == "missing_claim"


# -- R35: scopes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "scopes"),
    [
        ({}, set()),
        ({"scope": ""}, set()),
        ({"scope": "a"}, {"a"}),
        ({"scope": " a  b "}, {"a", "b"}),
        ({"scope": "a\u00a0b\tc"}, {"a\u00a0b\tc"}),
        ({"scope": ["a", "b c", ""]}, {"a", "b c"}),
        ({"scope": []}, set()),
        ({"scp": "x"}, {"x"}),
        ({"scope": "a", "scp": ["b"]}, {"a", "b"}),
    ],
)
def test_r35_scopes_are_the_union_of_all_scope_claims(changes: dict[str, Any], scopes: set[str]) -> None:
    assert accept(claims(**changes)).scopes == scopes


@pytest.mark.parametrize("name", ["scope", "scp"])
@pytest.mark.parametrize("value", [None, 5, True, {"a": 1}, [1], ["a", None], [["a"]]])
def test_r35_a_scope_claim_of_another_type_is_refused_though_no_scope_is_asked_for(
    name: str, value: Any
) -> None:
    assert refusal(claims(**{name: value})).code == "bad_scope"


def test_r35_scopes_may_stand_where_a_pointer_leads() -> None:
    options = {"scope_claims": ("scope", "/realm_access/roles")}
    accepted = accept(claims(scope="a", realm_access={"roles": ["b", "c"]}), **options)
    assert accepted.scopes == {"a", "b", "c"}
    assert accept(claims(), **options).scopes == frozenset()
    assert refusal(claims(realm_access={"roles": {"b": 1}}), **options).code == "bad_scope"


def test_a_claim_that_is_not_a_scope_claim_grants_nothing() -> None:
    assert accept(claims(scp="admin"), scope_claims=("scope",)).scopes == frozenset()


# -- R35, R36: tenant ----------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["a", "x" * 256, "Zoë & Söhne", "a b", "a\u00a0b", "../etc"])
def test_a_tenant_is_handed_on_as_it_is(tenant: str) -> None:
    assert accept(claims(org=tenant), tenant_claim="org").tenant == tenant


@pytest.mark.parametrize(
    "tenant",
    [ABSENT, None, "", "x" * 257, 5, True, ["a"], {"a": 1}, "a\x00b", "a\n", "\x7f", "a\x85b", "\x1b[0m"],
)
def test_r36_a_tenant_that_is_not_a_short_string_without_control_characters_is_refused(tenant: Any) -> None:
    error = refusal(claims(org=tenant), tenant_claim="org")
    assert (error.code, error.hint) == ("bad_tenant", "'org' is no plain string of 1 to 256 characters")
    assert accept(claims(org=tenant)).tenant is None


def test_a_tenant_may_stand_where_a_pointer_leads() -> None:
    assert accept(claims(org={"id": "acme"}), tenant_claim="/org/id").tenant == "acme"
    assert refusal(claims(org="acme"), tenant_claim="/org/id").code == "bad_tenant"


# -- R37: cnf ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None, "", False, []])
def test_r37_a_sender_constrained_token_is_refused(cnf: Any) -> None:
    assert refusal(claims(cnf=cnf)).code == "sender_constrained"


# -- hints ---------------------------------------------------------------------------------------


CLOCKS = "by less than a minute: do the clocks agree?"


@pytest.mark.parametrize(
    ("changes", "code", "hint"),
    [
        ({"iss": "https://login.example.com"}, "wrong_issuer", "iss differs by a trailing slash"),
        ({"iss": 5}, "wrong_issuer", "the token has no iss that is a string"),
        ({"iss": "https://other.example.com/"}, "wrong_issuer", None),
        ({"aud": "orders-api/"}, "wrong_audience", "aud differs by a trailing slash"),
        ({"aud": "orders-api//"}, "wrong_audience", "aud differs by a trailing slash"),
        ({"aud": "/orders-api"}, "wrong_audience", None),
        ({"aud": "orders-apiX"}, "wrong_audience", None),
        ({"aud": "Orders-API"}, "wrong_audience", "aud differs in upper and lower case"),
        ({"aud": "secret-audience"}, "wrong_audience", None),
        ({"aud": ["secret-audience"]}, "wrong_audience", "aud is a list without this service"),
        ({"aud": ABSENT}, "wrong_audience", "the token has no aud"),
        ({"aud": ["orders-api", 5]}, "bad_claims", "aud is neither a string nor a list of strings"),
        ({"exp": ABSENT}, "missing_claim", "the token has no 'exp'"),
        ({"exp": "1"}, "bad_claims", "'exp' is not a number of seconds from 0 to 10^11"),
        ({"nbf": None}, "bad_claims", "'nbf' is not a number of seconds from 0 to 10^11"),
        ({"iat": -1}, "bad_claims", "'iat' is not a number of seconds from 0 to 10^11"),
        *(
            ({name: time}, "bad_claims", f"'{name}' is not a number of seconds: milliseconds?")
            for name in ("exp", "nbf", "iat")
            for time in (int(NOW) * 1000, NOW * 1000, 10**11)
        ),
        ({"sub": 5}, "bad_claims", "sub is not a string"),
        ({"exp": NOW - 89}, "expired", CLOCKS),
        ({"exp": NOW - 90}, "expired", None),
        ({"nbf": NOW + 89}, "not_yet_valid", CLOCKS),
        ({"nbf": NOW + 90}, "not_yet_valid", None),
        ({"iat": NOW + 89}, "issued_in_future", CLOCKS),
        ({"iat": NOW + 90}, "issued_in_future", None),
        ({"cnf": {}}, "sender_constrained", None),
        ({"scope": 5}, "bad_scope", None),
    ],
)
def test_a_refusal_says_why_in_fixed_words(changes: dict[str, Any], code: str, hint: str | None) -> None:
    error = refusal(claims(**changes), leeway=30)
    assert (error.code, error.hint) == (code, hint)


def test_an_audience_is_read_no_oftener_where_there_are_many() -> None:
    aud, read = "A" * 10_000, 0

    def profile(_: Any, event: str, called: Any) -> None:
        nonlocal read
        read += event == "c_call" and getattr(called, "__self__", None) is aud

    check = compile_claims(Issuer(ISSUER, audience=[f"api-{number}" for number in range(1000)]))
    sys.setprofile(profile)
    try:
        with pytest.raises(InvalidToken):
            check(claims(aud=aud), NOW)
    finally:
        sys.setprofile(None)
    assert 1 <= read <= 4


def test_the_hint_for_a_template_names_no_issuer() -> None:
    options = {"issuer": "https://login.example.com/{tid}/", "jwks_url": "https://login.example.com/keys"}
    error = refusal(claims(tid="a"), claims={"tid": "a"}, **options)
    assert error.hint == "iss is not the template filled with the token's own claim"


def test_the_hint_for_one_of_many_audiences_is_about_the_nearest() -> None:
    audience = [f"service-{number}" for number in range(9)] + ["Invoices/"]
    assert refusal(claims(aud="Invoices"), audience=audience).hint == "aud differs by a trailing slash"
    assert refusal(claims(aud="invoices/"), audience=audience).hint == "aud differs in upper and lower case"
    assert refusal(claims(aud="box"), audience=["boxX"]).hint is None


def test_the_hint_for_a_required_claim_names_it() -> None:
    error = refusal(claims(jti=5), required_claims=["jti"])
    assert (error.code, error.hint) == ("bad_claims", "'jti' is not a string")
    assert refusal(claims(jti=""), required_claims=["jti"]).hint == "the token has no 'jti'"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("1", "'x' has another JSON type than required"),
        (True, "'x' has another JSON type than required"),
        (None, "'x' has another JSON type than required"),
        ({"1": 1}, "'x' has another JSON type than required"),
        (2, "'x' has another value than required"),
        (2.5, "'x' has another value than required"),
        (["1"], "'x' has another value than required"),
        ([], "'x' has another value than required"),
    ],
)
def test_the_hint_for_a_pin_tells_another_type_from_another_value(value: Any, hint: str) -> None:
    assert refusal(claims(x=value), claims={"x": 1}).hint == hint


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_r32_r33_the_limits_of_a_time_are_times_themselves(name: str) -> None:
    for value in (0, 0.0, 10**11 - 1, 10.0**11 - 1):
        accept(claims(**{"exp": value, "iat": ABSENT, name: value}), value, leeway=30)


# -- JSON Pointers -------------------------------------------------------------------------------

# The document of RFC 6901 §5.
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
    "null": None,
    "~1": 9,
    "deep": {"0": "zero", "list": [[1, 2], {"x": "y"}]},
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
        ("/~01", 9),
        ("/null", None),
        ("/deep/0", "zero"),
        ("/deep/list/0/1", 2),
        ("/deep/list/1/x", "y"),
        ("foo", ["bar", "baz"]),
        ("a/b", 1),
        ("", 0),
        ("/foo/2", MISSING),
        ("/foo/-", MISSING),
        ("/foo/-1", MISSING),
        ("/foo/01", MISSING),
        ("/foo/+1", MISSING),
        ("/foo/1_0", MISSING),
        ("/foo/\u0661", MISSING),
        ("/foo/" + "9" * 5000, MISSING),
        ("/foo/0/0", MISSING),
        ("/deep/nothing", MISSING),
        ("/deep/list/1/y", MISSING),
        ("/null/x", MISSING),
        ("/nothing", MISSING),
        ("/nothing/more", MISSING),
        ("nothing", MISSING),
    ],
)
def test_a_pointer_resolves_as_its_rfc_says(pointer: str, value: Any) -> None:
    found = compile_lookup(pointer)(DOCUMENT)
    assert found is MISSING if value is MISSING else found == value


@pytest.mark.parametrize("pointer", ["/~", "/a~2b", "/a/~x", "/a~"])
def test_a_pointer_with_a_stray_tilde_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match=r'^"~" in a JSON Pointer is written ~0, and "/" inside a name ~1$'):
        parse_pointer(pointer)


@pytest.mark.parametrize("pointer", ["a/b", ""])
def test_a_pointer_without_its_first_slash_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match=r'^a JSON Pointer starts with "/"$'):
        parse_pointer(pointer)


def test_a_name_leads_through_its_first_member() -> None:
    assert [first_member(name) for name in ("a/b", "/a/b", "/a~1b", "/")] == ["a/b", "a", "a/b", ""]
