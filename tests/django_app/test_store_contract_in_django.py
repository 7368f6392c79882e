"""The contract of all stores, kept by DjangoStore: over either driver, with a pool, through PgBouncer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from databases import MakeAlias, aliases
from django_bench import DjangoBench, RemoteBench, RemoteStore, psycopg2_process
from pytest_django import DjangoDbBlocker

pytest.register_assert_rewrite("test_store_contract")
import test_store_contract  # noqa: E402
from store_bench import Bench  # noqa: E402

KINDS: dict[str, dict[str, Any]] = {
    "psycopg": {},
    "the server binds": {"OPTIONS": {"server_side_binding": True}},
    "prepared": {"OPTIONS": {"prepare_threshold": 0}},
    "a pool": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 1}}},
    "serializable": {"OPTIONS": {"options": r"-c default_transaction_isolation=serializable"}},
}


@pytest.fixture(scope="module")
def psycopg2_store() -> Iterator[RemoteStore]:
    with psycopg2_process() as store:
        assert store.ask("driver") == "psycopg2"
        yield store


@pytest.fixture
def make_alias(django_db_blocker: DjangoDbBlocker) -> Iterator[MakeAlias]:
    with django_db_blocker.unblock(), aliases() as make:
        yield make


@pytest.fixture(params=[*KINDS, "the lease alone", "pgbouncer", "psycopg2", "psycopg2 and pgbouncer"])
def bench(request: pytest.FixtureRequest, make_alias: MakeAlias) -> Bench:
    dsn = request.getfixturevalue("pooled_dsn" if "pgbouncer" in request.param else "pg_dsn")
    if request.param.startswith("psycopg2"):
        store: RemoteStore = request.getfixturevalue("psycopg2_store")
        store.ask("use", dsn)
        return RemoteBench(dsn, store)
    use_gate = request.param != "the lease alone"
    return DjangoBench(dsn, make_alias, use_gate=use_gate, **KINDS.get(request.param, {}))


globals().update({name: test for name, test in vars(test_store_contract).items() if name.startswith("test_")})
