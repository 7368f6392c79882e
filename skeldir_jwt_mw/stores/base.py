"""What every store offers: one session at a time, each call of it bounded by the session's deadline."""

from __future__ import annotations

from typing import Protocol

from skeldir_jwt_mw.core.effects import Claim, Fail, Peeked, Publish, Read, Release, Row


class Session(Protocol):
    """A connection for one stretch of a refresh; one thread uses it, every call is one autocommit statement.

    Any call raises `StoreContended` where repeating it may help, `StoreUnavailable` where the store does
    not answer, and `ConfigurationError` where an operator has to act (no table, no privilege; and
    `StoreReadOnly` for a replica).
    """

    def claim(self, source_key: str, claim: Claim) -> Row:
        """Read the row and take the lease when that is allowed; a missing row is created first."""
        ...

    def read(self, source_key: str, read: Read) -> Row | None:
        """The row as it is, or None where there is none."""
        ...

    def peek(self, source_key: str) -> Peeked:
        """Generation, and whether a fetch is running."""
        ...

    def publish(self, source_key: str, publish: Publish) -> bool:
        """Write the content; False where the row is no longer ours."""
        ...

    def fail(self, source_key: str, fail: Fail) -> float | None:
        """Record a failed fetch; returns the seconds of backoff, or None where the row is no longer ours."""
        ...

    def release(self, source_key: str, release: Release) -> bool:
        """Give the lease back, at no cost to the fleet; False where the row is no longer ours."""
        ...

    def close(self) -> None:
        """Give the connection back; never raises, may be called twice."""
        ...


class Store(Protocol):
    """Where a fleet shares its key sets. Constructing one never connects."""

    shared: bool  # True: rows leave this process, so they are sealed
    namespace: str  # enters the row's key

    def open(self, seconds: float) -> Session:
        """A session, none of whose calls runs past `seconds` from now. Connects lazily or at once."""
        ...
