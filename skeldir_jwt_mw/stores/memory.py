"""The store of one process: the same contract as the Postgres table's, without a database."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from skeldir_jwt_mw.core.effects import (
    Claim,
    Content,
    Fail,
    Outcome,
    Peeked,
    Publish,
    Read,
    Release,
    Row,
    Verdict,
)
from skeldir_jwt_mw.deadline import monotonic

from .base import Session

MICROSECONDS = 1_000_000
MAX_BACKOFF = 3600.0  # seconds
MAX_DOUBLINGS = 20
MAX_ERROR = 200  # characters
NOTHING = Content(generation=0, fetched_us=0, expires_us=0, etag=None, last_modified=None, payload=b"")


def steady_clock() -> Callable[[], float]:
    """Seconds since the Unix epoch as of now, monotonic from here on whatever is done to the clock."""
    offset = time.time() - monotonic()
    return lambda: monotonic() + offset


class MemoryStore:
    """Shares key sets among the verifiers of one process only; a fleet of processes needs a `PostgresStore`.

    `clock` gives seconds since the Unix epoch and must never step.
    """

    shared = False
    namespace = ""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or steady_clock()
        self._lock = threading.Lock()  # held by a session for one call, a few microseconds
        self._rows: dict[str, Record] = {}  # changed under the lock only
        _stores.add(self)

    def open(self, seconds: float) -> Session:  # noqa: ARG002  # nothing here takes any time
        """A session; its calls never block."""
        return MemorySession(self._rows, self._lock, self._clock)

    def record(self, source_key: str) -> Record | None:
        """The row as it is, with its counters; None where there is none."""
        return self._rows.get(source_key)

    def _after_fork(self) -> None:
        """The parent's threads are not here: nobody holds the lock, and leases have lost their owners.

        What they fetch never comes here, so the floor that they have armed is not ours either.
        """
        self._lock = threading.Lock()
        self._rows = {
            key: row if row.lease_owner is None else replace(row, lease_until=0, floor_until=0)
            for key, row in self._rows.items()
        }


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row; its columns are those of the table, times in microseconds since the epoch.

    Never changed but replaced whole, so that a fork finds no half of a change.
    """

    content: Content = NOTHING
    seal: bytes | None = None
    next_refresh_at: int = 0
    fence: int = 0
    lease_owner: UUID | None = None
    claimed_at: int = 0
    lease_until: int = 0
    floor_until: int = 0
    backoff_until: int = 0
    consecutive_failures: int = 0
    last_error: str | None = None
    last_refresh_reason: str | None = None
    fetch_attempt_count: int = 0
    refresh_event_count: int = 0
    failure_event_count: int = 0
    abandoned_count: int = 0

    def outcome(self, now: int) -> Outcome:
        """How the latest fetch ended, if it has."""
        if self.lease_owner is not None:
            return "running" if self.lease_until > now else "abandoned"
        return "failed" if self.consecutive_failures else "ok"

    def is_newer(self, asked: Claim | Read) -> bool:
        """Whether there is something to adopt."""
        return self.content.generation > asked.have and self.content.generation != asked.bad

    def is_due(self, asked: Claim | Read, now: int) -> bool:
        """Whether a fetch is wanted."""
        return asked.force or asked.need or self.is_past_its_schedule(asked, now)

    def is_past_its_schedule(self, asked: Claim | Read, now: int) -> bool:
        """Whether a fetch is wanted even by those who have keys and miss none."""
        generation = self.content.generation
        return (
            generation == 0
            or generation < asked.have
            or now >= self.next_refresh_at
            or self.content.fetched_us <= now - _microseconds(asked.refresh)
        )

    def is_held(self, owner: UUID, fence: int) -> bool:
        """Whether the owner may still write."""
        return self.lease_owner == owner and self.fence == fence


class MemorySession:
    """The statements of the Postgres store in Python: the same verdicts in the same order."""

    def __init__(self, rows: dict[str, Record], lock: threading.Lock, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._lock = lock
        self._clock = clock

    def claim(self, source_key: str, claim: Claim) -> Row:
        """Read the row and take the lease when that is allowed; a missing row is created first."""
        with self._lock:
            now = self._now()
            row = self._rows.setdefault(source_key, Record())
            verdict = _verdict(row, claim, now)
            if verdict != "leader":
                return _answer(row, claim, now, verdict=verdict)
            if row.lease_owner == claim.owner and row.lease_until > now:
                return _answer(row, claim, now, verdict=verdict, claimed_us=row.claimed_at)
            fence = 1 + max(row.fence, row.content.generation, claim.have, now)
            self._rows[source_key] = replace(
                row,
                lease_owner=claim.owner,
                claimed_at=now,
                lease_until=now + _microseconds(claim.lease),
                floor_until=now + _microseconds(claim.floor) if claim.force else row.floor_until,
                fence=fence,
                fetch_attempt_count=row.fetch_attempt_count + 1,
                abandoned_count=row.abandoned_count + (row.lease_owner is not None),
                last_refresh_reason=claim.reason,
            )
            return replace(_answer(row, claim, now, verdict=verdict, claimed_us=now), fence=fence)

    def read(self, source_key: str, read: Read) -> Row | None:
        """The row as it is, or None where there is none."""
        row = self._rows.get(source_key)
        return None if row is None else _answer(row, read, self._now(), verdict=None)

    def peek(self, source_key: str) -> Peeked:
        """Generation, and whether a fetch is running; a row that is gone has neither."""
        row = self._rows.get(source_key, Record())
        return Peeked(generation=row.content.generation, running=row.outcome(self._now()) == "running")

    def publish(self, source_key: str, publish: Publish) -> bool:
        """Write the content; False where the row is no longer ours."""
        fence = publish.content.generation
        with self._lock:
            row = self._rows.get(source_key)
            if row is None or (publish.coordinated and not row.is_held(publish.owner, fence)):
                return False
            self._rows[source_key] = replace(
                row,
                content=publish.content,
                seal=publish.seal,
                next_refresh_at=publish.next_us,
                fence=max(row.fence, fence),
                lease_owner=None,
                lease_until=0,
                backoff_until=0,
                consecutive_failures=0,
                last_error=None,
                refresh_event_count=row.refresh_event_count + 1,
            )
            return True

    def fail(self, source_key: str, fail: Fail) -> float | None:
        """Record a failed fetch; returns the seconds of backoff, or None where the row is no longer ours."""
        with self._lock:
            row = self._rows.get(source_key)
            if row is None or not row.is_held(fail.owner, fail.fence):
                return None
            doubled = fail.backoff_base * 2.0 ** min(row.consecutive_failures, MAX_DOUBLINGS)
            wanted = min(fail.backoff_max, doubled) + fail.jitter
            backoff: float = min(MAX_BACKOFF, max(fail.retry_after, wanted))
            self._rows[source_key] = replace(
                row,
                lease_owner=None,
                lease_until=0,
                consecutive_failures=row.consecutive_failures + 1,
                failure_event_count=row.failure_event_count + 1,
                last_error=fail.error[:MAX_ERROR],
                backoff_until=self._now() + _microseconds(backoff),
            )
            return backoff

    def release(self, source_key: str, release: Release) -> bool:
        """Give the lease back; False where the row is no longer ours."""
        with self._lock:
            row = self._rows.get(source_key)
            if row is None or not row.is_held(release.owner, release.fence):
                return False
            self._rows[source_key] = replace(
                row,
                lease_owner=None,
                lease_until=0,
                floor_until=0,
                fetch_attempt_count=row.fetch_attempt_count - 1,
            )
            return True

    def close(self) -> None:
        """Nothing to give back."""

    def _now(self) -> int:
        return _microseconds(self._clock())


def _verdict(row: Record, claim: Claim, now: int) -> Verdict:
    leased = row.lease_until > now
    if row.lease_owner == claim.owner and leased:
        return "leader"  # the answer to an earlier try was lost
    if row.is_newer(claim):
        return "newer"
    if not row.is_due(claim, now):
        return "fresh"
    if leased:
        return "wait"
    if row.backoff_until > now:
        return "backoff"
    if claim.force and row.floor_until > now:
        return "floor"
    return "leader"


def _answer(
    row: Record, asked: Claim | Read, now: int, *, verdict: Verdict | None, claimed_us: int | None = None
) -> Row:
    """The row as the Postgres store would hand it out."""
    content, newer = row.content, row.is_newer(asked)
    if verdict is not None and claimed_us is None:
        claimed_us = row.claimed_at
    next_refresh_at = min(row.next_refresh_at, content.fetched_us + _microseconds(asked.refresh))
    return Row(
        verdict=verdict,
        fence=row.fence,
        claimed_us=claimed_us,
        generation=content.generation,
        outcome=row.outcome(now),
        last_error=row.last_error,
        last_refresh_reason=row.last_refresh_reason,
        lease_left=_left(row.lease_until, now),
        floor_left=_left(row.floor_until, now),
        backoff_left=_left(row.backoff_until, now),
        refresh_left=0.0 if row.is_past_its_schedule(asked, now) else _left(next_refresh_at, now),
        now_us=now,
        fetched_us=content.fetched_us,
        expires_us=content.expires_us,
        payload=content.payload if newer else None,
        seal=row.seal if newer else None,
        etag=content.etag if newer else None,
        last_modified=content.last_modified if newer else None,
        failures=row.consecutive_failures,
    )


def _left(until: int, now: int) -> float:
    return max(0, until - now) / MICROSECONDS


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
