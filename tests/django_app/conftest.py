"""Fixtures of the Django tests: pytest-django's databases on the run's own Postgres server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from callers import OURS, SESSIONS, Get, get_asgi, get_wsgi, new_verifier
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, postgres_dsn: str
) -> None:
    """Point every alias at the run's server; pytest-django makes a test database of each there."""
    from django.db import connections

    given = conninfo_to_dict(postgres_dsn)
    place = {name: str(given.get(name.lower()) or "") for name in ("HOST", "PORT", "USER", "PASSWORD")}
    for settings in connections.settings.values():
        settings.update(place)


@pytest.fixture
def site() -> Iterator[Callable[..., None]]:
    """The project with the middleware, and options of it."""
    verifier = new_verifier()
    overridden: list[override_settings] = []

    def configure(*middleware: str, project: dict[str, Any] | None = None, **options: Any) -> None:
        override = override_settings(
            MIDDLEWARE=list(middleware) or [*SESSIONS, OURS],
            SKELDIR_JWT={"VERIFIER": verifier, **options},
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
            **(project or {}),
        )
        override.enable()
        overridden.append(override)

    configure()
    yield configure
    while overridden:
        overridden.pop().disable()
    verifier.close()


@pytest.fixture(params=[get_wsgi, get_asgi], ids=["wsgi", "asgi"])
def get(request: pytest.FixtureRequest, site: object) -> Get:
    return request.param  # type: ignore[no-any-return]
