"""What docs/rest-framework.md shows works: its settings, its views, its test, in a project of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = Path(__file__).resolve().parents[2].joinpath("docs/rest-framework.md").read_text(encoding="utf-8")
SETTINGS, VIEWS, TEST = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
ISSUER = "https://login.example.com/"
KEY = SigningKey.generate("ES256", kid="page")

# The page's project: its settings, and its views at routes. DATABASES is none, so that keys stay in memory.
PROJECT = """
import json, sys, types
import django
from django.conf import settings

given = json.load(sys.stdin)
names = {}
exec(given["settings"], names)
settings.configure(SECRET_KEY="s", ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls", **{
    name: value for name, value in names.items() if name.isupper()})
django.setup()

from django.urls import include, path
from rest_framework.routers import SimpleRouter

urls = sys.modules["urls"] = types.ModuleType("urls")
exec(given["views"], urls.__dict__)
router = SimpleRouter()
router.register("orders", urls.Orders, basename="orders")
urls.urlpatterns = [path("me", urls.Me.as_view()), path("audit", urls.audit), path("", include(router.urls))]
"""
ASKING = """
from rest_framework.test import APIClient
from skeldir_jwt_mw import Issuer
from skeldir_jwt_mw.django import conf
from skeldir_jwt_mw.sources import StaticSource

source = StaticSource(given["jwks"])
conf.verifier().set_issuers([Issuer(given["issuer"], audience="orders-api", source=source)])
answers = []
for method, target, token in given["requests"]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    response = APIClient().generic(method, target, headers=headers)
    answers.append([response.status_code, response.json(), response.headers.get("WWW-Authenticate")])
print(json.dumps(answers))
"""


def run(code: str, **given: Any) -> str:
    """What the page's project prints, as one of its own processes."""
    content = json.dumps({"settings": SETTINGS, "views": VIEWS, **given})
    command = [sys.executable, "-W", "error", "-c", PROJECT + code]
    done = subprocess.run(command, input=content, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_views_answer_as_the_page_says() -> None:
    def signed(scope: str, **claims: Any) -> str:
        payload = {"iss": ISSUER, "aud": "orders-api", "sub": "ada", "exp": 2**33, "scope": scope}
        return mint(KEY, {**payload, **claims})

    requests = [
        ("GET", "/me", signed("")),
        ("GET", "/me", None),
        ("GET", "/me", signed("", exp=1)),
        ("GET", "/me", "a b"),
        ("GET", "/orders/", signed("orders:read")),
        ("POST", "/orders/", signed("orders:read orders:write")),
        ("POST", "/orders/", signed("orders:write")),
        ("OPTIONS", "/orders/", signed("orders:read orders:write")),
        ("GET", "/audit", signed("orders:audit")),
        ("GET", "/audit", signed("orders:read")),
    ]
    answers = json.loads(run(ASKING, jwks={"keys": [KEY.jwk()]}, issuer=ISSUER, requests=requests))
    assert [status for status, _, _ in answers] == [200, 401, 401, 400, 200, 201, 403, 403, 200, 403]
    assert answers[0][1] == {"subject": "ada", "tenant": None}
    assert answers[1][2] == 'Bearer realm="api"'
    assert answers[5][1] == {"owner": "ada"}
    assert answers[6][2].endswith('scope="orders:read orders:write"')
    assert [answers[place][1].get("error") for place in (2, 3, 6, 9)] == [
        "invalid_token",
        "invalid_request",
        "insufficient_scope",
        "insufficient_scope",
    ]


def test_the_test_passes() -> None:
    code = f"{TEST}\ntest_orders_need_a_scope()\nprint('passed')"
    assert run(code) == "passed\n"
