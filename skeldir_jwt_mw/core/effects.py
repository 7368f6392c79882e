"""What the refresh script asks of the outside world, and the shapes of the answers.

Times in a row are integer microseconds since the Unix epoch on the *database's* clock (`…_us`); everything
that a process acts on is a duration in float seconds (`…_left`), so two hosts' clocks are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from skeldir_jwt_mw.errors import ConfigurationError

Verdict = Literal["leader", "newer", "fresh", "wait", "backoff", "floor", "contended"]
Outcome = Literal["ok", "failed", "abandoned", "running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Ask the row for the right to fetch. Durations are seconds; `refresh` includes its jitter."""

    owner: UUID  # new for every refresh; a repeat with the same owner answers "leader" again
    force: bool  # an unknown kid, refresh(), or tampering: obeys and arms the floor
    need: bool  # this process has no usable snapshot
    have: int  # generation of the trusted snapshot, 0 if none
    bad: int  # generation that was rejected, else -1
    lease: float
    floor: float
    refresh: float
    reason: str  # "scheduled", "cold", "unknown_kid", "manual" or "tampered": kept in the row as evidence
    use_gate: bool  # False leaves the advisory lock out


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Look at the row without claiming it: after a publish that changed nothing, and for status."""

    force: bool
    need: bool
    have: int
    bad: int
    floor: float
    refresh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """Poll the row while another worker fetches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The part of a row that the seal covers."""

    generation: int
    fetched_us: int
    expires_us: int
    etag: str | None
    last_modified: str | None
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Write fetched keys, if the row is still held under this fence (`content.generation`) and owner."""

    owner: UUID
    content: Content
    next_us: int
    seal: bytes | None
    coordinated: bool = True  # False only under the mutation toggle: no guard, generation from the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Record that the provider failed, so that the whole fleet backs off; guarded like `Publish`."""

    owner: UUID
    fence: int
    error: str
    retry_after: float
    backoff_base: float
    backoff_max: float
    jitter: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give the lease back without an outcome, so that the next process may fetch at once; guarded likewise.

    For trouble that is this process's own: the fleet neither backs off nor counts a failure.
    """

    owner: UUID
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditional:
    """Validators for a conditional request; `no_cache` asks intermediaries for the origin's answer."""

    etag: str | None = None
    last_modified: str | None = None
    no_cache: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a source answered: the JWKS document, or None for "not modified"; `max_age` in seconds."""

    document: bytes | None
    etag: str | None = None
    last_modified: str | None = None
    max_age: float | None = None


class FetchFailed(Exception):
    """A source has no document; `reason` is a short fixed text, `retry_after` the seconds it named."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class LocalFetchFailed(FetchFailed):
    """This process could not even ask: its own trouble, for which no fleet backs off from the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Ask the source for its document; the lease is gone after `seconds`."""

    conditional: Conditional
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing for so many seconds; `release` gives the database connection back meanwhile."""

    seconds: float
    release: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as a claim or a read saw it; `payload`, `seal` and the validators are set if it is newer."""

    verdict: Verdict | None  # None from a read
    fence: int
    claimed_us: int | None
    generation: int
    outcome: Outcome
    last_error: str | None
    last_refresh_reason: str | None
    lease_left: float
    floor_left: float
    backoff_left: float
    refresh_left: float
    now_us: int | None
    fetched_us: int | None
    expires_us: int | None
    payload: bytes | None
    seal: bytes | None
    etag: str | None
    last_modified: str | None
    failures: int = 0  # failed fetches of the fleet in a row; 1000 stands for more


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """What a poll saw."""

    generation: int
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Tell the operator; `event` is a fixed word, `detail` never holds anything that a token held."""

    event: Literal[
        "forged_row",
        "stranger_row",
        "private_key",
        "refreshed",
        "fetch_failed",
        "store_failed",
        "failed_here",
    ]
    detail: str


class StoreContended(Exception):
    """The statement was cut off (lost connection, 40001, 40P01, 53300, 57P03): it may be repeated."""


class StoreUnavailable(Exception):
    """The store gives no answer: down, refused or timed out; the text is fixed and holds no secret."""


class StoreReadOnly(ConfigurationError):
    """The database takes no writes: a replica, or a primary that was demoted a moment ago (25006)."""
