"""Postgres for the tests: one server for the whole run, one database for each of pytest-xdist's workers.

`SKELDIR_JWT_TEST_DSN` names a server to use instead of an embedded one; its role must be allowed to create
databases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.testing.pgbouncer import PgBouncer, PgBouncerMissing
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

# The mutation toggle alone must turn the fleet's proofs red.
os.environ.setdefault("SKELDIR_JWT_ALLOW_MUTATIONS", "1")

GIVEN_DSN = "SKELDIR_JWT_TEST_DSN"
SHARED_SERVER = pytest.StashKey[EmbeddedPostgres]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Before pytest-xdist starts a worker: all share one server, which lives as long as the run."""
    if GIVEN_DSN in os.environ:
        return
    stash = node.config.stash
    if SHARED_SERVER not in stash:
        stash[SHARED_SERVER] = EmbeddedPostgres()
        stash[SHARED_SERVER].start()
    node.workerinput["postgres_dsn"] = stash[SHARED_SERVER].dsn()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the shared server with the run."""
    if SHARED_SERVER in config.stash:
        config.stash[SHARED_SERVER].close()


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the run's server in which nothing is kept: for creating others."""
    given = os.environ.get(GIVEN_DSN) or getattr(request.config, "workerinput", {}).get("postgres_dsn")
    if given is not None:
        yield given
        return
    with EmbeddedPostgres() as server:
        yield server.dsn()


@pytest.fixture(scope="session")
def new_database(postgres_dsn: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases that go with the run; returns the DSN of each."""
    made: list[str] = []
    with psycopg.connect(postgres_dsn, autocommit=True) as connection, ExitStack() as cleanup:

        def make() -> str:
            name = f"skeldir_test_{os.getpid()}_{len(made)}"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            cleanup.callback(connection.execute, drop)
            made.append(name)
            return make_conninfo(postgres_dsn, dbname=name)

        yield make


@pytest.fixture(scope="session")
def migrated_dsn(new_database: Callable[[], str]) -> str:
    """The worker's database, with the table in it."""
    dsn = new_database()
    migrate(dsn)
    return dsn


@pytest.fixture
def pg_dsn(migrated_dsn: str) -> str:
    """The worker's database, with no rows in it."""
    with psycopg.connect(migrated_dsn) as connection:
        connection.execute("TRUNCATE public.jwt_verification_cache")
    return migrated_dsn


@pytest.fixture(scope="session")
def pgbouncer(postgres_dsn: str) -> Iterator[PgBouncer]:
    """A pool of four connections in transaction mode, in front of the run's server."""
    with ExitStack() as stack:
        try:
            pool = stack.enter_context(PgBouncer(postgres_dsn))
        except PgBouncerMissing as missing:
            pytest.skip(str(missing))
        yield pool


@pytest.fixture(scope="session")
def pooled_database(new_database: Callable[[], str]) -> str:
    """Another database with the table in it: the pool keeps connections to it open."""
    dsn = new_database()
    migrate(dsn)
    return dsn


@pytest.fixture
def pooled_dsn(pgbouncer: PgBouncer, pooled_database: str) -> str:
    """A database through PgBouncer, with no rows in it."""
    with psycopg.connect(pooled_database) as connection:
        connection.execute("TRUNCATE public.jwt_verification_cache")
    return pgbouncer.dsn(str(conninfo_to_dict(pooled_database)["dbname"]))
