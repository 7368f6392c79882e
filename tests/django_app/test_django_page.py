"""What docs/django.md shows works: its settings, views, resolver and test; and it tells everything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from callers import JWKS, STRANGER, get_asgi, get_wsgi, token
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import override_settings

from skeldir_jwt_mw import MemoryStore
from skeldir_jwt_mw import django as adapter
from skeldir_jwt_mw.sources import StaticSource

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/django.md").read_text(encoding="utf-8")
SETTINGS, VIEWS, RESOLVER, SOCKETS, TEST = re.findall(
    r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
)
IDS = re.compile(r"skeldir_jwt_mw\.([EW]\d{3})")


def defined_by(*parts: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "orders"}
    for part in parts:
        exec(compile(part, "docs/django.md", "exec"), names)
    return names


@contextmanager
def project(views: str = VIEWS, **more: Any) -> Iterator[None]:
    """The page's project, with keys at hand."""
    shown = defined_by(SETTINGS)
    keys = {"STORE": MemoryStore(), "SOURCE": StaticSource(JWKS)}
    with override_settings(
        MIDDLEWARE=shown["MIDDLEWARE"],
        SKELDIR_JWT={**shown["SKELDIR_JWT"], **keys, **more},
        ROOT_URLCONF=type("Routes", (), {"urlpatterns": tuple(defined_by(views)["urlpatterns"])}),
    ):
        yield


@pytest.mark.parametrize("get", [get_wsgi, get_asgi])
def test_the_project_guards_its_views(get: Any) -> None:
    with project():
        assert [message for message in run_checks() if "skeldir" in str(message.id)] == []
        assert get("/me", token()).json() == {"subject": "user-1", "user": "user-1"}
        response = get("/orders", token(scope="orders:read"))
        assert response.json() == {"orders": [], "may_write": False}
        assert get("/orders", token()).status_code == 403
        assert get("/orders/7", token(scope="orders:write"), method="PUT").json() == {"number": 7}
        assert get("/orders/7", token(scope="orders:read"), method="PUT").status_code == 403
        assert get("/health", "rubbish").json() == {"ok": True}
        assert get("/admin/").status_code == 404
        for path in ("/me", "/orders", "/unknown"):
            assert get(path).status_code == 401


def test_the_apps_of_the_page_are_those_of_the_project_that_the_tests_run() -> None:
    assert set(defined_by(SETTINGS)["INSTALLED_APPS"]) <= set(settings.INSTALLED_APPS)


@pytest.mark.django_db
@pytest.mark.parametrize("get", [get_wsgi, get_asgi])
def test_the_resolver_finds_employees(get: Any) -> None:
    get_user_model().objects.create_user("eva@example.com")
    with project(USER_RESOLVER=defined_by(RESOLVER)["employee"]):
        vouched = {"email": "eva@example.com", "email_verified": True}
        assert get("/me", token(**vouched)).json()["user"] == "eva@example.com"
        for claims in ({}, {"email": "eva@example.com"}, {**vouched, "email": "max@example.com"}):
            assert get("/me", token(**claims)).status_code == 401


@pytest.mark.django_db  # which Channels looks after whenever a consumer has run
def test_the_sockets_of_the_page_tell_their_users_and_refuse_others() -> None:
    headers = {"host": "testserver", "origin": "https://testserver"}

    async def updates(app: Any, raw: str | None, **more: str) -> Any:
        given = {**headers, **more, **({} if raw is None else {"authorization": f"Bearer {raw}"})}
        lines = [(name.encode(), value.encode()) for name, value in given.items()]
        client = WebsocketCommunicator(app, "/updates", lines)
        accepted, _ = await client.connect()
        told = await client.receive_json_from() if accepted else None
        await client.disconnect()
        return told

    with project(), override_settings(ALLOWED_HOSTS=["testserver"]):
        app = defined_by("from django.urls import path", SOCKETS)["application"]
        assert async_to_sync(updates)(app, token()) == {"updates for": "user-1"}
        assert async_to_sync(updates)(app, None) is None
        assert async_to_sync(updates)(app, token(key=STRANGER)) is None
        assert async_to_sync(updates)(app, token(), origin="https://elsewhere.example.com") is None


def test_the_test_passes_and_can_fail() -> None:
    with project():
        defined_by(TEST)["test_orders_need_a_scope"]()
    unguarded = VIEWS.replace('@jwt_required(scopes=["orders:read"])\n', "")
    with project(unguarded), pytest.raises(AssertionError):
        defined_by(TEST)["test_orders_need_a_scope"]()


def test_the_page_tells_every_public_name_and_every_check() -> None:
    assert [name for name in adapter.__all__ if f"`{name}" not in PAGE and f"`@{name}" not in PAGE] == []
    checks = (ROOT / "skeldir_jwt_mw/django/checks.py").read_text(encoding="utf-8")
    raised = {*IDS.findall(checks), *re.findall(r'"([EW]\d{3})"', checks)}
    assert raised == set(IDS.findall(PAGE))
    assert len(raised) == 11
