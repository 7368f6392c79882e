"""What drf-spectacular says of an API whose views take tokens; and that nobody has to have it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import rest_api
from django.test import override_settings
from drf_spectacular.generators import SchemaGenerator

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.django import from_cookie, from_header
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey

ISSUER = "https://login.example.com/"
DISCOVERED = Issuer(ISSUER, audience="orders-api")
KNOWN = Issuer(ISSUER, audience="orders-api", source=StaticSource({"keys": [SigningKey.generate().jwk()]}))
OTHER = Issuer("https://login.example.org/", audience="orders-api")


def described(*issuers: Issuer, **options: Any) -> dict[str, Any]:
    """The document of the API of `rest_api`."""
    patterns = [pattern for pattern in rest_api.urlpatterns if str(pattern.pattern) != "Untold"]
    with override_settings(SKELDIR_JWT={"VERIFIER": Verifier(issuers), **options}):
        document: dict[str, Any] = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)
    return document


def schemes_of(document: dict[str, Any]) -> dict[str, Any]:
    schemes: dict[str, Any] = document["components"]["securitySchemes"]
    return {name: scheme for name, scheme in schemes.items() if name != "cookieAuth"}  # which is a session's


@pytest.mark.parametrize(
    ("issuers", "options", "scheme"),
    [
        (
            [DISCOVERED],
            {},
            {"type": "openIdConnect", "openIdConnectUrl": f"{ISSUER}.well-known/openid-configuration"},
        ),
        ([KNOWN], {}, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
        ([DISCOVERED, OTHER], {}, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
        (
            [DISCOVERED],
            {"TOKEN_GETTER": from_header("X-Token")},
            {"type": "apiKey", "in": "header", "name": "X-Token"},
        ),
        (
            [DISCOVERED],
            {"TOKEN_GETTER": from_cookie("__session")},
            {"type": "apiKey", "in": "cookie", "name": "__session"},
        ),
    ],
)
def test_the_scheme_tells_where_tokens_come_from(
    issuers: list[Issuer], options: dict[str, Any], scheme: dict[str, str]
) -> None:
    assert schemes_of(described(*issuers, **options)) == {"jwtAuth": scheme}


def test_an_operation_tells_its_scopes() -> None:
    paths = described(DISCOVERED)["paths"]
    for path, method, security in [
        ("/Open", "get", [{"jwtAuth": []}, {}]),
        ("/Closed", "get", [{"jwtAuth": []}]),
        ("/Scoped", "get", [{"jwtAuth": ["orders:read"]}]),
        ("/Scoped", "post", [{"jwtAuth": ["orders:read"]}]),
        ("/Lone", "get", [{"jwtAuth": ["orders:read"]}]),
        ("/Both", "get", [{"jwtAuth": ["orders:read", "orders:write"]}]),
        ("/ByMethod", "get", [{"jwtAuth": ["orders:read"]}]),
        ("/ByMethod", "post", [{"jwtAuth": ["admin"]}]),
        ("/orders/", "get", [{"jwtAuth": ["orders:read"]}]),
        ("/orders/", "post", [{"jwtAuth": ["admin"]}]),
        ("/orders/{id}/", "delete", [{"jwtAuth": []}]),
        ("/reading", "get", [{"jwtAuth": ["orders:read"]}]),
        ("/AdminsOrAnybody", "get", [{"jwtAuth": []}]),
        ("/OfSessions", "get", [{"cookieAuth": []}]),
    ]:
        assert paths[path][method]["security"] == security, path


def test_a_scheme_that_knows_no_scopes_tells_none() -> None:
    assert described(KNOWN)["paths"]["/Scoped"]["get"]["security"] == [{"jwtAuth": []}]


def test_without_drf_spectacular_the_classes_work() -> None:
    code = """if True:
        import sys
        sys.modules["drf_spectacular"] = None
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["rest_framework", "skeldir_jwt_mw.django"], SECRET_KEY="s",
            SKELDIR_JWT={"ISSUER": "https://login.example.com/", "AUDIENCE": "a"},
            REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES":
                ["skeldir_jwt_mw.django.rest_framework.JWTAuthentication"]})
        django.setup()
        from rest_framework.views import APIView
        print(APIView.authentication_classes[0].__name__)
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("JWTAuthentication\n", "")
