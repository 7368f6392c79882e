"""Every public name, used as its types allow; mypy --strict reads this file and nothing runs it.

A use that must be refused stands under an ignore of its error, which mypy reports once it is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, assert_type

from django.http import HttpRequest, HttpResponse
from django.views import View
from fastapi import FastAPI, Security
from flask import Flask
from rest_framework.request import Request
from rest_framework.views import APIView
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from skeldir_jwt_mw import (
    ConfigurationError,
    InsufficientScope,
    InvalidToken,
    Issuer,
    JWTError,
    KeysUnavailable,
    MemoryStore,
    PostgresStore,
    RefreshPolicy,
    VerifiedToken,
    Verifier,
    asgi,
    current_token,
    django,
    fastapi,
    seal_keys_from_env,
    wsgi,
)
from skeldir_jwt_mw.authlib import BearerTokenValidator
from skeldir_jwt_mw.django import channels
from skeldir_jwt_mw.django.rest_framework import HasScope, JWTAuthentication
from skeldir_jwt_mw.django.store import DjangoStore
from skeldir_jwt_mw.flask import JWT, jwt_exempt, jwt_required
from skeldir_jwt_mw.sources import (
    CallableSource,
    Conditional,
    DiscoverySource,
    Fetched,
    FetchFailed,
    JWKSUrlSource,
    LocalFetchFailed,
    Source,
    StaticSource,
    source_identity,
)
from skeldir_jwt_mw.stores.base import Store
from skeldir_jwt_mw.testing import IssuerProcess, LoopbackIssuer, SigningKey, mint
from skeldir_jwt_mw.token import RequestScope


def issuers() -> list[Issuer]:
    return [
        Issuer("https://login.example.com/", audience="orders-api"),
        Issuer(
            "https://login.example.com/{tid}/v2.0",
            audience=("orders-api", None),
            jwks_url="https://login.example.com/keys",
            algorithms=("RS256", "Ed25519"),
            leeway=0.5,
            token_types=("at+jwt", None),
            claims={"token_use": "access", "client_id": ("web", "m2m"), "/cnt": 3, "ok": True},
            required_claims=("sub", "/realm_access/roles"),
            scope_claims=("scope",),
            tenant_claim="tid",
            ignored_headers=("x5c",),
            allow_http=False,
            allow_private_hosts=True,
        ),
        Issuer("urn:service", audience=None, source=StaticSource({"keys": []}), claims={"client_id": "web"}),
        Issuer("urn:service:2", audience="a", source=Rotating()),
        Issuer.rfc9068("https://login.example.com/", audience="orders-api"),
        Issuer("https://login.example.com/"),  # type: ignore[call-arg]
        Issuer("https://login.example.com/", audience="a", algorithms=256),  # type: ignore[arg-type]
    ]


class Rotating:
    """A source of one's own needs no base class."""

    def fetch(self, conditional: Conditional) -> Fetched:
        if conditional.no_cache or (conditional.etag is None and conditional.last_modified is None):
            raise FetchFailed("not now", retry_after=2.5)
        if conditional.etag is None:
            raise LocalFetchFailed("this host has no route", retry_after=None)
        return Fetched(document=b"{}", etag='"1"', last_modified=None, max_age=60.0)


def sources() -> Sequence[Source]:
    url = JWKSUrlSource(
        "https://login.example.com/keys",
        ca_file="ca.pem",
        client_cert="client.pem",
        proxy="http://proxy.example.com:3128",
        headers={"X-Api-Key": "k"},
    )
    discovery = DiscoverySource(
        "https://login.example.com/",
        ca_file=None,
        client_cert=None,
        proxy=None,
        headers=lambda: {"Authorization": "Bearer t"},
        headers_to=("https://10.0.0.1:6443",),
    )
    JWKSUrlSource("https://login.example.com/keys", headers=["X-Api-Key: k"])  # type: ignore[arg-type]
    JWKSUrlSource("https://login.example.com/keys", headers=None)
    ring: Mapping[str, Any] = {"current_kid": "a", "keys": {"a": "-----BEGIN PUBLIC KEY-----"}}
    assert_type(source_identity(url), str)
    return [url, discovery, StaticSource(ring), CallableSource(lambda: {"keys": []}), Rotating()]


def verifiers(key: bytes) -> list[Verifier]:
    policy = RefreshPolicy(
        refresh_interval=300,
        check_interval=60,
        floor=5,
        jitter=3,
        backoff_base=2,
        backoff_max=60,
        max_stale=21600,
        fetch_timeout=3,
        lease=5,
        wait_budget=2,
        max_waiters=64,
        strategy="advisory",
        on_store_outage="serve",
    )
    RefreshPolicy(strategy="polite")  # type: ignore[arg-type]
    return [
        Verifier(issuers()),
        Verifier(
            issuers(),
            store=MemoryStore(),
            policy=policy,
            seal_keys=(),
            token_cache=1024,
            max_token_bytes=8192,
        ),
        Verifier(
            issuers(), store=PostgresStore("postgresql://app@db/app", namespace="orders"), seal_keys=[key]
        ),
        Verifier(issuers(), store=PostgresStore(lambda: "postgresql://app@db/app"), seal_keys=[key]),
        Verifier(issuers(), store=DjangoStore("default", namespace="orders"), seal_keys=[key]),
        Verifier(issuers(), store="postgresql://app@db/app", seal_keys="b2xk,bmV3"),
        Verifier(issuers(), store="postgresql://app@db/app", seal_keys=seal_keys_from_env()),
        Verifier.from_env(),
        Verifier.from_env({"SKELDIR_JWT_ISSUER": "https://login.example.com/"}),
    ]


def read_seal_keys() -> None:
    assert_type(seal_keys_from_env(), tuple[bytes, ...] | None)
    assert_type(seal_keys_from_env({"SKELDIR_JWT_SEAL_KEYS": "none"}), tuple[bytes, ...] | None)


def use(verifier: Verifier, raw: str | bytes, scopes: Iterable[str]) -> VerifiedToken:
    assert_type(verifier.warm(), None)
    assert_type(verifier.refresh(), None)
    assert_type(verifier.ready, bool)
    assert_type(verifier.issuers, tuple[Issuer, ...])
    assert_type(verifier.status(), dict[str, dict[str, Any]])
    assert_type(verifier.store, Store)
    assert_type(verifier.set_issuers(issuers()), None)
    verifier.ready = True  # type: ignore[misc]
    token = verifier.verify(raw, scopes=scopes)
    assert_type(verifier.verify(raw), VerifiedToken)
    assert_type(verifier.close(), None)
    return token


async def use_async(verifier: Verifier, raw: str | bytes) -> VerifiedToken:
    assert_type(await verifier.awarm(), None)
    assert_type(await verifier.arefresh(), None)
    token = await verifier.averify(raw, scopes=("orders:read",))
    assert_type(await verifier.aclose(), None)
    return token


def read(token: VerifiedToken) -> None:
    assert_type(token.claims, Mapping[str, Any])
    assert_type(token.header, Mapping[str, Any])
    assert_type(token.issuer, str)
    assert_type(token.subject, str)
    assert_type(token.audience, tuple[str, ...])
    assert_type(token.scopes, frozenset[str])
    assert_type(token.tenant, str | None)
    assert_type(token.expires_at, float)
    assert_type(token.kid, str | None)
    assert_type(token.generation, int)
    with RequestScope(token):
        assert_type(current_token(), VerifiedToken | None)
    token.claims["sub"] = "someone"  # type: ignore[index]
    token.tenant = "other"  # type: ignore[misc]


def answer(verifier: Verifier, raw: str) -> int:
    try:
        verifier.verify(raw)
    except InvalidToken as error:
        assert_type(error.code, str)
        assert_type(error.hint, str | None)
        return 401
    except InsufficientScope as error:
        assert_type(error.required, tuple[str, ...])
        return 403
    except KeysUnavailable as error:
        assert_type(error.retry_after, float)
        assert_type(error.reason, str)
        return 503
    except ConfigurationError as error:
        assert_type(error.code, str)
        return 500
    except JWTError as error:
        assert_type(error.code, str)
        return 500
    return 200


def adapters(app: Starlette, wsgi_app: Any, verifier: Verifier) -> None:
    app.add_middleware(asgi.JWTMiddleware, verifier=verifier)
    asgi.JWTMiddleware(
        app,
        verifier=verifier,
        required=True,
        exempt=("/health", "/static/"),
        exempt_preflight=True,
        realm="api",
        resource={"resource": "https://api.example.com/"},
        token_getter=lambda headers: next(iter(headers.get("x-token", ())), None),
    )
    wsgi.JWTMiddleware(
        wsgi_app,
        verifier=None,
        required=False,
        exempt=(),
        exempt_preflight=False,
        realm="api",
        resource="https://api.example.com/",
        token_getter=wsgi.first_of(wsgi.jwt_shaped(wsgi.from_header("X-Token")), wsgi.from_cookie("token")),
        user_key=None,
        remote_user=True,
    )
    asgi.JWTMiddleware(app, token_getter=asgi.from_header("Cf-Access-Jwt-Assertion"))
    asgi.JWTMiddleware(app, token_getter=asgi.from_cookie("__session"), user_key="issuer")
    asgi.JWTMiddleware(app, exempt=("GET,HEAD /public/",), user_key="subject")
    asgi.JWTMiddleware(app, user_key="name")  # type: ignore[arg-type]
    bearer = asgi.from_header("Authorization", scheme="Bearer")
    either = asgi.first_of(asgi.jwt_shaped(bearer), asgi.from_cookie("__session"))
    assert_type(either({"authorization": ("Bearer a.b.c",)}), str | None)
    asgi.JWTMiddleware(app, token_getter=either)
    wsgi.JWTMiddleware(wsgi_app, token_getter=wsgi.from_header("Cf-Access-Jwt-Assertion"))
    asgi.JWTMiddleware(app, requred=True)  # type: ignore[call-arg]


def dependencies(app: FastAPI, verifier: Verifier) -> None:
    bearer = fastapi.JWTBearer(
        verifier,
        required=True,
        realm="api",
        resource="https://api.example.com/",
        token_getter=None,
        scheme_name="JWTBearer",
        description="A token of the shop's",
    )
    fastapi.JWTBearer(token_getter=fastapi.from_header("Cf-Access-Jwt-Assertion"))
    fastapi.JWTBearer(token_getter=fastapi.from_cookie("__session"))
    fastapi.JWTBearer(token_getter=fastapi.first_of(fastapi.jwt_shaped(fastapi.from_header("X-Token"))))
    fastapi.JWTBearer(verifier, exempt=("/health",))  # type: ignore[call-arg]

    @app.get("/orders")
    def orders(token: Annotated[VerifiedToken, Security(bearer, scopes=["orders:read"])]) -> str:
        return token.subject

    app.dependency_overrides[bearer] = lambda: None


def endpoint(connection: HTTPConnection) -> VerifiedToken | None:
    user: asgi.User | asgi.AnonymousUser = connection.user
    assert_type(user.is_authenticated, bool)
    assert_type(user.identity, str)
    assert_type(user.display_name, str)
    auth: asgi.AuthCredentials = connection.auth
    assert_type(auth.scopes, list[str])
    token: VerifiedToken | None = connection.scope["skeldir_jwt"]
    return token


def sockets(app: Any) -> None:
    channels.JWTMiddleware(app)
    channels.JWTMiddleware(app, exempt=["/live"])  # type: ignore[call-arg]


def test_kit() -> None:
    key = SigningKey.generate("ES256", kid="a")
    assert_type(mint(key, {"sub": "user-1"}, {"typ": "at+jwt"}), str)
    with LoopbackIssuer(alg="RS256", audience="orders-api") as issuer, IssuerProcess() as process:
        assert_type(issuer.token("user-1", ("orders:read",), expires_in=60), str)
        assert_type(issuer.headers(), dict[str, str])
        assert_type(issuer.rotate(), str)
        assert_type(issuer.fetches, int)
        assert_type(process.token("user-1"), str)
        assert_type(process.fetches, int)


def flask_app(app: Flask, verifier: Verifier) -> None:
    JWT(app)
    jwt = JWT(
        verifier=verifier,
        required=False,
        exempt=["/health"],
        exempt_preflight=False,
        realm="orders",
        resource="https://api.example.com/",
        token_getter=None,
    )
    assert_type(jwt.init_app(app), None)
    JWT(app, verifier, requred=True)  # type: ignore[call-arg]

    @app.get("/orders/<int:number>")
    @jwt_required(scopes=["orders:read"])
    def order(number: int) -> str:
        return str(number)

    @app.get("/mine")
    @jwt_required
    async def mine() -> str:
        return order(number=1)

    @app.get("/health")
    @jwt_exempt
    def health() -> str:
        return order("1")  # type: ignore[arg-type]

    jwt_required(["orders:read"])  # type: ignore[call-overload]


def authlib_validator(verifier: Verifier) -> None:
    validator = BearerTokenValidator(
        verifier, realm="orders", resource={"resource": "https://api.example.com/"}
    )
    assert_type(validator.authenticate_token("a.b.c"), VerifiedToken)
    BearerTokenValidator()
    BearerTokenValidator(verifier, exempt=["/health"])  # type: ignore[call-arg]


@django.jwt_required
def django_view(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(str(number))


@django.jwt_required(scopes=["orders:read"])
async def django_async_view(request: HttpRequest) -> HttpResponse:
    return django_view(request, number=1)


@django.jwt_exempt
def django_exempt_view(request: HttpRequest) -> HttpResponse:
    return django_view(request, "1")  # type: ignore[arg-type]


class DjangoOrders(django.JWTRequiredMixin, View):
    required_scopes = ("orders:read",)


def django_app(request: HttpRequest, token: VerifiedToken) -> None:
    assert_type(django.JWTMiddleware.async_capable, bool)
    django.JWTMiddleware(django_exempt_view)
    user = django.TokenUser(token)
    assert_type(user.pk, str | None)
    assert_type(user.username, str)
    assert_type(user.has_scope("orders:read"), bool)
    assert_type(user.tenant, str | None)
    account = django.get_or_create_user(request, token)
    assert account is None or account.is_authenticated
    django.jwt_required(["orders:read"])  # type: ignore[call-overload]
    assert_type(django.current_token(), VerifiedToken | None)
    django.from_header("X-Token"), django.from_cookie("__session")


class Audits(HasScope):
    required_scopes = ["orders:audit"]  # noqa: RUF012


class RESTView(APIView):
    authentication_classes = (JWTAuthentication,)
    permission_classes = (HasScope,)
    required_scopes = ("orders:read",)

    def post(self, request: Request) -> None:
        assert_type(JWTAuthentication().authenticate(request), tuple[Any, VerifiedToken] | None)
        assert_type(JWTAuthentication().authenticate_header(request), str)
        assert_type(Audits().has_permission(request, self), bool)
        assert_type(HasScope().scopes_for(self, "POST"), tuple[str, ...] | None)
