"""Whose request it is where several issuers may have a user of the same subject, in every adapter."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from identity import AUDIENCE, ISSUER, Signer

from skeldir_jwt_mw import Issuer, Verifier, user_key
from skeldir_jwt_mw._http import Guard
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.asgi import User
from skeldir_jwt_mw.django.channels import JWTMiddleware as ChannelsMiddleware
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware

OTHER = "https://login.example.org/"
TEMPLATE = "https://login.example.net/{tid}/v2.0"
KEYS = {
    None: ("user-1", f"{ISSUER}|user-1", f"{OTHER}|user-1"),
    "subject": ("user-1", "user-1", "user-1"),
    "issuer": (f"{ISSUER}|user-1", f"{ISSUER}|user-1", f"{OTHER}|user-1"),
}


def asked_in_asgi(
    verifier: Verifier, raw: str, options: dict[str, Any], *, kind: Any = ASGIMiddleware
) -> Any:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])

    lines = [(b"authorization", f"Bearer {raw}".encode())]
    guarded = kind(app, verifier, **options) if kind is ASGIMiddleware else kind(app)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": lines, "query_string": b""}
    asyncio.run(guarded(scope, None, None))
    return seen[0]


def by_asgi(verifier: Verifier, raw: str, **options: Any) -> tuple[str, str]:
    user = asked_in_asgi(verifier, raw, options)
    assert pickle.loads(pickle.dumps(user)).identity == copy.deepcopy(user).identity == user.identity
    return user.identity, user.display_name


def by_wsgi(verifier: Verifier, raw: str, **options: Any) -> tuple[str, str]:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(dict(environ))
        return []

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": f"Bearer {raw}"}
    WSGIMiddleware(app, verifier, remote_user=True, **options)(environ, lambda *_: None)  # type: ignore[arg-type, misc, return-value, func-returns-value]
    return seen[0]["REMOTE_USER"], seen[0]["skeldir_jwt"].subject


def settings_of(verifier: Verifier, options: dict[str, Any]) -> dict[str, Any]:
    return {"VERIFIER": verifier, **{name.upper(): value for name, value in options.items()}}


def by_django(verifier: Verifier, raw: str, **options: Any) -> tuple[str, str]:
    seen: list[Any] = []

    def view(request: Any) -> HttpResponse:
        seen.append(request.user)
        return HttpResponse()

    with override_settings(
        ROOT_URLCONF=(path("", view),),
        MIDDLEWARE=["skeldir_jwt_mw.django.JWTMiddleware"],
        SKELDIR_JWT=settings_of(verifier, options),
    ):
        Client().get("/", headers={"Authorization": f"Bearer {raw}"})
    [user] = seen
    assert user.pk == user.id == user.username == user.get_username() == str(user)
    assert pickle.loads(pickle.dumps(user)).pk == user.pk
    return user.pk, user.get_full_name()


def by_channels(verifier: Verifier, raw: str, **options: Any) -> tuple[str, str]:
    with override_settings(SKELDIR_JWT=settings_of(verifier, options)):
        user = asked_in_asgi(verifier, raw, {}, kind=ChannelsMiddleware)
    return user.pk, user.get_short_name()


ADAPTERS = {"asgi": by_asgi, "wsgi": by_wsgi, "django": by_django, "channels": by_channels}
every = pytest.mark.parametrize("adapter", ADAPTERS)


@pytest.fixture(scope="module")
def one(signer: Signer) -> Iterator[Verifier]:
    verifier = Verifier([Issuer(ISSUER, audience=AUDIENCE, source=StaticSource(signer.jwks))])
    yield verifier
    verifier.close()


@pytest.fixture(scope="module")
def two(signer: Signer) -> Iterator[Verifier]:
    issuers = [Issuer(name, audience=AUDIENCE, source=StaticSource(signer.jwks)) for name in (ISSUER, OTHER)]
    verifier = Verifier(issuers)
    yield verifier
    verifier.close()


@every
@pytest.mark.parametrize("chosen", KEYS)
def test_users_of_two_issuers_with_one_subject_are_two_unless_they_are_said_to_be_one(
    adapter: str, one: Verifier, two: Verifier, signer: Signer, chosen: Any
) -> None:
    ask, options = ADAPTERS[adapter], {} if chosen is None else {"user_key": chosen}
    alone, ours, theirs = KEYS[chosen]
    assert ask(one, signer.token(), **options) == (alone, "user-1")
    assert ask(two, signer.token(), **options) == (ours, "user-1")
    assert ask(two, signer.token(iss=OTHER), **options) == (theirs, "user-1")


@every
def test_a_template_counts_as_many_issuers(adapter: str, signer: Signer) -> None:
    issuer = Issuer(TEMPLATE, audience=AUDIENCE, tenant_claim="tid", source=StaticSource(signer.jwks))
    verifier = Verifier([issuer])
    for tenant in ("acme", "initech"):
        name = TEMPLATE.replace("{tid}", tenant)
        key, _ = ADAPTERS[adapter](verifier, signer.token(iss=name, tid=tenant))
        assert key == f"{name}|user-1"
    verifier.close()


@every
def test_a_second_issuer_counts_from_the_moment_it_is_there(adapter: str, signer: Signer) -> None:
    first, second = (
        Issuer(name, audience=AUDIENCE, source=StaticSource(signer.jwks)) for name in (ISSUER, OTHER)
    )
    verifier = Verifier([first])
    assert ADAPTERS[adapter](verifier, signer.token())[0] == "user-1"
    verifier.set_issuers([first, second])
    assert ADAPTERS[adapter](verifier, signer.token())[0] == f"{ISSUER}|user-1"
    verifier.close()


@every
def test_a_token_without_a_subject_has_no_key(adapter: str, two: Verifier, signer: Signer) -> None:
    for options in ({}, {"user_key": "issuer"}, {"user_key": "subject"}):
        assert ADAPTERS[adapter](two, signer.token(sub=None), **options) == ("", "")


def test_no_two_users_share_a_key(signer: Signer) -> None:
    names = ["a", "a|b", "a%7Cb", "a%257Cb", "a%", "a%25"]
    issuers = [Issuer(name, audience=AUDIENCE, source=StaticSource(signer.jwks)) for name in names]
    verifier = Verifier(issuers)
    guard = Guard(verifier)
    subjects = ["c", "b|c", "|c", "%7Cc", "b", "7Cb|c"]
    tokens = [verifier.verify(signer.token(iss=name, sub=sub)) for name in names for sub in subjects]
    assert len({guard.user_key(token) for token in tokens}) == len(tokens)
    verifier.close()


def test_a_user_that_an_app_makes_of_a_token_is_named_by_its_subject(two: Verifier, signer: Signer) -> None:
    user = User(two.verify(signer.token()))
    assert (user.identity, user.display_name) == ("user-1", "user-1")


# -- REMOTE_USER -------------------------------------------------------------------------------------------

CARRIED = ["user-1", "Zoë", "a b", "auth0|1", "~", "\xa0", "ÿ"]
NOT_CARRIED = [
    "a\r\nX-Admin: 1",
    "a\n",
    "\ra",
    "a\x00",
    "a\tb",
    "\x7f",
    "\x85",
    "\x9f",
    "你好",
    "Ā",
    "a\u2028",
    "😀",
]


def remote_user(verifier: Verifier, raw: str, **options: Any) -> tuple[str | None, str]:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(dict(environ))
        return []

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_USER": "admin"}
    environ["HTTP_AUTHORIZATION"] = f"Bearer {raw}"
    WSGIMiddleware(app, verifier, remote_user=True, **options)(environ, lambda *_: None)  # type: ignore[arg-type, misc, return-value, func-returns-value]
    [given] = seen
    return given.get("REMOTE_USER"), given["skeldir_jwt"].subject


@pytest.mark.parametrize("subject", CARRIED)
def test_remote_user_carries_latin_1(one: Verifier, signer: Signer, subject: str) -> None:
    assert remote_user(one, signer.token(sub=subject)) == (subject, subject)


@pytest.mark.parametrize("subject", NOT_CARRIED)
def test_remote_user_is_left_out_where_it_cannot_be_carried_and_never_somebody_else_s(
    one: Verifier, signer: Signer, subject: str
) -> None:
    for options in ({}, {"user_key": "issuer"}):
        assert remote_user(one, signer.token(sub=subject), **options) == (None, subject)


def test_what_cannot_be_carried_is_told_once_and_without_the_name(
    one: Verifier, signer: Signer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(user_key, "_told", False)
    with caplog.at_level(logging.WARNING, logger="skeldir_jwt_mw"):
        for _ in range(2):
            remote_user(one, signer.token(sub="mallory\r\nX-Admin: 1"))
    [record] = caplog.records
    assert "left REMOTE_USER out" in record.getMessage()
    assert "mallory" not in caplog.text
