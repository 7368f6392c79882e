"""What a database error means for a refresh: repeat, do without, or have an operator act.

The texts are fixed. A server's own message may quote the connection string or a row, so it goes nowhere.
"""

from __future__ import annotations

from skeldir_jwt_mw.core.effects import StoreContended, StoreReadOnly, StoreUnavailable
from skeldir_jwt_mw.errors import ConfigurationError

# Serialization failure, deadlock, too many connections, and a statement, a lock or a session that was cut off
# by a timeout or a restart (PostgreSQL documentation, appendix A).
REPEATABLE = frozenset({"40001", "40P01", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "57P05"})
CONNECTION_CLASS = "08"
PROGRAMMING_CLASSES = ("42", "0A")

NO_TABLE = (
    "the database has no table public.jwt_verification_cache, or one of another shape;"
    " run `skeldir-jwt migrate`, or in a Django project `manage.py migrate`"
)
READ_ONLY = "the database is read-only (a replica?); the store needs the primary"
NO_PRIVILEGE = (
    "the database role may not use public.jwt_verification_cache; it needs SELECT and UPDATE,"
    " and INSERT unless the rows were created beforehand"
)
NO_INSERT = (
    "the database role may not INSERT into public.jwt_verification_cache, and this issuer has no row there"
    " yet; grant it, or run `skeldir-jwt migrate --provision` as the owner"
)
SEARCH_PATH = (
    "the search_path of the database role has a schema before pg_catalog, which could redefine what our"
    " statements mean; take pg_catalog out of it (it then comes first) or put it first"
)
UNSEEN = (
    "the row is there and cannot be seen: row level security without a policy for SELECT hides it,"
    " or it was deleted meanwhile"
)
NOT_ADMITTED = (
    "the row could not be locked: another transaction holds it, or row level security, which is active for"
    " this role, has no policy for UPDATE"
)

NO_POLICY = (
    "row level security on public.jwt_verification_cache lets the database role write no row, although it has"
    " the privilege; it needs policies for SELECT, INSERT and UPDATE"
)
POOLER_WAITED = "the pooler had no connection to the database to give (paused, or its pool is too small)"

# Where a connection is refused the driver keeps no SQLSTATE, so the words have to do. In another language
# they are not found and the general text is used.
BUSY = (
    ("too many connections for role", "the database role takes no more connections (its CONNECTION LIMIT)"),
    ("too many connections for database", "the database takes no more connections (its CONNECTION LIMIT)"),
    ("too many clients", "the server takes no more connections (max_connections)"),
    ("connection slots", "the server takes no more connections (max_connections)"),
    ("no more connections allowed", "the pooler takes no more connections (max_client_conn)"),
    ("too many connections", "the server takes no more connections"),
    ("query_wait_timeout", POOLER_WAITED),
    ("client_login_timeout", POOLER_WAITED),
    ("server login has been failing", "the pooler cannot connect to the database"),
)
COMING_AND_GOING = ("is starting up", "is shutting down", "in recovery mode", "not yet accepting connections")
REFUSALS = (
    ("Too many open files", "this process is at its limit of open files"),
    ("authentication failed", "the database refused the credentials"),
    ("no password supplied", "the database wants a password and none is configured"),
    ("no pg_hba.conf entry", "the database admits no connection from here for this role and database"),
    ("does not exist", "the role or the database that the connection string names does not exist"),
    ("Name or service not known", "the host name in the connection string does not resolve"),
    ("translate host name", "the host name in the connection string does not resolve"),
    ("failed to resolve host", "the host name in the connection string does not resolve"),
    ("certificate", "the TLS certificates of the database connection were not accepted"),
    ("SSL", "the database connection could not be secured as configured"),
    ("Connection refused", "nothing listens where the connection string points"),
    ("No such file", "nothing listens where the connection string points"),
)
UNREACHABLE = "no connection to the database could be made"
TOO_SLOW = (
    "the database did not answer in time (a lock on the table, or a pooler that has no connection to give?)"
)
NO_CONNECTION_YET = "no connection to the database was made in time"
NO_CONNINFO = "the callable given as conninfo did not return in time"
CANCELLING = "an earlier statement that was not answered in time is still being cancelled"
NOT_TEXT = "a text could not be carried to or from the database in its encoding"

# What a cut-off statement met, where PostgreSQL says so (its documentation, appendix A).
CUT_OFF = {
    "40001": "the statement met another transaction (serialization failure)",
    "40P01": "the statement met another transaction (deadlock)",
    "53300": "the server takes no more connections",
    "55P03": "the database cut the statement off: a lock was not to be had within its lock_timeout",
    "57014": "the database cut the statement off: it took longer than its statement_timeout",
    "57P03": "the database is starting up or shutting down",
}
LACKS = {
    "53100": "the database server is out of disk space",
    "53200": "the database server is out of memory",
    "22021": NOT_TEXT,
    "22P05": NOT_TEXT,
    "23514": "the table does not admit a value of this length",
}
POLICY_CHECK = "ExecWithCheckOptions"  # the server's function that refuses a row by a policy, in any language


def refused_connection(message: str) -> StoreContended | StoreUnavailable:
    """What it means that no connection was made, by the words of the driver."""
    for words, text in BUSY:
        if words in message:
            return StoreContended(text)
    if any(words in message for words in COMING_AND_GOING):
        return StoreContended(CUT_OFF["57P03"])
    for words, text in REFUSALS:
        if words in message:
            return StoreUnavailable(text)
    return StoreUnavailable(UNREACHABLE)


def failed_statement(
    error: Exception, *, lost: bool, creating: bool = False
) -> StoreContended | StoreUnavailable | ConfigurationError:
    """What a failed statement means; `lost` where the connection is gone, `creating` where it made a row."""
    if isinstance(error, UnicodeError):
        return StoreUnavailable(NOT_TEXT)
    # PostgreSQL's code for what happened, under the name that psycopg 3 or psycopg2 gives it.
    sqlstate: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    match sqlstate:
        case "42P01" | "42703" | "3F000":
            return ConfigurationError(NO_TABLE)
        case "25006":
            return StoreReadOnly(READ_ONLY)
        case "42501" if getattr(getattr(error, "diag", None), "source_function", None) == POLICY_CHECK:
            return ConfigurationError(NO_POLICY)
        case "42501":
            return ConfigurationError(NO_INSERT if creating else NO_PRIVILEGE)
    if sqlstate in REPEATABLE or (sqlstate or "").startswith(CONNECTION_CLASS) or lost:
        pooler = next((text for words, text in BUSY if words in str(error)), None)
        return StoreContended(CUT_OFF.get(sqlstate or "", pooler or "the statement was cut off"))
    if sqlstate is not None and sqlstate.startswith(PROGRAMMING_CLASSES):
        return ConfigurationError(
            f"the database does not understand the statement (SQLSTATE {sqlstate});"
            " the store needs PostgreSQL 12 or later"
        )
    return StoreUnavailable(
        LACKS.get(sqlstate or "", f"the database failed (SQLSTATE {sqlstate or 'unknown'})")
    )
