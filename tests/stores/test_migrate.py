"""The schema comes into a database in several ways, in any order, as often as anybody likes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from store_bench import KEY, PostgresBench, isolated

from skeldir_jwt_mw.core.effects import StoreUnavailable
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.migrate import migrate, migrations, provision
from skeldir_jwt_mw.testing.pgbouncer import PgBouncer

NAMES = [migration.name for migration in migrations()]


@pytest.fixture
def empty(new_database: Callable[[], str]) -> str:
    return new_database()


def ask(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def works(dsn: str) -> bool:
    return PostgresBench(dsn).claim().verdict == "leader"


def test_an_empty_database_gets_everything_and_a_ledger(empty: str) -> None:
    assert migrate(empty) == NAMES
    assert works(empty)
    ledger = (
        "SELECT name, checksum FROM public.skeldir_jwt_migrations WHERE applied_at <= now() ORDER BY name"
    )
    assert ask(empty, ledger) == [(migration.name, migration.checksum) for migration in migrations()]


def test_migrating_again_is_harmless(empty: str) -> None:
    migrate(empty)
    assert works(empty)
    assert migrate(empty) == []
    assert PostgresBench(empty).columns()["fetch_attempt_count"] == 1


def test_many_may_migrate_at_once(empty: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = [name for names in pool.map(migrate, [empty] * 8) for name in names]
    assert applied == NAMES


def test_many_may_migrate_at_once_where_transactions_are_serializable(empty: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(migrate, [isolated(empty, "serializable")] * 8)
        assert [name for names in done for name in names] == NAMES


def test_many_may_migrate_at_once_through_pgbouncer(empty: str, pgbouncer: PgBouncer) -> None:
    pooled = pgbouncer.dsn(str(conninfo_to_dict(empty)["dbname"]))
    with ThreadPoolExecutor(8) as pool:
        assert [name for names in pool.map(migrate, [pooled] * 8) for name in names] == NAMES
    assert provision(pooled, [KEY]) == 1
    assert works(pooled)


def test_files_applied_by_hand_are_entered_in_the_ledger(empty: str) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed")
    for migration in migrations() * 2:  # by hand, too, twice is harmless
        with resources.as_file(resources.files("skeldir_jwt_mw.migrations") / migration.name) as path:
            command = [psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", f"--file={path}", empty]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
    assert works(empty)
    assert migrate(empty) == NAMES
    assert migrate(empty) == []
    assert PostgresBench(empty).columns()["fetch_attempt_count"] == 1


def test_a_file_that_was_applied_with_other_content_is_an_error(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE public.skeldir_jwt_migrations SET checksum = 'other'")
    with pytest.raises(ConfigurationError, match="0001_create_jwt_verification_cache"):
        migrate(empty)


def test_files_of_a_later_version_are_nobodys_error(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute(
            "INSERT INTO public.skeldir_jwt_migrations (name, checksum) VALUES ('9999_x.sql', 'x')"
        )
    assert migrate(empty) == []


def test_a_table_of_another_shape_is_found_at_once_and_left_alone(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE TABLE public.jwt_verification_cache (source_key text, payload bytea)")
    with pytest.raises(ConfigurationError, match="another shape"):
        migrate(empty)
    found = ask(
        empty,
        "SELECT count(*) FROM pg_attribute"
        " WHERE attnum > 0 AND attrelid = 'public.jwt_verification_cache'::regclass",
    )
    assert found == [(2,)]
    assert ask(empty, "SELECT to_regclass('public.skeldir_jwt_migrations')") == [(None,)]


@pytest.fixture
def plain_role(empty: str) -> Iterator[str]:
    """The DSN of an empty database for a role that owns nothing in it."""
    dbname = str(conninfo_to_dict(empty)["dbname"])
    name = f"{dbname}_plain"
    with psycopg.connect(empty) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield make_conninfo(empty, user=name)
    with psycopg.connect(empty) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_that_may_not_create_tables_is_told(plain_role: str) -> None:
    with pytest.raises(ConfigurationError, match="CREATE"):
        migrate(plain_role)


def test_a_role_that_may_only_look_finds_an_up_to_date_schema_up_to_date(empty: str, plain_role: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("GRANT SELECT ON public.skeldir_jwt_migrations TO PUBLIC")
    assert migrate(plain_role) == []


def test_a_replica_cannot_be_migrated(empty: str) -> None:
    with pytest.raises(ConfigurationError, match="read-only"):
        migrate(make_conninfo(empty, options="-c default_transaction_read_only=on"))


def test_a_database_that_is_away_cannot_be_migrated() -> None:
    for call in (migrate, lambda dsn: provision(dsn, [KEY])):
        with pytest.raises(StoreUnavailable, match="nothing listens") as caught:
            call("postgresql://app:s3cret@127.0.0.1:1/app")
        assert "s3cret" not in str(caught.value)


def test_rows_are_provisioned_once_and_never_touched_again(empty: str) -> None:
    migrate(empty)
    assert provision(empty, [KEY, "another source"]) == 2
    generation = PostgresBench(empty).fetch()
    assert provision(empty, [KEY, "a third source"]) == 1
    assert ask(empty, f"SELECT generation FROM public.jwt_verification_cache WHERE source_key = '{KEY}'") == [
        (generation,)
    ]


def test_provisioning_needs_the_table(empty: str) -> None:
    with pytest.raises(ConfigurationError, match="skeldir-jwt migrate"):
        provision(empty, [KEY])


def test_an_update_stays_in_its_page(empty: str) -> None:
    """Room in the page makes updates cheap (heap-only): the row is written twice per refresh, for ever."""
    migrate(empty)
    bench = PostgresBench(empty)
    generation = 0
    for _ in range(30):
        generation = bench.fetch(force=True, need=True, have=generation, floor=0.0)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
    (counts,) = ask(
        empty,
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relname = 'jwt_verification_cache'",
    )
    updates, heap_only = counts
    assert updates >= 50
    assert heap_only >= 0.9 * updates
