"""When what happens next: pauses, checks, and how long the gate stays closed after each ending.

All times are monotonic seconds of this process; what a row says is counted from when its answer was received.
`draw` returns a uniform random number in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.errors import ConfigurationError

from .effects import Row
from .order import OPEN_GATE, Adopted, Ending, EndingKind, Gate, Order, Reply

MIN_MAX_AGE = 60.0  # a provider's shorter max-age would be a hot loop

# A follower of a fetch of up to 250 ms ends with six statements: claim, four polls, claim. The first pauses
# are long because few fetches are shorter; then short ones, so that the new key is usable soon after the
# leader's commit; then growing ones, since a fetch that takes long will take longer.
POLL_PAUSES = (0.120, 0.085, 0.045, 0.050)
POLL_PAUSE = 0.055
POLL_GROWTH = 0.30
POLL_PAUSE_MAX = 0.250
POLL_SPREAD = 0.12
# A connection is kept over pauses up to this long, the first one included, so that a follower of a short
# fetch makes one and not two: nothing else in a rotation costs the database as much.
HOLD_CONNECTION = 0.135

CONTENDED_PAUSE = 0.020
CONTENDED_PAUSE_MAX = 0.250


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A policy's answers to "how long?" and "until when?"."""

    policy: RefreshPolicy
    draw: Callable[[], float]

    def interval(self, max_age: float | None) -> float:
        """Seconds to the next scheduled fetch; a max-age may only shorten ours (RFC 9111 §5.2.2.1)."""
        longest = self.policy.refresh_interval
        if max_age is None:
            return longest
        return min(longest, max(min(MIN_MAX_AGE, longest), max_age))

    def jitter(self) -> float:
        """What a row's times add; drawn once, by the leader."""
        return self.policy.jitter * self.draw()

    def spread(self) -> float:
        """What a local gate adds, so that a fleet's gates do not all open in the same instant."""
        return min(self.policy.jitter, self.policy.floor / 10) * self.draw()

    def next_check(self, now: float) -> float:
        """When this process looks at the row again; spread, or a large fleet would arrive in one second."""
        return now + self.policy.check_interval * (0.5 + 0.5 * self.draw())

    def poll_pause(self, polls: int, elapsed: float) -> float:
        """Seconds before the next poll of a fetch that has run for `elapsed`."""
        base = POLL_PAUSES[polls] if polls < len(POLL_PAUSES) else max(POLL_PAUSE, POLL_GROWTH * elapsed)
        return min(base, POLL_PAUSE_MAX) * (1 + POLL_SPREAD * (2 * self.draw() - 1))

    def contended_pause(self, times: int) -> float:
        """Seconds before a statement that was cut off is repeated."""
        return min(CONTENDED_PAUSE * 2.0**times, CONTENDED_PAUSE_MAX) * (0.5 + self.draw())

    # -- endings ---------------------------------------------------------------------------------------

    def gate(self, now: float, closed_for: float, reason: str | None) -> Gate:
        """A gate that is closed for so long, spread; before a long time is over, the row is looked at."""
        until = now + closed_for + self.spread()
        look_again_at = now + self.policy.check_interval
        if until <= look_again_at:
            return Gate(until=until, reason=reason)
        return Gate(until=look_again_at, reason=reason, retry_at=until)

    def as_the_row_says(
        self,
        kind: EndingKind,
        order: Order,
        row: Row,
        reply: Reply,
        *,
        adopted: Adopted | None = None,
        waited: bool = False,
        unreadable: bool = False,
    ) -> Ending:
        """An ending whose gate is the row's floor and backoff.

        Only a successful refresh whose row this process could read is a last word about a key that is not
        there; after anything else its absence is not the caller's fault.
        """
        closed_for = max(row.floor_left, row.backoff_left)
        known = order.have if adopted is None else adopted.content.generation
        if row.outcome == "running" or closed_for <= 0:
            gate = OPEN_GATE  # a running fetch may bring the key: whoever lacks one may follow it
        elif row.outcome != "ok":
            gate = self.gate(reply.received, closed_for, row.outcome)
        else:
            reason = None if row.generation == known != order.bad else "row_refused"
            gate = self.gate(reply.received, closed_for, reason)
        return Ending(
            kind=kind,
            gate=gate,
            check_at=self.next_check(reply.received),
            adopted=adopted,
            waited=waited,
            bad=order.bad,
            provider_fails=provider_fails(row),
            unreadable=unreadable,
        )

    def still_running(self, order: Order, row: Row, reply: Reply) -> Ending:
        """One process after the other fetched and none came to an end: look again when the lease ends."""
        gate = self.gate(reply.received, row.lease_left, "running")
        return Ending(
            kind="blocked",
            gate=gate,
            check_at=gate.until,
            waited=True,
            bad=order.bad,
            unreadable=order.unreadable,
            provider_fails=provider_fails(row),
        )

    def row_refused(self, order: Order, row: Row, reply: Reply) -> Ending:
        """There is a newer row, but it cannot be trusted and cannot be replaced now."""
        closed_for = max(row.floor_left, row.backoff_left, self.policy.backoff_base)
        return Ending(
            kind="blocked",
            gate=self.gate(reply.received, closed_for, "row_refused"),
            check_at=self.next_check(reply.received),
            bad=order.bad,
            provider_fails=provider_fails(row),
            unreadable=True,
        )

    def store_failed(self, order: Order, reply: Reply) -> Ending:
        """The store gave no answer: local backoff, doubling up to the floor (for looks, their interval)."""
        value = reply.value
        doubled = self.policy.backoff_base * 2.0 ** min(order.failures, 20)
        return Ending(
            kind="failed",
            gate=self.gate(reply.received, min(self.policy.floor, doubled), "store"),
            check_at=reply.received + min(self.policy.check_interval, doubled) + self.spread(),
            bad=order.bad,
            unanswered_at=reply.sent,
            unreadable=order.unreadable,
            failed_here=True,
            misconfigured=value if isinstance(value, ConfigurationError) else None,
        )

    def failed_here(self, now: float, *, failures: int, bad: int, unreadable: bool) -> Ending:
        """This process could not do its part; another may at once, and this one soon again."""
        doubled = self.policy.backoff_base * 2.0 ** min(failures, 20)
        gate = self.gate(now, min(self.policy.floor, doubled), "local")
        return Ending(
            kind="failed",
            gate=gate,
            check_at=now + min(self.policy.check_interval, doubled) + self.spread(),
            bad=bad,
            unreadable=unreadable,
            failed_here=True,
        )


def provider_fails(row: Row) -> bool:
    """Whether the last fetch of the fleet failed, or its process did."""
    return row.failures > 0 or row.outcome in ("failed", "abandoned")
