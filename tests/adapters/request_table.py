"""One table of requests and of what every adapter answers to them.

A `{name}` in a header or a path stands for a token of `identity.Signer.tokens`. `path` is the request target
as it goes over the wire. The app behind the adapter answers 200 and tells what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skeldir_jwt_mw.asgi import first_of, from_cookie, from_header, jwt_shaped

PLAIN = 'Bearer realm="api"'
INVALID_TOKEN = f'{PLAIN}, error="invalid_token", error_description="The access token is not valid"'
INVALID_REQUEST = (
    f'{PLAIN}, error="invalid_request", '
    'error_description="The credentials are malformed, or there are several"'
)
METADATA_URL = "https://api.example.com/.well-known/oauth-protected-resource"

ANONYMOUS = None
USER = "user-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request, the options of the adapter that it meets, and the answer."""

    name: str
    rule: str  # r40 … r44, or "exempt" and "options" for what the design settles besides
    status: int
    method: str = "GET"
    path: str = "/orders"
    headers: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None  # with status 200: whom the app saw, None for an anonymous request
    challenge: str | None = None  # the whole WWW-Authenticate
    error: str | None = None  # the body's `error`
    document: Mapping[str, Any] | None = None  # the whole body, where the adapter answers 200 itself
    keys: bool = True  # False: the verifier has no keys and cannot get any
    over_sockets: bool = True  # False: servers refuse it, or a limit of theirs comes first
    only: str | None = None  # "views": for adapters that know their views; "apps": for those that do not

    @property
    def needs(self) -> frozenset[str]:
        """What an adapter has to have: the options, and "metadata" where it answers for the app."""
        metadata = {"metadata"} if self.document is not None else set()
        return frozenset(self.options) | metadata | ({self.only} if self.only else set())


def _bearer(value: str = "{valid}") -> tuple[tuple[str, str], ...]:
    return (("Authorization", f"Bearer {value}"),)


def _lines(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple(("Authorization", value) for value in values)


def _passes(name: str, rule: str, subject: str | None = USER, **more: Any) -> Case:
    return Case(name=name, rule=rule, status=200, subject=subject, **more)


def _unauthorized(name: str, rule: str, challenge: str = PLAIN, **more: Any) -> Case:
    return Case(name=name, rule=rule, status=401, challenge=challenge, error="unauthorized", **more)


def _invalid_token(name: str, rule: str, challenge: str = INVALID_TOKEN, **more: Any) -> Case:
    return Case(name=name, rule=rule, status=401, challenge=challenge, error="invalid_token", **more)


def _invalid_request(name: str, rule: str, **more: Any) -> Case:
    return Case(name=name, rule=rule, status=400, challenge=INVALID_REQUEST, error="invalid_request", **more)


def _unavailable(name: str, **more: Any) -> Case:
    return Case(
        name=name,
        rule="r41",
        status=503,
        error="temporarily_unavailable",
        keys=False,
        headers=_bearer(),
        **more,
    )


CREDENTIALS = (
    _passes("a valid token", "r40", headers=_bearer()),
    _passes("the scheme in lower case", "r40", headers=_lines("bearer {valid}")),
    _passes("the scheme in upper case", "r40", headers=_lines("BEARER {valid}")),
    _passes("several spaces after the scheme", "r40", headers=_lines("Bearer   {valid}")),
    _passes("the header's name in odd case", "r40", headers=(("aUTHORIZATION", "Bearer {valid}"),)),
    _passes("HEAD with a valid token", "r40", method="HEAD", headers=_bearer()),
    _passes("a token without a subject", "r40", subject="", headers=_bearer("{nobody}")),
    _unauthorized("no credentials", "r41"),
    _unauthorized("no credentials, HEAD", "r41", method="HEAD"),
    _unauthorized("no credentials, POST", "r41", method="POST"),
    _unauthorized("an empty Authorization", "r40", headers=_lines("")),
    _unauthorized("another scheme", "r40", headers=_lines("Basic dXNlcjpwYXNz")),
    _unauthorized("a scheme that starts like Bearer", "r40", headers=_lines("Bearers {valid}")),
    _unauthorized(
        "a scheme with a comma in its parameters", "r40", headers=_lines('Digest a="b", c="bearer"')
    ),
    _unauthorized("a bare token", "r40", headers=_lines("{valid}")),
    _unauthorized("a token in the query", "r40", path="/orders?access_token={valid}"),
    _unauthorized("a token in a cookie", "r40", headers=(("Cookie", "access_token={valid}"),)),
    _unauthorized("a token in a similar header", "r40", headers=(("X-Authorization", "Bearer {valid}"),)),
    _invalid_request("Bearer alone", "r40", headers=_lines("Bearer")),
    _invalid_request("Bearer and nothing but spaces", "r40", headers=_lines("Bearer   ")),
    _invalid_request("Bearer and a tab", "r40", headers=_lines("Bearer\t{valid}")),
    _invalid_request("Bearer and a comma", "r40", headers=_lines("Bearer,{valid}")),
    _invalid_request("Bearer and a colon", "r40", headers=_lines("Bearer: {valid}")),
    _invalid_request("two words", "r40", headers=_lines("Bearer {valid} {valid}")),
    _invalid_request("a token in quotes", "r40", headers=_lines('Bearer "{valid}"')),
    _invalid_request("a token behind a parameter's name", "r40", headers=_lines("Bearer token={valid}")),
    _invalid_request("padding before the token", "r40", headers=_bearer("={valid}")),
    _invalid_request("padding alone", "r40", headers=_bearer("==")),
    _invalid_request("a token with a comma after it", "r40", headers=_bearer("{valid},")),
    _invalid_request("a letter beyond ASCII", "r40", headers=_bearer("{valid}é")),
    _invalid_request("two lines", "r40", headers=_lines("Bearer {valid}", "Bearer {expired}")),
    _invalid_request("the same line twice", "r40", headers=_lines("Bearer {valid}", "Bearer {valid}")),
    _invalid_request("Bearer, then Basic", "r40", headers=_lines("Bearer {valid}", "Basic dXNlcjpwYXNz")),
    _invalid_request("Basic, then Bearer", "r40", headers=_lines("Basic dXNlcjpwYXNz", "Bearer {valid}")),
    _invalid_request("an empty line, then Bearer", "r40", headers=_lines("", "Bearer {valid}")),
    _invalid_request("two lines joined by a comma", "r40", headers=_lines("Bearer {valid}, Bearer {valid}")),
    _invalid_request("Basic and Bearer joined", "r40", headers=_lines("Basic dXNlcjpwYXNz,bearer {valid}")),
    _invalid_request("HEAD with malformed credentials", "r41", method="HEAD", headers=_lines("Bearer")),
)

INVALID_TOKENS = (
    *(
        _invalid_token(f"a token that is {kind}", "r44", headers=_bearer(f"{{{kind}}}"))
        for kind in ("expired", "misaddressed", "unsigned", "forged", "unknown_key", "alien", "scribbled")
    ),
    _invalid_token("a b64token that is no JWT", "r44", headers=_bearer("abc")),
    _invalid_token("a padded b64token", "r44", headers=_bearer("abc==")),
    _invalid_token("a b64token in the base64 alphabet", "r44", headers=_bearer("a+b/c~d")),
    _invalid_token("a valid token with padding", "r44", headers=_bearer("{valid}=")),
    _invalid_token("a token that is too long", "r44", headers=_bearer("a" * 20_000), over_sockets=False),
    _invalid_token("HEAD with an invalid token", "r44", method="HEAD", headers=_bearer("{expired}")),
)

UNAVAILABLE = (
    _unavailable("keys are unavailable"),
    _unavailable("keys are unavailable, HEAD", method="HEAD"),
    _unavailable("keys are unavailable and no token is required", options={"required": False}),
    _unauthorized("no credentials and no keys", "r41", keys=False),
    _invalid_token("an unsigned token and no keys", "r41", keys=False, headers=_bearer("{unsigned}")),
    _invalid_token("an expired token and no keys", "r41", keys=False, headers=_bearer("{expired}")),
    _invalid_token("no JWT and no keys", "r41", keys=False, headers=_bearer("abc")),
    _invalid_request("malformed credentials and no keys", "r41", keys=False, headers=_lines("Bearer a b")),
    _passes(
        "an exempt path and no keys",
        "exempt",
        ANONYMOUS,
        path="/health",
        keys=False,
        options={"exempt": ("/health",)},
    ),
)

OPTIONAL: Mapping[str, Any] = {"required": False}

ANONYMOUS_ALLOWED = (
    _passes("optional, no credentials", "options", ANONYMOUS, options=OPTIONAL),
    _passes("optional, another scheme", "options", ANONYMOUS, options=OPTIONAL, headers=_lines("Basic YTpi")),
    _passes("optional, a valid token", "options", options=OPTIONAL, headers=_bearer()),
    _invalid_token("optional, an expired token", "options", options=OPTIONAL, headers=_bearer("{expired}")),
    _invalid_token("optional, an unsigned token", "options", options=OPTIONAL, headers=_bearer("{unsigned}")),
    _invalid_request("optional, Bearer alone", "options", options=OPTIONAL, headers=_lines("Bearer")),
    _invalid_request(
        "optional, two lines", "options", options=OPTIONAL, headers=_lines("Bearer {valid}", "Bearer {valid}")
    ),
    _unauthorized("another realm", "options", 'Bearer realm="orders"', options={"realm": "orders"}),
    _unauthorized(
        "a realm with quotes", "options", r'Bearer realm="the \"a\\b\""', options={"realm": r'the "a\b"'}
    ),
)

EXEMPT: Mapping[str, Any] = {"exempt": ("/health", "/public/", "/café")}


def _exempt(name: str, path: str, **more: Any) -> Case:
    return _passes(name, "exempt", ANONYMOUS, path=path, options=EXEMPT, **more)


def _not_exempt(path: str, over_sockets: bool = True) -> Case:
    return _unauthorized(
        f"{path} is not exempt", "exempt", path=path, options=EXEMPT, over_sockets=over_sockets
    )


EXEMPTIONS = (
    _exempt("an exempt path", "/health"),
    _exempt("an exempt path with a query", "/health?next=/../orders"),
    _exempt("an exempt path, encoded", "/%68ealth"),
    _exempt("an exempt path beyond ASCII", "/caf%C3%A9"),
    _exempt("an exempt path with a valid token", "/health", headers=_bearer()),
    _exempt("an exempt path with a bad token", "/health", headers=_bearer("{expired}")),
    _exempt("an exempt path with malformed credentials", "/health", headers=_lines("Bearer")),
    _exempt("an exempt path with two lines", "/health", headers=_lines("Bearer {valid}", "Bearer {valid}")),
    _exempt("an exempt path, POST", "/health", method="POST"),
    _exempt("an exempt prefix", "/public/a"),
    _exempt("an exempt prefix, deeper", "/public/a/b.css"),
    _exempt("an exempt prefix itself", "/public/"),
    _exempt("dots that are no dot segment", "/public/a..b/.hidden/...ellipsis"),
    _exempt("a percent sign", "/public/100%25"),
    _not_exempt("/"),
    _not_exempt("/public"),
    _not_exempt("/publicity"),
    _not_exempt("/orders/public/"),
    _not_exempt("/orders?path=/health"),
    _not_exempt("/health/"),
    _not_exempt("/healthz"),
    _not_exempt("/HEALTH"),
    _not_exempt("/health;v=1"),
    _not_exempt("/health%3F"),
    _not_exempt("/health%00"),
    _not_exempt("/health%0A"),
    _not_exempt("/health/../orders"),
    _not_exempt("/orders/../health"),
    _not_exempt("/public/../orders"),
    _not_exempt("/public/.."),
    _not_exempt("/public/."),
    _not_exempt("/public/./a"),
    _not_exempt("/public/a/../../orders"),
    _not_exempt("/public/%2e%2e/orders"),
    _not_exempt("/public/.%2E/orders"),
    _not_exempt("/public/..%2forders"),
    _not_exempt("/public%2f..%2Forders"),
    _not_exempt("/public/%252e%252e/orders"),
    _not_exempt("/public/..%252forders"),
    _not_exempt("/public/..;/orders"),
    _not_exempt("/public/..;a=b/orders"),
    _not_exempt("/public//orders"),
    _not_exempt("/public/%2forders"),
    _not_exempt("//public/a"),
    _not_exempt("/public/..%5corders"),
    _not_exempt("/public/a%5c..%5c..%5corders"),
    _not_exempt("/public/%5corders"),
    _not_exempt("/public/%00"),
    _not_exempt("/public/a%0d%0aorders"),
    _not_exempt("/public/%7f"),
    _not_exempt("/public/%c2%85"),
    _not_exempt("/public/%ff"),
    _not_exempt("/public/%c0%ae%c0%ae/orders"),
    _not_exempt("/public/%ed%a0%80"),
)

BY_METHOD: Mapping[str, Any] = {"exempt": ("GET,HEAD /public/", "POST /hook", "/health")}


def _by_method(name: str, status: int, path: str, method: str = "GET", *headers: tuple[str, str]) -> Case:
    more: Any = {"path": path, "method": method, "headers": headers, "options": BY_METHOD}
    if status == 200:
        return _passes(name, "exempt", ANONYMOUS, **more)
    return _unauthorized(name, "exempt", **more)


EXEMPTIONS_BY_METHOD = (
    _by_method("GET where GET is exempt", 200, "/public/a"),
    _by_method("HEAD where HEAD is exempt", 200, "/public/a", "HEAD"),
    _by_method("a bad token where GET is exempt", 200, "/public/a", "GET", *_bearer("{expired}")),
    _by_method("POST where POST is exempt", 200, "/hook", "POST"),
    _by_method("any method where all are exempt", 200, "/health", "POST"),
    _by_method("POST where GET is exempt", 401, "/public/a", "POST"),
    _by_method("OPTIONS where GET is exempt", 401, "/public/a", "OPTIONS"),
    _by_method("GET where POST is exempt", 401, "/hook"),
    _by_method("HEAD where POST is exempt", 401, "/hook", "HEAD"),
    _by_method("GET elsewhere", 401, "/orders"),
    _by_method("GET of a path with dot segments", 401, "/public/../orders"),
    _by_method("GET that asks for DELETE", 401, "/public/a", "GET", ("X-HTTP-Method-Override", "DELETE")),
    _by_method("GET that asks for PUT", 401, "/public/a", "GET", ("X-Method-Override", "PUT")),
    _by_method("GET that asks for PATCH", 401, "/public/a", "GET", ("X-HTTP-Method", "PATCH")),
    _by_method(
        "any method where all are exempt, asking for DELETE",
        200,
        "/health",
        "GET",
        ("X-HTTP-Method-Override", "DELETE"),
    ),
)

ORIGIN = ("Origin", "https://app.example.com")
ASKS_FOR_GET = ("Access-Control-Request-Method", "GET")
PREFLIGHT = (ORIGIN, ASKS_FOR_GET)


def _preflight(subject: str | None, name: str, *more: tuple[str, str], **options: bool) -> Case:
    headers = (*PREFLIGHT, *more)
    return _passes(name, "options", subject, method="OPTIONS", headers=headers, options=options)


LET_IN: Mapping[str, Any] = {"exempt_preflight": True}


def _not_let_in(name: str, *headers: tuple[str, str], **more: Any) -> Case:
    """A preflight, or nearly one, that gets the 401 though preflights are let in."""
    given = {"method": "OPTIONS", "headers": headers, "options": LET_IN, **more}
    return _unauthorized(name, "options", **given)


PREFLIGHTS = (
    _unauthorized("a preflight", "options", method="OPTIONS", headers=PREFLIGHT),
    _passes(
        "a preflight that is let in",
        "options",
        ANONYMOUS,
        method="OPTIONS",
        headers=PREFLIGHT,
        options=LET_IN,
        only="apps",
    ),
    _not_let_in("a preflight that is let in, as far as to the view", *PREFLIGHT, only="views"),
    _passes(
        "a preflight to an exempt path",
        "options",
        ANONYMOUS,
        method="OPTIONS",
        path="/health",
        headers=PREFLIGHT,
        options={"exempt": ("OPTIONS /health",)},
    ),
    _not_let_in("a preflight that asks for DELETE", *PREFLIGHT, ("X-HTTP-Method-Override", "DELETE")),
    _not_let_in("a preflight that asks for PUT", *PREFLIGHT, ("X-HTTP-Method", "PUT")),
    _not_let_in("OPTIONS without an origin that is let in", ASKS_FOR_GET),
    _not_let_in("OPTIONS that asks for no method and is let in", ORIGIN),
    _not_let_in("GET with a preflight's headers, let in", *PREFLIGHT, method="GET"),
    _not_let_in("POST with a preflight's headers, let in", *PREFLIGHT, method="POST"),
    _invalid_request(
        "a preflight with malformed credentials that is let in",
        "options",
        method="OPTIONS",
        headers=(*PREFLIGHT, *_lines("Bearer")),
        options=LET_IN,
    ),
    _invalid_token(
        "a preflight with a bad token that is let in",
        "options",
        method="OPTIONS",
        headers=(*PREFLIGHT, *_bearer("{expired}")),
        options=LET_IN,
    ),
    _preflight(ANONYMOUS, "a preflight where no token is required", required=False),
    _preflight(USER, "a preflight with a valid token", *_bearer()),
    _preflight(USER, "a preflight with a valid token that is let in", *_bearer(), exempt_preflight=True),
    _invalid_token(
        "a preflight with a bad token",
        "options",
        method="OPTIONS",
        headers=(*PREFLIGHT, *_bearer("{expired}")),
    ),
    _unauthorized(
        "a preflight that is not let in, in so many words",
        "options",
        method="OPTIONS",
        headers=PREFLIGHT,
        options={"exempt_preflight": False},
    ),
    _unauthorized("OPTIONS without an origin", "options", method="OPTIONS", headers=(ASKS_FOR_GET,)),
    _unauthorized("OPTIONS that asks for no method", "options", method="OPTIONS", headers=(ORIGIN,)),
    _unauthorized("GET with a preflight's headers", "options", headers=PREFLIGHT),
)

RESOURCE: Mapping[str, Any] = {"resource": "https://api.example.com"}
RESOURCE_WITH_PATH: Mapping[str, Any] = {"resource": "https://api.example.com/orders/v1?tenant=a"}
RESOURCE_MEMBERS: Mapping[str, Any] = {
    "resource": {
        "resource": "https://api.example.com/",
        "authorization_servers": ["https://elsewhere.example.com"],
        "scopes_supported": ["orders:read"],
    }
}
DOCUMENT = {
    "resource": "https://api.example.com",
    "authorization_servers": ["https://login.example.com/"],
    "bearer_methods_supported": ["header"],
}
WELL_KNOWN = "/.well-known/oauth-protected-resource"
POINTER = f'resource_metadata="{METADATA_URL}"'


def _metadata(
    name: str, document: Mapping[str, Any] = DOCUMENT, options: Mapping[str, Any] = RESOURCE, **more: Any
) -> Case:
    return Case(
        name=name,
        rule="r42",
        status=200,
        document=document,
        **{"path": WELL_KNOWN, "options": options, **more},
    )


METADATA = (
    _metadata("metadata"),
    _metadata("metadata, HEAD", method="HEAD"),
    _metadata("metadata with a bad token", headers=_bearer("{expired}")),
    _metadata("metadata with two lines", headers=_lines("Bearer {valid}", "Bearer {valid}")),
    _metadata("metadata and no keys", keys=False),
    _metadata(
        "metadata of a resource with a path",
        {**DOCUMENT, **RESOURCE_WITH_PATH},
        RESOURCE_WITH_PATH,
        path=f"{WELL_KNOWN}/orders/v1?tenant=a",
    ),
    _metadata(
        "metadata of a resource with a path, at the root",
        {**DOCUMENT, **RESOURCE_WITH_PATH},
        RESOURCE_WITH_PATH,
    ),
    _metadata(
        "metadata with members of its own",
        {"bearer_methods_supported": ["header"], **RESOURCE_MEMBERS["resource"]},
        RESOURCE_MEMBERS,
    ),
    _metadata(
        "metadata where the token is not in Authorization",
        {name: value for name, value in DOCUMENT.items() if name != "bearer_methods_supported"},
        {**RESOURCE, "token_getter": from_header("X-Token")},
    ),
    _unauthorized(
        "metadata, POST", "r42", f"{PLAIN}, {POINTER}", method="POST", path=WELL_KNOWN, options=RESOURCE
    ),
    _unauthorized(
        "metadata of another resource", "r42", f"{PLAIN}, {POINTER}", path=f"{WELL_KNOWN}/a", options=RESOURCE
    ),
    _unauthorized("metadata that nobody configured", "r42", path=WELL_KNOWN),
    _unauthorized("the challenge points to the metadata", "r42", f"{PLAIN}, {POINTER}", options=RESOURCE),
    _unauthorized(
        "the pointer has the resource's path and query",
        "r42",
        f'{PLAIN}, resource_metadata="{METADATA_URL}/orders/v1?tenant=a"',
        options=RESOURCE_WITH_PATH,
    ),
    _unauthorized(
        "the pointer of a resource that ends in a slash",
        "r42",
        f"{PLAIN}, {POINTER}",
        options=RESOURCE_MEMBERS,
    ),
    _invalid_token(
        "a refusal points to the metadata",
        "r42",
        f"{INVALID_TOKEN}, {POINTER}",
        options=RESOURCE,
        headers=_bearer("{expired}"),
    ),
)


def _first_of_two_headers(headers: Mapping[str, tuple[str, ...]]) -> str | None:
    return headers.get("x-first", headers.get("x-second", (None,)))[0]


def _nothing_but_quotes(headers: Mapping[str, tuple[str, ...]]) -> str | None:
    return headers["x-token"][0].strip('"')


def _from(getter: Callable[[Mapping[str, tuple[str, ...]]], str | None]) -> Mapping[str, Any]:
    return {"token_getter": getter}


ACCESS = "Cf-Access-Jwt-Assertion"
FROM_HEADER = _from(from_header(ACCESS))
FROM_COOKIE = _from(from_cookie("__session"))

GETTERS = (
    _passes("a token in a header", "r40", options=FROM_HEADER, headers=((ACCESS, "{valid}"),)),
    _passes(
        "a token in a header in lower case",
        "r40",
        options=FROM_HEADER,
        headers=((ACCESS.lower(), "{valid}"),),
    ),
    _passes(
        "a token in a header, and Authorization twice",
        "r40",
        options=FROM_HEADER,
        headers=((ACCESS, "{valid}"), *_lines("Bearer {expired}", "Basic YTpi")),
    ),
    _unauthorized("Authorization where it is not read", "r40", options=FROM_HEADER, headers=_bearer()),
    _unauthorized("an empty header", "r40", options=FROM_HEADER, headers=((ACCESS, ""),)),
    _invalid_token("a bad token in a header", "r44", options=FROM_HEADER, headers=((ACCESS, "{expired}"),)),
    _invalid_request(
        "a token in a header, twice",
        "r40",
        options=FROM_HEADER,
        headers=((ACCESS, "{valid}"), (ACCESS, "{valid}")),
    ),
    _invalid_request(
        "a scheme in a header", "r40", options=FROM_HEADER, headers=((ACCESS, "Bearer {valid}"),)
    ),
    _passes(
        "a token in a cookie that is read",
        "r40",
        options=FROM_COOKIE,
        headers=(("Cookie", "__session={valid}"),),
    ),
    _passes(
        "a token among cookies",
        "r40",
        options=FROM_COOKIE,
        headers=(("Cookie", "a=b; x__session=c;__session={valid}; __sessions=d; __SESSION=e"),),
    ),
    _unauthorized("an empty cookie", "r40", options=FROM_COOKIE, headers=(("Cookie", "__session=; a=b"),)),
    _unauthorized(
        "other cookies", "r40", options=FROM_COOKIE, headers=(("Cookie", "a=__session; session=b"),)
    ),
    _unauthorized("no cookie", "r40", options=FROM_COOKIE),
    _invalid_request(
        "two cookies of one name",
        "r40",
        options=FROM_COOKIE,
        headers=(("Cookie", "__session={valid}; __session={valid}"),),
    ),
    _passes(
        "a getter of the app's own",
        "r40",
        options=_from(_first_of_two_headers),
        headers=(("X-Second", "{valid}"),),
    ),
    _invalid_request(
        "a getter that finds an empty token",
        "r40",
        options=_from(_nothing_but_quotes),
        headers=(("X-Token", '""'),),
    ),
)

FORWARDED = "X-Forwarded-Authorization"
SCHEMED = _from(from_header(FORWARDED, scheme="Bearer"))
EITHER = _from(first_of(from_header(ACCESS), from_cookie("__session")))
SHAPED = _from(jwt_shaped(from_header("Authorization", scheme="Bearer")))
OPTIONAL_SHAPED: Mapping[str, Any] = {**SHAPED, "required": False}


def _forwarded(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple((FORWARDED, value) for value in values)


GETTERS_OF_SEVERAL = (
    _passes("a scheme and a token in a header", "r40", options=SCHEMED, headers=_forwarded("Bearer {valid}")),
    _passes("a scheme in lower case", "r40", options=SCHEMED, headers=_forwarded("bearer   {valid}")),
    _unauthorized("a header without its scheme", "r40", options=SCHEMED, headers=_forwarded("{valid}")),
    _unauthorized("another scheme in a header", "r40", options=SCHEMED, headers=_forwarded("Basic YTpi")),
    _unauthorized("an empty header with a scheme", "r40", options=SCHEMED, headers=_forwarded("")),
    _invalid_request("a scheme alone in a header", "r40", options=SCHEMED, headers=_forwarded("Bearer")),
    _invalid_request(
        "a scheme and two tokens in a header",
        "r40",
        options=SCHEMED,
        headers=_forwarded("Bearer {valid} {valid}"),
    ),
    _invalid_request(
        "two headers with a scheme",
        "r40",
        options=SCHEMED,
        headers=_forwarded("Bearer {valid}", "Bearer {valid}"),
    ),
    _invalid_request(
        "two schemes joined in a header",
        "r40",
        options=SCHEMED,
        headers=_forwarded("Basic YTpi, Bearer a.b.c"),
    ),
    _invalid_token(
        "a scheme and a bad token in a header", "r44", options=SCHEMED, headers=_forwarded("Bearer {expired}")
    ),
    _passes("the first of two places", "r40", options=EITHER, headers=((ACCESS, "{valid}"),)),
    _passes(
        "the second of two places", "r40", options=EITHER, headers=(("Cookie", "a=b; __session={valid}"),)
    ),
    _passes(
        "both of two places",
        "r40",
        options=EITHER,
        headers=((ACCESS, "{valid}"), ("Cookie", "__session={expired}")),
    ),
    _invalid_token(
        "a bad token in the first of two places",
        "r44",
        options=EITHER,
        headers=((ACCESS, "{expired}"), ("Cookie", "__session={valid}")),
    ),
    _unauthorized("neither of two places", "r40", options=EITHER, headers=_bearer()),
    _passes("a JWT where other tokens may be", "r40", options=SHAPED, headers=_bearer()),
    _unauthorized("an API key where JWTs are", "r40", options=SHAPED, headers=_bearer("key.1")),
    _passes(
        "an API key beside JWTs", "r40", ANONYMOUS, options=OPTIONAL_SHAPED, headers=_bearer("sk_live_1")
    ),
    _invalid_token(
        "what looks like a JWT beside API keys", "r44", options=OPTIONAL_SHAPED, headers=_bearer("a.b.c")
    ),
    _invalid_token(
        "what looks like a JWE beside API keys", "r44", options=OPTIONAL_SHAPED, headers=_bearer("a.b.c.d.e")
    ),
    _invalid_token(
        "a bad token beside API keys", "r44", options=OPTIONAL_SHAPED, headers=_bearer("{expired}")
    ),
    _invalid_request(
        "Bearer alone beside API keys", "r40", options=OPTIONAL_SHAPED, headers=_lines("Bearer")
    ),
    _invalid_request(
        "two lines beside API keys",
        "r40",
        options=OPTIONAL_SHAPED,
        headers=_lines("Bearer {valid}", "Bearer sk_live_1"),
    ),
)

CASES = (
    *CREDENTIALS,
    *INVALID_TOKENS,
    *UNAVAILABLE,
    *ANONYMOUS_ALLOWED,
    *EXEMPTIONS,
    *EXEMPTIONS_BY_METHOD,
    *PREFLIGHTS,
    *METADATA,
    *GETTERS,
    *GETTERS_OF_SEVERAL,
)


def _handshake(name: str, status: int, **more: Any) -> Case:
    return Case(name=name, rule="websocket", status=status, method="WEBSOCKET", **more)


def _subprotocol(headers: Mapping[str, tuple[str, ...]]) -> str | None:
    offered = headers.get("sec-websocket-protocol", ("",))[0].split(", ")
    return next((entry.removeprefix("jwt.") for entry in offered if entry.startswith("jwt.")), None)


SWITCHED = 101
WEBSOCKETS = (
    _handshake("a valid token", SWITCHED, subject=USER, headers=_bearer()),
    _handshake("an exempt path", SWITCHED, path="/health", options=EXEMPT, headers=_bearer("{expired}")),
    _handshake("optional, no credentials", SWITCHED, options=OPTIONAL),
    _handshake(
        "a path that is exempt for WebSockets",
        SWITCHED,
        path="/live",
        options={"exempt": ("WEBSOCKET /live",)},
    ),
    _handshake(
        "a path that is exempt for GET",
        401,
        challenge=PLAIN,
        error="unauthorized",
        path="/live",
        options={"exempt": ("GET /live",)},
    ),
    _handshake(
        "a token among the subprotocols",
        SWITCHED,
        subject=USER,
        options=_from(_subprotocol),
        headers=(("Sec-WebSocket-Protocol", "chat, jwt.{valid}"),),
    ),
    _handshake("no credentials", 401, challenge=PLAIN, error="unauthorized"),
    _handshake(
        "an expired token", 401, challenge=INVALID_TOKEN, error="invalid_token", headers=_bearer("{expired}")
    ),
    _handshake(
        "a path that is not exempt",
        401,
        challenge=PLAIN,
        error="unauthorized",
        path="/public/%2e%2e/orders",
        options=EXEMPT,
    ),
    _handshake(
        "two lines",
        400,
        challenge=INVALID_REQUEST,
        error="invalid_request",
        headers=_lines("Bearer {valid}", "Bearer {valid}"),
    ),
    _handshake(
        "the path of the metadata",
        401,
        challenge=f"{PLAIN}, {POINTER}",
        error="unauthorized",
        path=WELL_KNOWN,
        options=RESOURCE,
    ),
    _handshake("keys are unavailable", 503, error="temporarily_unavailable", keys=False, headers=_bearer()),
)


def by_rule(rule: str) -> list[Case]:
    """The cases that prove one rule."""
    return [case for case in CASES if case.rule == rule]
