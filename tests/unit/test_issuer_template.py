"""Issuers with a hole: what fills it, what equals it, and what is routed to it."""

from __future__ import annotations

from typing import Any

import pytest

from skeldir_jwt_mw.core.issuer import (
    IssuerRoutes,
    IssuerTemplate,
    compile_key_issuer,
    issuer_hint,
    serves_issuer,
)

NAME = "https://login.example.com/{tid}/v2.0"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
FILLED = f"https://login.example.com/{TENANT}/v2.0"


def template(name: str = NAME) -> IssuerTemplate:
    made = IssuerTemplate.parse(name)
    assert made is not None
    return made


def test_a_string_without_braces_is_no_template() -> None:
    assert IssuerTemplate.parse("https://login.example.com/") is None


@pytest.mark.parametrize(
    "name", ["https://x/{a}/{b}", "https://{a}/x", "https://x/y{a}", "https://x/{a", "https://x/a}", "x/{a}"]
)
def test_a_hole_that_is_no_whole_path_segment_is_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must hold one \{claim\}, as a whole path segment behind a host name$"
    ):
        IssuerTemplate.parse(name)


@pytest.mark.parametrize("name", ["https://x/{a}", "https://x/{a}/", "https://x//{a}", "http://x:1/y/{a}/z/"])
def test_the_hole_may_be_any_path_segment(name: str) -> None:
    assert template(name).fill({"a": "T-1"}) == name.replace("{a}", "T-1")


def test_r30_a_filled_template_equals_the_issuer_of_the_tokens_own_tenant_alone() -> None:
    assert template().matches(FILLED, {"tid": TENANT})
    assert not template().matches(FILLED, {"tid": "another"})
    assert not template().matches(FILLED + "/", {"tid": TENANT})
    assert not template().matches(NAME, {"tid": "{tid}"})
    assert not template().matches([FILLED], {"tid": TENANT})
    assert not template().matches(None, {})


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a" * 65,
        "a/b",
        "..",
        "a.b",
        "a%2Fb",
        "a b",
        "a\n",
        "\u0430",
        "a_b",
        "{tid}",
        5,
        None,
        True,
        ["a"],
        {},
    ],
)
def test_r36_what_fills_a_template_is_a_short_plain_string(value: Any) -> None:
    assert template().fill({"tid": value}) is None
    assert not template().matches(f"https://login.example.com/{value}/v2.0", {"tid": value})


def test_a_missing_claim_fills_nothing() -> None:
    assert template().fill({}) is None


def test_a_fill_of_sixty_four_characters_is_the_longest() -> None:
    assert template().fill({"tid": "a" * 64}) is not None


def test_templates_of_one_shape_stand_for_the_same_issuers() -> None:
    assert template("https://x/{a}/v").shape == template("https://x/{b}/v").shape
    assert template("https://x/{a}/v").shape != template("https://x/{a}/w").shape


def test_r24_tokens_are_routed_by_their_exact_issuer_first() -> None:
    routes = IssuerRoutes((NAME, FILLED, "https://other.example.com/"))
    assert routes.position({"iss": FILLED}) == 1
    assert routes.position({"iss": FILLED.replace("7", "8"), "tid": "x"}) == 0
    assert routes.position({"iss": "https://other.example.com/"}) == 2


@pytest.mark.parametrize(
    "iss",
    [
        "https://other.example.com",
        "https://other.example.com/x",
        "https://login.example.com//v2.0",
        "https://login.example.com/a/b/v2.0",
        "https://login.example.com/../v2.0",
        "https://login.example.com/v2.0",
        "https://login.example.com/a",
        "https://LOGIN.example.com/a/v2.0",
        "https://login.example.com/a/v3.0",
        "",
        None,
        5,
        ["https://other.example.com/"],
        {"https://other.example.com/": 1},
    ],
)
def test_r30_what_is_not_equal_is_routed_nowhere(iss: Any) -> None:
    assert IssuerRoutes((NAME, "https://other.example.com/")).position({"iss": iss}) is None


def test_a_token_without_iss_is_routed_nowhere() -> None:
    assert IssuerRoutes(("https://other.example.com/",)).position({}) is None


def test_a_prefix_and_a_suffix_that_overlap_match_nothing() -> None:
    assert IssuerRoutes(("https://x/a/{t}/a/",)).position({"iss": "https://x/a/"}) is None


@pytest.mark.parametrize(
    ("key_issuer", "serves"),
    [
        (None, True),
        (FILLED, True),
        ("https://login.example.com/{tenantid}/v2.0", True),
        (NAME, True),
        ("https://login.example.com/{oid}/v2.0", False),
        ("https://login.example.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", False),
        ("https://sts.example.com/{tenantid}/", False),
        ("https://login.example.com/{tenantid}{tid}/v2.0", False),
        ("", False),
    ],
)
def test_r24_a_key_published_for_an_issuer_serves_that_issuer_alone(
    key_issuer: str | None, serves: bool
) -> None:
    compiled = None if key_issuer is None else compile_key_issuer(key_issuer)
    assert serves_issuer(compiled, FILLED, {"iss": FILLED, "tid": TENANT}) is serves


@pytest.mark.parametrize(
    ("iss", "hint"),
    [
        ("https://login.example.com", "iss differs by a trailing slash"),
        ("https://login.example.com//", "iss differs by a trailing slash"),
        ("http://login.example.com/", "iss differs by http and https"),
        ("ftp://login.example.com/", "iss differs by http and https"),
        ("http://login.example.com", None),
        ("http://", None),
        ("login.example.com/", None),
        ("/https://login.example.com", None),
        ("https://Login.example.com/", "iss differs in upper and lower case"),
        ("https://other.example.com/", None),
        ("https://login.example.comX", None),
        ("", None),
        (None, "the token has no iss that is a string"),
        (["https://login.example.com/"], "the token has no iss that is a string"),
    ],
)
def test_a_near_miss_is_explained_without_the_tokens_value(iss: Any, hint: str | None) -> None:
    assert issuer_hint(iss, ["https://login.example.com/"]) == hint


def test_a_near_miss_is_looked_for_among_all_issuers() -> None:
    configured = ["opaque", "https://a.example", "https://b.example/"]
    assert issuer_hint("OPAQUE", configured) == "iss differs in upper and lower case"
    assert issuer_hint("http://b.example/", configured) == "iss differs by http and https"
    assert issuer_hint("https://b.example", configured) == "iss differs by a trailing slash"
    assert issuer_hint("https://a.example/", configured) == "iss differs by a trailing slash"
    assert issuer_hint("other", configured) is None  # neither of the two has a scheme
    assert issuer_hint("opaque", []) is None
    assert issuer_hint("box", ["boxX"]) is None
    assert issuer_hint("http://b", ["https://a?next=http://b"]) is None


@pytest.mark.parametrize(
    ("configured", "iss", "position"),
    [
        (("https://a.example/", "https://b.example/"), "https://b.example", 1),
        (("https://a.example/", "https://b.example/"), "http://B.example/", 1),
        (("https://a.example/", "https://b.example/"), "https://c.example/", None),
        (("https://a.example/", "https://a.example"), "HTTPS://a.example", 0),
        (
            ("https://a.example/", "https://login.microsoftonline.com/{tid}/v2.0"),
            "https://login.microsoftonline.com/none/of/it",
            1,
        ),
        (("opaque", "other"), "OTHER/", 1),
        (("https://a.example/",), "https://a.exampleX", None),
        (("https://b",), "https://a?next=http://b", None),
        (("https://a.example/",), 7, 0),
        (("https://a.example/",), None, 0),
    ],
)
def test_the_issuer_that_a_hint_is_about_is_found_by_what_is_easily_overlooked(
    configured: tuple[str, ...], iss: object, position: int | None
) -> None:
    claims = {} if iss is None else {"iss": iss}
    assert IssuerRoutes(configured).nearest(claims) == position
