"""What a refresh is asked for, how it ends, and the form of the script in between."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from uuid import UUID

from skeldir_jwt_mw.errors import ConfigurationError

from .effects import Claim, Content, Fail, Fetch, Peek, Publish, Read, Report, Wait
from .keys import ImportedJWKS

Reason: TypeAlias = Literal["scheduled", "cold", "unknown_kid", "manual", "tampered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Until `until` (monotonic seconds) nobody asks again; `reason` is None after a successful refresh.

    `retry_at` is when asking again may help, where that is later: the row is looked at before that all the
    same, since somebody may have mended it.
    """

    until: float
    reason: str | None
    retry_at: float = float("-inf")

    def closed_for(self, now: float) -> float:
        """Seconds after which a caller should come back; never negative."""
        return max(0.0, self.until - now, self.retry_at - now)


OPEN_GATE = Gate(until=float("-inf"), reason=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Checked content with the keys in it, and its times in monotonic seconds."""

    content: Content
    jwks: ImportedJWKS
    fetched_at: float
    refresh_at: float  # when the fleet's next scheduled fetch is due
    expires_at: float
    dated: bool = True  # False where no clock tells how old it is, and it may be older than `fetched_at`

    @property
    def is_private(self) -> bool:
        """Whether this process fetched it for itself: no row ever held it."""
        return self.content.fetched_us == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a process knows and wants when it starts a refresh."""

    owner: UUID  # new for every refresh, never per process: a fork would share it
    reason: Reason
    force: bool
    need: bool  # nothing usable at hand
    aged: bool  # what is at hand is past its schedule, by its own sealed time
    trusted: Adopted | None
    have: int  # highest generation used so far
    bad: int  # generation that was rejected, else -1
    unreadable: bool  # it was rejected because its seal key is not configured here
    failures: int  # consecutive refreshes so far that failed here: no answer of the store, no thread, no file
    replace_stranger: bool  # whether a row under a seal key that is not ours may be claimed over now
    coordinated: bool  # False only under the mutation toggle
    wall: float | None = None  # this host's Unix seconds, to hold the database's against


EndingKind: TypeAlias = Literal["refreshed", "adopted", "fresh", "blocked", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a refresh ended for this process."""

    kind: EndingKind
    gate: Gate
    check_at: float  # monotonic seconds of the next look at the row
    adopted: Adopted | None = None
    waited: bool = False  # a fetch in flight was followed
    bad: int = -1
    compared_at: float | None = (
        None  # before the last statement that was answered: keys and row were compared
    )
    unanswered_at: float | None = None  # before the last statement, where it was not answered
    # Whether the provider fails, so that keys serve on past the revocation bound; None where nobody asked it.
    provider_fails: bool | None = None
    unreadable: bool = False  # the row is sealed with a key that is not configured here
    failed_here: bool = False  # through nobody's fault but this process's or the store's
    misconfigured: ConfigurationError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Put these keys to use now; the refresh goes on, for they are past their schedule already."""

    adopted: Adopted
    provider_fails: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The refresh has ended for this process; what follows is for the rest of the fleet."""

    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An effect's result and the monotonic times before it was sent and after it was received."""

    value: Any
    sent: float
    received: float


Effect: TypeAlias = Claim | Read | Peek | Fetch | Publish | Fail | Wait | Report | Settle | Use
Step: TypeAlias = Generator[Effect, Reply, Ending]
