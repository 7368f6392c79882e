"""The store of a fleet: one Postgres table, reached through psycopg 3."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from skeldir_jwt_mw.core.effects import StoreUnavailable
from skeldir_jwt_mw.deadline import Purpose
from skeldir_jwt_mw.errors import ConfigurationError

from .base import Session
from .cancel import Cancellations, cancel_statement
from .connection import APPLICATION_NAME, REQUIRED, DeadlineConnection
from .conninfo import Conninfo, normalised, parameter_names
from .session import Parameters, StatementSession
from .sqlstate import NO_CONNECTION_YET, NO_CONNINFO, refused_connection
from .statements import numbered

if TYPE_CHECKING:
    import psycopg


class PostgresStore:
    """Shares key sets through the table `public.jwt_verification_cache`.

    `conninfo` is a connection string (a URI or libpq's `keyword=value` words; the forms that SQLAlchemy,
    asyncpg and Prisma use are understood), or a callable that returns one and is asked before every
    connection: for passwords that expire. `namespace` enters the row's key, so that services with different
    seal keys do not share a row. Nothing connects before a refresh, and no connection outlives one.

    Raises `ConfigurationError` where the string cannot be read or psycopg is not installed.
    """

    shared = True

    def __init__(self, conninfo: Conninfo, *, namespace: str = "") -> None:
        if not isinstance(namespace, str):
            raise ConfigurationError(f"namespace must be a str, not {type(namespace).__name__}")
        self.namespace = namespace
        require_driver()  # say at start-up, not in a refresh, that it is missing
        self._driver = Psycopg(connect_parameters_of(conninfo))

    def __repr__(self) -> str:
        return f"PostgresStore(namespace={self.namespace!r})"  # the connection string may hold a password

    def open(self, seconds: float) -> Session:
        """A session that connects with its first statement and ends `seconds` from now."""
        return StatementSession(DeadlineConnection(self._driver, seconds))


class Psycopg:
    """The driver psycopg 3; `conninfo` gives the connection's parameters."""

    def __init__(self, conninfo: Callable[[], dict[str, Any]]) -> None:
        self._conninfo = conninfo
        self._asking = 0  # calls of `conninfo` that have not returned; close enough, for a text
        self.connects = Purpose(side_by_side=True)
        self.cancellations = Cancellations()

    @property
    def module(self) -> ModuleType:
        """psycopg."""
        import psycopg

        return psycopg

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a statement may raise."""
        import psycopg

        return (psycopg.Error, UnicodeError)

    def connect(self, timeout: int) -> psycopg.Connection[dict[str, Any]]:
        """A connection on which every statement is its own transaction."""
        import psycopg
        from psycopg.rows import dict_row

        self._asking += 1
        try:
            given = self._conninfo()
        except ConfigurationError:
            raise
        except Exception as error:  # the application's code, whose message may hold the password
            text = f"the callable given as conninfo raised {type(error).__name__}"
            raise StoreUnavailable(text) from None
        finally:
            self._asking -= 1
        ours = {"fallback_application_name": APPLICATION_NAME, "connect_timeout": timeout}
        try:
            connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
                **{**ours, **given, **REQUIRED}, autocommit=True, prepare_threshold=None, row_factory=dict_row
            )
        except (psycopg.Error, UnicodeError, OSError) as error:
            raise refused_connection(str(error)) from None
        connection.cursor_factory = psycopg.RawCursor  # it need not parse the statement each time
        return connection

    def socket_of(self, connection: psycopg.Connection[dict[str, Any]]) -> int:
        """The file descriptor of its socket."""
        return connection.fileno()

    def first_row(
        self, connection: psycopg.Connection[dict[str, Any]], statement: str, parameters: Parameters
    ) -> dict[str, Any] | None:
        """Run the statement; the first row of its result by column, or None."""
        query, names = numbered(statement)
        return connection.execute(query, [parameters[name] for name in names]).fetchone()

    def cancel(self, connection: psycopg.Connection[dict[str, Any]], seconds: float) -> None:
        """Ask the server to cancel the statement that runs."""
        cancel_statement(connection, connection.fileno(), seconds)

    def hindrance(self) -> str:
        """What keeps a connection from being made, in words for an operator."""
        return NO_CONNINFO if self._asking else NO_CONNECTION_YET

    def is_lost(self, connection: psycopg.Connection[dict[str, Any]]) -> bool:
        """Whether the driver has found the connection gone."""
        return connection.closed

    def close(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        """Close it."""
        connection.close()


def require_driver() -> None:
    """Raise `ConfigurationError` where psycopg is not installed; it is imported when it is first needed."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "PostgresStore needs psycopg: pip install 'skeldir_jwt_mw[postgres]'"
        ) from None


def connect_parameters_of(conninfo: Conninfo) -> Callable[[], dict[str, Any]]:
    """A function that gives the connection's parameters; a fixed string is judged now."""
    if callable(conninfo):
        return lambda: connect_parameters(conninfo())
    fixed = connect_parameters(conninfo)
    return lambda: fixed


def connect_parameters(conninfo: object) -> dict[str, Any]:
    """What a connection string says; raises `ConfigurationError` that names what libpq does not know."""
    require_driver()
    import psycopg

    text = normalised(conninfo)
    try:
        found: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(text)
    except psycopg.Error:
        pass  # refused below, so that no error leads on to this one, which quotes what it could not read
    else:
        return found
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    for name in parameter_names(text):
        if name not in known:
            raise ConfigurationError(f"conninfo has the parameter {name!r}, which libpq does not know")
    raise ConfigurationError("conninfo cannot be read as one of libpq's connection strings")
