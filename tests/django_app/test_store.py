"""A Django project's database as a store: beside requests and their transactions, and never in their way."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django.db
import django.test
import psycopg
import pytest
from databases import MakeAlias, aliases
from django.core.signals import request_finished
from django.db import close_old_connections, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django_bench import DjangoBench, psycopg2_process
from psycopg import sql
from pytest_django import DjangoDbBlocker
from store_bench import KEY, PostgresBench, claim_of, without_encoding

from skeldir_jwt_mw import ConfigurationError, Issuer, KeysUnavailable, RefreshPolicy, Verifier
from skeldir_jwt_mw.core.effects import StoreUnavailable
from skeldir_jwt_mw.django.models import CachedKeySet
from skeldir_jwt_mw.django.store import DjangoStore
from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.sources import CallableSource
from skeldir_jwt_mw.testing import LoopbackIssuer
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

NAME = "skeldir_jwt_mw"
SECRET = "s3cret"


@pytest.fixture
def make_alias(django_db_blocker: DjangoDbBlocker) -> Iterator[MakeAlias]:
    with django_db_blocker.unblock(), aliases() as make:
        yield make


@pytest.fixture
def bench(pg_dsn: str, make_alias: MakeAlias) -> DjangoBench:
    bench = DjangoBench(pg_dsn, make_alias)
    until(lambda: activity(bench) == [])
    return bench


def until(come_about: Callable[[], object], within: float = 10.0) -> None:
    ends = time.monotonic() + within
    while not come_about():
        assert time.monotonic() < ends
        time.sleep(0.01)


def activity(bench: DjangoBench, column: str = "application_name", name: str = NAME) -> list[Any]:
    """A column of pg_stat_activity for the connections under a name, to the bench's database."""
    query = sql.SQL(
        "SELECT {} FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    ).format(sql.Identifier(column))
    with psycopg.connect(bench.dsn) as connection:
        return [row[0] for row in connection.execute(query, [name])]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, to be treated badly."""
    with EmbeddedPostgres(max_connections=20) as server:
        migrate(server.dsn())
        yield server


def ask(alias: str, statement: str) -> None:
    """Run SQL on the connection of a request."""
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


def peek(store: DjangoStore, seconds: float = 5.0) -> None:
    """Ask in a session of its own."""
    session = store.open(seconds)
    try:
        session.peek(KEY)
    finally:
        session.close()


# -- construction -----------------------------------------------------------------------------------------


def test_constructing_one_connects_to_nothing(make_alias: MakeAlias) -> None:
    alias = make_alias("host=/nowhere dbname=nothing user=nobody")
    store = DjangoStore(alias, namespace="orders")
    assert (store.alias, store.namespace, store.shared) == (alias, "orders", True)
    assert repr(store) == f"DjangoStore({alias!r}, namespace='orders')"


def test_the_database_of_the_project_is_the_default() -> None:
    assert DjangoStore().alias == "default"


def test_an_alias_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"no database 'defualt', did you mean 'default'; there are"):
        DjangoStore("defualt")


def test_a_database_that_is_not_postgres_is_a_configuration_error(make_alias: MakeAlias) -> None:
    alias = make_alias("", ENGINE="django.db.backends.sqlite3", NAME=":memory:")
    with pytest.raises(ConfigurationError, match=f"'{alias}' is sqlite; the store needs PostgreSQL"):
        DjangoStore(alias)


def test_what_the_settings_call_a_replica_is_a_configuration_error(
    pg_dsn: str, make_alias: MakeAlias
) -> None:
    alias = make_alias(pg_dsn, TEST={"MIRROR": "default"})
    with pytest.raises(ConfigurationError, match=f"'{alias}' is a replica of 'default'; the store needs the"):
        DjangoStore(alias)


def test_a_namespace_is_a_string() -> None:
    with pytest.raises(ConfigurationError, match="namespace must be a str, not int"):
        DjangoStore(namespace=1)  # type: ignore[arg-type]


# -- transactions of requests -----------------------------------------------------------------------------


def test_a_claim_is_seen_by_others_while_the_request_is_in_its_transaction(bench: DjangoBench) -> None:
    with transaction.atomic(using=bench.alias):
        ask(bench.alias, "SELECT count(*) FROM public.jwt_verification_cache")
        bench.lead()
        assert bench.columns()["lease_owner"] is not None


def test_a_rollback_of_the_request_leaves_the_cache_intact(bench: DjangoBench) -> None:
    with transaction.atomic(using=bench.alias):
        ask(bench.alias, "SELECT count(*) FROM public.jwt_verification_cache")
        generation = bench.fetch()
        transaction.set_rollback(True, using=bench.alias)
    assert bench.columns()["generation"] == generation


def test_a_broken_transaction_of_the_request_is_no_concern_of_the_store(bench: DjangoBench) -> None:
    with transaction.atomic(using=bench.alias), connections[bench.alias].cursor() as cursor:
        with pytest.raises(django.db.DatabaseError):
            cursor.execute("SELECT 1/0")
        bench.fetch()
        with pytest.raises(django.db.DatabaseError, match="aborted"):
            cursor.execute("SELECT 1")
        transaction.set_rollback(True, using=bench.alias)
    assert bench.columns()["refresh_event_count"] == 1


def test_a_claim_waits_for_no_transaction_of_a_request(bench: DjangoBench) -> None:
    bench.fetch()
    with transaction.atomic(using=bench.alias):
        ask(bench.alias, "SELECT * FROM public.jwt_verification_cache FOR UPDATE")
        started = time.monotonic()
        assert bench.claim(force=True, have=2**60).verdict == "contended"  # and does not block
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("autocommit", [True, False])
def test_statements_are_committed_one_by_one_whatever_the_project_does(
    pg_dsn: str, make_alias: MakeAlias, autocommit: bool
) -> None:
    bench = DjangoBench(pg_dsn, make_alias, AUTOCOMMIT=autocommit, ATOMIC_REQUESTS=True)
    with bench.session() as session:
        session.claim(KEY, claim_of())
        assert activity(bench, "state") == ["idle"]
        assert bench.columns()["fetch_attempt_count"] == 1


# -- under test frameworks --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_row_is_written_to_the_test_database_beside_a_test_s_transaction() -> None:
    name = str(connections["default"].settings_dict["NAME"])
    assert name.startswith("test_")
    key = os.urandom(8).hex()
    session = DjangoStore().open(10.0)
    assert session.claim(key, claim_of()).verdict == "leader"
    session.close()
    assert CachedKeySet.objects.get(pk=key).fetch_attempt_count == 1


@pytest.mark.django_db(transaction=True)
def test_a_row_is_written_in_a_transactional_test() -> None:
    key = os.urandom(8).hex()
    session = DjangoStore().open(10.0)
    assert session.claim(key, claim_of()).verdict == "leader"
    with transaction.atomic():
        assert CachedKeySet.objects.get(pk=key).fetch_attempt_count == 1
    session.close()


def test_a_test_without_a_database_finds_the_store_away() -> None:
    session = DjangoStore().open(10.0)
    with pytest.raises(StoreUnavailable, match="the test framework allows no database access here"):
        session.claim(KEY, claim_of())
    session.close()


def test_a_verifier_in_a_test_without_a_database_says_why_it_has_no_keys(
    idp: LoopbackIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = verifier_of(idp, DjangoStore())
    with caplog.at_level(logging.WARNING, "skeldir_jwt_mw"), pytest.raises(KeysUnavailable):
        verifier.verify(idp.token())
    assert "pytest-django's mark is `django_db`" in caplog.text
    assert idp.fetches == 0


class TestOfDjangoItself(django.test.SimpleTestCase):
    """Django keeps its own tests without a database from it, in other threads too."""

    def test_a_simple_test_case_finds_the_store_away(self) -> None:
        """The refusal is a store failure."""
        session = DjangoStore().open(10.0)
        with pytest.raises(StoreUnavailable, match="the test framework"):
            session.claim(KEY, claim_of())


# -- connections ------------------------------------------------------------------------------------------


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


def verifier_of(idp: LoopbackIssuer, store: DjangoStore, **changes: Any) -> Verifier:
    issuer = Issuer(
        idp.issuer,
        audience=idp.audience,
        algorithms=("ES256",),
        **{"jwks_url": idp.jwks_url, "allow_http": True, "allow_private_hosts": True, **changes},
    )
    policy = RefreshPolicy(wait_budget=20.0, fetch_timeout=10.0, lease=20.0, floor=0.5, jitter=0.05)
    return Verifier(issuer, store=store, seal_keys=[bytes(32)], policy=policy)


def test_no_connection_is_held_during_the_fetch_nor_between_refreshes(
    bench: DjangoBench, idp: LoopbackIssuer
) -> None:
    held: list[list[Any]] = []

    def fetch() -> bytes:
        assert bench.columns()["lease_owner"] is not None
        until(lambda: activity(bench) == [])
        held.extend(activity(bench) for _ in range(5))
        return idp.jwks()

    verifier = verifier_of(
        idp, DjangoStore(bench.alias), jwks_url=None, source=CallableSource(fetch, identity="a test")
    )
    before = set(connections.all(initialized_only=True))
    assert verifier.verify(idp.token()).kid == idp.kids[0]
    assert held == [[]] * 5
    until(lambda: activity(bench) == [])
    assert set(connections.all(initialized_only=True)) == before  # none that a request would have to close


def test_the_signals_of_requests_do_not_reach_a_session(bench: DjangoBench) -> None:
    with bench.session() as session:
        session.peek(KEY)
        pid = activity(bench, "pid")
        request_finished.send(sender=None)
        close_old_connections()
        connections.close_all()
        session.peek(KEY)
        assert activity(bench, "pid") == pid
    until(lambda: activity(bench) == [])


@pytest.mark.parametrize("age", [0, 600, None])
def test_a_connection_ends_with_its_session_whatever_the_project_keeps(
    pg_dsn: str, make_alias: MakeAlias, age: int | None
) -> None:
    bench = DjangoBench(pg_dsn, make_alias, CONN_MAX_AGE=age, CONN_HEALTH_CHECKS=True)
    bench.fetch()
    until(lambda: activity(bench) == [])


def test_an_exhausted_pool_of_the_project_is_no_concern_of_the_store(
    pg_dsn: str, make_alias: MakeAlias
) -> None:
    pool = {"min_size": 1, "max_size": 1, "timeout": 0.2}
    bench = DjangoBench(pg_dsn, make_alias, OPTIONS={"pool": pool, "application_name": "project"})
    with connections[bench.alias].cursor() as cursor:  # the pool's only connection
        cursor.execute("SELECT 1")
        bench.fetch()
        assert connections[bench.alias].pool.get_stats()["pool_size"] == 1  # type: ignore[attr-defined]
    bench.fetch(have=2**60)


def test_the_connection_has_a_name_that_the_project_can_change(pg_dsn: str, make_alias: MakeAlias) -> None:
    for options, name in (({}, NAME), ({"application_name": "orders"}, "orders")):
        bench = DjangoBench(pg_dsn, make_alias, OPTIONS=options)
        with bench.session() as session:
            session.peek(KEY)
            assert activity(bench, name=name) == [name]


def test_no_setting_of_the_project_is_changed(pg_dsn: str, make_alias: MakeAlias) -> None:
    alias = make_alias(pg_dsn, OPTIONS={"pool": True, "prepare_threshold": 3}, AUTOCOMMIT=False)
    before = repr(connections.settings[alias])
    peek(DjangoStore(alias))
    assert repr(connections.settings[alias]) == before


def test_no_statement_is_spent_on_a_time_zone(pg_dsn: str, make_alias: MakeAlias) -> None:
    bench = DjangoBench(pg_dsn, make_alias, OPTIONS={"options": "-c timezone=Asia/Tokyo"})
    found: list[str | None] = []

    def receive(connection: Any, **_: Any) -> None:
        found.append(connection.connection.info.parameter_status("TimeZone"))

    connection_created.connect(receive)
    try:
        bench.fetch()
    finally:
        connection_created.disconnect(receive)
    assert set(found) == {"Asia/Tokyo"}


def test_a_role_that_the_project_assumes_is_assumed(pg_dsn: str, make_alias: MakeAlias) -> None:
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS idle_role")
        connection.execute("CREATE ROLE idle_role")
        try:
            bench = DjangoBench(pg_dsn, make_alias, OPTIONS={"assume_role": "idle_role"})
            with pytest.raises(ConfigurationError, match="the database role may not use"):
                bench.claim()
        finally:
            connection.execute("DROP ROLE idle_role")


def test_receivers_of_connection_created_are_called(bench: DjangoBench) -> None:
    seen: list[BaseDatabaseWrapper] = []

    def receive(connection: BaseDatabaseWrapper, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 10000")
        seen.append(connection)

    connection_created.connect(receive)
    try:
        bench.fetch()
    finally:
        connection_created.disconnect(receive)
    assert {connection.alias for connection in seen} == {bench.alias}


def test_a_receiver_that_raises_is_a_store_failure_that_tells_no_secret(bench: DjangoBench) -> None:
    def receive(**_: Any) -> None:
        raise LookupError(SECRET)

    connection_created.connect(receive)
    try:
        with pytest.raises(StoreUnavailable, match="connecting raised LookupError") as caught:
            bench.claim()
    finally:
        connection_created.disconnect(receive)
    assert SECRET not in str(caught.value)
    until(lambda: activity(bench) == [])


def test_a_replica_is_a_configuration_error(pg_dsn: str, make_alias: MakeAlias) -> None:
    bench = DjangoBench(pg_dsn, make_alias, OPTIONS={"options": "-c default_transaction_read_only=on"})
    with pytest.raises(ConfigurationError, match=r"read-only \(a replica\?\); the store needs the primary"):
        bench.claim()


def test_a_database_without_the_table_is_a_configuration_error(
    new_database: Callable[[], str], make_alias: MakeAlias
) -> None:
    bench = DjangoBench(new_database(), make_alias)
    with pytest.raises(ConfigurationError, match=r"manage\.py migrate"):
        bench.claim()


def test_a_database_that_cannot_be_connected_to_is_a_configuration_error(make_alias: MakeAlias) -> None:
    alias = make_alias("dbname=" + "x" * 100)
    with pytest.raises(ConfigurationError, match="longer than PostgreSQL's limit"):
        peek(DjangoStore(alias))


# -- threads and processes --------------------------------------------------------------------------------


def test_of_many_threads_one_leads(bench: DjangoBench) -> None:
    with ThreadPoolExecutor(16) as pool:
        rows = list(pool.map(lambda _: bench.claim(), range(64)))
    verdicts = [row.verdict for row in rows]
    assert verdicts.count("leader") == 1
    assert set(verdicts) <= {"leader", "wait", "contended"}
    assert bench.columns()["fetch_attempt_count"] == 1
    until(lambda: activity(bench) == [])


def test_a_forked_child_shares_no_connection_with_its_parent(bench: DjangoBench) -> None:
    bench.fetch()
    with bench.session() as session:
        session.peek(KEY)
        pid = os.fork()
        if pid == 0:
            try:
                generation = bench.read().generation
            except BaseException:
                os._exit(1)
            os._exit(0 if generation else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert session.peek(KEY).generation > 0


# -- deadlines --------------------------------------------------------------------------------------------


@pytest.fixture
def away(server: EmbeddedPostgres, make_alias: MakeAlias) -> DjangoBench:
    bench = DjangoBench(server.dsn(), make_alias)
    bench.execute("TRUNCATE public.jwt_verification_cache")
    return bench


def test_a_stopped_server_cannot_hold_a_statement_past_its_deadline(
    server: EmbeddedPostgres, away: DjangoBench
) -> None:
    session = away.store.open(0.6)
    session.peek(KEY)
    with server.suspended():
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            session.claim(KEY, claim_of())
        session.close()
        assert time.monotonic() - started < 3


def test_a_stopped_server_cannot_hold_a_connect_past_its_deadline(
    server: EmbeddedPostgres, away: DjangoBench
) -> None:
    with server.suspended():
        session = away.store.open(0.3)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            session.claim(KEY, claim_of())
        session.close()
        assert time.monotonic() - started < 3
    until(lambda: activity(away) == [])  # also the one that came too late


def test_with_psycopg2_a_stopped_server_holds_nothing_past_its_deadline(
    server: EmbeddedPostgres, away: DjangoBench
) -> None:
    with psycopg2_process() as store:
        store.ask("use", away.dsn)
        session = store.open(1.0)
        session.peek(KEY)
        with server.suspended():
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match="in time"):
                session.claim(KEY, claim_of())
            with pytest.raises(StoreUnavailable, match="in time"):
                store.open(0.3).claim(KEY, claim_of())
            assert time.monotonic() - started < 5
        session.close()
        until(lambda: activity(away) == [])
        server.stop_server()
        try:
            with pytest.raises(StoreUnavailable, match="nothing listens"):
                store.open(5.0).peek(KEY)
        finally:
            server.start_server()


def give_up_under_a_lock(store: Any, dsn: str) -> None:
    """A claim that waits for a table that somebody else has locked; nothing of it stays behind."""
    before = PostgresBench(dsn).columns()
    with psycopg.connect(dsn) as stranger, psycopg.connect(dsn, autocommit=True) as watching:
        stranger.execute("LOCK TABLE public.jwt_verification_cache IN ACCESS EXCLUSIVE MODE")
        session = store.open(0.5)
        with pytest.raises(StoreUnavailable, match="in time"):
            session.claim(KEY, claim_of(need=True, have=2**60))
        session.close()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: watching.execute(waiting).fetchone() is None)
    assert PostgresBench(dsn).columns() == before


def test_a_statement_that_is_given_up_is_cancelled_in_the_server(away: DjangoBench) -> None:
    away.fetch()
    give_up_under_a_lock(away.store, away.dsn)
    assert away.claim(need=True, have=2**60).verdict == "leader"


def test_with_psycopg2_a_statement_that_is_given_up_is_cancelled_in_the_server(away: DjangoBench) -> None:
    away.fetch()
    with psycopg2_process() as store:
        store.ask("use", away.dsn)
        give_up_under_a_lock(store, away.dsn)
        assert store.open(5.0).claim(KEY, claim_of(need=True, have=2**60)).verdict == "leader"


def test_over_either_driver_a_database_without_an_encoding_serves(
    postgres_dsn: str, make_alias: MakeAlias, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    with without_encoding(postgres_dsn) as dsn, psycopg2_process() as other:
        bench = DjangoBench(dsn, make_alias)
        other.ask("use", dsn)
        row, claim = bench.lead()
        theirs = other.open(5.0)
        assert theirs.claim(KEY, claim_of()).verdict == "wait"
        assert bench.publish(row, claim)
        assert theirs.claim(KEY, claim_of()).etag == bench.claim().etag == '"one"'
        theirs.close()


def test_a_receiver_that_hangs_cannot_hold_a_connect_past_its_deadline(away: DjangoBench) -> None:
    released = threading.Event()

    def receive(**_: Any) -> None:
        released.wait(30)

    connection_created.connect(receive)
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            peek(DjangoStore(away.alias), 0.3)
        assert time.monotonic() - started < 3
    finally:
        connection_created.disconnect(receive)
        released.set()
    until(lambda: activity(away) == [])


def test_a_server_that_is_down_is_unavailable(server: EmbeddedPostgres, away: DjangoBench) -> None:
    server.stop_server()
    try:
        with pytest.raises(StoreUnavailable, match="nothing listens"):
            away.claim()
    finally:
        server.start_server()
    assert away.claim().verdict == "leader"


def test_errors_hold_nothing_of_the_settings(server: EmbeddedPostgres, make_alias: MakeAlias) -> None:
    folder = server.socket_folder
    for place in (
        {"USER": SECRET, "HOST": folder},
        {"NAME": SECRET, "HOST": folder, "USER": "postgres"},
        {"HOST": f"{SECRET}.invalid"},
        {"HOST": f"/{SECRET}"},
        {"HOST": "127.0.0.1", "PORT": "1"},
    ):
        alias = make_alias("dbname=postgres", **{"PASSWORD": SECRET, **place})
        with pytest.raises(StoreUnavailable) as caught:
            peek(DjangoStore(alias))
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
