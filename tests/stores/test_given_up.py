"""Statements that nobody waits for any more: cancelled in the server, and worth nothing if they come late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from store_bench import KEY, PostgresBench, claim_of, publish_of

from skeldir_jwt_mw.core.effects import StoreContended, StoreUnavailable
from skeldir_jwt_mw.stores import PostgresStore
from skeldir_jwt_mw.stores.cancel import cancel_statement
from skeldir_jwt_mw.stores.postgres import Psycopg
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

LOCK = "LOCK TABLE public.jwt_verification_cache IN ACCESS EXCLUSIVE MODE"
PATIENCE = 1.5  # seconds, of which a tenth is for the cancel to be heard, on a busy machine too


@contextmanager
def locked(dsn: str, statement: str = LOCK) -> Iterator[None]:
    """Somebody's long transaction."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())
        yield
        connection.rollback()


def waiting(dsn: str) -> int:
    """How many backends wait for a lock in this database."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def until(holds: Callable[[], bool]) -> bool:
    """Whether it holds, now or in a moment."""
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def give_up(bench: PostgresBench, seconds: float = PATIENCE) -> str:
    """A claim under the lock; what its sender is told."""
    session = bench.store.open(seconds)
    try:
        with pytest.raises((StoreUnavailable, StoreContended)) as caught:
            session.claim(KEY, claim_of(need=True, have=2**60))
        return str(caught.value)
    finally:
        session.close()


@pytest.fixture(params=["direct", "pgbouncer"])
def bench(request: pytest.FixtureRequest, pg_dsn: str) -> PostgresBench:
    pooled = request.param == "pgbouncer"
    bench = PostgresBench(request.getfixturevalue("pooled_dsn") if pooled else pg_dsn)
    bench.dsn = request.getfixturevalue("pooled_database") if pooled else pg_dsn
    bench.fetch()
    return bench


def test_a_locked_table_leaves_no_backend_waiting_for_nobody(bench: PostgresBench) -> None:
    before = bench.columns()
    with locked(bench.dsn):
        for _ in range(3):
            with ThreadPoolExecutor(4) as pool:
                told = list(pool.map(lambda _: give_up(bench), range(4)))
            assert any("in time" in text for text in told)
            assert until(lambda: waiting(bench.dsn) == 0)
    assert bench.columns() == before


def test_a_row_that_is_locked_leaves_no_publish_behind(bench: PostgresBench) -> None:
    row, claim = bench.lead(need=True, have=2**60)
    with locked(bench.dsn, "SELECT 1 FROM public.jwt_verification_cache FOR UPDATE"):
        session = bench.store.open(PATIENCE)
        with pytest.raises(StoreUnavailable, match="in time"):
            session.publish(KEY, publish_of(row, claim))
        session.close()
        assert until(lambda: waiting(bench.dsn) == 0)
    assert bench.columns()["refresh_event_count"] == 1
    assert bench.publish(row, claim)


def test_a_claim_that_was_not_cancelled_takes_no_lease_when_the_lock_ends(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Psycopg, "cancel", lambda *_: None)
    before = bench.columns()
    with locked(bench.dsn):
        give_up(bench)
        assert waiting(bench.dsn) == 1
    assert until(lambda: waiting(bench.dsn) == 0)
    assert bench.columns() == before
    assert bench.claim(need=True, have=2**60).verdict == "leader"


def test_a_claim_that_was_kept_waiting_within_its_senders_patience_leads(bench: PostgresBench) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(bench.dsn):
            claiming = pool.submit(bench.claim, need=True, have=2**60)
            assert until(lambda: waiting(bench.dsn) == 1)
        assert claiming.result(10).verdict == "leader"


def test_no_connection_is_opened_while_a_statement_waits_for_its_cancel(
    pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = PostgresBench(pg_dsn)
    bench.fetch()
    asked, heard = threading.Event(), threading.Event()

    def cancel(_driver: Psycopg, connection: Any, seconds: float) -> None:
        asked.set()
        heard.wait(seconds)

    monkeypatch.setattr(Psycopg, "cancel", cancel)
    with locked(pg_dsn):
        assert "in time" in give_up(bench)
        assert asked.is_set()
        for _ in range(5):
            assert "still being cancelled" in give_up(bench)
        assert waiting(pg_dsn) == 1
        heard.set()
        assert until(lambda: not bench.store._driver.cancellations.under_way())  # type: ignore[attr-defined]
        assert "in time" in give_up(bench)
        assert waiting(pg_dsn) == 2
    assert until(lambda: waiting(pg_dsn) == 0)


def test_an_idle_session_is_not_cancelled(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(Psycopg, "cancel", lambda _, __, seconds: asked.append(seconds))
    session = PostgresStore(pg_dsn).open(0.1)
    session.peek(KEY)
    assert until(lambda: session._connection._watch.timed_out)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="in time"):
        session.peek(KEY)
    assert asked == []


def test_with_an_old_libpq_a_statement_is_cancelled_whose_connection_is_closed_meanwhile(
    pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()
    monkeypatch.setattr("skeldir_jwt_mw.stores.cancel._has_time_limit", lambda _: False)
    monkeypatch.setattr("skeldir_jwt_mw.stores.cancel._answers", lambda _, seconds: closed.wait(seconds))
    bench = PostgresBench(pg_dsn)
    bench.fetch()
    with locked(pg_dsn):
        give_up(bench)
        assert waiting(pg_dsn) == 1
        closed.set()
        assert until(lambda: waiting(pg_dsn) == 0)


def test_an_old_libpq_asks_only_a_server_that_answers(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request has no time limit, and stops the whole process."""
    monkeypatch.setattr("skeldir_jwt_mw.stores.cancel._has_time_limit", lambda _: False)
    bench = PostgresBench(pg_dsn)
    bench.fetch()
    with locked(pg_dsn):
        give_up(bench)
        assert until(lambda: waiting(pg_dsn) == 0)
    with EmbeddedPostgres(max_connections=10) as server:
        connection = psycopg.connect(server.dsn())
        cancelled: list[None] = []
        request = SimpleNamespace(cancel=lambda: cancelled.append(None))
        old: Any = SimpleNamespace(pgconn=SimpleNamespace(get_cancel=lambda: request))
        cancel_statement(old, connection.fileno(), 5.0)
        assert cancelled == [None]
        with server.suspended(), pytest.raises(TimeoutError):
            cancel_statement(connection, connection.fileno(), 0.2)
        assert cancelled == [None]
        connection.close()


def hangs(conninfo: Callable[[], str], attempts: int) -> list[str]:
    """What attempts to connect are told, one after the other."""
    store = PostgresStore(conninfo)
    told = []
    for _ in range(attempts):
        with pytest.raises(StoreUnavailable) as caught:
            store.open(0.1).peek(KEY)
        told.append(str(caught.value))
    return told


def test_a_callable_that_hangs_costs_one_thread_and_is_named(pg_dsn: str) -> None:
    asked, release = [], threading.Event()

    def conninfo() -> str:
        asked.append(None)
        release.wait(30)
        return pg_dsn

    try:
        told = hangs(conninfo, 5)
    finally:
        release.set()
    assert told == ["the callable given as conninfo did not return in time"] * 5
    assert asked == [None]


def test_a_server_that_does_not_answer_costs_one_thread_and_is_named() -> None:
    with EmbeddedPostgres(max_connections=10) as server:
        dsn = server.dsn()
        before = threading.active_count()
        with server.suspended():
            told = hangs(lambda: dsn, 5)
            assert told == ["no connection to the database was made in time"] * 5
            assert threading.active_count() <= before + 1
        assert until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize("broken", ["threading.Timer.start", "os.dup"])
def test_a_connection_that_cannot_be_watched_is_closed_again(
    pg_dsn: str, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    connections: list[psycopg.Connection[Any]] = []
    connect = Psycopg.connect

    def remembering(driver: Psycopg, timeout: int) -> psycopg.Connection[Any]:
        connections.append(connect(driver, timeout))
        return connections[-1]

    def fails(*_: Any) -> None:
        raise OSError("none left")

    monkeypatch.setattr(Psycopg, "connect", remembering)
    session = PostgresStore(pg_dsn).open(5.0)
    with monkeypatch.context() as patched:
        patched.setattr(broken, fails)
        with pytest.raises(OSError, match="none left"):
            session.peek(KEY)
    session.close()
    assert [connection.closed for connection in connections] == [True]
    assert not session.peek(KEY).running
    session.close()


def test_many_may_connect_side_by_side(pg_dsn: str) -> None:
    bench = PostgresBench(pg_dsn)
    barrier = threading.Barrier(8)

    def conninfo() -> str:
        barrier.wait(10)
        return pg_dsn

    store = PostgresStore(conninfo)
    bench.fetch()
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda _: store.open(10.0), range(8)))
        assert all(not peeked.running for peeked in pool.map(lambda session: session.peek(KEY), sessions))
    for session in sessions:
        session.close()


def test_a_server_without_room_says_so_at_once() -> None:
    with EmbeddedPostgres(max_connections=6) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN CONNECTION LIMIT 1")
            connection.execute("CREATE ROLE plain LOGIN")
        app = psycopg.conninfo.make_conninfo(server.dsn(), user="app")
        with psycopg.connect(app), pytest.raises(StoreContended, match="CONNECTION LIMIT"):
            PostgresStore(app).open(5.0).peek(KEY)
        plain = psycopg.conninfo.make_conninfo(server.dsn(), user="plain")
        held = [psycopg.connect(server.dsn()) for _ in range(6)]
        with pytest.raises(StoreContended, match="max_connections"):
            PostgresStore(plain).open(5.0).peek(KEY)
        for connection in held:
            connection.close()
