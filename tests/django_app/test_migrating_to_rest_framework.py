"""The settings that docs/migrating.md gives to users of simplejwt, in a project of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = Path(__file__).resolve().parents[2].joinpath("docs/migrating.md").read_text(encoding="utf-8")
(SETTINGS,) = re.findall(r"^```python\n(REST_FRAMEWORK(?:(?!^```).)*^SKELDIR_JWT.*?)^```$", PAGE, re.S | re.M)
(INSTALLED,) = re.findall(r'`("[\w.]+")` into `INSTALLED_APPS`', PAGE)
ISSUER = "https://login.example.com/"
KEY = SigningKey.generate("RS256", kid="page")

PROJECT = """
import json, sys, types
import django
from django.conf import settings

given = json.load(sys.stdin)
names = {}
exec(given["settings"], names)
settings.configure(SECRET_KEY="s", ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework",
        json.loads(given["installed"])],
    **{name: value for name, value in names.items() if name.isupper()})
django.setup()

from django.urls import path
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView
from skeldir_jwt_mw import Issuer, VerifiedToken
from skeldir_jwt_mw.django import conf
from skeldir_jwt_mw.sources import StaticSource

class Me(APIView):
    def get(self, request):
        assert isinstance(request.auth, VerifiedToken)
        return Response([request.user.id, request.auth.subject, request.auth.claims["tier"]])

urls = sys.modules["urls"] = types.ModuleType("urls")
urls.urlpatterns = [path("me", Me.as_view())]
verifier = conf.verifier()
(served,) = verifier._roster.served
assert served.issuer == Issuer(given["issuer"], audience="orders-api", algorithms=["RS256"], leeway=10,
    jwks_url="https://login.example.com/.well-known/jwks.json")
verifier.set_issuers(
    [Issuer(given["issuer"], audience="orders-api", source=StaticSource({"keys": [given["jwk"]]}))])
answers = []
for token in given["tokens"]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    response = APIClient().get("/me", headers=headers)
    answers.append([response.status_code, response.json()])
print(json.dumps(answers))
"""


def test_a_project_with_these_settings_answers_for_the_providers_tokens() -> None:
    claims = {"iss": ISSUER, "aud": "orders-api", "sub": "ada", "exp": 2**33, "tier": "gold"}
    tokens = [mint(KEY, claims), None, mint(KEY, {**claims, "aud": "another"})]
    given = {
        "settings": SETTINGS,
        "installed": INSTALLED,
        "issuer": ISSUER,
        "jwk": KEY.jwk(),
        "tokens": tokens,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROJECT],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [status for status, _ in answers] == [200, 401, 401]
    assert answers[0][1] == ["ada", "ada", "gold"]
