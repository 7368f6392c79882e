"""Connection strings as other tools write them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.stores import PostgresStore
from skeldir_jwt_mw.stores.conninfo import normalised
from skeldir_jwt_mw.stores.postgres import connect_parameters

APP = {"user": "app", "password": "s3cret", "host": "db", "dbname": "app"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://app:s3cret@db/app", APP),
        ("postgres://app:s3cret@db/app", APP),
        ("postgresql+asyncpg://app:s3cret@db/app", APP),
        ("postgresql+psycopg://app:s3cret@db/app", APP),
        ("postgresql+psycopg2://app:s3cret@db/app", APP),
        ("POSTGRESQL+PG8000://app:s3cret@db/app", APP),
        ("jdbc:postgresql://app:s3cret@db/app", APP),
        ("  postgresql://app:s3cret@db/app\n", APP),
        ("postgresql://app:s3cret@db/app?pgbouncer=true&connection_limit=1&schema=public", APP),
        ("postgresql://app:s3cret@db/app?", APP),
        (
            "postgresql+asyncpg://app:s3cret@db/app?ssl=require&prepared_statement_cache_size=0",
            {**APP, "sslmode": "require"},
        ),
        ("postgresql://app:s3cret@db/app?ssl=true", {**APP, "sslmode": "require"}),
        ("postgresql://app:s3cret@db/app?sslmode=verify-full", {**APP, "sslmode": "verify-full"}),
        ("postgresql://app:what?ever@db/app?pgbouncer=true", {**APP, "password": "what?ever"}),
        ("postgresql://app:p%40ss@db/app", {**APP, "password": "p@ss"}),
        ("postgresql:///app?host=/run/postgresql", {"dbname": "app", "host": "/run/postgresql"}),
        ("postgresql://a:1,b:2/app", {"host": "a,b", "port": "1,2", "dbname": "app"}),
        ("host=db dbname=app user=app password=s3cret", APP),
        ("dbname=app application_name='a b'", {"dbname": "app", "application_name": "a b"}),
        (
            "host = db dbname=app user=app password='postgresql://s3cret'",
            {**APP, "password": "postgresql://s3cret"},
        ),
    ],
)
def test_a_connection_string_is_understood(given: str, expected: dict[str, Any]) -> None:
    assert connect_parameters(given) == expected


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("mysql://app:s3cret@db/app", "mysql"),
        ("sqlite:///app.db", "sqlite"),
        ("postgresql+mysql://app:s3cret@db/app", r"postgresql\+mysql"),
        ("https://app:s3cret@db/app", "https"),
        ("app", "neither"),
        ("postgresql://app:s3cret@db/app?pool=5", "'pool'"),
        ("postgresql://app:s3cret@db:port/app?x", "cannot be read|'x'"),
        ("host=db s3cret=app", "cannot be read"),
        ("postgresql://app:s3/cret=1?a=s3cret@db", "cannot be read"),
        (None, "NoneType"),
        (b"postgresql://db/app", "bytes"),
        (5432, "int"),
    ],
)
def test_what_is_not_understood_is_named_when_the_store_is_made(given: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        PostgresStore(given)
    assert "s3" not in str(caught.value)


def test_a_namespace_is_text() -> None:
    assert PostgresStore("dbname=app", namespace="orders").namespace == "orders"
    namespace: Any = None
    with pytest.raises(ConfigurationError, match="namespace"):
        PostgresStore("dbname=app", namespace=namespace)


def test_a_store_does_not_show_its_connection_string() -> None:
    store = PostgresStore("postgresql://app:s3cret@db/app")
    assert "s3cret" not in f"{store!r} {store}"


def test_making_a_store_connects_to_nothing() -> None:
    store = PostgresStore("postgresql://app@192.0.2.1/app?connect_timeout=2")
    store.open(1.0).close()


def test_normalising_leaves_libpqs_own_words_alone() -> None:
    words = "host=db user=app password='a ? b' options='-c search_path=x'"
    assert normalised(words) == words


def test_without_psycopg_the_store_says_what_to_install() -> None:
    code = """if True:
        import sys
        sys.modules["psycopg"] = None
        from skeldir_jwt_mw import ConfigurationError, MemoryStore, PostgresStore
        MemoryStore()
        try:
            PostgresStore("postgresql://app:s3cret@db/app")
        except ConfigurationError as error:
            print(error)
    """
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "PostgresStore needs psycopg: pip install 'skeldir_jwt_mw[postgres]'", (
        done.stderr
    )
