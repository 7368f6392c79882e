"""Applies the schema's files to a database, each once, and keeps a ledger of them there."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .exposure import QUERY, Exposure, exposures
from .stores.connection import APPLICATION_NAME, DeadlineConnection
from .stores.conninfo import Conninfo
from .stores.postgres import Psycopg, connect_parameters_of
from .stores.session import StatementSession, advisory_key
from .stores.sqlstate import failed_statement, refused_connection
from .stores.statements import STATEMENTS

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT = 10  # seconds, unless the connection string says otherwise
STATEMENT_TIMEOUT = 10.0
LOCK = advisory_key("migrations")
CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS public.skeldir_jwt_migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now()
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of the schema."""

    name: str  # "0001_create_jwt_verification_cache.sql"
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The schema's files, in their order."""
    folder = resources.files("skeldir_jwt_mw.migrations")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    return [Migration(name=file.name, sql=file.read_text(encoding="utf-8")) for file in files]


def migrate(conninfo: Conninfo) -> list[str]:
    """Bring a database's schema up to date; returns the names of the files that were missing from its ledger.

    All in one transaction and behind a lock, so it may run twice or in several places at once, also through a
    pooler in transaction mode. The files themselves are harmless where their tables exist, so tables made by
    Django or `psql -f` are merely entered in the ledger.

    Raises `ConfigurationError` where an applied file was changed, a table has another shape, or the role
    lacks a privilege; `StoreUnavailable` or `StoreContended` where the database gives no answer.
    """
    with _connected(conninfo) as connection:
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%(lock)s)", {"lock": LOCK})
        applied = _ledger(connection)
        missing = []
        for migration in migrations():
            if migration.name not in applied:
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO public.skeldir_jwt_migrations (name, checksum)"
                    " VALUES (%(name)s, %(checksum)s)"
                    " ON CONFLICT (name) DO UPDATE"
                    " SET checksum = excluded.checksum, applied_at = pg_catalog.now()",
                    {"name": migration.name, "checksum": migration.checksum},
                )
                missing.append(migration.name)
            elif applied[migration.name] != migration.checksum:
                raise ConfigurationError(
                    f"the migration {migration.name} was applied to this database with other content;"
                    " a released migration never changes"
                )
        _try_statements(connection)
    return missing


def exposed(conninfo: Conninfo) -> list[Exposure]:
    """The roles that may use the tables without having been chosen for it. Raises like `migrate`."""
    with _connected(conninfo) as connection:
        return exposures(connection.execute(QUERY.encode()).fetchall())


def provision(conninfo: Conninfo, source_keys: Iterable[str]) -> int:
    """Create the rows of these sources, for a role that may not; returns how many were missing.

    Raises like `migrate`.
    """
    driver = Psycopg(connect_parameters_of(conninfo))
    session = StatementSession(DeadlineConnection(driver, STATEMENT_TIMEOUT))
    try:
        return sum(session.create(source_key) for source_key in source_keys)
    finally:
        session.close()


def _ledger(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Names and checksums of the files applied; the table is made only where there is none.

    `CREATE TABLE IF NOT EXISTS` alone would ask for the privilege to create even where nothing is to be made.
    Once somebody has dropped the cache, as Django does to undo its migration, the ledger counts for nothing.
    """
    if not _has(connection, "public.skeldir_jwt_migrations"):
        connection.execute(CREATE_LEDGER)
    if not _has(connection, "public.jwt_verification_cache"):
        return {}
    return dict(connection.execute("SELECT name, checksum FROM public.skeldir_jwt_migrations").fetchall())


def _has(connection: psycopg.Connection[Any], table: str) -> bool:
    found = connection.execute(
        "SELECT pg_catalog.to_regclass(%(table)s) IS NOT NULL", {"table": table}
    ).fetchone()
    return found == (True,)


def _try_statements(connection: psycopg.Connection[Any]) -> None:
    """Have the database plan every statement: a table of the same name but another shape is found now."""
    import psycopg

    for statement in STATEMENTS.values():
        # What the migrating role itself may do with the rows is no concern of the schema.
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"EXPLAIN {statement}".encode(), _AnyParameter())


class _AnyParameter(dict[str, Any]):
    """NULL for every parameter that a statement names."""

    def __missing__(self, name: str) -> None:
        return None


@contextlib.contextmanager
def _connected(conninfo: Conninfo) -> Iterator[psycopg.Connection[Any]]:
    """A transaction on a connection of its own; database errors become ours."""
    parameters = connect_parameters_of(conninfo)()
    import psycopg

    ours = {"fallback_application_name": APPLICATION_NAME, "connect_timeout": CONNECT_TIMEOUT}
    try:
        connection = psycopg.connect(**{**ours, **parameters}, prepare_threshold=None)
    except psycopg.Error as error:
        raise refused_connection(str(error)) from None
    # Whoever waited for the lock must see what its holder has done, whatever the role's default is.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        with connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigurationError(
            "the database role may not create tables in the schema public; run `skeldir-jwt migrate` as a"
            " role with CREATE there"
        ) from None
    except psycopg.Error as error:
        raise _judged(error, lost=connection.broken) from None


def _judged(error: psycopg.Error, *, lost: bool) -> Exception:
    if error.sqlstate in ("42P01", "42703"):
        return ConfigurationError(
            "public.jwt_verification_cache exists but has another shape: it was made by something else;"
            " rename it and migrate again"
        )
    return failed_statement(error, lost=lost)
