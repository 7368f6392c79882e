"""One crew of worker processes and one provider for all proofs that a pytest process makes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from typing import Any

import mutations
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.testing.fleet import Fleet, WorkerSetup
from skeldir_jwt_mw.testing.issuer_process import IssuerProcess
from skeldir_jwt_mw.testing.pgbouncer import PgBouncer
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

pytest.register_assert_rewrite("scene")
from scene import RECORD, Scene  # noqa: E402

mutations.prepare()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """What holds always belongs to every proof."""
    result = yield
    for scene in pyfuncitem.funcargs.values():
        if isinstance(scene, Scene):
            scene.assert_what_holds_always()
    return result


@pytest.fixture(scope="session")
def fleet_dsn(new_database: Callable[[], str]) -> str:
    """A database whose table keeps a record of its changes."""
    return recorded(new_database())


def recorded(dsn: str) -> str:
    """Make the table in a database, and its record."""
    migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(RECORD.encode())
    return dsn


@pytest.fixture(scope="session")
def provider_process() -> Iterator[IssuerProcess]:
    with IssuerProcess() as provider:
        yield provider


@pytest.fixture
def provider(provider_process: IssuerProcess) -> IssuerProcess:
    """The provider, with good manners and one new key."""
    provider_process.up()
    provider_process.configure()
    provider_process.serve(None)
    provider_process.rotate(keep_previous=False)
    return provider_process


@pytest.fixture(scope="session")
def crew(provider_process: IssuerProcess, fleet_dsn: str) -> Iterator[Fleet]:
    """The workers of all proofs: spawned when first needed, made cold for each."""
    setup = WorkerSetup(
        issuer=provider_process.issuer,
        audience=provider_process.audience,
        jwks_url=provider_process.jwks_url,
        dsn=fleet_dsn,
        seal_keys=(bytes(32),),
        prepare=mutations.prepare,
    )
    with Fleet(0, setup) as fleet:
        yield fleet


@pytest.fixture
def scene(crew: Fleet, provider: IssuerProcess, fleet_dsn: str) -> Iterator[Scene]:
    """A cold crew, an empty table, a provider with one key."""
    yield Scene(crew=crew, provider=provider, dsn=fleet_dsn)
    wake(crew)


def wake(crew: Fleet) -> None:
    """Let workers that a failed proof has left stopped go on."""
    for worker in range(crew.size):
        if crew.is_alive(worker):
            crew.signal(worker, signal.SIGCONT)


@pytest.fixture
def pooled(pgbouncer: PgBouncer, fleet_dsn: str) -> str:
    """The fleet's database through PgBouncer in transaction mode."""
    return pgbouncer.dsn(str(conninfo_to_dict(fleet_dsn)["dbname"]))


@pytest.fixture(scope="session")
def breakable() -> Iterator[EmbeddedPostgres]:
    """A server of our own, for proofs that stop it."""
    with EmbeddedPostgres(max_connections=60) as server:
        recorded(server.dsn())
        yield server


@pytest.fixture
def breakable_scene(crew: Fleet, provider: IssuerProcess, breakable: EmbeddedPostgres) -> Iterator[Scene]:
    """A scene on the server that is `breakable`."""
    yield Scene(crew=crew, provider=provider, dsn=breakable.dsn())
    wake(crew)
