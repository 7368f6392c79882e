"""Databases of the tests' own, under an alias that Django knows for as long as a test runs."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

# The bench and the contract of all stores.
sys.path.append(str(Path(__file__).resolve().parents[1] / "stores"))
pytest.register_assert_rewrite("store_bench", "test_store_contract")

MakeAlias = Callable[..., str]


def database_settings(dsn: str, **changes: Any) -> dict[str, Any]:
    """An entry of DATABASES for a connection string; what Django has no name for goes into OPTIONS."""
    given = {name: value for name, value in conninfo_to_dict(dsn).items() if value is not None}
    place = {name: str(given.pop(name.lower(), "")) for name in ("HOST", "PORT", "USER", "PASSWORD")}
    options = {**changes.pop("OPTIONS", {})}
    name = given.pop("dbname", "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        **place,
        "OPTIONS": {**given, **options},
        **changes,
    }


@contextmanager
def aliases() -> Iterator[MakeAlias]:
    """Makes aliases that are forgotten afterwards: `make(dsn, CONN_MAX_AGE=None, OPTIONS={…})`."""
    made: list[str] = []

    def make(dsn: str, **changes: Any) -> str:
        alias = f"made_{len(made)}"
        defaults = copy.deepcopy(connections.settings["default"])
        connections.settings[alias] = {**defaults, **database_settings(dsn, **changes)}
        made.append(alias)
        return alias

    try:
        yield make
    finally:
        for alias in made:
            wrapper: Any = connections[alias]
            wrapper.close()
            if getattr(wrapper, "pool", None):
                wrapper.close_pool()
            delattr(connections._connections, alias)
            del connections.settings[alias]
