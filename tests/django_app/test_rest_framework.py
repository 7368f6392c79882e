"""REST framework's classes: who a request is from, what a view needs, and what is answered instead."""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import rest_api
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.test import APIRequestFactory, force_authenticate

from skeldir_jwt_mw import Issuer, RefreshPolicy, VerifiedToken, Verifier, current_token
from skeldir_jwt_mw._http import DESCRIPTIONS
from skeldir_jwt_mw.django.rest_framework import HasScope, JWTAuthentication
from skeldir_jwt_mw.django.users import TokenUser
from skeldir_jwt_mw.sources import CallableSource, StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

ISSUER, AUDIENCE = "https://login.example.com/", "orders-api"
KEY = SigningKey.generate("ES256", kid="rest")
MIDDLEWARE = "skeldir_jwt_mw.django.JWTMiddleware"
PLAIN = 'Bearer realm="api"'
NOBODY = {"user": "", "authenticated": False, "auth": None, "current": None}
ADA = {"user": "ada", "authenticated": True, "auth": "ada", "current": "ada"}


def challenge(error: str, **more: str) -> str:
    pairs = {"error": error, "error_description": DESCRIPTIONS[error], **more}
    return f"{PLAIN}, " + ", ".join(f'{name}="{value}"' for name, value in pairs.items())


def signed(**claims: Any) -> str:
    """A token that is right but for what is given."""
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": 2**33,
        "scope": "orders:read orders:write",
    }
    return mint(KEY, {**payload, **claims})


class CountingVerifier(Verifier):
    """A verifier that counts what it verifies."""

    asked = 0

    def verify(self, raw: Any, scopes: Any = ()) -> VerifiedToken:
        """Count, and verify."""
        self.asked += 1
        return super().verify(raw, scopes)


@pytest.fixture(scope="module")
def verifier() -> Iterator[CountingVerifier]:
    source = StaticSource({"keys": [KEY.jwk()]})
    made = CountingVerifier([Issuer(ISSUER, audience=AUDIENCE, source=source)])
    yield made
    made.close()


@pytest.fixture(autouse=True)
def project(verifier: CountingVerifier) -> Iterator[None]:
    """The project of the tests, with the routes of `rest_api` and no middleware."""
    verifier.asked = 0
    with override_settings(ROOT_URLCONF="rest_api", MIDDLEWARE=[], SKELDIR_JWT={"VERIFIER": verifier}):
        yield
    assert current_token() is None


@pytest.fixture(params=["alone", "behind the middleware"])
def placed(request: pytest.FixtureRequest) -> Iterator[None]:
    """The classes with JWTMiddleware, which lets anonymous requests through, and without."""
    if request.param == "alone":
        yield
    else:
        from django.conf import settings

        optional = {**settings.SKELDIR_JWT, "REQUIRED": False}
        with override_settings(MIDDLEWARE=[MIDDLEWARE], SKELDIR_JWT=optional):
            yield


def ask(path: str, token: str | None = None, method: str = "GET", **headers: str) -> Any:
    """The response, closed."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return Client().generic(method, path, headers=headers)


def is_refused(response: Any, status: int, error: str, **more: str) -> None:
    assert response.status_code == status
    body = {"error": error, "error_description": DESCRIPTIONS[error]}
    assert (
        response.content == b"" if response.request["REQUEST_METHOD"] == "HEAD" else response.json() == body
    )
    assert response.headers.get("WWW-Authenticate") == (None if status == 503 else challenge(error, **more))


def test_a_request_is_its_token_s_subject_s(placed: None, verifier: CountingVerifier) -> None:
    for path in ("/Open", "/Closed"):
        response = ask(path, signed())
        assert (response.status_code, response.json()) == (200, ADA)
    assert verifier.asked == 2  # one for each, though the middleware stands before the class


def test_a_token_without_a_subject_is_accepted(placed: None) -> None:
    assert ask("/Closed", signed(sub="")).json() == {**ADA, "user": "", "auth": "", "current": ""}


def test_a_request_without_credentials_is_left_to_the_view(placed: None, verifier: CountingVerifier) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": ""}):
        response = ask("/Open", **headers)
        assert (response.status_code, response.json()) == (200, NOBODY)
        response = ask("/Closed", **headers)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, PLAIN)
    assert ask(f"/Closed?access_token={signed()}").status_code == 401
    assert verifier.asked == 0


BAD = {
    "expired": signed(exp=1),
    "misaddressed": signed(aud="billing-api"),
    "alien": signed(iss="https://login.example.org/"),
    "forged": mint(SigningKey.generate("ES256", kid="rest"), {"iss": ISSUER, "aud": AUDIENCE, "exp": 2**33}),
    "no JWT": "abc",
}


@pytest.mark.parametrize("path", ["/Open", "/Closed", "/Second", "/Scoped"])
@pytest.mark.parametrize("kind", BAD)
def test_r41_a_bad_token_is_a_401_under_rest_framework(placed: None, path: str, kind: str) -> None:
    is_refused(ask(path, BAD[kind]), 401, "invalid_token")


@pytest.mark.parametrize("form", ["Bearer", "Bearer a b", "Bearer\t{}", "Bearer {},Bearer {}", 'Bearer "{}"'])
def test_r40_malformed_credentials_are_a_400_under_rest_framework(placed: None, form: str) -> None:
    is_refused(ask("/Open", Authorization=form.format(signed(), signed())), 400, "invalid_request")


def no_keys() -> Any:
    """A secrets manager that is away."""
    raise OSError


def test_r41_unavailable_keys_are_a_503_under_rest_framework(placed: None) -> None:
    issuer = Issuer(ISSUER, audience=AUDIENCE, source=CallableSource(no_keys))
    keyless = Verifier([issuer], policy=RefreshPolicy(wait_budget=1.5))
    from django.conf import settings

    with override_settings(SKELDIR_JWT={**settings.SKELDIR_JWT, "VERIFIER": keyless}):
        response = ask("/Open", signed())
        is_refused(response, 503, "temporarily_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        is_refused(ask("/Open", "abc"), 401, "invalid_token")
        assert ask("/Open").json() == NOBODY
    keyless.close()


def test_the_realm_and_the_resource_are_in_every_challenge(verifier: Verifier) -> None:
    with override_settings(
        SKELDIR_JWT={"VERIFIER": verifier, "REALM": "orders", "RESOURCE": "https://api.example.com"}
    ):
        pointer = 'resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"'
        assert ask("/Closed").headers["WWW-Authenticate"] == f'Bearer realm="orders", {pointer}'
        refused = ask("/Closed", BAD["expired"]).headers["WWW-Authenticate"]
        assert refused.startswith('Bearer realm="orders", error="invalid_token"')
        assert refused.endswith(pointer)


@pytest.mark.parametrize(
    ("path", "method", "status", "scope"),
    [
        ("/Scoped", "GET", 200, ""),
        ("/Lone", "GET", 200, ""),
        ("/Both", "GET", 200, ""),
        ("/reading", "GET", 200, ""),
        ("/ByMethod", "GET", 200, ""),
        ("/ByMethod", "HEAD", 200, ""),
        ("/ByMethod", "POST", 403, "admin"),
        ("/Admins", "HEAD", 403, "admin orders:read"),
        ("/Admins", "GET", 403, "admin orders:read"),
        ("/administering", "GET", 403, "admin"),
        ("/orders/", "GET", 200, ""),
        ("/orders/", "POST", 403, "admin"),
        ("/orders/1/", "DELETE", 200, ""),
    ],
)
def test_r41_a_view_needs_all_of_its_scopes(
    placed: None, path: str, method: str, status: int, scope: str
) -> None:
    response = ask(path, signed(), method)
    if status == 403:
        is_refused(response, 403, "insufficient_scope", scope=scope)
    else:
        assert response.status_code == status
    anonymous = ask(path, None, method)
    assert (anonymous.status_code, anonymous.headers["WWW-Authenticate"]) == (401, PLAIN)
    is_refused(ask(path, BAD["expired"], method), 401, "invalid_token")


@pytest.mark.parametrize(
    ("path", "method"),
    [("/ByMethod", "PUT"), ("/ByMethod", "OPTIONS"), ("/orders/1/", "GET"), ("/orders/", "OPTIONS")],
)
def test_what_a_mapping_does_not_name_is_denied(path: str, method: str) -> None:
    response = ask(path, signed(scope="orders:read admin"), method)
    assert response.status_code == 403
    assert "WWW-Authenticate" not in response.headers
    assert ask(path, None, method).status_code == 401


def test_a_view_that_does_not_say_what_it_needs_is_an_error_of_the_project() -> None:
    for token in (None, signed()):
        with pytest.raises(ImproperlyConfigured, match="Untold needs required_scopes for HasScope"):
            ask("/Untold", token)


def test_a_session_has_no_scopes() -> None:
    assert ask("/OfSessions", signed()).status_code == 403


def test_a_scope_may_be_a_part_of_another_permission(placed: None) -> None:
    assert ask("/AdminsOrAnybody", signed()).json() == ADA
    assert ask("/AllButAdmins", signed()).json() == ADA
    assert ask("/AdminsOrAnybody").status_code == 401
    denied = ask("/AdminsOrNobody", signed())
    assert denied.status_code == 403
    assert ask("/AdminsOrNobody", signed(scope="admin orders:read")).json() == ADA
    assert ask("/AllButAdmins", signed(scope="admin orders:read")).status_code == 403


def test_a_stream_knows_whose_it_is_until_it_is_closed(placed: None) -> None:
    response = ask("/Stream", signed())
    assert b"".join(response.streaming_content) == b"ada ada "
    response.close()
    assert current_token() is None


def test_an_error_of_a_view_leaves_nothing_behind(placed: None) -> None:
    with pytest.raises(LookupError, match="midway"):
        ask("/Failing", signed())
    assert current_token() is None
    assert (
        Client(raise_request_exception=False)
        .get("/Failing", headers={"Authorization": f"Bearer {signed()}"})
        .status_code
        == 500
    )
    assert current_token() is None


def test_a_request_that_no_handler_serves_leaves_nothing_behind() -> None:
    request = APIRequestFactory().get("/Closed", headers={"Authorization": f"Bearer {signed()}"})
    response = rest_api.Closed.as_view()(request)
    assert response.data == ADA
    del request, response
    gc.collect()  # REST framework's views and requests refer to each other
    assert current_token() is None


def test_uploads_are_closed_with_the_request_still() -> None:
    request = APIRequestFactory().post("/Open", {"file": io.BytesIO(b"content")})
    request.META["HTTP_AUTHORIZATION"] = f"Bearer {signed()}"
    rest_api.Open.as_view()(request)
    [upload] = request.FILES.values()
    assert not upload.closed
    request.close()
    assert upload.closed


def test_a_resolver_decides_who_the_user_is(placed: None) -> None:
    from django.conf import settings

    with override_settings(SKELDIR_JWT={**settings.SKELDIR_JWT, "USER_RESOLVER": f"{__name__}.grace_alone"}):
        assert ask("/Closed", signed(sub="grace")).json() == {
            **ADA,
            "user": "jwt:grace",
            "auth": "grace",
            "current": "grace",
        }
        is_refused(ask("/Closed", signed()), 401, "invalid_token")
        with pytest.raises(LookupError, match="nobody knows"):
            ask("/Closed", signed(sub="alan"))


class Account(TokenUser):
    """An account of the project."""

    def get_username(self) -> str:
        """A name of the project's own."""
        return f"jwt:{self.token.subject}"


def grace_alone(request: Any, token: VerifiedToken) -> Account | None:
    """A resolver."""
    if token.subject == "alan":
        raise LookupError("nobody knows")
    return Account(token) if token.subject == "grace" else None


def test_the_user_that_the_middleware_found_is_the_user(verifier: CountingVerifier) -> None:
    inner = f"{__name__}.impersonating"
    with override_settings(MIDDLEWARE=[MIDDLEWARE, inner]):
        assert ask("/Closed", signed()).json() == {**ADA, "user": "jwt:ada"}
    assert verifier.asked == 1


def impersonating(get_response: Any) -> Any:
    """A middleware of the project that puts another user in place of the token's."""

    def serve(request: Any) -> Any:
        request.user = Account(request.jwt)
        return get_response(request)

    return serve


def test_a_forced_token_has_its_scopes(verifier: Verifier) -> None:
    for scope, status in [("orders:read", 200), ("orders:write", 403)]:
        token = verifier.verify(signed(scope=scope))
        request = APIRequestFactory().get("/Scoped")
        force_authenticate(request, TokenUser(token), token)
        assert rest_api.Scoped.as_view()(request).status_code == status


def test_a_refusal_is_an_authentication_failure_to_handlers_of_the_project() -> None:
    request = rest_api.Open().initialize_request(
        APIRequestFactory().get("/", headers={"Authorization": "Bearer abc"})
    )
    with pytest.raises(AuthenticationFailed) as refused:
        JWTAuthentication().authenticate(request)
    assert json.loads(json.dumps(refused.value.detail))["error"] == "invalid_token"
    assert refused.value.get_codes() == {"error": "invalid_token", "error_description": "invalid_token"}
    malformed = rest_api.Open().initialize_request(
        APIRequestFactory().get("/", headers={"Authorization": "Bearer a b"})
    )
    with pytest.raises(APIException) as refused:
        JWTAuthentication().authenticate(malformed)
    assert not isinstance(refused.value, AuthenticationFailed)
    assert isinstance(JWTAuthentication(), BaseAuthentication)


def test_a_view_that_calls_another_does_not_verify_again(verifier: CountingVerifier) -> None:
    request = APIRequestFactory().get("/", headers={"Authorization": f"Bearer {signed()}"})
    for _ in range(2):
        assert rest_api.Closed.as_view()(request).data == ADA
    assert verifier.asked == 1
    request.close()


def test_a_page_that_has_moved_on_from_the_middleware_is_judged_here(verifier: CountingVerifier) -> None:
    with override_settings(
        MIDDLEWARE=[MIDDLEWARE], SKELDIR_JWT={"VERIFIER": verifier, "EXEMPT": ["/Open", "/Closed"]}
    ):
        assert ask("/Open").json() == NOBODY
        assert ask("/Closed").status_code == 401
        assert ask("/Closed", signed()).json() == ADA
        is_refused(ask("/Closed", BAD["expired"]), 401, "invalid_token")
        assert ask("/Scoped").json()["error"] == "unauthorized"
    assert HasScope.required_scopes is None
