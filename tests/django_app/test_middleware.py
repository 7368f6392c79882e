"""The middleware under both handlers: who is let through, and what the request then says of its user."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from asgiref.sync import iscoroutinefunction
from callers import NOBODY, OURS, SESSIONS, STRANGER, USER, Get, get_wsgi, new_verifier, seen_in, token
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory, Client, RequestFactory
from django_site import views

from skeldir_jwt_mw import current_token
from skeldir_jwt_mw.django import JWTMiddleware, first_of, from_cookie, from_header, jwt_shaped
from skeldir_jwt_mw.sources import CallableSource

SYNC_ONLY = "django_site.middleware.SyncOnly"
PATHS = pytest.mark.parametrize("path", ["/seen", "/aseen"])


@PATHS
def test_a_request_with_a_token_is_its_user_s(get: Get, path: str) -> None:
    assert seen_in(get(path, token())) == USER
    assert current_token() is None


@PATHS
def test_a_request_without_a_token_is_refused(get: Get, path: str) -> None:
    response = get(path)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert response.json()["error"] == "unauthorized"


@PATHS
def test_a_bad_token_is_refused(get: Get, path: str) -> None:
    response = get(path, token(key=STRANGER))
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_token"


def test_a_path_that_leads_nowhere_is_refused_like_any_other(get: Get) -> None:
    assert get("/nowhere").status_code == 401
    assert get("/nowhere", token()).status_code == 404


@PATHS
def test_an_anonymous_request_stays_the_session_s(get: Get, path: str, site: Callable[..., None]) -> None:
    site(REQUIRED=False)
    assert seen_in(get(path)) == NOBODY
    assert get(path, token(key=STRANGER)).status_code == 401


@pytest.mark.parametrize("path", ["/open", "/aopen", "/open-class"])
@pytest.mark.parametrize("raw", [None, token(), token(key=STRANGER), "abc"])
def test_an_exempt_view_gets_every_request_as_an_anonymous_one(get: Get, path: str, raw: str | None) -> None:
    assert seen_in(get(path, raw)) == NOBODY


@pytest.mark.parametrize("routes", ["django_site.urls", "django_site.other_urls"])
def test_an_exemption_is_judged_by_the_view_that_is_called(
    get: Get, site: Callable[..., None], routes: str
) -> None:
    site(*SESSIONS, OURS, "django_site.middleware.Tenants")
    status = {"django_site.urls": 200, "django_site.other_urls": 401}[routes]
    assert get("/open", X_Routes=routes).status_code == status
    assert get("/open", token(), X_Routes=routes).status_code == 200


def test_an_exempt_view_reached_by_other_routes_than_seem_is_refused_all_the_same(
    get: Get, site: Callable[..., None]
) -> None:
    site(*SESSIONS, OURS, "django_site.middleware.Tenants")
    assert get("/seen", X_Routes="django_site.other_urls").status_code == 401


def test_a_refused_request_never_gets_to_inner_middleware(get: Get, site: Callable[..., None]) -> None:
    site(*SESSIONS, OURS, "django_site.middleware.ShortCircuit")
    assert get("/seen").status_code == 401
    assert get("/nowhere").status_code == 401
    response = get("/seen", token())
    assert (response.status_code, response.content) == (418, b"user-1")


def test_inner_middleware_sees_an_anonymous_request_to_an_exempt_view(
    get: Get, site: Callable[..., None]
) -> None:
    site(*SESSIONS, OURS, "django_site.middleware.ShortCircuit")
    response = get("/open", token(key=STRANGER))
    assert (response.status_code, response.content) == (418, b"")


@pytest.mark.parametrize(
    "middleware",
    [
        (SYNC_ONLY, *SESSIONS, OURS),
        (*SESSIONS, OURS, SYNC_ONLY),
        (SYNC_ONLY, *SESSIONS, SYNC_ONLY, OURS, SYNC_ONLY),
        (OURS,),
        (SYNC_ONLY, OURS),
    ],
    ids=lambda middleware: "-".join("ours" if path == OURS else path.split(".")[-1] for path in middleware),
)
@PATHS
def test_the_same_happens_whatever_middleware_stands_around(
    get: Get, site: Callable[..., None], middleware: tuple[str, ...], path: str
) -> None:
    site(*middleware)
    assert seen_in(get(path, token())) == USER
    assert get(path).status_code == 401
    assert seen_in(get("/open", token())) == NOBODY
    assert seen_in(get("/aopen", token(key=STRANGER))) == NOBODY
    site(*middleware, REQUIRED=False)
    assert seen_in(get(path)) == NOBODY
    assert current_token() is None


@pytest.mark.parametrize("middleware", [(OURS,), (SYNC_ONLY, OURS), (OURS, SYNC_ONLY)])
def test_the_current_token_is_there_until_the_end_of_a_streamed_body(
    get: Get, site: Callable[..., None], middleware: tuple[str, ...]
) -> None:
    site(*middleware)
    path = "/stream" if get is get_wsgi else "/astream"
    for subject in ("user-1", "user-2"):
        assert get(path, token(sub=subject)).parts == [subject.encode()] * 3
        assert current_token() is None


def test_a_body_that_nobody_reads_leaves_no_token_behind(site: Callable[..., None]) -> None:
    request = RequestFactory().get("/stream", headers={"Authorization": f"Bearer {token()}"})

    def streaming(request: HttpRequest) -> HttpResponseBase:
        return views.stream(request)

    response = JWTMiddleware(streaming)(request)
    current = current_token()
    assert current is not None
    del response
    gc.collect()
    assert current_token() is None


def test_a_request_that_is_torn_down_leaves_no_token_behind(site: Callable[..., None]) -> None:
    def torn(request: HttpRequest) -> HttpResponseBase:
        raise KeyboardInterrupt

    async def atorn(request: HttpRequest) -> HttpResponseBase:
        raise asyncio.CancelledError

    async def ask() -> None:
        with pytest.raises(asyncio.CancelledError):
            await cast("Any", JWTMiddleware(atorn)(request))
        assert current_token() is None

    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {token()}"})
    with pytest.raises(KeyboardInterrupt):
        JWTMiddleware(torn)(request)
    assert current_token() is None
    asyncio.run(ask())


def test_a_request_leaves_nothing_to_the_garbage_collector(site: Callable[..., None]) -> None:
    site(OURS)
    handler, raw = WSGIHandler(), token()
    factory = RequestFactory()

    def ask() -> None:
        request = factory.get("/seen", headers={"Authorization": f"Bearer {raw}"})
        assert handler.get_response(request).status_code == 200

    ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            ask()
        assert gc.collect() < 20
    finally:
        gc.enable()


def test_the_user_that_is_waited_for_follows_the_one_that_is_not(site: Callable[..., None]) -> None:
    site(OURS)

    def change(request: HttpRequest) -> HttpResponse:
        shown = cast(Any, request)
        first = asyncio.run(shown.auser())
        shown.user = "somebody else"
        return HttpResponse(f"{first is not None} {asyncio.run(shown.auser())}")

    request = RequestFactory().get("/seen", headers={"Authorization": f"Bearer {token()}"})
    answer = cast(HttpResponse, JWTMiddleware(change)(request))
    assert answer.content == b"True somebody else"


def test_the_mode_is_chosen_once(site: Callable[..., None]) -> None:
    async def respond(request: HttpRequest) -> HttpResponseBase:
        return HttpResponse()

    ours = JWTMiddleware(respond)
    assert iscoroutinefunction(ours)
    assert iscoroutinefunction(ours.process_view)
    theirs = JWTMiddleware(lambda request: HttpResponse())
    assert not iscoroutinefunction(theirs)
    assert not iscoroutinefunction(theirs.process_view)


def test_no_thread_is_needed_in_an_event_loop(site: Callable[..., None]) -> None:
    threads: set[int] = set()

    async def respond(request: HttpRequest) -> HttpResponseBase:
        threads.add(threading.get_ident())
        return HttpResponse()

    async def ask() -> None:
        threads.add(threading.get_ident())
        request = AsyncRequestFactory().get("/", headers={"Authorization": f"Bearer {token()}"})
        await cast("Any", JWTMiddleware(respond)(request))

    asyncio.run(ask())
    assert len(threads) == 1


def test_one_handler_follows_the_settings(site: Callable[..., None]) -> None:
    request = RequestFactory().get("/seen")
    ours = JWTMiddleware(lambda request: HttpResponse())
    assert cast("Any", ours(request))["WWW-Authenticate"] == 'Bearer realm="api"'
    site(REALM="orders")
    assert cast("Any", ours(request))["WWW-Authenticate"] == 'Bearer realm="orders"'


def test_misconfiguration_shows_when_the_handler_is_made(site: Callable[..., None]) -> None:
    site(EXEMPT=["health"])
    with pytest.raises(ImproperlyConfigured, match=r"SKELDIR_JWT\['EXEMPT'\]"):
        WSGIHandler()
    with pytest.raises(ImproperlyConfigured, match=r"SKELDIR_JWT\['EXEMPT'\]"):
        ASGIHandler()


# -- sessions, logins and forged requests ------------------------------------------------------------------


@pytest.fixture
def sessions(site: Callable[..., None], db: None) -> str:
    """The cookie of somebody who has logged in."""
    client = Client()
    client.force_login(get_user_model().objects.create_user("eva"))
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def test_a_session_and_a_token_live_side_by_side(get: Get, site: Callable[..., None], sessions: str) -> None:
    site(REQUIRED=False)
    eva = {**NOBODY, "user": "eva", "kind": "User", "authenticated": True}
    for path in ("/seen", "/aseen"):
        assert seen_in(get(path, Cookie=sessions)) == eva
        assert seen_in(get(path, token(), Cookie=sessions)) == USER
    for path in ("/open", "/aopen", "/open-class"):
        assert seen_in(get(path, token(), Cookie=sessions)) == eva
        assert seen_in(get(path, token(key=STRANGER), Cookie=sessions)) == eva


def test_a_session_is_no_token(get: Get, site: Callable[..., None], sessions: str) -> None:
    assert get("/seen", Cookie=sessions).status_code == 401
    site(REQUIRED=False)
    assert get("/with-token", Cookie=sessions).status_code == 401
    assert get("/awith-token", Cookie=sessions).status_code == 401


def test_login_required_middleware_takes_a_token_for_a_login(get: Get, site: Callable[..., None]) -> None:
    site(*SESSIONS, OURS, "django.contrib.auth.middleware.LoginRequiredMiddleware", REQUIRED=False)
    assert seen_in(get("/seen", token())) == USER
    assert seen_in(get("/aseen", token())) == USER
    assert get("/seen").status_code == 302


@pytest.mark.parametrize("path", ["/with-token", "/awith-token", "/orders/7", "/aorders"])
def test_login_required_middleware_sends_no_caller_of_an_api_to_the_login_page(
    get: Get, site: Callable[..., None], path: str
) -> None:
    site(*SESSIONS, OURS, "django.contrib.auth.middleware.LoginRequiredMiddleware", REQUIRED=False)
    assert get(path).status_code == 401


CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@PATHS
def test_a_token_in_the_header_that_browsers_do_not_send_needs_no_csrf_token(
    get: Get, site: Callable[..., None], path: str
) -> None:
    site(CSRF, *SESSIONS, OURS, REQUIRED=False)
    assert seen_in(get(path, token(), method="POST")) == USER
    assert get(path, method="POST").status_code == 403
    assert get("/protected", token(), method="POST").status_code == 200
    assert get("/protected", method="POST").status_code == 403


def test_a_token_in_a_cookie_needs_a_csrf_token(get: Get, site: Callable[..., None]) -> None:
    site(CSRF, *SESSIONS, OURS, TOKEN_GETTER=from_cookie("session"))
    cookie = f"session={token()}"
    assert seen_in(get("/seen", Cookie=cookie)) == USER
    assert get("/seen", Cookie=cookie, method="POST").status_code == 403


BEARER = from_header("Authorization", scheme="Bearer")


@pytest.mark.parametrize(
    ("getter", "status"),
    [
        (BEARER, 200),
        (jwt_shaped(BEARER), 200),
        (first_of(BEARER), 200),
        (first_of(BEARER, from_cookie("session")), 403),  # browsers send the cookie by themselves
        (jwt_shaped(first_of(BEARER, from_cookie("session"))), 403),
        (from_header("Authorization", scheme="Token"), 403),
        (from_header("X-Forwarded-Access-Token"), 403),  # which a proxy may have made of a cookie
        (lambda headers: BEARER(headers), 403),
    ],
)
def test_a_getter_that_reads_bearer_tokens_alone_needs_no_csrf_token(
    get: Get, site: Callable[..., None], getter: Any, status: int
) -> None:
    site(CSRF, *SESSIONS, OURS, TOKEN_GETTER=getter)
    scheme = "Token" if getattr(getter, "scheme", "Bearer") == "Token" else "Bearer"
    headers = {"Authorization": f"{scheme} {token()}", "X_Forwarded_Access_Token": token()}
    assert get("/protected", method="POST", **headers).status_code == status


def test_a_session_is_protected_in_an_exempt_view_whatever_credentials_come_with_it(
    get: Get, site: Callable[..., None]
) -> None:
    site(CSRF, *SESSIONS, OURS, REQUIRED=False)
    assert get("/open", token(key=STRANGER), method="POST").status_code == 403
    site(*SESSIONS, OURS, CSRF, REQUIRED=False)
    assert get("/open", token(), method="POST").status_code == 403


# -- errors of the project ---------------------------------------------------------------------------------


def test_an_exception_of_a_view_is_the_project_s(get: Get) -> None:
    assert get("/broken", token()).status_code == 500
    assert current_token() is None


def no_keys() -> bytes:
    raise OSError("the provider is down")


def test_no_keys_is_a_503(get: Get, site: Callable[..., None]) -> None:
    verifier = new_verifier(CallableSource(no_keys))
    site(VERIFIER=verifier)
    response = get("/seen", token())
    assert response.status_code == 503
    assert int(response["Retry-After"]) >= 1
    assert seen_in(get("/open", token())) == NOBODY
    verifier.close()


def test_a_project_without_django_s_users_has_nobody_else(site: Callable[..., None]) -> None:
    site(OURS, project={"INSTALLED_APPS": ["skeldir_jwt_mw.django"]}, REQUIRED=False)
    assert seen_in(get_wsgi("/seen")) == {**NOBODY, "kind": "RowlessUser"}
    assert seen_in(get_wsgi("/seen", token())) == USER
