"""The store of a Django project: the shared table in one of its `DATABASES`, through its own driver."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import django.db
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from skeldir_jwt_mw.core.effects import StoreUnavailable
from skeldir_jwt_mw.deadline import Purpose
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import suggestion
from skeldir_jwt_mw.stores.base import Session
from skeldir_jwt_mw.stores.cancel import Cancellations, cancel_statement
from skeldir_jwt_mw.stores.connection import APPLICATION_NAME, REQUIRED, DeadlineConnection
from skeldir_jwt_mw.stores.session import Parameters, StatementSession
from skeldir_jwt_mw.stores.sqlstate import NO_CONNECTION_YET, refused_connection

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["DjangoStore"]

# Options of a project's connections that have no place in ours: a pool is for requests, and a cursor of
# another class returns rows of another kind.
NOT_OURS = ("pool", "cursor_factory", "prepare_threshold")
BLOCKED = "the test framework allows no database access here; pytest-django's mark is `django_db`"


class DjangoStore:
    """Shares key sets through the table `public.jwt_verification_cache` of a PostgreSQL in `DATABASES`.

    `alias` names the database, which must be the primary. `namespace` enters the row's key, so that services
    with different seal keys do not share a row. The store makes connections of its own, in autocommit: what a
    request's transaction does, or rolls back, is nothing to it. None outlives a refresh, and none is held
    while keys are fetched.

    Raises `ConfigurationError` where there is no such database, one that is not PostgreSQL, or one whose
    settings call it the mirror of another.
    """

    shared = True

    def __init__(self, alias: str = DEFAULT_DB_ALIAS, *, namespace: str = "") -> None:
        if not isinstance(namespace, str):
            raise ConfigurationError(f"namespace must be a str, not {type(namespace).__name__}")
        self.alias = alias
        self.namespace = namespace
        self._driver = ProjectDriver(alias)
        wrapper = self._driver.wrapper()
        if wrapper.vendor != "postgresql":
            raise ConfigurationError(
                f"the database {alias!r} is {wrapper.vendor}; the store needs PostgreSQL"
            )
        if (primary := wrapper.settings_dict["TEST"].get("MIRROR")) is not None:
            text = f"the database {alias!r} is a replica of {primary!r}; the store needs the primary"
            raise ConfigurationError(text)

    def __repr__(self) -> str:
        return f"DjangoStore({self.alias!r}, namespace={self.namespace!r})"

    def open(self, seconds: float) -> Session:
        """A session that connects with its first statement and ends `seconds` from now."""
        return StatementSession(DeadlineConnection(self._driver, seconds))


class ProjectDriver:
    """psycopg 3 or psycopg2, whichever the project has, behind Django's wrapper of a connection.

    Statements go to the driver itself and not through Django's cursors, which belong to requests: they log,
    count and hold transactions.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.connects = Purpose(side_by_side=True)
        self.cancellations = Cancellations()

    @property
    def module(self) -> ModuleType:
        """The project's driver."""
        wrapper: Any = self.wrapper()
        database: ModuleType = wrapper.Database
        return database

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a statement may raise."""
        wrapper: Any = self.wrapper()
        return (wrapper.Database.Error, UnicodeError)

    def wrapper(self) -> BaseDatabaseWrapper:
        """A wrapper that no request and no other thread has; it is not connected."""
        if self._alias not in connections:
            hint = suggestion(self._alias, list(connections))
            raise ConfigurationError(
                f"there is no database {self._alias!r}{hint}; there are {', '.join(connections)}"
            )
        return connections.create_connection(self._alias)

    def connect(self, timeout: int) -> BaseDatabaseWrapper:
        """A connection on which every statement is its own transaction."""
        wrapper = self.wrapper()
        options = {"fallback_application_name": APPLICATION_NAME, "connect_timeout": timeout}
        options |= {
            name: value for name, value in wrapper.settings_dict["OPTIONS"].items() if name not in NOT_OURS
        }
        options |= REQUIRED
        # A copy: the dict is the one of every other connection to this database.
        wrapper.settings_dict = {**wrapper.settings_dict, "AUTOCOMMIT": True, "OPTIONS": options}
        wrapper.timezone_name = ""  # the statements need none, and it would cost one more
        wrapper.inc_thread_sharing()  # made in this thread, used and closed in the one that waits for it
        try:
            # And not `connect`, since test frameworks keep tests from the database at this door.
            wrapper.ensure_connection()
        except ImproperlyConfigured as error:
            raise ConfigurationError(str(error)) from None
        except django.db.NotSupportedError:
            text = f"Django does not support the version of the database {self._alias!r}"
            raise ConfigurationError(text) from None
        except (django.db.Error, UnicodeError, OSError) as error:
            wrapper.close()  # it may have failed after it was connected
            raise refused_connection(str(error)) from None
        except Exception as error:
            if isinstance(error, AssertionError) or "Database access not allowed" in str(error):
                raise StoreUnavailable(BLOCKED) from None
            wrapper.close()
            # The application's code, whose message may hold anything: a backend of its own, or a receiver
            # of `connection_created`.
            raise StoreUnavailable(f"connecting raised {type(error).__name__}") from None
        return wrapper

    def socket_of(self, connection: BaseDatabaseWrapper) -> int:
        """The file descriptor of its socket."""
        descriptor: int = connection.connection.fileno()
        return descriptor

    def first_row(
        self, connection: BaseDatabaseWrapper, statement: str, parameters: Parameters
    ) -> dict[str, Any] | None:
        """Run the statement; the first row of its result by column, or None."""
        with connection.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            row = cursor.fetchone()
            return None if row is None else {c.name: v for c, v in zip(cursor.description, row, strict=True)}

    def cancel(self, connection: BaseDatabaseWrapper, seconds: float) -> None:
        """Ask the server to cancel the statement that runs."""
        cancel_statement(connection.connection, connection.connection.fileno(), seconds)

    def hindrance(self) -> str:
        """What keeps a connection from being made, in words for an operator."""
        return NO_CONNECTION_YET

    def is_lost(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether the driver has found the connection gone."""
        return bool(connection.connection.closed)

    def close(self, connection: BaseDatabaseWrapper) -> None:
        """Close it."""
        connection.close()
