"""A database that is away, stopped, restarted or none at all: every call is bounded and tells no secret."""

from __future__ import annotations

import re
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from store_bench import KEY, PostgresBench, claim_of

from skeldir_jwt_mw.core.effects import StoreContended, StoreUnavailable
from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.stores import PostgresStore
from skeldir_jwt_mw.stores.sqlstate import failed_statement, refused_connection
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

SECRET = "s3cret"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, to be treated badly."""
    with EmbeddedPostgres(max_connections=20) as server:
        migrate(server.dsn())
        yield server


@pytest.fixture
def bench(server: EmbeddedPostgres) -> PostgresBench:
    bench = PostgresBench(server.dsn())
    bench.execute("TRUNCATE public.jwt_verification_cache")
    return bench


def test_a_stopped_server_cannot_hold_a_statement_past_its_deadline(
    server: EmbeddedPostgres, bench: PostgresBench
) -> None:
    session = bench.store.open(0.4)
    session.peek(KEY)
    with server.suspended():
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            session.claim(KEY, claim_of())
        session.close()
        assert time.monotonic() - started < 2


def test_a_stopped_server_cannot_hold_a_connect_past_its_deadline(
    server: EmbeddedPostgres, bench: PostgresBench
) -> None:
    with server.suspended():
        session = bench.store.open(0.3)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            session.claim(KEY, claim_of())
        session.close()
        assert time.monotonic() - started < 2


def test_an_immediate_restart_cuts_the_statement_off_and_keeps_the_lease(
    server: EmbeddedPostgres, bench: PostgresBench
) -> None:
    claim = claim_of(lease=60.0)
    session = bench.store.open(20.0)
    row = session.claim(KEY, claim)
    server.restart("immediate")
    with pytest.raises(StoreContended):
        session.peek(KEY)
    session.close()
    assert bench.claim().verdict == "wait"
    assert bench.claim(claim).fence == row.fence
    assert bench.publish(row, claim)
    assert bench.columns()["refresh_event_count"] == 1


def test_a_server_that_is_down_is_unavailable(server: EmbeddedPostgres, bench: PostgresBench) -> None:
    server.stop_server()
    try:
        with pytest.raises(StoreUnavailable, match="nothing listens"):
            bench.claim()
    finally:
        server.start_server()
    assert bench.claim().verdict == "leader"


@contextmanager
def tcp_server(answer: bytes) -> Iterator[int]:
    """Something on a loopback port that is no Postgres; it answers the first bytes, or never where empty."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            clients.append(client)
            if answer:
                client.recv(1000)
                client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for client in clients:
            client.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"NN"])
def test_what_is_no_postgres_is_unavailable_in_time(answer: bytes) -> None:
    with tcp_server(answer) as port:
        store = PostgresStore(f"postgresql://app:{SECRET}@127.0.0.1:{port}/app")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.open(0.5).peek(KEY)
        assert time.monotonic() - started < 2


def test_errors_hold_nothing_of_the_connection_string(server: EmbeddedPostgres) -> None:
    folder = server.socket_folder
    dsns = [
        f"postgresql://{SECRET}:{SECRET}@/postgres?host={folder}",  # no such role
        f"postgresql://postgres:{SECRET}@/{SECRET}?host={folder}",  # no such database
        f"postgresql://postgres:{SECRET}@{SECRET}.invalid/postgres",  # no such host
        f"postgresql://postgres:{SECRET}@/postgres?host=/{SECRET}",  # no such socket
        f"postgresql://postgres:{SECRET}@127.0.0.1:1/{SECRET}",  # nothing listens
        f"host={folder} user=postgres password={SECRET} options='-c {SECRET}=1'",
    ]
    told = set()
    for dsn in dsns:
        with pytest.raises(StoreUnavailable) as caught:
            PostgresStore(dsn).open(5.0).peek(KEY)
        text = "".join(traceback.format_exception(caught.value))
        assert SECRET not in text
        told.add(str(caught.value))
    assert "the role or the database that the connection string names does not exist" in told
    assert "the host name in the connection string does not resolve" in told
    assert "nothing listens where the connection string points" in told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", "max_connections"),
        ('FATAL:  too many connections for role "app"', "role .*CONNECTION LIMIT"),
        ('FATAL:  too many connections for database "app"', "database .*CONNECTION LIMIT"),
        ("FATAL:  the database system is starting up", "starting up"),
        ("FATAL:  the database system is shutting down", "shutting down"),
        ("FATAL:  no more connections allowed (max_client_conn)", "pooler .*max_client_conn"),
        ("FATAL:  query_wait_timeout", "pooler had no connection"),
        ("FATAL:  server login has been failing, try again later", "pooler cannot connect"),
    ],
)
def test_a_server_that_is_busy_or_coming_up_may_be_asked_again(message: str, told: str) -> None:
    refused = refused_connection(message)
    assert isinstance(refused, StoreContended)
    assert re.search(told, str(refused))


def test_trouble_of_this_process_is_told_as_its_own() -> None:
    refused = refused_connection("connection failed: could not create socket: Too many open files")
    assert "this process" in str(refused)


def test_a_pooler_that_ends_a_statement_is_named() -> None:
    error = psycopg.OperationalError("FATAL:  query_wait_timeout\nserver closed the connection")
    told = failed_statement(error, lost=True)
    assert isinstance(told, StoreContended)
    assert "pooler had no connection" in str(told)


def failed(sqlstate: str | None) -> psycopg.Error:
    """An error of the driver with that code."""
    error = psycopg.Error("s3cret")
    error.sqlstate = sqlstate
    return error


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "53300", "57P03", "57P01", "08006", "08P01"])
def test_what_was_cut_off_may_be_repeated(sqlstate: str) -> None:
    assert isinstance(failed_statement(failed(sqlstate), lost=False), StoreContended)


def test_a_lost_connection_may_be_repeated() -> None:
    assert isinstance(failed_statement(failed(None), lost=True), StoreContended)
    assert isinstance(failed_statement(failed(None), lost=False), StoreUnavailable)
    assert isinstance(failed_statement(failed("53100"), lost=False), StoreUnavailable)
