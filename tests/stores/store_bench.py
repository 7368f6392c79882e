"""One store on a bench: claims and publishes with defaults, time that is moved, and the row laid open."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from skeldir_jwt_mw.core.effects import Claim, Content, Fail, Publish, Read, Release, Row
from skeldir_jwt_mw.core.row import Record
from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.stores import MemoryStore, PostgresStore
from skeldir_jwt_mw.stores.base import Session, Store

KEY = "a source"
LEASE, FLOOR, REFRESH = 5.0, 7.0, 300.0
MICROSECONDS = 1_000_000
TIMES = (
    "fetched_at",
    "next_refresh_at",
    "expires_at",
    "claimed_at",
    "lease_until",
    "floor_until",
    "floor_set_at",
    "backoff_until",
    "backoff_set_at",
)


def claim_of(**changes: Any) -> Claim:
    """A scheduled claim by a process that has nothing, with changes."""
    claim = Claim(
        owner=uuid.uuid4(),
        force=False,
        need=False,
        have=0,
        bad=-1,
        lease=LEASE,
        floor=FLOOR,
        refresh=REFRESH,
        reason="scheduled",
        use_gate=True,
    )
    return replace(claim, **changes)


def publish_of(row: Row, claim: Claim, **changes: Any) -> Publish:
    """What the leader that got this row would publish."""
    assert row.claimed_us is not None
    content = Content(
        generation=row.fence,
        fetched_us=row.claimed_us,
        expires_us=row.claimed_us + 21_600 * MICROSECONDS,
        etag='"one"',
        last_modified="Sun, 01 Nov 2026 00:00:00 GMT",
        payload=b'{"keys":[]}',
    )
    names = {field.name for field in fields(Content)}
    content = replace(content, **{name: changes.pop(name) for name in names & changes.keys()})
    publish = Publish(
        owner=claim.owner, content=content, next_us=row.claimed_us + 300 * MICROSECONDS, seal=b"seal"
    )
    return replace(publish, **changes)


def fail_of(row: Row, claim: Claim, **changes: Any) -> Fail:
    """What the leader that got this row would record of a failure."""
    fail = Fail(
        owner=claim.owner,
        fence=row.fence,
        error="no answer",
        retry_after=0.0,
        backoff_base=2.0,
        backoff_max=60.0,
        jitter=0.5,
    )
    return replace(fail, **changes)


def isolated(dsn: str, isolation: str) -> str:
    """The database with another default for the isolation level."""
    setting = isolation.replace(" ", r"\ ")  # libpq splits options at spaces
    return make_conninfo(dsn, options=f"-c default_transaction_isolation={setting}")


@contextmanager
def without_encoding(dsn: str) -> Iterator[str]:
    """A database of the same server that knows nothing of encodings, with the table in it."""
    name = sql.Identifier("skeldir_sql_ascii_" + uuid.uuid4().hex[:8])
    create = "CREATE DATABASE {} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(create).format(name))
    try:
        made = make_conninfo(dsn, dbname=name.as_string().strip('"'))
        migrate(made)
        yield made
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


class Bench(ABC):
    """A store with one row under `KEY`."""

    store: Store

    def __init__(self, *, use_gate: bool = True) -> None:
        self.use_gate = use_gate  # False is strategy "lease"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that is closed afterwards."""
        session = self.store.open(5.0)
        try:
            yield session
        finally:
            session.close()

    def claim(self, claim: Claim | None = None, **changes: Any) -> Row:
        """Claim in a session of its own."""
        claim = replace(claim or claim_of(), use_gate=self.use_gate, **changes)
        with self.session() as session:
            return session.claim(KEY, claim)

    def read(self, **changes: Any) -> Row:
        """Read in a session of its own."""
        read = Read(force=False, need=False, have=0, bad=-1, floor=FLOOR, refresh=REFRESH)
        with self.session() as session:
            row = session.read(KEY, replace(read, **changes))
        assert row is not None
        return row

    def lead(self, **changes: Any) -> tuple[Row, Claim]:
        """A claim that must win."""
        claim = claim_of(**changes)
        row = self.claim(claim)
        assert row.verdict == "leader"
        return row, claim

    def publish(self, row: Row, claim: Claim, **changes: Any) -> bool:
        """Publish in a session of its own."""
        with self.session() as session:
            return session.publish(KEY, publish_of(row, claim, **changes))

    def fail(self, row: Row, claim: Claim, **changes: Any) -> float | None:
        """Record a failure in a session of its own."""
        with self.session() as session:
            return session.fail(KEY, fail_of(row, claim, **changes))

    def release(self, row: Row, claim: Claim, **changes: Any) -> bool:
        """Give the lease back in a session of its own."""
        with self.session() as session:
            return session.release(KEY, replace(Release(owner=claim.owner, fence=row.fence), **changes))

    def fetch(self, **changes: Any) -> int:
        """Lead and publish; returns the new generation."""
        row, claim = self.lead(**changes)
        assert self.publish(row, claim)
        return row.fence

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """The row's columns that are no times."""


class MemoryBench(Bench):
    """The memory store, on a clock that is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_790_000_000.0
        self.store = self.memory = MemoryStore(clock=lambda: self.now)

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def columns(self) -> dict[str, Any]:
        record = self.memory.record(KEY)
        assert record is not None
        columns = {field.name: getattr(record, field.name) for field in fields(Record)}
        content = columns.pop("content")
        return {
            **columns,
            "generation": content.generation,
            "payload": content.payload or None,
            "etag": content.etag,
            "last_modified": content.last_modified,
        }


class PostgresBench(Bench):
    """The Postgres store; time passes by moving every time in the row into the past."""

    def __init__(self, dsn: str, *, use_gate: bool = True) -> None:
        super().__init__(use_gate=use_gate)
        self.dsn = dsn
        self.store = PostgresStore(dsn)

    def advance(self, seconds: float) -> None:
        # The epoch is "never" and stays.
        moved = ", ".join(
            f"{name} = CASE {name} WHEN 'epoch' THEN {name} ELSE {name} - interval '{float(seconds)} s' END"
            for name in TIMES
        )
        self.execute(f"UPDATE public.jwt_verification_cache SET {moved}")

    def columns(self) -> dict[str, Any]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            row = connection.execute("SELECT * FROM public.jwt_verification_cache").fetchone()
        assert row is not None
        return {name: value for name, value in row.items() if name not in TIMES}

    def execute(self, statement: str) -> None:
        """Run SQL that the store would not."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement.encode())

    def set(self, assignments: str) -> None:
        """Change the row as nobody should."""
        self.execute(f"UPDATE public.jwt_verification_cache SET {assignments}")
