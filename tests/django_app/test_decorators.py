"""What views say of tokens, as functions and as classes, in threads and in event loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from callers import NOBODY, STRANGER, USER, Get, seen_in, token
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View
from django_site import views

from skeldir_jwt_mw.django import JWTRequiredMixin, jwt_exempt, jwt_required

BOTH = "orders:read orders:write"
INSUFFICIENT = (
    'Bearer realm="api", error="insufficient_scope",'
    ' error_description="The access token lacks a required scope", scope='
)


@pytest.fixture(params=[True, False], ids=["required", "optional"])
def required(request: pytest.FixtureRequest, site: Callable[..., None]) -> bool:
    site(REQUIRED=request.param)
    return bool(request.param)


@pytest.mark.parametrize("path", ["/with-token", "/awith-token"])
def test_a_view_that_requires_a_token_gets_no_request_without(get: Get, required: bool, path: str) -> None:
    assert seen_in(get(path, token())) == USER
    response = get(path)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert get(path, token(key=STRANGER)).status_code == 401


@pytest.mark.parametrize("path", ["/with-scopes", "/awith-scopes"])
def test_a_view_gets_only_tokens_with_all_of_its_scopes(get: Get, required: bool, path: str) -> None:
    assert seen_in(get(path, token(scope=f"{BOTH} more"))) == USER
    for scope in ("", "orders:read", "orders:write", "orders"):
        response = get(path, token(scope=scope))
        assert response.status_code == 403
        assert response["WWW-Authenticate"] == f'{INSUFFICIENT}"{BOTH}"'
        assert response.json()["error"] == "insufficient_scope"
    assert get(path).status_code == 401


@pytest.mark.parametrize("path", ["/orders/7", "/aorders"])
def test_a_class_requires_a_token_with_the_scopes_of_its_attribute(
    get: Get, required: bool, path: str
) -> None:
    assert seen_in(get(path, token(scope="orders:read")))["user"] == "user-1"
    response = get(path, token())
    assert response.status_code == 403
    assert response["WWW-Authenticate"] == f'{INSUFFICIENT}"orders:read"'
    assert get(path).status_code == 401
    assert get(path, method="DELETE").status_code == 401
    assert get(path, token(scope="orders:read"), method="DELETE").status_code == 405


def test_a_lone_string_is_one_scope(get: Get, required: bool) -> None:
    assert get("/with-one-scope", token(scope="orders:read")).status_code == 200
    assert get("/with-one-scope", token(scope="o r d e s : a")).status_code == 403


def test_a_path_that_is_exempt_leads_to_no_view_that_requires_a_token(
    get: Get, site: Callable[..., None]
) -> None:
    site(EXEMPT=["/"])
    assert seen_in(get("/seen", token())) == NOBODY
    for path in ("/with-token", "/awith-token", "/orders/7", "/aorders"):
        assert get(path, token(scope="orders:read")).status_code == 401


def test_who_is_in_two_minds_gets_no_request_in(get: Get) -> None:
    assert get("/in-two-minds").status_code == 401
    assert get("/in-two-minds", token()).status_code == 401


def test_an_exempt_view_leaves_the_view_itself_as_it_is() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        """Say something."""
        return HttpResponse()

    exempt = jwt_exempt(view)
    assert view.__dict__ == {}
    assert (exempt.__name__, exempt.__doc__) == ("view", "Say something.")


def test_decorators_keep_the_mode_and_the_marks_of_a_view() -> None:
    for decorate in (jwt_required, jwt_required(scopes="a"), jwt_exempt):
        for view, is_async in ((views.seen, False), (views.aseen, True)):
            marked: Any = transaction.non_atomic_requests(view)
            decorated: Any = decorate(marked)
            assert iscoroutinefunction(decorated) is is_async
            assert decorated._non_atomic_requests == {"default"}
            del marked._non_atomic_requests


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_the_same_in_a_transaction_of_the_request(
    get: Get, site: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection

    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    response = get("/with-one-scope", token(scope="orders:read"))
    assert response.json()["atomic"] is True
    assert get("/with-one-scope", token()).status_code == 403
    assert get("/with-one-scope").status_code == 401


@pytest.mark.parametrize("decorate", [jwt_exempt, jwt_required, jwt_required(scopes="a")])
def test_a_class_is_decorated_at_its_dispatch(decorate: Callable[..., Any]) -> None:
    class Orders(View):
        pass

    with pytest.raises(ImproperlyConfigured, match=r"Orders is a class: .*name='dispatch'"):
        decorate(Orders)


def test_methods_of_classes_take_the_decorators(site: Callable[..., None]) -> None:
    class Orders(View):
        @method_decorator(jwt_required(scopes="orders:read"))
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    request: Any = RequestFactory().get("/")
    request.jwt = None
    assert Orders.as_view()(request).status_code == 401


@pytest.mark.parametrize(
    "view", [views.with_token, views.Orders.as_view(), type("Of", (JWTRequiredMixin, View), {}).as_view()]
)
def test_without_the_middleware_a_view_says_what_is_missing(view: Callable[..., Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"MIDDLEWARE needs skeldir_jwt_mw\.django\.JWTMiddleware"):
        view(RequestFactory().get("/"), number=1)
