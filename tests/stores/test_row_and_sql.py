"""The row as a pure function and the row in SQL are one: over random and hostile rows, at any time.

The SQL runs on a real server under a virtual clock: the one fragment that reads the time is a parameter here.
"""

from __future__ import annotations

import math
import random
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib import resources
from types import MappingProxyType
from typing import Any

import psycopg
import pytest
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.rows import dict_row
from store_bench import claim_of

from skeldir_jwt_mw.core import row as rows
from skeldir_jwt_mw.core.effects import Claim, Content, Fail, Peeked, Publish, Read, Release, Row
from skeldir_jwt_mw.core.row import MICROSECONDS, Record
from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.stores import session as sessions
from skeldir_jwt_mw.stores.session import StatementSession
from skeldir_jwt_mw.stores.statements import compose

CASES = 600  # for each seed
BASE = 1_790_000_000 * MICROSECONDS
KEY = "a source"
OURS, THEIRS = uuid.UUID(int=1), uuid.UUID(int=2)
FIRST_TIME, LAST_TIME = -210_866_803_200_000_000, 9_224_318_015_999_999_999  # that PostgreSQL can hold
EPOCH_2000 = 946_684_800 * MICROSECONDS
SECONDS = (0, 0.000001, 0.001, 0.999999, 1, 1.000001, 5, 50, 59.999999, 60, 60.000001, 61, 300)
LONG = (3600, 3700, 3700.000001, 4000, 315_360_000)
STEPS = [round(seconds * MICROSECONDS) for seconds in (*SECONDS, *LONG)]
NUMBERS = [0, 1, -1, BASE - 1, BASE, BASE + 1, 2**59, 2**60 - 1, 2**60, 2**60 + 1, 2**61 - 1, 2**61, 2**62]
NUMBERS += [2**63 - 1, -(2**63)]
TEXTS = [None, "", "no answer", "x" * 200, "x" * 201, "x" * 1024, "x" * 1025, "ü" * 600, "\x1b[2J\n\u202e~ !"]
CLOCK = "(timestamp with time zone 'epoch' + %(clock_us)s * interval '1 microsecond')"


class Moment(int):
    """Microseconds since the epoch; the two beyond PostgreSQL's calendar are its infinite times."""


class MomentDumper(Dumper):
    """As the server keeps it: 64 bits since the year 2000."""

    format = Format.BINARY
    oid = 1184

    def dump(self, obj: Moment) -> Buffer:
        """The octets."""
        return struct.pack(">q", max(-(2**63), min(2**63 - 1, obj - EPOCH_2000)))


class MomentLoader(Loader):
    """The way back."""

    format = Format.BINARY

    def load(self, data: Buffer) -> float:
        """Microseconds, or infinite."""
        (value,) = struct.unpack(">q", bytes(data))
        return {2**63 - 1: math.inf, -(2**63): -math.inf}.get(value, value + EPOCH_2000)


def moment(time: float) -> Moment:
    return Moment(time) if math.isfinite(time) else Moment(2**70 if time > 0 else -(2**70))


class VirtualSql:
    """A connection of a session, on which the server's clock is ours."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.connection.adapters.register_dumper(Moment, MomentDumper)
        self.connection.adapters.register_loader("timestamptz", MomentLoader)
        self.now = BASE

    def run(self, statement: str, parameters: Any, *, creating: bool = False) -> dict[str, Any] | None:
        assert not creating
        with self.connection.cursor() as cursor:
            cursor.execute(statement.encode(), {**parameters, "clock_us": self.now})
            return cursor.fetchone()

    def patience(self) -> float:
        return 60.0

    def close(self) -> None:
        self.connection.close()

    def put(self, record: Record) -> None:
        """Make the row what the record says."""
        values = columns_of(record)
        names = ", ".join(values)
        marks = ", ".join(f"%({name})s" for name in values)
        with self.connection.cursor() as cursor:
            cursor.execute(b"DELETE FROM public.jwt_verification_cache")
            cursor.execute(
                f"INSERT INTO public.jwt_verification_cache (source_key, {names})"
                f" VALUES ('{KEY}', {marks})".encode(),
                values,
            )

    def columns(self) -> dict[str, Any]:
        """The row's columns as they are."""
        with self.connection.cursor(binary=True) as cursor:
            found = cursor.execute(b"SELECT * FROM public.jwt_verification_cache").fetchone()
        assert found is not None
        del found["source_key"]
        return found


def columns_of(record: Record) -> dict[str, Any]:
    """A record as the columns of the table, times as moments."""
    values = asdict(record)
    content = values.pop("content")
    values |= {
        "generation": content["generation"],
        "payload": content["payload"] or None,
        "etag": content["etag"],
        "last_modified": content["last_modified"],
        "fetched_at": content["fetched_us"],
        "expires_at": content["expires_us"],
    }
    return {name: moment(value) if is_time(name) else value for name, value in values.items()}


def is_time(name: str) -> bool:
    return name.endswith(("_at", "_until"))


class Dice:
    """Random rows and questions."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def time(self) -> float:
        far = [0, math.inf, -math.inf, FIRST_TIME, LAST_TIME, LAST_TIME - 30_000_000, rows.LAST_SANE + 1, -1]
        if self.random.random() < 0.3:
            return self.random.choice(far)
        return BASE + self.random.choice((-1, 1)) * self.random.choice(STEPS)

    def number(self) -> int:
        return self.random.choice(NUMBERS)

    def text(self) -> str | None:
        return self.random.choice(TEXTS)

    def now(self) -> int:
        """The clock stands, goes, or was set back or forward."""
        return BASE + self.random.choice((0, 0, 0, 1, -1)) * self.random.choice(STEPS)

    def record(self) -> Record:
        record = self.hostile()
        if self.random.random() < 0.7:
            return record
        content = replace(record.content, generation=BASE, fetched_us=BASE - 5 * MICROSECONDS, payload=b"{}")
        fence = max(record.fence, BASE)
        healthy = replace(record, content=content, fence=fence, next_refresh_at=BASE + 300 * MICROSECONDS)
        # And one of them, which is about to be fetched under a floor, or which somebody fetches.
        ends = BASE + 60 * MICROSECONDS
        floored = replace(healthy, floor_until=ends, floor_set_at=BASE, lease_until=0, backoff_until=0)
        leased = replace(healthy, lease_owner=THEIRS, claimed_at=BASE, lease_until=ends)
        return self.random.choice((healthy, floored, leased))

    def hostile(self) -> Record:
        generation, fence = sorted((self.number(), self.number()))
        shared = self.time()
        return Record(
            content=Content(
                generation=generation,
                fetched_us=self.time(),  # type: ignore[arg-type]  # an infinite one too
                expires_us=self.time(),  # type: ignore[arg-type]
                etag=self.text(),
                last_modified=self.text(),
                payload=self.random.choice((b"", b'{"keys":[]}')),
            ),
            seal=self.random.choice((None, b"", b"s" * 41, b"s" * 256, b"s" * 257)),
            next_refresh_at=self.time(),
            fence=fence,
            lease_owner=self.random.choice((None, OURS, THEIRS)),
            claimed_at=shared,
            lease_until=self.time(),
            floor_until=self.time(),
            floor_set_at=self.random.choice((shared, self.time())),
            backoff_until=self.time(),
            backoff_set_at=self.random.choice((shared, self.time())),
            consecutive_failures=self.random.choice((0, 1, 5, 19, 21, 1000, 1001, 2**31 - 1, -1, -(2**31))),
            last_error=self.text(),
            last_refresh_reason=self.text(),
            fetch_attempt_count=self.number(),
            refresh_event_count=self.number(),
            failure_event_count=self.number(),
            abandoned_count=self.number(),
        )

    def question(self, record: Record) -> Claim | Read | Publish | Fail | Release | None:
        """One that the row could be asked; None is a poll."""
        choice = self.random.choice
        generation, fence = record.content.generation, choice((record.fence, record.fence, record.fence - 1))
        fence = max(fence, -(2**63))
        judging: dict[str, Any] = {
            "force": choice((True, False, False)),
            "need": choice((True, False, False)),
            "have": choice((0, 0, 1, BASE, 2**59, 2**61 - 1, max(0, min(generation, 2**61 - 1)))),
            "bad": choice((-1, -1, generation)),
            "floor": choice((0.02, 5.0, 60.0, 100.0)),
            "refresh": choice((0.5, 300.0, 86_400.0)),
        }
        owner = choice((OURS, THEIRS))
        match self.random.randrange(8):
            case 0 | 1 | 2:
                reason = choice(("scheduled", "unknown_kid"))
                lease = choice((0.05, 5.0, 60.0))
                return claim_of(
                    owner=owner, lease=lease, reason=reason, use_gate=choice((True, False)), **judging
                )
            case 3:
                return Read(**judging)
            case 4:
                content = Content(
                    generation=fence,
                    fetched_us=BASE,
                    expires_us=BASE + 1,
                    etag='"2"',
                    last_modified=None,
                    payload=b"{}",
                )
                return Publish(owner=owner, content=content, next_us=BASE + 2, seal=b"x")
            case 5:
                return Fail(
                    owner=owner,
                    fence=fence,
                    error=choice(("status 503", "x" * 300, "ü\0\n")),
                    retry_after=choice((0.0, 0.3, 120.0, 1e9)),
                    backoff_base=choice((0.1, 2.0)),
                    backoff_max=60.0,
                    jitter=choice((0.0, 0.123456789)),
                )
            case 6:
                return Release(owner=owner, fence=fence)
            case _:
                return None


def in_python(record: Record, question: Any, now: int) -> tuple[Record, Any]:
    match question:
        case Claim():
            return rows.claim(record, question, now)
        case Read():
            return record, rows.read(record, question, now)
        case Publish():
            return rows.publish(record, question, now)
        case Fail():
            return rows.fail(record, question, now)
        case Release():
            return rows.release(record, question, now)
        case _:
            return record, rows.peek(record, now)


def in_sql(session: StatementSession, question: Any) -> Any:
    match question:
        case Claim():
            return session.claim(KEY, question)
        case Read():
            return session.read(KEY, question)
        case Publish():
            return session.publish(KEY, question)
        case Fail():
            return session.fail(KEY, question)
        case Release():
            return session.release(KEY, question)
        case _:
            return session.peek(KEY)


def told(answer: Any) -> Any:
    """An answer in which floats are compared to the microsecond."""
    if isinstance(answer, Row | Peeked):
        return {name: told(value) for name, value in asdict(answer).items()}
    return pytest.approx(answer, abs=2e-6) if isinstance(answer, float) else answer


@pytest.fixture(scope="module")
def hostile_dsn(new_database: Callable[[], str]) -> str:
    """A database whose owner has taken the limits away."""
    dsn = new_database()
    migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "ALTER TABLE public.jwt_verification_cache DROP CONSTRAINT jwt_verification_cache_limits"
        )
    return dsn


@pytest.fixture
def virtual(hostile_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualSql]:
    text = resources.files("skeldir_jwt_mw.stores").joinpath("statements.sql").read_text(encoding="utf-8")
    real = "-- fragment: CLOCK\npg_catalog.clock_timestamp()\n"
    assert text.count(real) == 1
    composed = compose(text.replace(real, f"-- fragment: CLOCK\n{CLOCK}\n"))
    monkeypatch.setattr(sessions, "STATEMENTS", MappingProxyType(composed))
    virtual = VirtualSql(hostile_dsn)
    yield virtual
    virtual.close()


@pytest.mark.parametrize("seed", range(4))
def test_python_and_sql_give_the_same_answer_and_the_same_row(virtual: VirtualSql, seed: int) -> None:
    dice = Dice(seed)
    session = StatementSession(virtual)
    seen: set[str] = set()
    for number in range(CASES):
        record, now = dice.record(), dice.now()
        question = dice.question(record)
        virtual.put(record)
        virtual.now = now
        after, expected = in_python(record, question, now)
        answer = in_sql(session, question)
        found = asdict(answer) if isinstance(answer, Row | Peeked) else answer
        assert found == told(expected), (number, record, question, now)
        assert virtual.columns() == columns_as_read(after), (number, record, question, now)
        seen.add(f"{type(question).__name__} {getattr(answer, 'verdict', bool(answer))}")
    verdicts = {f"Claim {verdict}" for verdict in ("leader", "newer", "fresh", "wait", "backoff", "floor")}
    writes = {f"{name} {written}" for name in ("Publish", "Fail", "Release") for written in (True, False)}
    assert verdicts | writes | {"Read None", "NoneType True"} <= seen


def columns_as_read(record: Record) -> dict[str, Any]:
    """What the table holds of a record: infinite times as the loader gives them."""
    values = columns_of(record)
    for name in filter(is_time, values):
        values[name] = values[name] if abs(values[name]) < 2**69 else math.copysign(math.inf, values[name])
    return values


@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_row_holds_it_stalls_nobody_for_longer_than_the_horizons(seed: int) -> None:
    dice = Dice(seed)
    for _ in range(3000):
        record, now = dice.record(), dice.now()
        claim = replace(claim_of(force=True), floor=5.0, have=2**61 - 1, bad=record.content.generation)
        _, row = rows.claim(record, claim, now)
        left = {
            "wait": (row.lease_left, 61),
            "floor": (row.floor_left, 61),
            "backoff": (row.backoff_left, 3701),
        }
        if row.verdict != "leader":
            assert row.verdict is not None
            seconds, most = left[row.verdict]
            assert 0 < seconds <= most
            patient = now + math.ceil(seconds * MICROSECONDS)
            _, later = rows.claim(record, claim, patient)
            assert later.verdict != row.verdict
