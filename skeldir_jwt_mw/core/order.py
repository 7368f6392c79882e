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
    """Until `until` (monotonic seconds) no refresh helps; `reason` is None after a successful one."""

    until: float
    reason: str | None


OPEN_GATE = Gate(until=float("-inf"), reason=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Checked content with the keys in it, and its times in monotonic seconds."""

    content: Content
    jwks: ImportedJWKS
    fetched_at: float
    refresh_at: float  # when the fleet's next scheduled fetch is due
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a process knows and wants when it starts a refresh."""

    owner: UUID  # new for every refresh, never per process: a fork would share it
    reason: Reason
    force: bool
    need: bool  # nothing usable at hand
    aged: bool  # what is at hand is older than the refresh interval
    trusted: Adopted | None
    have: int  # highest generation used so far
    bad: int  # generation that was rejected, else -1
    patience: float  # seconds to follow another process's fetch
    store_failures: int  # consecutive ones so far
    replace_stranger: bool  # whether a row under a seal key that is not ours may be claimed over now
    coordinated: bool  # False only under the mutation toggle


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
    store_failed: bool = False
    misconfigured: ConfigurationError | None = None


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


Effect: TypeAlias = Claim | Read | Peek | Fetch | Publish | Fail | Wait | Report | Settle
Step: TypeAlias = Generator[Effect, Reply, Ending]
