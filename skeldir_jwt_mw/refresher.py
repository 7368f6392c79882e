"""Keeps one issuer's snapshot up to date: one refresh at a time, carried by threads of the verifier's pool.

Callers never run a refresh themselves. They read the snapshot without a lock, and where they need newer
keys they wait for a flight's landing within their own budget; a caller that gives up or is cancelled changes
nothing for it. What nobody may take on trust here is told in `flight.py`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

# joserfc asks for it with the first key, and threads that import it side by side could meet it half made.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401

from .attention import IN_THE_AIR, Attention, Strangers
from .clock import Clock
from .config import RefreshPolicy
from .core.effects import Report
from .core.order import OPEN_GATE, Adopted, Ending, Gate, Order, Reason, Use
from .core.refresh import Refresh
from .core.schedule import Schedule
from .core.seal import Sealer
from .course import Course
from .deadline import Purpose
from .driver import Performer
from .flight import Flight
from .fork import Process, renew_if_forked, renewed_after_fork
from .latch import Latch
from .pool import NoThread, Pool
from .reports import Reports
from .snapshot import Snapshot, described, seconds_left
from .sources import Source
from .stores.base import Store


class Refresher:
    """Keeps one issuer's snapshot up to date.

    `snapshot`, `attention_at`, `attention_by` and `gate` are read by every request without a lock and are
    written only under `_lock`. `attention_at` is when a request must call `attend`, in monotonic seconds;
    `attention_by` the same on the wall clock, for the case that the other one stood still.
    """

    process: Process

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        source_key: str,
        store: Store,
        policy: RefreshPolicy,
        sealer: Sealer,
        algorithms: Sequence[str],
        coordinated: bool,
        pool: Pool,
        clock: Clock,
    ) -> None:
        self.name = name
        self.static = bool(getattr(source, "static", False))  # its keys never change
        self.source_key = source_key
        self.snapshot: Snapshot | None = None
        self.attention_at = self.attention_by = float("-inf")
        self.gate: Gate = OPEN_GATE
        self.source = source
        self.quick = False  # whether the last fetch was; written by the thread that made it
        self._store = store
        self._pool = pool
        self._policy = policy
        self._algorithms = tuple(algorithms)
        self._coordinated = coordinated
        self._clock = clock
        self._schedule = Schedule(policy=policy, draw=clock.draw)
        self._script = Refresh(source_key=source_key, policy=policy, sealer=sealer, schedule=self._schedule)
        self._lock = threading.Lock()  # guards everything below and every write of the fields above
        self._fetching = Purpose()
        self._stopping = Latch()
        self._flight: Flight | None = None
        self._course: Course | None = None  # of the latest flight
        self.attention = Attention(policy, clock.wall() - clock.monotonic())
        self._bad = -1
        self._unreadable = False
        self._failures = 0
        self._strangers = Strangers(policy)
        self._reports = Reports(name)
        if self.static:
            self._load_static()
            self._reports.look_at(self.snapshot)
        renewed_after_fork(self)

    # -- asked by requests -----------------------------------------------------------------------------

    def usable(self, now: float) -> Snapshot | None:
        """The snapshot, unless there is none or it has expired."""
        snapshot = self.snapshot
        return snapshot if snapshot is not None and now < snapshot.expires_at else None

    def attend(self, now: float) -> Flight | None:
        """Look at the row where that is due; the flight is returned to a request that should wait for it.

        That is the first request after a silence, so that a check was missed. Past the revocation bound it is
        every request, until there was an answer; a lease later they are refused.
        """
        begun: Course | None = None
        self._end_what_is_lost(now)
        with self._lock:
            self._heed_gap(now)
            flight = self._flight
            if flight is None:
                if self.usable(now) is None or now < self.attention.check_at or self._stopping.is_set():
                    self._rearm(self.attention.check_at)  # without usable keys the caller demands a refresh
                    return None
                begun = self._board("scheduled", now, force=False)
                flight = begun.flight
            late = now >= self.attention.overdue_at - self._policy.lease  # as far as no leader has died
            waits = self.attention.missed_a_check(now) and (late or not flight.awaited)
            self._rearm(now if waits else now + IN_THE_AIR)  # until somebody waits, everybody asks again
        if begun is not None:
            self._take_off(begun)
        return flight if waits else None

    def demand(self, reason: Reason, now: float, *, force: bool, heed_gate: bool = True) -> Flight | Gate:
        """Join the flight in the air or start one; a closed gate is returned instead, without any I/O."""
        gate = self.gate
        if heed_gate and now < gate.until:
            return gate
        self._end_what_is_lost(now)
        with self._lock:
            if self._flight is not None:
                return self._flight
            if self._stopping.is_set():
                return Gate(until=now, reason="closed")
            if heed_gate and now < self.gate.until:
                return self.gate
            self._heed_gap(now)  # before there are keys that came after it
            begun = self._board(reason, now, force=force)
        self._take_off(begun)
        return begun.flight

    def status(self, now: float) -> dict[str, Any]:
        """What is in use and what comes next, in plain values; durations in seconds."""
        renew_if_forked(self)
        with self._lock:
            snapshot, gate, check_at = self.snapshot, self.gate, self.attention.check_at
            refreshing, readable = self._flight is not None, not self._unreadable
        return {
            "ready": self.is_ready(now),
            **described(snapshot, now),
            "next_check": seconds_left(check_at, now),
            "last_error": self._reports.last_error(snapshot),
            "row_readable": readable,
            "gate": {"closed_for": seconds_left(gate.until, now), "reason": gate.reason},
            "refreshing": refreshing,
            "source_key": None if self.static else self.source_key,
        }

    def is_ready(self, now: float) -> bool:
        """Whether there are usable keys, and the fleet's row is not hidden from this process; no I/O."""
        snapshot = self.usable(now)
        return snapshot is not None and len(snapshot.keys) > 0 and not self._unreadable

    # -- life cycle ------------------------------------------------------------------------------------

    def serve(self, source: Source, algorithms: Sequence[str]) -> None:
        """Take a source of the same identity, and other algorithms; keys, gate and flight stay."""
        with self._lock:
            self.source = source
            if self._algorithms != tuple(algorithms):
                self._algorithms = tuple(algorithms)
                if self.snapshot is not None:
                    self.snapshot = self.snapshot.for_algorithms(self._algorithms)
        self._reports.look_at(self.snapshot)

    def stop(self) -> None:
        """Start no more refreshes; the one in the air ends early and gives the fleet's lease back."""
        self._stopping.set()
        if self._course is not None:
            self._pool.hurry(self._course)

    def join(self, seconds: float) -> None:
        """Wait so long for the refresh that is in the air."""
        course = self._course
        if course is not None and self._flight is course.flight:
            course.done.wait(seconds)

    def renew(self) -> None:
        """Forget what belonged to the parent's threads; in the child of a fork."""
        self._lock = threading.Lock()
        stopping, self._stopping = self._stopping, Latch()
        if stopping.is_set():
            self._stopping.set()
        self._fetching = Purpose()
        self._flight = self._course = None
        if self.snapshot is not None and self.snapshot.expires_at != float("inf"):
            # A fleet of forked children must not look at the row in the same instant.
            spread = self._policy.check_interval * (0.5 + 0.5 * self._clock.draw())
            self.attention.check_at = min(self.attention.check_at, self._clock.monotonic()) + spread
            self._rearm(self.attention.check_at)

    # -- the flight ------------------------------------------------------------------------------------

    def _board(self, reason: Reason, now: float, *, force: bool) -> Course:
        """Make a flight; the caller holds `_lock`, and lets it take off outside."""
        snapshot, wall = self.snapshot, self._clock.wall()
        order = Order(
            owner=uuid.uuid4(),
            reason=reason,
            force=force,
            need=self.usable(now) is None,
            aged=snapshot is None or now > self.attention.due_at(snapshot.adopted),
            trusted=snapshot.adopted if snapshot else None,
            have=snapshot.generation if snapshot else 0,
            bad=self._bad,
            unreadable=self._unreadable,
            failures=self._failures,
            replace_stranger=now >= self._strangers.until,
            coordinated=self._coordinated,
            wall=wall,
        )
        flight = Flight(started_at=now, forced=force, ahead=wall - now)
        performer = Performer(
            source=self.source,
            source_key=self.source_key,
            store=self._store,
            fetching=self._fetching,
            stopping=self._stopping,
        )
        course = Course(
            self,
            flight,
            self._script.run(order),
            performer,
            stopped=self._stopping.is_set,
            clock=self._clock.monotonic,
        )
        self._flight, self._course = flight, course
        return course

    def _take_off(self, course: Course) -> None:
        try:
            self._pool.submit(course)
        except BaseException as error:  # a signal's handler raised, or memory is out: nobody will fly it
            self._fail_here(course.flight)
            if not isinstance(error, NoThread):
                raise
            self._reports.no_thread()

    def _end_what_is_lost(self, now: float) -> None:
        """End a flight that nobody can be believed to end, and renew what a fork has left behind."""
        renew_if_forked(self)
        flight = self._flight
        if flight is None:
            return
        if not flight.is_lost(now):
            self._pool.see_to_it()
            return
        with self._lock:
            flight.settled = True
            if self._flight is flight:
                self._flight = None
                self.attention.check_at = now
        flight.land(Ending(kind="failed", gate=Gate(until=now, reason="lost"), check_at=now))
        self._reports.lost()

    def settle(self, flight: Flight, ending: Ending) -> None:
        """Put an ending to use and wake its waiters; the second ending of a flight changes nothing."""
        try:
            with self._lock:
                first, flight.settled = not flight.settled, True
                if self._flight is flight:
                    self._flight = None
                if ending.adopted is not None:  # a lost flight, too, may find its way home
                    self._adopt(flight, ending.adopted, provider_fails=ending.provider_fails)
                if first:
                    self._apply(ending)
        finally:
            flight.land(ending)  # outside the lock: this wakes everybody who waits
        if first and ending.adopted is not None:
            self._reports.look_at(self.snapshot)

    def use(self, flight: Flight, use: Use) -> None:
        """Put keys to use whose refresh goes on."""
        with self._lock:
            self._adopt(flight, use.adopted, provider_fails=use.provider_fails)
            self._rearm(self._clock.monotonic() + IN_THE_AIR)
        self._reports.look_at(self.snapshot)

    def break_off(self, flight: Flight, error: str, where: str) -> None:
        """End a flight that a bug has broken off, and tell of it."""
        self._fail_here(flight)
        self._reports.broken_off(error, where)

    def _fail_here(self, flight: Flight) -> None:
        """End a flight that came to nothing in this process."""
        ending = self._schedule.failed_here(
            self._clock.monotonic(), failures=self._failures, bad=self._bad, unreadable=self._unreadable
        )
        self.settle(flight, ending)

    def _apply(self, ending: Ending) -> None:
        """Put an ending to use, whose keys are in use already; the caller holds `_lock`."""
        self.gate = ending.gate
        self._bad = ending.bad
        self._unreadable = ending.unreadable
        if not ending.unreadable:
            self._strangers.forget()
        self._failures = self._failures + 1 if ending.failed_here else 0
        self.attention.ended(ending)
        if self.snapshot is not None:
            self.attention.adopt(self.snapshot.adopted, provider_fails=ending.provider_fails)
        self._rearm(self.attention.check_at)

    def _adopt(self, flight: Flight, adopted: Adopted, *, provider_fails: bool | None) -> None:
        """Replace the snapshot; the caller holds `_lock`."""
        before = self.snapshot
        after = Snapshot.after(before, adopted, self._algorithms)
        if after is not before:
            ahead = min(flight.ahead, self._clock.wall() - self._clock.monotonic())
            self.snapshot = after = replace(after, ahead=ahead)
        self.attention.adopt(after.adopted, provider_fails=provider_fails)
        flight.adopted = True
        self._reports.failure = None

    def _heed_gap(self, now: float) -> None:
        """Take the keys for older by what the monotonic clock did not count; the caller holds `_lock`."""
        gap = self.attention.gap(now, self._clock.wall())
        if gap and self.snapshot is not None and not self.static:
            self.snapshot = self.snapshot.aged(gap)

    def _rearm(self, attention_at: float) -> None:
        """Say when a request has to call `attend` next; the caller holds `_lock`."""
        until = self.snapshot.expires_at if self.snapshot else float("-inf")
        self.attention_at, self.attention_by = self.attention.call_at(min(attention_at, until))

    def _load_static(self) -> None:
        self.snapshot = Snapshot.for_ever(self.source, self._algorithms, self.name, self._clock.monotonic())
        self.attention_at = self.attention_by = self.attention.check_at = float("inf")
        self.gate = Gate(until=float("inf"), reason=None)

    def report(self, report: Report) -> None:
        """Have the operator told; a row of a stranger is left alone for ever longer."""
        if report.event == "stranger_row":
            with self._lock:
                self._strangers.seen(self._clock.monotonic())
        self._reports.tell(report)
