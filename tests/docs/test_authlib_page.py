"""What docs/authlib.md shows works, under Flask and under Django."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pages import blocks, section, text_of

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = text_of("docs/authlib.md")
ISSUER = "https://login.example.com/"
KEY = SigningKey.generate()
CLAIMS = {"iss": ISSUER, "aud": "orders-api", "sub": "ada", "exp": 2**33, "scope": "orders:read"}


def defined_by(title: str) -> dict[str, Any]:
    """What the example of a section defines, with keys at hand."""
    [example] = blocks(section(PAGE, title), "python")
    names: dict[str, Any] = {"__name__": "orders"}
    exec(compile(example, "docs/authlib.md", "exec"), names)
    verifier: Verifier = names["verifier"]
    verifier.set_issuers([Issuer(ISSUER, audience="orders-api", source=StaticSource({"keys": [KEY.jwk()]}))])
    return names


CASES = [({}, 401, None), ({"scope": "orders:write"}, 403, None), ({"scope": "orders:read"}, 200, "ada")]


@pytest.mark.parametrize(("claims", "status", "owner"), CASES)
def test_the_view_of_flask_is_protected(claims: dict[str, str], status: int, owner: str | None) -> None:
    headers = {"Authorization": f"Bearer {mint(KEY, {**CLAIMS, **claims})}"} if claims else {}
    client = defined_by("Flask")["app"].test_client()
    with client.get("/orders", headers=headers, base_url="https://api.example.com") as response:
        assert (response.status_code, response.get_json().get("owner")) == (status, owner)


@pytest.mark.platform
@pytest.mark.parametrize(("claims", "status", "owner"), CASES)
def test_the_view_of_django_is_protected(claims: dict[str, str], status: int, owner: str | None) -> None:
    pytest.importorskip("django")
    from django.test import RequestFactory

    headers = {"Authorization": f"Bearer {mint(KEY, {**CLAIMS, **claims})}"} if claims else {}
    request = RequestFactory().get("/orders", headers=headers, secure=True)
    response = defined_by("Django")["orders"](request)
    assert (response.status_code, json.loads(response.content).get("owner")) == (status, owner)
