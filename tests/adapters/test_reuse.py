"""A token that a middleware has verified is reused only for the same string and the same verifier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asking import ask_status
from django.test import Client, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject
from fastapi import FastAPI, Security
from identity import Odd, Verifiers
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView

from skeldir_jwt_mw import VerifiedToken, Verifier
from skeldir_jwt_mw._http import Guard, Response, ScopeRequest, Verified
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.asgi import jwt_shaped
from skeldir_jwt_mw.django.rest_framework import JWTAuthentication
from skeldir_jwt_mw.fastapi import JWTBearer


class OddBytes(bytes):
    """Bytes that say of themselves that they equal everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Counting:
    """A verifier that counts what it is asked."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.asked: list[str | bytes] = []

    def verify(self, raw: str | bytes, scopes: Any = ()) -> VerifiedToken:
        self.asked.append(raw)
        return self._verifier.verify(raw, scopes)

    async def averify(self, raw: str | bytes, scopes: Any = ()) -> VerifiedToken:
        self.asked.append(raw)
        return await self._verifier.averify(raw, scopes)

    def status(self) -> Any:
        return self._verifier.status()


@pytest.fixture
def counting(verifier: Verifier) -> Counting:
    return Counting(verifier)


def app_of(outer: Any, inner: Any, seen: list[str], **options: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)
    bearer = JWTBearer(inner, token_getter=options.pop("inside", None))

    @app.get("/")
    async def subject(token: VerifiedToken = Security(bearer)) -> None:
        seen.append(token.subject)

    app.add_middleware(ASGIMiddleware, verifier=outer, token_getter=options.pop("outside", None))
    return app


def test_the_dependency_behind_the_middleware_verifies_nothing_twice(
    counting: Counting, tokens: dict[str, str]
) -> None:
    seen: list[str] = []
    assert ask_status(app_of(counting, counting, seen), "/", tokens["valid"])[0] == 200
    assert (seen, len(counting.asked)) == (["user-1"], 1)


def test_another_verifier_judges_for_itself(
    counting: Counting, verifiers: Verifiers, tokens: dict[str, str]
) -> None:
    seen: list[str] = []
    assert ask_status(app_of(counting, verifiers.get(keys=False), seen), "/", tokens["valid"])[0] == 503
    assert seen == []


@pytest.mark.parametrize("odd", [Odd, lambda text: OddBytes(text.encode())], ids=["str", "bytes"])
@pytest.mark.parametrize("kind", ["expired", "forged", "unsigned", "nobody"])
def test_what_says_of_itself_that_it_equals_the_token_is_verified_anew(
    counting: Counting, tokens: dict[str, str], odd: Callable[[str], Any], kind: str
) -> None:
    """Both read a token of their own; the one inside is odd, or the one outside is."""
    for position in ("inside", "outside"):
        seen: list[str] = []
        getters: dict[str, Any] = {"inside": None, "outside": None}
        getters["inside"] = lambda _: odd(tokens[kind])
        if position == "outside":
            getters["inside"] = lambda _: tokens[kind]
            getters["outside"] = lambda _: odd(tokens["valid"])
        status, _ = ask_status(app_of(counting, counting, seen, **getters), "/", tokens["valid"])
        assert (status, seen) == ((200, [""]) if kind == "nobody" else (401, [])), position


@pytest.mark.parametrize(
    ("known", "raw", "same"),
    [
        ("a.b.c", "a.b.c", True),
        (b"a.b.c", b"a.b.c", True),
        ("a.b.c", b"a.b.c", False),
        (b"a.b.c", "a.b.c", False),
        ("a.b.c", "a.b.d", False),
        (Odd("a.b.c"), "a.b.c", False),
        ("a.b.c", Odd("a.b.c"), False),
        (Odd("a.b.c"), Odd("a.b.c"), False),
        (OddBytes(b"a"), b"b", False),
        (b"a", OddBytes(b"b"), False),
        (None, None, False),
        ({}, {}, False),
        (1, 1, False),
    ],
)
def test_the_same_is_of_one_exact_type_and_equal(
    verifier: Verifier, tokens: dict[str, str], known: Any, raw: Any, same: bool
) -> None:
    token = verifier.verify(tokens["valid"])
    found = Guard(verifier).reused(Verified(verifier, known, token), raw)
    assert found is (token if same else None)


@pytest.mark.parametrize("kind", [None, (), "abc", {"verifier": 1}, object()])
def test_what_a_middleware_did_not_leave_is_not_reused(verifier: Verifier, kind: Any) -> None:
    assert Guard(verifier).reused(kind, "a.b.c") is None


def test_a_tuple_of_the_right_shape_is_not_what_a_middleware_left(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    forged: Any = (verifier, "a.b.c", verifier.verify(tokens["valid"]))
    assert Guard(verifier).reused(forged, "a.b.c") is None


# -- REST framework ----------------------------------------------------------------------------------------


class Impostor:
    """A middleware of somebody else's that keeps something of its own in `request.jwt`."""

    left: Any = None

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.jwt = self.left
        return self.get_response(request)


def ask_rest(verifier: Any, raw: str | None, *middleware: str, **options: Any) -> tuple[int, list[Any]]:
    seen: list[Any] = []

    class Seen(APIView):
        authentication_classes = (JWTAuthentication,)
        permission_classes = ()

        def get(self, request: Any) -> RestResponse:
            seen.append((request.auth, request.user))
            return RestResponse()

    with override_settings(
        ROOT_URLCONF=(path("", Seen.as_view()),),
        MIDDLEWARE=list(middleware),
        SKELDIR_JWT={"VERIFIER": verifier, **options},
    ):
        headers = {} if raw is None else {"Authorization": f"Bearer {raw}"}
        return Client().get("/", headers=headers).status_code, seen


OURS = "skeldir_jwt_mw.django.JWTMiddleware"
IMPOSTOR = "test_reuse.Impostor"


def test_rest_framework_behind_the_middleware_verifies_nothing_twice(
    counting: Counting, tokens: dict[str, str]
) -> None:
    status, [(token, _)] = ask_rest(counting, tokens["valid"], OURS)
    assert (status, token.subject, len(counting.asked)) == (200, "user-1", 1)


@pytest.mark.parametrize("left", ["claims", {"sub": "admin"}, object(), True])
@pytest.mark.parametrize("middleware", [(IMPOSTOR,), (OURS, IMPOSTOR)], ids=["alone", "inside of ours"])
def test_what_somebody_else_leaves_in_request_jwt_authenticates_nobody(
    verifier: Verifier,
    tokens: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    left: Any,
    middleware: tuple[str, ...],
) -> None:
    monkeypatch.setattr(Impostor, "left", left)
    status, [(auth, user)] = ask_rest(verifier, None, *middleware, REQUIRED=False)
    assert (status, auth, user.is_authenticated) == (200, None, False)
    assert ask_rest(verifier, tokens["expired"], *middleware, REQUIRED=False) == (401, [])
    status, [(auth, _)] = ask_rest(verifier, tokens["valid"], *middleware, REQUIRED=False)
    assert status == 200
    assert auth == verifier.verify(tokens["valid"])


def test_a_verified_token_of_another_request_authenticates_nobody(
    verifier: Verifier, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Impostor, "left", verifier.verify(tokens["valid"]))
    _, [(auth, user)] = ask_rest(verifier, None, IMPOSTOR)
    assert (auth, user.is_authenticated) == (None, False)


# -- what a getter may return ------------------------------------------------------------------------------


LAZY = SimpleLazyObject(lambda: "a.b.c")  # says that it is of the class str, and is not
LAZY_BYTES = SimpleLazyObject(lambda: b"a.b.c")


@pytest.mark.parametrize(
    "found",
    [{}, {"a": 1}, [], ["a.b.c"], 0, 1, True, 1.5, bytearray(b"a.b.c"), object(), LAZY, LAZY_BYTES],
)
def test_what_a_getter_returns_is_a_string_or_malformed(
    verifier: Verifier, found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    guard = Guard(verifier, token_getter=lambda _: found)
    shaped = Guard(verifier, token_getter=jwt_shaped(lambda _: found))
    for one in (guard, shaped, guard):
        answer = one.judge(ScopeRequest(scope))
        assert isinstance(answer, Response)
        assert answer.status == 400
    [record] = caplog.records
    assert f"of the type {type(found).__name__}" in record.getMessage()


def test_what_a_getter_returns_is_made_exact_without_asking_it(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    for odd in (Odd(tokens["valid"]), OddBytes(tokens["valid"].encode())):
        raw = Guard(verifier, token_getter=lambda _, odd=odd: odd).judge(ScopeRequest(scope))  # type: ignore[misc]
        assert type(raw) in (str, bytes)
        assert not isinstance(raw, Response)
        assert raw is not None
        assert verifier.verify(raw).subject == "user-1"
        assert asyncio.run(verifier.averify(raw)).subject == "user-1"
