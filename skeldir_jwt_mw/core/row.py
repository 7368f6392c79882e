"""The shared row as a pure function: a record, a question and a time give a record and an answer.

Every store means the same. `MemoryStore` applies these functions; the SQL of `stores/statements.sql` says it
once more, and tests hold the two against each other over random and hostile rows. A row is not trusted here:
any number, any time and any order of times may stand in it, an infinite one too, and none of them stalls the
fleet for longer than a fixed horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from .effects import Claim, Content, Fail, Outcome, Peeked, Publish, Read, Release, Row, Verdict

T = TypeVar("T", str, bytes)

MICROSECONDS = 1_000_000
SLACK = MICROSECONDS  # what a clock may be behind the one that wrote the row
LEASE_HORIZON = 60.0  # seconds; no lease counts for longer
FLOOR_HORIZON = 60.0  # or the reader's own floor, where that is longer
BACKOFF_HORIZON = 3700.0
MAX_BACKOFF = 3600.0
MAX_DOUBLINGS = 20
MAX_COUNTED_FAILURES = 1_000_000
MAX_TOLD_FAILURES = 1000
MAX_TEXT = 200  # characters of `last_error` and of `last_refresh_reason`
MAX_VALIDATOR = 1024  # octets of `etag`, and of `last_modified`
MAX_SEAL = 256  # octets
MAX_DOCUMENT = 262_144  # octets
RESTART_FROM = 1 << 60  # numbers from here on are nobody's clock and are restarted
LAST_SANE = 7_258_118_400 * MICROSECONDS  # the year 2200
CLOCKS_AGREE_WITHIN = 86_400.0  # seconds

NOTHING = Content(generation=0, fetched_us=0, expires_us=0, etag=None, last_modified=None, payload=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row; its columns are those of the table, times in microseconds since the epoch or infinite.

    Never changed but replaced whole, so that a fork finds no half of a change. An empty payload is none.
    """

    content: Content = NOTHING
    seal: bytes | None = None
    next_refresh_at: float = 0
    fence: int = 0
    lease_owner: UUID | None = None
    claimed_at: float = 0
    lease_until: float = 0
    floor_until: float = 0
    floor_set_at: float = 0
    backoff_until: float = 0
    backoff_set_at: float = 0
    consecutive_failures: int = 0
    last_error: str | None = None
    last_refresh_reason: str | None = None
    fetch_attempt_count: int = 0
    refresh_event_count: int = 0
    failure_event_count: int = 0
    abandoned_count: int = 0

    def is_leased(self, now: int) -> bool:
        """Whether somebody fetches, as far as the row can tell."""
        return self.lease_owner is not None and _counts(self.lease_until, self.claimed_at, LEASE_HORIZON, now)

    def is_floored(self, floor: float, now: int) -> bool:
        """Whether the latest forced claim is less than its floor ago; `floor` is the reader's, in seconds."""
        return _counts(self.floor_until, self.floor_set_at, max(floor, FLOOR_HORIZON), now)

    def is_backed_off(self, now: int) -> bool:
        """Whether the fleet leaves the provider alone."""
        return _counts(self.backoff_until, self.backoff_set_at, BACKOFF_HORIZON, now)

    def outcome(self, now: int) -> Outcome:
        """How the latest fetch ended, if it has."""
        if self.is_leased(now):
            return "running"
        if self.lease_owner is not None:
            return "abandoned"
        return "failed" if self.consecutive_failures > 0 else "ok"

    def is_newer(self, asked: Claim | Read) -> bool:
        """Whether there is something to adopt."""
        return self.content.generation > asked.have and self.content.generation != asked.bad

    def is_due(self, asked: Claim | Read, now: int) -> bool:
        """Whether a fetch is wanted."""
        return asked.force or asked.need or self.is_past_its_schedule(asked, now)

    def is_past_its_schedule(self, asked: Claim | Read, now: int) -> bool:
        """Whether a fetch is wanted even by those who have keys and miss none."""
        content = self.content
        return (
            not content.payload
            or content.generation == 0
            or content.generation < asked.have
            or now >= self.next_refresh_at
            or content.fetched_us <= now - microseconds(asked.refresh)
            or content.fetched_us > now + SLACK
        )

    def is_held(self, owner: UUID, fence: int, now: int) -> bool:
        """Whether the owner may still write: under the newest fence, and before the lease has ended."""
        return self.lease_owner == owner and self.fence == fence and self.lease_until > now


def claim(row: Record, asked: Claim, now: int) -> tuple[Record, Row]:
    """Take the lease when that is allowed."""
    verdict = _verdict(row, asked, now)
    if verdict != "leader" or (row.lease_owner == asked.owner and row.is_leased(now)):
        return row, _answer(row, asked, now, verdict=verdict, claimed_at=row.claimed_at)
    generation = row.content.generation
    own = generation if generation < RESTART_FROM else 0
    fence = 1 + max(row.fence if row.fence < RESTART_FROM else 0, own, asked.have, now)
    won = replace(
        row,
        content=replace(row.content, generation=generation if generation <= asked.have else own),
        lease_owner=asked.owner,
        claimed_at=now,
        lease_until=now + microseconds(asked.lease),
        floor_until=now + microseconds(asked.floor) if asked.force else row.floor_until,
        floor_set_at=now if asked.force else row.floor_set_at,
        fence=fence,
        fetch_attempt_count=_one_more(row.fetch_attempt_count),
        abandoned_count=_one_more(row.abandoned_count, row.lease_owner is not None),
        last_refresh_reason=asked.reason,
    )
    return won, replace(_answer(row, asked, now, verdict=verdict, claimed_at=now), fence=fence)


def read(row: Record, asked: Read, now: int) -> Row:
    """The row as it is."""
    return _answer(row, asked, now, verdict=None, claimed_at=None)


def peek(row: Record, now: int) -> Peeked:
    """Generation, and whether a fetch is running."""
    running = row.lease_owner is not None and row.lease_until > now
    return Peeked(generation=row.content.generation, running=running)


def publish(row: Record, asked: Publish, now: int) -> tuple[Record, bool]:
    """Write the content; False where the row is no longer ours."""
    fence = asked.content.generation
    if asked.coordinated and not row.is_held(asked.owner, fence, now):
        return row, False
    published = replace(
        row,
        content=asked.content,
        seal=asked.seal,
        next_refresh_at=asked.next_us,
        fence=max(row.fence, fence),
        lease_owner=None,
        lease_until=0,
        backoff_until=0,
        consecutive_failures=0,
        last_error=None,
        refresh_event_count=_one_more(row.refresh_event_count),
    )
    return published, True


def fail(row: Record, asked: Fail, now: int) -> tuple[Record, float | None]:
    """Record a failed fetch; the seconds of backoff, or None where the row is no longer ours."""
    if not row.is_held(asked.owner, asked.fence, now):
        return row, None
    failures = max(row.consecutive_failures, 0)
    wanted = min(asked.backoff_max, asked.backoff_base * 2.0 ** min(failures, MAX_DOUBLINGS)) + asked.jitter
    backoff = microseconds(min(MAX_BACKOFF, max(asked.retry_after, wanted)))
    failed = replace(
        row,
        lease_owner=None,
        lease_until=0,
        consecutive_failures=1 + min(failures, MAX_COUNTED_FAILURES),
        failure_event_count=_one_more(row.failure_event_count),
        last_error=plain(asked.error),
        backoff_until=now + backoff,
        backoff_set_at=now,
    )
    return failed, backoff / MICROSECONDS


def release(row: Record, asked: Release, now: int) -> tuple[Record, bool]:
    """Give the lease back, with the floor that it has armed; False where the row is no longer ours."""
    if not row.is_held(asked.owner, asked.fence, now):
        return row, False
    released = replace(
        row,
        lease_owner=None,
        lease_until=0,
        floor_until=0 if row.floor_set_at == row.claimed_at else row.floor_until,
        abandoned_count=_one_more(row.abandoned_count),
    )
    return released, True


def microseconds(seconds: float) -> int:
    """The nearest number of microseconds, as the database rounds."""
    return round(seconds * MICROSECONDS)


def plain(text: str) -> str:
    """A text in printable ASCII, at most 200 characters of it: what every database and encoding can hold."""
    escaped = text[:MAX_TEXT].encode("unicode_escape").decode("ascii")
    return escaped.replace("\\\\", "\\")[:MAX_TEXT]


def clocks_agree(now_us: int, own: float) -> bool:
    """Whether the row's clock is within a day of the process's, which shows `own` seconds since the epoch.

    Two hosts' clocks are compared nowhere else. A day is more than any clock is wrong by mistake, since one
    that is has refused every token already; a row that is judged by another day's clock is not to be trusted.
    """
    return abs(now_us / MICROSECONDS - own) <= CLOCKS_AGREE_WITHIN


def _counts(until: float, set_at: float, horizon: float, now: int) -> bool:
    """Whether a deadline holds: it lies ahead, was set in the past, and is no longer than its kind may be."""
    return until > now and set_at <= now + SLACK and until <= set_at + microseconds(horizon)


def _verdict(row: Record, asked: Claim, now: int) -> Verdict:
    leased = row.is_leased(now)
    if row.lease_owner == asked.owner and leased:
        return "leader"  # the answer to an earlier try was lost
    if row.is_newer(asked):
        return "newer"
    if not row.is_due(asked, now):
        return "fresh"
    if leased:
        return "wait"
    if row.is_backed_off(now):
        return "backoff"
    if asked.force and row.is_floored(asked.floor, now):
        return "floor"
    return "leader"


def _answer(
    row: Record, asked: Claim | Read, now: int, *, verdict: Verdict | None, claimed_at: float | None
) -> Row:
    content, newer = row.content, row.is_newer(asked)
    next_refresh_at = min(row.next_refresh_at, content.fetched_us + microseconds(asked.refresh))
    payload = content.payload or None
    return Row(
        verdict=verdict,
        fence=row.fence,
        claimed_us=_sane(claimed_at),
        generation=content.generation,
        outcome=row.outcome(now),
        failures=min(max(row.consecutive_failures, 0), MAX_TOLD_FAILURES),
        last_error=_told(row.last_error),
        last_refresh_reason=_told(row.last_refresh_reason),
        lease_left=_left(row.lease_until, now) if row.is_leased(now) else 0.0,
        floor_left=_left(row.floor_until, now) if row.is_floored(asked.floor, now) else 0.0,
        backoff_left=_left(row.backoff_until, now) if row.is_backed_off(now) else 0.0,
        refresh_left=0.0 if row.is_past_its_schedule(asked, now) else _left(next_refresh_at, now),
        now_us=_sane(now),
        fetched_us=_sane(content.fetched_us),
        expires_us=_sane(content.expires_us),
        payload=_within(payload, MAX_DOCUMENT) if newer else None,
        seal=_within(row.seal, MAX_SEAL) if newer else None,
        etag=_within(content.etag, MAX_VALIDATOR) if newer else None,
        last_modified=_within(content.last_modified, MAX_VALIDATOR) if newer else None,
    )


def _one_more(count: int, happened: bool = True) -> int:
    return happened + min(count, RESTART_FROM)


def _left(until: float, now: int) -> float:
    return (until - now) / MICROSECONDS


def _sane(time: float | None) -> int | None:
    return None if time is None or not 0 <= time <= LAST_SANE else int(time)


def _told(text: str | None) -> str | None:
    """As the database cuts and cleans it: whoever wrote it, it comes out short and printable."""
    if text is None:
        return None
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:MAX_TEXT])


def _within(value: T | None, most: int) -> T | None:
    """The value, or None where it is longer than anything that a worker writes."""
    if value is None:
        return None
    octets = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    return value if len(octets) <= most else None
