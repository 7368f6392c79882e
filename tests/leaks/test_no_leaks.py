"""Hundreds of verifications, refreshes and failures with marked secrets, none of which is seen anywhere."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from canaries import Canaries, listening, shown

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
    Verifier,
)
from skeldir_jwt_mw.settings import parse_environ, parse_settings
from skeldir_jwt_mw.sources import CallableSource, DiscoverySource, FetchFailed, JWKSUrlSource, StaticSource
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

QUICK: dict[str, Any] = {"floor": 0.001, "jitter": 0.0, "backoff_base": 0.001, "backoff_max": 0.002}
TABLE = "public.jwt_verification_cache"


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


def issuer_of(idp: LoopbackIssuer, **options: Any) -> Issuer:
    options = {"jwks_url": idp.jwks_url, **options} if "source" not in options else options
    return Issuer(idp.issuer, audience="orders-api", allow_http=True, allow_private_hosts=True, **options)


def tokens(idp: LoopbackIssuer, canaries: Canaries) -> list[str]:
    """Good and bad ones of every kind, each with secrets of its own in every place."""

    def marked(**more: Any) -> dict[str, Any]:
        secret = canaries.text
        return {
            "sub": secret("a subject"),
            "email": secret("a claim value"),
            secret("a claim's name"): secret("a claim value"),
            "roles": [secret("a claim value"), {"deep": [secret("a claim value")]}],
            "scope": f"{secret('a scope')} orders:read",
            "org": secret("a tenant"),
            **more,
        }

    secret = canaries.text
    claims: list[dict[str, Any]] = [
        {},
        {"exp": 1},
        {"exp": secret("an exp")},
        {"nbf": time.time() + 9999},
        {"iat": secret("an iat")},
        {"aud": secret("an audience")},
        {"aud": [secret("an audience"), 5]},
        {"iss": f"https://{secret('an issuer')}/"},
        {"iss": [secret("an issuer")]},
        {"scope": {secret("a scope"): 1}},
        {"cnf": {"jkt": secret("a thumbprint")}},
        {"org": secret("a tenant") + "\n"},
        {"sub": [secret("a subject")]},
        {"padding": secret("a claim value") * 2000},
    ]
    headers: list[dict[str, Any]] = [
        {"x": secret("a header member")},
        {"kid": secret("a kid")},
        {"kid": secret("a kid") + "\0"},
        {"kid": [secret("a kid")]},
        {"kid": secret("a kid") * 30},
        {"alg": secret("an alg")},
        {"alg": "none", "x": secret("a header member")},
        {"alg": "HS256"},
        {"typ": secret("a typ")},
        {"crit": [secret("a crit")]},
        {"jku": f"https://{secret('a URL')}/?key={secret('a query string')}"},
        {"jwk": {"kty": "oct", "k": secret("a key")}},
        {"x5c": [secret("a certificate")]},
        {"cty": "JWT"},
    ]
    made = [idp.token(claims=marked(**more)) for more in claims]
    made += [idp.token(claims=marked(), header=header) for header in headers]
    made += [idp.stranger_token(kid=secret("a kid"), claims=marked()) for _ in range(3)]
    made += [idp.token(claims=marked(), key=SigningKey.generate(kid=idp.kids[0]))]
    made += [idp.token(claims=marked(), without=("kid",)), idp.token(claims=marked()) + secret("a signature")]
    rubbish = secret("rubbish")
    made += [rubbish, f"{rubbish}.{rubbish}.{rubbish}", f"{rubbish}.é.{rubbish}", ".".join([rubbish] * 5)]
    made += [f'{{"payload": "{rubbish}"}}', f"{rubbish}\r\nX-Injected: {rubbish}"]
    return [canaries.token(token) for token in made]


def provoke(canaries: Canaries, call: Callable[[], Any]) -> BaseException | None:
    """What a call raises, looked through; only our own errors may come out of it."""
    try:
        found = call()
    except JWTError as error:
        canaries.assert_none_in_error(error)
        return error
    canaries.assert_none_in("a result", shown(found))
    return None


def marked_jwks(idp: LoopbackIssuer, canaries: Canaries) -> dict[str, Any]:
    """The published keys, with secrets beside and in them; of those that are left out, the ids are told."""
    private = SigningKey.generate("ES256", kid="left out")
    return {
        "note": canaries.text("a member of the JWKS"),
        "keys": [
            *(key | {"note": canaries.text("a member of a JWK")} for key in idp.jwks()["keys"]),
            private.jwk(d=canaries.text("a private key")),
            {"kty": "oct", "k": canaries.text("a symmetric key"), "kid": "left out too"},
            {"kty": canaries.text("a kty"), "kid": "left out as well"},
            {**private.jwk(), "use": canaries.text("a use"), "x5t": canaries.text("a thumbprint")},
            {"kid": [canaries.text("a malformed kid")]},
        ],
    }


def test_r41_no_verification_refresh_or_failure_shows_a_secret(
    canaries: Canaries, idp: LoopbackIssuer, pg_dsn: str
) -> None:
    seal_key = secrets.token_bytes(32)
    canaries.keep("a seal key", seal_key)
    idp.rotate()
    idp.serve(marked_jwks(idp, canaries))
    errors: list[BaseException | None] = []
    with listening() as log:
        source = JWKSUrlSource(
            f"{idp.jwks_url}?key={canaries.text('a query string')}",
            allow_http=True,
            allow_private_hosts=True,
            headers={"X-Api-Key": canaries.text("a header value")},
        )
        policy = RefreshPolicy(**QUICK)
        common: dict[str, Any] = {"policy": policy, "token_cache": 20}
        verifiers = [
            Verifier(issuer_of(idp), **common),
            Verifier(
                issuer_of(idp, tenant_claim="org"),
                **common,
                store=PostgresStore(pg_dsn),
                seal_keys=[seal_key],
            ),
            Verifier(issuer_of(idp, source=source), **common),
        ]
        all_tokens = tokens(idp, canaries)
        for verifier in verifiers:
            for token in all_tokens:
                errors.append(
                    provoke(canaries, lambda v=verifier, t=token: v.verify(t, scopes=["orders:read"]))
                )
                errors.append(provoke(canaries, lambda v=verifier, t=token: asyncio.run(v.averify(t))))
                errors.append(
                    provoke(canaries, lambda v=verifier, t=token: v.verify(t.encode(), scopes=["no"]))
                )
            errors.append(provoke(canaries, verifier.refresh))
            canaries.assert_none_in("status()", json.dumps(verifier.status(), default=str) + shown(verifier))
        for misbehave in (
            lambda: idp.serve(canaries.text("a document")),
            lambda: idp.serve(json.dumps({"keys": canaries.text("a document")})),
            lambda: idp.serve({"keys": [{"kty": "RSA", "n": canaries.text("a modulus"), "e": "AQAB"}]}),
            lambda: idp.down(503),
            lambda: idp.down(429, retry_after=canaries.text("a Retry-After")),
            lambda: idp.down(302),
            lambda: idp.down(None),
        ):
            idp.up()
            misbehave()
            for verifier in verifiers:
                time.sleep(0.005)
                errors.append(provoke(canaries, verifier.refresh))
                errors.append(
                    provoke(canaries, lambda v=verifier: v.verify(canaries.token(idp.stranger_token())))
                )
                canaries.assert_none_in("status()", json.dumps(verifier.status(), default=str))
        idp.up()
        idp.serve(None)
        with psycopg.connect(pg_dsn) as connection:  # an attacker's texts are not for the log either
            connection.execute(
                f"UPDATE {TABLE} SET payload = %(t)s::text::bytea, etag = %(t)s, last_error = %(t)s,"
                " seal = %(t)s::text::bytea, generation = fence + 9, fence = fence + 9".encode(),
                {"t": canaries.text("a text in the row")},
            )
        errors.append(provoke(canaries, verifiers[1].refresh))
        for verifier in verifiers:
            verifier.close()
    for text in log:
        canaries.assert_none_in("the log", text)
    kinds = {type(error) for error in errors}
    assert kinds >= {InvalidToken, InsufficientScope, KeysUnavailable, type(None)}
    assert len(errors) > 300
    assert len(log) > 200
    assert any("skeldir_jwt_mw" in text for text in log)


def failing(error: Exception) -> Callable[[], bytes]:
    def fetch() -> bytes:
        raise error

    return fetch


class BrokenStore(MemoryStore):
    """A store of the application's own that raises what it should not."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def open(self, seconds: float) -> Any:
        raise self._error


def test_no_failure_of_other_peoples_code_shows_a_secret(
    canaries: Canaries, idp: LoopbackIssuer, pg_dsn: str
) -> None:
    secret = canaries.text
    password = secret("a password")
    seal_keys = [secrets.token_bytes(32)]
    canaries.keep("a seal key", seal_keys[0])

    def raising() -> str:
        raise RuntimeError(f"password={password}")

    dsns: list[Any] = [
        f"postgresql://nobody:{password}@127.0.0.1:1/nothing",
        f"host=127.0.0.1 port=1 user=nobody password={password}",
        f"postgresql://nobody:{password}@no-such-host.invalid/nothing",
        psycopg.conninfo.make_conninfo(pg_dsn, user="nobody", password=password),
        psycopg.conninfo.make_conninfo(pg_dsn, dbname="no_such_database", password=password),
        raising,
        lambda: f"postgresql://nobody:{password}@127.0.0.1:1/?nonsense={password}",
        lambda: password,
        lambda: None,
    ]
    with listening() as log:
        token = canaries.token(idp.token())
        for dsn in dsns:
            store = PostgresStore(dsn)
            verifier = Verifier(
                issuer_of(idp), store=store, seal_keys=seal_keys, policy=RefreshPolicy(**QUICK)
            )
            for call in (lambda v=verifier: v.verify(token), verifier.refresh, verifier.warm):
                assert provoke(canaries, call) is not None
            canaries.assert_none_in("repr", shown(store) + shown(verifier) + str(verifier.status()))
            verifier.close()
        for source in (
            CallableSource(failing(ValueError(secret("an exception's text"))), identity="other"),
            CallableSource(failing(FetchFailed("told by the source")), identity="other"),
            CallableSource(lambda: secret("a document"), identity="other"),
            CallableSource(lambda: {"keys": {"a": secret("a PEM")}}, identity="other"),
            CallableSource(lambda: {"keys": [{"kty": "RSA", "n": secret("a modulus")}]}, identity="other"),
        ):
            verifier = Verifier(issuer_of(idp, source=source), policy=RefreshPolicy(**QUICK))
            for call in (lambda v=verifier: v.verify(token), verifier.refresh):
                assert provoke(canaries, call) is not None
            verifier.close()
        for error in (ValueError(secret("an exception's text")), KeyError(secret("an exception's text"))):
            verifier = Verifier(issuer_of(idp), store=BrokenStore(error), policy=RefreshPolicy(**QUICK))
            assert provoke(canaries, lambda v=verifier: v.verify(token)) is not None
            verifier.close()
    for text in log:
        canaries.assert_none_in("the log", text)
    assert any("broke off" in text for text in log)


def test_no_configuration_error_and_no_representation_shows_a_secret(canaries: Canaries) -> None:
    secret = canaries.text
    password, key = secret("a password"), base64.b64encode(secrets.token_bytes(32)).decode()
    canaries.keep("a seal key", key)
    short = secret("a short seal key")
    base = {"SKELDIR_JWT_ISSUER": "https://login.example.com/", "SKELDIR_JWT_AUDIENCE": "orders-api"}
    url = {"SKELDIR_JWT_DATABASE_URL": f"postgresql://app:{password}@db/app", "SKELDIR_JWT_SEAL_KEYS": key}
    environments = [
        {**base, **url},
        {**base, **url, "SKELDIR_JWT_FLOOR_SECONDS": "soon"},
        {**base, **url, "SKELDIR_JWT_SEAL_KEYS": short},
        {**base, **url, "SKELDIR_JWT_SEAL_KEYS": f"{key},{short}"},
        {**base, **url, "SKELDIR_JWT_SEAL_KEYS": f"{key};é"},
        {**base, **url, "SKELDIR_JWT_DATABASE_URL": f"postgres//app:{password}@db"},
        {**base, **url, "SKELDIR_JWT_DATABASE_URL": f"mysql://app:{password}@db/app"},
        {**base, **url, "SKELDIR_JWT_DATABASE_URL": f"postgresql://app:{password}@db/app?x={password}"},
        {**base, **url, "SKELDIR_JWT_DATABASE_URL": f"postgresql+asyncpg://app:{password}@db:x/app"},
        {**base, **url, "SKELDIR_JWT_JWKS_URL": f"https://u:{password}@login.example.com/jwks"},
        {**base, **url, "SKELDIR_JWT_JWKS_URL": f"http://login.example.com/jwks?key={password}"},
        {**base, **url, "SKELDIR_JWT_JWKS_URL": f"https://login.example.com/jwks?key={password}#x"},
        {**base, **url, "SKELDIR_JWT_ISSUER": f"https://u:{password}@login.example.com/"},
        {**url, "SKELDIR_JWT_CONFIG": json.dumps({"ISSUER": "x", "SEAL_KEYS": [short]})},
        {"SKELDIR_JWT_CONFIG": json.dumps({"DATABASE_URL": f"postgresql://u:{password}@h/d"})},
        {"SKELDIR_JWT_CONFIG": f'{{"DATABASE_URL": "postgresql://u:{password}@h/d"'},
    ]
    with listening() as log:
        for environ in environments:
            provoke(canaries, lambda e=environ: parse_environ(e))
            provoke(canaries, lambda e=environ: Verifier.from_env(e))
        for settings in (
            {"ISSUER": "https://a/", "AUDIENCE": "a", "SEAL_KEYS": short},
            {"ISSUER": "https://a/", "AUDIENCE": "a", "SEAL_KEYS": [short.encode()]},
            {"ISSUER": "https://a/", "AUDIENCE": "a", "SEAL_KEYS": {"k": short}},
            {"ISSUER": "https://a/", "AUDIENCE": "a", "DATABASE_URL": {"password": password}},
        ):
            provoke(canaries, lambda s=settings: parse_settings(s))
        for make in (
            lambda: Verifier([Issuer("https://a/", audience="a")], seal_keys=[short.encode()]),
            lambda: Verifier([Issuer("https://a/", audience="a")], seal_keys=short),  # type: ignore[arg-type]
            lambda: JWKSUrlSource("https://a/", headers={"X": secret("a header value") + "\n"}),
            lambda: JWKSUrlSource("https://a/", headers={"X": secret("a header value")}),
            lambda: JWKSUrlSource("https://a/", proxy=f"http://u:{password}@proxy:99999"),
            lambda: JWKSUrlSource("https://a/", proxy=f"http://u:{password}@proxy:3128"),
            lambda: DiscoverySource("https://a/", headers={"X": secret("a header value")}),
            lambda: StaticSource({"keys": [{"kty": "RSA", "d": secret("a private key")}]}),
            lambda: StaticSource(secret("a document")),
            lambda: StaticSource({"keys": {"kid": SigningKey.generate().private_pem()}}),
            lambda: PostgresStore(f"postgresql://u:{password}@h/d"),
            lambda: PostgresStore(lambda: password),
            lambda: PostgresStore(f"dbname=app password {password}"),
            lambda: PostgresStore(f"postgresql://app:{password}%zz@db/app"),
            lambda: PostgresStore(f"postgresql://app:{password}@[db/app"),
            lambda: PostgresStore(f"dbname='{password}"),
            lambda: Issuer("https://a/", audience="a", jwks_url=f"https://u:{password}@a/"),
            lambda: Issuer("https://a/", audience="a", jwks_url=f"https://a/keys?code={password}"),
            lambda: parse_settings(
                {"ISSUER": "https://a/", "AUDIENCE": "a", "JWKS_URL": f"https://a/keys?code={password}"}
            ),
        ):
            provoke(canaries, make)
    for text in log:
        canaries.assert_none_in("the log", text)


# -- adapters ------------------------------------------------------------------------------------------------

Send = Callable[[str, str], tuple[int, str]]  # (authorization, query) -> status and all of the answer


def asgi_sender(app: Any, adapter: Any) -> Send:
    """Sends as a server does, without a client's own ideas of headers."""

    def send(authorization: str, query: str) -> tuple[int, str]:
        sent: list[dict[str, Any]] = []

        async def call() -> None:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def collect(message: dict[str, Any]) -> None:
                sent.append(message)

            scope = {"type": "http", "method": "GET", "path": "/orders", "root_path": "", "scheme": "http"}
            headers = [(b"authorization", authorization.encode("utf-8"))]
            await app({**scope, "headers": headers, "query_string": query.encode()}, receive, collect)

        asyncio.run(call())
        return sent[0]["status"], repr(sent) + shown(adapter)

    return send


def by_asgi(verifier: Verifier) -> Send:
    from skeldir_jwt_mw.asgi import JWTMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    guarded = JWTMiddleware(app, verifier)
    return asgi_sender(guarded, guarded)


def by_wsgi(verifier: Verifier) -> Send:
    from skeldir_jwt_mw.wsgi import JWTMiddleware

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    guarded = JWTMiddleware(app, verifier)

    def send(authorization: str, query: str) -> tuple[int, str]:
        started: list[Any] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders", "SCRIPT_NAME": "", "QUERY_STRING": query}
        environ |= {"HTTP_AUTHORIZATION": authorization, "wsgi.input": io.BytesIO()}
        environ |= {"wsgi.errors": (errors := io.StringIO()), "wsgi.url_scheme": "http", "SERVER_NAME": "a"}
        environ |= {"SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"}
        body = b"".join(guarded(environ, lambda *a: started.append(a)))  # type: ignore[arg-type, func-returns-value]
        return int(started[0][0].split()[0]), repr((started, body)) + errors.getvalue() + shown(guarded)

    return send


def by_fastapi(verifier: Verifier) -> Send:
    from fastapi import FastAPI, Security

    from skeldir_jwt_mw.fastapi import JWTBearer

    app = FastAPI()
    bearer = JWTBearer(verifier)

    @app.get("/orders")
    def orders(token: Any = Security(bearer)) -> str:
        return "ok"

    return asgi_sender(app, bearer)


def by_flask(verifier: Verifier) -> Send:
    import flask

    from skeldir_jwt_mw.flask import JWT

    app = flask.Flask("orders")
    extension = JWT(app, verifier)
    app.route("/orders")(lambda: "ok")

    def send(authorization: str, query: str) -> tuple[int, str]:
        headers = {"Authorization": authorization.encode("utf-8").decode("latin-1")}
        answer = app.test_client().get(f"/orders?{query}", headers=headers)
        return answer.status_code, repr((list(answer.headers), answer.data)) + shown(extension)

    return send


def by_authlib(verifier: Verifier) -> Send:
    import flask
    from authlib.integrations.flask_oauth2 import ResourceProtector

    from skeldir_jwt_mw.authlib import BearerTokenValidator

    require_oauth = ResourceProtector()
    validator = BearerTokenValidator(verifier)
    require_oauth.register_token_validator(validator)
    app = flask.Flask("orders")
    app.route("/orders")(require_oauth()(lambda: "ok"))

    def send(authorization: str, query: str) -> tuple[int, str]:
        headers = {"Authorization": authorization.encode("utf-8").decode("latin-1")}
        answer = app.test_client().get(f"/orders?{query}", headers=headers)
        return answer.status_code, repr((list(answer.headers), answer.data)) + shown(validator)

    return send


def by_django(verifier: Verifier) -> Send:
    from django.http import HttpResponse
    from django.test import RequestFactory, override_settings

    from skeldir_jwt_mw.django import JWTMiddleware

    with override_settings(SKELDIR_JWT={"VERIFIER": verifier}):
        guarded = JWTMiddleware(lambda request: HttpResponse("ok"))

    def send(authorization: str, query: str) -> tuple[int, str]:
        with override_settings(SKELDIR_JWT={"VERIFIER": verifier}):
            header = authorization.encode("utf-8").decode("latin-1")
            request = RequestFactory().get(f"/orders?{query}", headers={"authorization": header})
            answer = guarded(request)
        return answer.status_code, repr((dict(answer.headers), answer.content)) + shown(guarded)

    return send


def by_rest_framework(verifier: Verifier) -> Send:
    from django.test import RequestFactory, override_settings
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from skeldir_jwt_mw.django.rest_framework import JWTAuthentication

    class Orders(APIView):
        authentication_classes = [JWTAuthentication]  # noqa: RUF012
        permission_classes = []  # noqa: RUF012

        def get(self, request: Any) -> Response:
            return Response("ok")

    def send(authorization: str, query: str) -> tuple[int, str]:
        with override_settings(SKELDIR_JWT={"VERIFIER": verifier}):
            header = authorization.encode("utf-8").decode("latin-1")
            request = RequestFactory().get(f"/orders?{query}", headers={"authorization": header})
            answer = Orders.as_view()(request)
            answer.render()
        return answer.status_code, repr((dict(answer.headers), answer.content))

    return send


@pytest.mark.parametrize(
    "make",
    [by_asgi, by_wsgi, by_fastapi, by_flask, by_authlib, by_django, by_rest_framework],
    ids=lambda make: make.__name__.removeprefix("by_"),
)
def test_r44_no_adapter_shows_a_secret_and_all_invalid_tokens_have_one_answer(
    canaries: Canaries, idp: LoopbackIssuer, make: Callable[[Verifier], Send]
) -> None:
    idp.serve(marked_jwks(idp, canaries))
    verifier = Verifier(issuer_of(idp), policy=RefreshPolicy(**QUICK))
    verifier.warm()
    statuses: set[int] = set()
    refusals: set[str] = set()
    with listening() as log:
        send = make(verifier)
        for token in tokens(idp, canaries):
            if "\n" in token and make not in (by_asgi, by_wsgi):
                continue  # which the client of that framework's tests does not send
            query = f"access_token={canaries.text('a query string')}"
            status, answer = send(f"Bearer {token}", query)
            statuses.add(status)
            canaries.assert_none_in("an answer", answer)
            if status == 401:
                refusals.add(answer)
        idp.down()
        other = Verifier(issuer_of(idp), policy=RefreshPolicy(**QUICK))
        status, answer = make(other)(f"Bearer {canaries.token(idp.token())}", "")
        statuses.add(status)
        canaries.assert_none_in("an answer", answer)
        for scheme in (canaries.text("a scheme"), f"Basic {canaries.text('a password')}", "Bearer"):
            status, answer = send(scheme, "")
            canaries.assert_none_in("an answer", answer)
    for text in log:
        canaries.assert_none_in("the log", text)
    assert statuses == {200, 400, 401, 503}
    assert len(refusals) == 1, "the answer tells one invalid token from another"
    verifier.close()
    other.close()


# -- processes -----------------------------------------------------------------------------------------------

LOUD = """
import logging, sys
logging.basicConfig(level=1, stream=sys.stderr)
sys.argv[0] = "skeldir-jwt"
from skeldir_jwt_mw.cli import main
main()
"""


def test_no_command_shows_a_secret(canaries: Canaries, idp: LoopbackIssuer, pg_dsn: str) -> None:
    key = secrets.token_bytes(32)
    canaries.keep("a seal key", key)
    password = canaries.text("a password")
    query = canaries.text("a query string")
    environ = {
        "SKELDIR_JWT_ISSUER": idp.issuer,
        "SKELDIR_JWT_AUDIENCE": "orders-api",
        "SKELDIR_JWT_JWKS_URL": idp.jwks_url,
        "SKELDIR_JWT_ALLOW_HTTP": "1",
        "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "1",
        "SKELDIR_JWT_DATABASE_URL": psycopg.conninfo.make_conninfo(pg_dsn, password=password),
        "SKELDIR_JWT_SEAL_KEYS": base64.b64encode(key).decode(),
    }
    idp.serve(marked_jwks(idp, canaries))
    nowhere = f"postgresql://nobody:{password}@127.0.0.1:1/nothing"
    wrong = f"postgresql://nobody:{password}@127.0.0.1:1/?nonsense={password}"
    secret_sub = canaries.text("a subject")
    expired = canaries.token(idp.token(sub=secret_sub, expires_in=-600))
    commands: list[tuple[list[str], dict[str, str], str]] = [
        (["migrate"], {}, ""),
        (["status"], {}, ""),
        (["status", "--json"], {}, ""),
        (["refresh"], {}, ""),
        (["refresh"], {"SKELDIR_JWT_JWKS_URL": f"{idp.jwks_url}?key={query}"}, ""),
        (["verify", "-"], {}, expired),
        (["verify", expired], {}, ""),
        (["verify", "-"], {}, canaries.token(idp.stranger_token(kid=canaries.text("a kid")))),
        (["verify", canaries.text("rubbish")], {}, ""),
        (["status", "--dsn", nowhere], {}, ""),
        (["migrate", "--dsn", nowhere], {}, ""),
        (["migrate", "--dsn", wrong], {}, ""),
        (["status"], {"SKELDIR_JWT_SEAL_KEYS": canaries.text("a short seal key")}, ""),
        (["status"], {"SKELDIR_JWT_DATABASE_URL": f"mysql://u:{password}@h/d"}, ""),
        (["status"], {"SKELDIR_JWT_FLOOR": canaries.text("a setting that is none")}, ""),
    ]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SKELDIR_")}
    codes = set()
    for arguments, more, stdin in commands:
        done = subprocess.run(
            [sys.executable, "-c", LOUD, *arguments],
            env={**inherited, **environ, **more},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        codes.add(done.returncode)
        canaries.assert_none_in(f"{arguments[0]}'s output", done.stdout + done.stderr)
    assert codes == {0, 1, 2, 3}
    # What `verify` and `explain` are asked to show goes to the terminal alone.
    good = canaries.token(idp.token(sub=secret_sub))
    for command, token in (("verify", good), ("explain", good), ("explain", expired)):
        done = subprocess.run(
            [sys.executable, "-c", LOUD, command, "-"],
            env={**inherited, **environ},
            input=token,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert secret_sub in done.stdout
        canaries.assert_none_in(f"{command}'s log", done.stderr)


def test_the_canaries_are_found_where_they_are(canaries: Canaries) -> None:
    secret = canaries.text("a secret")
    with listening() as log:
        import logging

        logging.getLogger("anything").debug("%s", secret)
        try:
            try:
                raise ValueError(secret)
            except ValueError:
                raise ConfigurationError("nothing to see") from None
        except ConfigurationError as error:
            with pytest.raises(AssertionError):
                canaries.assert_none_in_error(error)
    assert [canaries.found_in(text) for text in log] == [{"a secret"}]
    assert canaries.found_in(base64.b64encode(secret.encode()).decode()) == {"a secret"}
