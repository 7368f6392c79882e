"""Connection strings as other tools write them, made into what libpq reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias
from urllib.parse import unquote

from skeldir_jwt_mw.errors import ConfigurationError

Conninfo: TypeAlias = str | Callable[[], str]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://")
_DIALECTS = frozenset({"postgres", "postgresql"})
# Drivers that SQLAlchemy and others name in the scheme. They are not used, what they would connect to is.
_DRIVERS = frozenset(
    {"asyncpg", "aiopg", "psycopg", "psycopg_async", "psycopg2", "psycopg2cffi", "psycopg3", "pg8000"}
)
# Parameters of pools, poolers and drivers, which mean nothing to a connection that is used for one statement.
_DROPPED = frozenset(
    {
        "async_fallback",
        "connection_limit",
        "max_overflow",
        "pgbouncer",
        "pool_size",
        "pool_timeout",
        "prepared_statement_cache_size",
        "prepared_statement_name_func",
        "schema",
        "socket_timeout",
        "statement_cache_size",
    }
)
_SSL_MODES = {"true": "require", "false": "disable"}  # `ssl=` of asyncpg and of JDBC


def normalised(conninfo: object) -> str:
    """The connection string in libpq's own form; raises `ConfigurationError` that names what is wrong.

    Takes a URI or `keyword=value` words. The text of an error never holds a value from the string.
    """
    if not isinstance(conninfo, str):
        raise ConfigurationError(
            f"conninfo must be a str or a callable that returns one, not {type(conninfo).__name__}"
        )
    conninfo = conninfo.strip()
    if not conninfo:
        raise ConfigurationError("conninfo is empty; expected postgresql://… or keyword=value words")
    scheme = _SCHEME.match(conninfo)
    if scheme is None:
        if "=" not in conninfo or "://" in conninfo.partition("=")[0]:
            raise ConfigurationError("conninfo is neither a postgresql:// URI nor keyword=value words")
        return conninfo
    dialect, _, driver = scheme[1].lower().removeprefix("jdbc:").partition("+")
    if dialect not in _DIALECTS or (driver and driver not in _DRIVERS):
        raise ConfigurationError(
            f"conninfo has the scheme {scheme[1]!r}; the store needs PostgreSQL (postgresql://…)"
        )
    authority = conninfo[scheme.end() :]
    # A password may hold a bare "?", so the query is looked for behind the user's part.
    start = authority.partition("/")[0].rfind("@") + 1
    place, mark, query = authority[start:].partition("?")
    kept = "&".join(_parameters(query)) if mark else ""
    return f"postgresql://{authority[:start]}{place}{'?' + kept if kept else ''}"


def _parameters(query: str) -> Iterator[str]:
    for parameter in filter(None, query.split("&")):
        name, _, value = parameter.partition("=")
        if name in _DROPPED:
            continue
        if name == "ssl":
            yield f"sslmode={_SSL_MODES.get(unquote(value).lower(), value)}"
        else:
            yield parameter


def parameter_names(conninfo: str) -> list[str]:
    """Names in the query of a URI, where they are no part of a password that was not escaped; else none."""
    query = conninfo.partition("?")[2]
    if not _SCHEME.match(conninfo) or "@" in query:
        return []
    return [part.partition("=")[0] for part in query.split("&") if part]
