"""The store of one process: the same contract as the Postgres table's, without a database."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from skeldir_jwt_mw.core import row as rows
from skeldir_jwt_mw.core.effects import Claim, Fail, Peeked, Publish, Read, Release, Row
from skeldir_jwt_mw.core.row import Record, microseconds
from skeldir_jwt_mw.deadline import monotonic

from .base import Session

T = TypeVar("T")


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
        # By process id: a fork that runs no Python hooks (uWSGI's) is noticed all the same. One of several
        # threads that notice wins, since `setdefault` is one step.
        self._shelves: dict[int, Shelf] = {os.getpid(): Shelf()}

    def open(self, seconds: float) -> Session:  # noqa: ARG002  # nothing here takes any time
        """A session; its calls never block."""
        return MemorySession(self._shelf, self._clock)

    def record(self, source_key: str) -> Record | None:
        """The row as it is, with its counters; None where there is none."""
        return self._shelf().rows.get(source_key)

    def _shelf(self) -> Shelf:
        """What belongs to this process."""
        shelf = self._shelves.get(os.getpid())
        return self._after_fork() if shelf is None else shelf

    def _after_fork(self) -> Shelf:
        """The parent's threads are not here: nobody holds the lock, and leases have lost their owners.

        What they fetch never comes here, so the floor that they have armed is not ours either.
        """
        pid = os.getpid()
        inherited = {
            key: record if record.lease_owner is None else replace(record, lease_until=0, floor_until=0)
            for shelf in tuple(self._shelves.values())
            for key, record in shelf.rows.copy().items()
        }
        shelf = self._shelves.setdefault(pid, Shelf(rows=inherited))
        for other in self._shelves.keys() - {pid}:
            self._shelves.pop(other, None)
        return shelf


@dataclass(frozen=True, slots=True)
class Shelf:
    """The rows of one process, and the lock under which they change: for microseconds, and without a call
    of anything foreign.
    """

    rows: dict[str, Record] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemorySession:
    """The functions of `core.row` over the rows of this process."""

    def __init__(self, shelf: Callable[[], Shelf], clock: Callable[[], float]) -> None:
        self._shelf = shelf
        self._clock = clock

    def claim(self, source_key: str, claim: Claim) -> Row:
        """Read the row and take the lease when that is allowed; a missing row is created first."""
        row = self._changed(source_key, lambda row, now: rows.claim(row, claim, now), missing=Record())
        assert row is not None  # since there is a row now
        return row

    def read(self, source_key: str, read: Read) -> Row | None:
        """The row as it is, or None where there is none."""
        row = self._shelf().rows.get(source_key)
        return None if row is None else rows.read(row, read, self._now())

    def peek(self, source_key: str) -> Peeked:
        """Generation, and whether a fetch is running; a row that is gone has neither."""
        return rows.peek(self._shelf().rows.get(source_key, Record()), self._now())

    def publish(self, source_key: str, publish: Publish) -> bool:
        """Write the content; False where the row is no longer ours."""
        return bool(self._changed(source_key, lambda row, now: rows.publish(row, publish, now)))

    def fail(self, source_key: str, fail: Fail) -> float | None:
        """Record a failed fetch; returns the seconds of backoff, or None where the row is no longer ours."""
        return self._changed(source_key, lambda row, now: rows.fail(row, fail, now))

    def release(self, source_key: str, release: Release) -> bool:
        """Give the lease back, at no cost to the fleet; False where the row is no longer ours."""
        return bool(self._changed(source_key, lambda row, now: rows.release(row, release, now)))

    def close(self) -> None:
        """Nothing to give back."""

    def _changed(
        self,
        source_key: str,
        change: Callable[[Record, int], tuple[Record, T]],
        *,
        missing: Record | None = None,
    ) -> T | None:
        """Apply a change to the row, or to `missing` where there is none; None where there is neither."""
        now = self._now()  # the clock may be anybody's, so it is read outside of the lock
        shelf = self._shelf()
        with shelf.lock:
            row = shelf.rows.get(source_key, missing)
            if row is None:
                return None
            shelf.rows[source_key], answer = change(row, now)
            return answer

    def _now(self) -> int:
        return microseconds(self._clock())
